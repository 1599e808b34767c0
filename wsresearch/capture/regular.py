"""Opening what bears a name of ours for reading: a regular file or nothing; what is in it is not looked at here."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["open_regular"]


def open_regular(path: Path) -> int:
    """Return a descriptor to read from.

    Raises
    ------
    FileNotFoundError
        If there is no regular file of this name: a symbolic link is none, nor is a pipe, which may never end.
    OSError
        If it may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "is a symbolic link, which is never ours", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "is no regular file", str(path))
    return descriptor
