"""Holding a file against its removal: readers do for as long as they read, and `prune` waits; nothing is removed here.

A hold is a shared OS lock (``flock``) on the file itself. It needs no right to write, leaves nothing behind, and goes
with the process that has it. Where a file system knows no such locks readers read without, and `prune` refuses to work.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from wsresearch.errors import CaptureError

__all__ = ["Hold", "hold", "unheld"]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Hold:
    """Lasts until it is forgotten: whatever needs the file keeps a reference."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


def hold(path: Path) -> Hold | None:
    """Hold a file or a folder; None if it has gone, or is being removed.

    Raises
    ------
    OSError
        If it may not be opened.
    """
    try:
        held = Hold(descriptor := os.open(path, _FLAGS))
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return held  # no locks here: then `unheld` fails as well, and nothing is removed
    return held if os.fstat(descriptor).st_nlink else None


@contextmanager
def unheld(path: Path) -> Iterator[bool]:
    """Tell whether nobody holds a file or a folder; if so, nobody can in the ``with`` block.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    OSError
        If it may not be opened.
    CaptureError
        If the file system knows no such locks.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError as error:
            raise CaptureError(
                f"{os.fspath(path)!r} cannot be locked ({error.strerror or error}), so nobody can say whether it "
                "is being read: prune the capture on a file system that has locks"
            ) from error
        else:
            yield True
    finally:
        os.close(descriptor)
