"""``python -m wsresearch``: the command line."""

import sys

from wsresearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
