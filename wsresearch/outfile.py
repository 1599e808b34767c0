"""The file that ``--out`` names: looked at before the work, written after it; its content is not made here."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from wsresearch.errors import UsageError

__all__ = ["check_out", "write_out"]


def check_out(path: Path | None) -> None:
    """Raise UsageError if a file can plainly not be written there; nothing is made or changed. None is no file."""
    if path is None:
        return
    if path.is_dir():
        raise _refused(path, "it is a folder")
    if not path.parent.is_dir():
        raise _refused(path, f"there is no folder {os.fspath(path.parent)!r}")
    there = path.exists()
    if not os.access(path if there else path.parent, os.W_OK if there else os.W_OK | os.X_OK):
        raise _refused(path, os.strerror(errno.EACCES))


def write_out(path: Path, content: bytes) -> None:
    """Write the file and say so on stderr; raise UsageError if the disk refuses after all."""
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise _refused(path, exc.strerror or str(exc)) from exc
    print(f"wrote {path}", file=sys.stderr)


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{os.fspath(path)!r} cannot be written ({why}): give the path of a new file in a folder that is there"
    )
