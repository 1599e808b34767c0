"""The system calls that change a disk, as one small object that can be replaced; nothing is read here.

Everything in a capture that creates, writes, moves or removes goes through a `Disk`, so a test can let any one
call fail, write half, or be the last before the power goes.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

__all__ = ["REAL_DISK", "Disk", "RealDisk", "replace_file"]

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


class Disk(Protocol):
    """What a capture asks of a disk; every method raises `OSError` where the disk refuses."""

    def create(self, path: Path) -> int:
        """Make a file that must not exist yet, for its owner only; return a descriptor to write to."""
        ...

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        """Append all of `content`. If it raises, any number of bytes may have been written."""
        ...

    def fdatasync(self, descriptor: int) -> None:
        """Make the content of an open file survive a power loss."""
        ...

    def fsync(self, descriptor: int) -> None:
        """Make content and metadata of an open file survive a power loss."""
        ...

    def links(self, descriptor: int) -> int:
        """Count the names of an open file; 0 means that somebody removed it under our hands."""
        ...

    def close(self, descriptor: int) -> None:
        """Close a descriptor from `create`."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name at one stroke, replacing what had that name."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file's name."""
        ...

    def mkdir(self, path: Path) -> None:
        """Make a folder that only its owner may enter; a folder that is there already is left as it is."""
        ...

    def fsync_dir(self, path: Path) -> None:
        """Make the names in a folder survive a power loss."""
        ...


class RealDisk:
    """The disk of this machine; `Disk` says what the methods do."""

    # ruff: noqa: D102
    __slots__ = ()

    def create(self, path: Path) -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE)
        try:
            os.fchmod(descriptor, _FILE_MODE)  # a umask can only take away, and may have
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        rest = memoryview(content)
        while rest:
            written = os.write(descriptor, rest)
            if not written:
                raise OSError(errno.EIO, "the disk takes nothing and gives no reason")
            rest = rest[written:]

    def fdatasync(self, descriptor: int) -> None:
        getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def links(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_nlink

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def mkdir(self, path: Path) -> None:
        try:
            path.mkdir(_FOLDER_MODE)
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "is in the way of a folder", str(path)) from None
        else:
            path.chmod(_FOLDER_MODE)

    def fsync_dir(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


REAL_DISK: Final[Disk] = RealDisk()


def replace_file(path: Path, content: bytes, *, temporary: Path, disk: Disk) -> None:
    """Put `content` in the place of a file, durably; a reader finds the old or the new, whole.

    Raises
    ------
    OSError
        If the disk refused; the old is still there, unless only making the new one's name durable failed.
    """
    with suppress(FileNotFoundError):
        disk.unlink(temporary)
    try:
        descriptor = disk.create(temporary)
        try:
            disk.write(descriptor, content)
            disk.fsync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(temporary, path)
    except OSError:
        with suppress(OSError):  # the error that brought us here is the one to tell
            disk.unlink(temporary)
        raise
    disk.fsync_dir(path.parent)
