"""A small disk in a mount namespace of one thread, for itself and the processes that it starts; filling it is not here.

The namespace has no name and lives as long as the thread and what it started: nobody else sees the mounts, and none is
left behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from tests.drill.namespaces import called
from tests.drill.scenario import NotPlayed

__all__ = ["apart", "possible", "read_only", "tmpfs"]

_T = TypeVar("_T")

_NEW_MOUNTS: Final = 0x00020000
"""CLONE_NEWNS of Linux's sched.h; those below are of its mount.h."""
_READ_ONLY, _REMOUNT, _BIND, _MOVE, _ALL_BELOW, _PRIVATE = 0x1, 0x20, 0x1000, 0x2000, 0x4000, 0x40000
_DETACH: Final = 0x2


def apart(function: Callable[[], _T]) -> _T:
    """Call a function in a thread whose mounts nobody else sees.

    Raises
    ------
    OSError
        If that is not permitted.
    """

    def alone() -> _T:
        called("unshare", _NEW_MOUNTS)
        called("mount", b"none", b"/", None, _ALL_BELOW | _PRIVATE, None)
        return function()

    with ThreadPoolExecutor(1, thread_name_prefix="mounts") as one:
        return one.submit(alone).result()


@contextlib.contextmanager
def tmpfs(at: Path, *, size: int) -> Iterator[None]:
    """Mount an empty file system of so many bytes; call it :func:`apart`."""
    at.mkdir()
    called("mount", b"none", os.fsencode(at), b"tmpfs", 0, f"size={size},mode=700".encode())
    try:
        yield
    finally:
        called("umount2", os.fsencode(at), _DETACH)
        at.rmdir()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nothing be made, renamed or removed in a folder, as on a file system that has become read-only.

    What is open for writing stays so: with such files a file system is not mounted read-only, it is busy. So the mount
    becomes read-only beside the folder, where nobody writes, and is moved over it then. Call it :func:`apart`.
    """
    aside = folder.with_name(folder.name + "-read-only")
    here, there = os.fsencode(aside), os.fsencode(folder)
    aside.mkdir()
    try:
        called("mount", there, here, None, _BIND, None)
        try:
            called("mount", b"none", here, None, _REMOUNT | _BIND | _READ_ONLY, None)
            called("mount", here, there, None, _MOVE, None)
        except OSError:
            called("umount2", here, _DETACH)
            raise
    finally:
        aside.rmdir()
    try:
        yield
    finally:
        called("umount2", there, _DETACH)


@cache
def _why_not() -> str | None:
    def tried() -> None:
        with tempfile.TemporaryDirectory(prefix="wsresearch-drill-") as name, tmpfs(Path(name) / "disk", size=1 << 20):
            pass

    try:
        apart(tried)
    except OSError as error:
        return f"no disk of one's own can be mounted here: {error.strerror or errno.errorcode.get(error.errno or 0)}"
    return None


def possible() -> None:
    """See, once, whether a disk can be mounted.

    Raises
    ------
    NotPlayed
        If not; it says why.
    """
    if (why := _why_not()) is not None:
        raise NotPlayed(why)
