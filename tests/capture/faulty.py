"""Disks that fail on purpose, at a call that can be chosen."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wsresearch.capture.disk import RealDisk

_T = TypeVar("_T")


class PowerCut(BaseException):
    """The process is dead; nothing may catch this and go on."""


class _Counting(RealDisk):
    """Counts calls; the one numbered `at` (from 1) meets the fault, a write half done."""

    __slots__ = ("at", "calls", "half")

    def __init__(self, at: int, *, half: bool = True) -> None:
        self.at = at
        self.calls = 0
        self.half = half

    def faulty(self) -> bool:
        self.calls += 1
        return self.calls == self.at

    def fail(self) -> None:
        raise NotImplementedError

    def _do(self, call: Callable[[], _T]) -> _T:
        if self.faulty():
            self.fail()
        return call()

    def create(self, path: Path) -> int:
        return self._do(lambda: super(_Counting, self).create(path))

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        if self.faulty():
            if self.half:
                os.write(descriptor, memoryview(content)[: len(content) // 2])
            self.fail()
        super().write(descriptor, content)

    def fdatasync(self, descriptor: int) -> None:
        self._do(lambda: None)  # a real one costs time and proves nothing here

    def fsync(self, descriptor: int) -> None:
        self._do(lambda: None)

    def rename(self, source: Path, target: Path) -> None:
        self._do(lambda: super(_Counting, self).rename(source, target))

    def unlink(self, path: Path) -> None:
        self._do(lambda: super(_Counting, self).unlink(path))

    def mkdir(self, path: Path) -> None:
        self._do(lambda: super(_Counting, self).mkdir(path))

    def fsync_dir(self, path: Path) -> None:
        self._do(lambda: None)


class DyingDisk(_Counting):
    """The power goes at call `at`: that call and all later ones do nothing but say so.

    As a kernel does for a process that is dead, it closes what was open.
    """

    __slots__ = ("_open",)

    def __init__(self, at: int, *, half: bool = True) -> None:
        super().__init__(at, half=half)
        self._open: set[int] = set()

    def faulty(self) -> bool:
        self.calls += 1
        return self.calls >= self.at

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        self.half = self.half and self.calls + 1 == self.at
        super().write(descriptor, content)

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._open.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.remove(descriptor)
            super().close(descriptor)

    def fail(self) -> None:
        for descriptor in sorted(self._open):
            self.close(descriptor)
        raise PowerCut


class RefusingDisk(_Counting):
    """Calls from `at` on fail with an error number, `times` of them; then the disk works again.

    A full disk (ENOSPC) removes files all the same.
    """

    __slots__ = ("error", "times")

    def __init__(self, at: int, *, error: int = errno.ENOSPC, times: int = 1, half: bool = True) -> None:
        super().__init__(at, half=half)
        self.error = error
        self.times = times

    def faulty(self) -> bool:
        self.calls += 1
        return self.at <= self.calls < self.at + self.times

    def fail(self) -> None:
        raise OSError(self.error, os.strerror(self.error))

    def unlink(self, path: Path) -> None:
        if self.error == errno.ENOSPC:
            path.unlink()
        else:
            super().unlink(path)
