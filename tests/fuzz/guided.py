"""One target under atheris, the coverage-guided fuzzer: ``python -m tests.fuzz.guided TARGET [libFuzzer options]``.

Run by `tests.fuzz.long`, in an environment that has atheris; no choice of targets or times is here.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["wsresearch"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    _, name, *options = sys.argv
    atheris.Setup([sys.argv[0], *options], TARGETS[name].run)
    atheris.Fuzz()
