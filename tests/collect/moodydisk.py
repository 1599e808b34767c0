"""A disk that refuses or waits when a test says so."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from wsresearch.capture.disk import RealDisk

__all__ = ["MoodyDisk"]


class MoodyDisk(RealDisk):
    """A disk that refuses or waits when the test says so."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.half = False
        self.no_room_for_parquet = False
        self.renames = threading.Event()
        self.renames.set()
        self.renaming = threading.Event()
        self.writes = threading.Event()
        self.writes.set()
        self.writing = threading.Event()

    def _check(self) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))

    def create(self, path: Path) -> int:
        self._check()
        if self.no_room_for_parquet and path.name.startswith("."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        self.writing.set()
        assert self.writes.wait(10)
        if self.error is not None and self.half:
            os.write(descriptor, memoryview(content)[: len(content) // 2])
        self._check()
        super().write(descriptor, content)

    def fdatasync(self, descriptor: int) -> None:
        self._check()

    def fsync(self, descriptor: int) -> None:
        self._check()

    def rename(self, source: Path, target: Path) -> None:
        self.renaming.set()
        assert self.renames.wait(10)
        self._check()
        super().rename(source, target)
