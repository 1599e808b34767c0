"""Disks that fail by script, and one that knows what a power loss may take: both behind the `Disk` of a capture.

The model of a power loss, harsher than any one file system:

* Bytes of a file are safe up to the last ``fsync`` or ``fdatasync`` of it that returned. Of what was written later any
  part may be there: the file may end at any byte, and blocks before its end may read as zeros (`Order.ANY`), or it
  ends somewhere and is whole up to there (`Order.KEPT`).
* A change of a name is safe once its folder was synced, and no earlier, also if the file itself was synced. Of those
  made later any may have happened (`Order.ANY`), or any number of the first ones (`Order.KEPT`: file systems with a
  journal). A rename happens as a whole; one into another folder may also leave both names.
* What lies in a folder whose own name is not safe may vanish with it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from tests.capture.faulty import PowerCut
from wsresearch.capture.disk import RealDisk

__all__ = ["Die", "Order", "PowerCut", "PowerDisk", "Refuse", "ScriptedDisk"]

_T = TypeVar("_T")
_BLOCK = 64
"""Bytes that are lost or kept together; the files of the drill are small."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The call fails with an error number; a write has done a part of it if `half`."""

    error: int = errno.EIO
    half: bool = False


@dataclass(frozen=True, slots=True)
class Die:
    """The process ends at this call, before it or in the middle of a write (`half`)."""

    half: bool = False


class ScriptedDisk(RealDisk):
    """Real calls, counted from 1, of which some meet a fault; nothing is synced, which costs time and proves nothing.

    Attributes
    ----------
    calls
        Calls so far.
    """

    __slots__ = ("_dead", "_faults", "_open", "calls")

    def __init__(self, faults: Mapping[int, Refuse | Die] | None = None) -> None:
        self.calls = 0
        self._faults = dict(faults or {})
        self._dead = False
        self._open: set[int] = set()

    def _meet(self, half: Callable[[], object] | None = None) -> None:
        """Count a call and let it meet its fault, if it has one."""
        if self._dead:
            raise PowerCut
        self.calls += 1
        fault = self._faults.get(self.calls)
        if fault is None:
            return
        if fault.half and half is not None:
            half()
        if isinstance(fault, Die):
            self._dead = True
            raise PowerCut
        raise OSError(fault.error, os.strerror(fault.error))

    def release(self) -> None:
        """Close what a dead process would have left to the kernel."""
        while self._open:
            os.close(self._open.pop())

    def create(self, path: Path) -> int:
        self._meet()
        descriptor = super().create(path)
        self._open.add(descriptor)
        return descriptor

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        self._meet(lambda: os.write(descriptor, memoryview(content)[: len(content) // 2]))
        super().write(descriptor, content)

    def fdatasync(self, descriptor: int) -> None:
        self._meet()

    def fsync(self, descriptor: int) -> None:
        self._meet()

    def close(self, descriptor: int) -> None:
        # Linux closes the descriptor even if it reports an error of an earlier write.
        self._open.discard(descriptor)
        super().close(descriptor)
        self._meet()

    def rename(self, source: Path, target: Path) -> None:
        self._meet()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._meet()
        super().unlink(path)

    def mkdir(self, path: Path) -> None:
        self._meet()
        super().mkdir(path)

    def fsync_dir(self, path: Path) -> None:
        self._meet()


class Order(StrEnum):
    """What a power loss may do to changes that were not synced."""

    KEPT = "kept"
    ANY = "any"


@dataclass(slots=True)
class _File:
    """Content as it was written, and how much of it is safe."""

    content: bytearray = field(default_factory=bytearray)
    safe: int = 0


@dataclass(slots=True)
class _Change:
    """One change of names: what appears, what disappears, and whether each is safe."""

    adds: tuple[Path, _File | None] | None = None
    removes: Path | None = None
    added: bool = False
    removed: bool = False

    @property
    def same_folder(self) -> bool:
        return self.adds is None or self.removes is None or self.adds[0].parent == self.removes.parent


class PowerDisk(ScriptedDisk):
    """A disk on a real folder that can be asked what may be left of it if the power goes now.

    Parameters
    ----------
    root
        The folder; what is in it now is safe.
    faults
        As for `ScriptedDisk`.
    """

    __slots__ = ("_changes", "_files", "_names", "_root", "_safe")

    def __init__(self, root: Path, faults: Mapping[int, Refuse | Die] | None = None) -> None:
        super().__init__(faults)
        self._root = root
        self._safe: dict[Path, _File | None] = {}
        for path in root.rglob("*"):
            content = None if path.is_dir() else bytearray(path.read_bytes())
            self._safe[path] = None if content is None else _File(content, len(content))
        self._names = dict(self._safe)
        self._files: dict[int, _File] = {}
        self._changes: list[_Change] = []

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._files[descriptor] = file = _File()
        self._change(_Change(adds=(path, file)))
        return descriptor

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        file, raw = self._files[descriptor], bytes(content)
        before = os.fstat(descriptor).st_size
        try:
            super().write(descriptor, content)
        finally:
            file.content += raw[: os.fstat(descriptor).st_size - before]

    def fdatasync(self, descriptor: int) -> None:
        super().fdatasync(descriptor)
        self._files[descriptor].safe = len(self._files[descriptor].content)

    def fsync(self, descriptor: int) -> None:
        super().fsync(descriptor)
        self._files[descriptor].safe = len(self._files[descriptor].content)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._change(_Change(adds=(target, self._names[source]), removes=source))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._change(_Change(removes=path))

    def mkdir(self, path: Path) -> None:
        was_there = path.exists()
        super().mkdir(path)
        if not was_there:
            self._change(_Change(adds=(path, None)))

    def fsync_dir(self, path: Path) -> None:
        super().fsync_dir(path)
        for change in self._changes:
            if change.adds is not None and change.adds[0].parent == path:
                change.added = True
                change.removed = change.removed or change.same_folder
            if change.removes is not None and change.removes.parent == path:
                change.removed = True
                change.added = True  # a rename never loses the file: with the old name gone there is the new one

    def after_power_loss(self, to: Path, rng: random.Random, order: Order) -> None:
        """Make in the empty folder `to` one of the states that a power loss now may leave."""
        names = dict(self._safe)
        cut = rng.randint(0, len(self._changes))
        safe = [place for place, change in enumerate(self._changes) if _is_safe(change)]
        first = max(cut, *(place + 1 for place in safe), 0) if order is Order.KEPT else 0
        for place, change in enumerate(self._changes):
            if order is Order.KEPT:
                added = removed = place < first
            else:
                added = change.added or rng.random() < 0.5
                removed = change.removed or (added and (change.same_folder or rng.random() < 0.5))
                if change.adds is None:
                    removed = change.removed or rng.random() < 0.5
            if change.adds is not None and added:
                names[change.adds[0]] = change.adds[1]
            if change.removes is not None and removed:
                names.pop(change.removes, None)
        losses = rng.choice(_LOSSES[order])
        for path in sorted(names):
            target = to / path.relative_to(self._root)
            file = names[path]
            if not target.parent.is_dir():
                continue  # its folder has vanished, and it with it
            if file is None:
                target.mkdir(mode=0o700, exist_ok=True)
            else:
                target.write_bytes(losses(file, rng))
                target.chmod(0o600)

    def _change(self, change: _Change) -> None:
        self._changes.append(change)
        if change.adds is not None:
            self._names[change.adds[0]] = change.adds[1]
        if change.removes is not None:
            self._names.pop(change.removes, None)


def _is_safe(change: _Change) -> bool:
    return (change.adds is None or change.added) and (change.removes is None or change.removed)


def _all_lost(file: _File, _: random.Random) -> bytes:
    return bytes(file.content[: file.safe])


def _none_lost(file: _File, _: random.Random) -> bytes:
    return bytes(file.content)


def _cut(file: _File, rng: random.Random) -> bytes:
    return bytes(file.content[: rng.randint(file.safe, len(file.content))])


def _holed(file: _File, rng: random.Random) -> bytes:
    content = bytearray(_cut(file, rng))
    for start in range(file.safe, len(content), _BLOCK):
        if rng.random() < 0.5:
            content[start : start + _BLOCK] = bytes(len(content[start : start + _BLOCK]))
    return bytes(content)


_LOSSES: dict[Order, tuple[Callable[[_File, random.Random], bytes], ...]] = {
    Order.KEPT: (_all_lost, _none_lost, _cut),
    Order.ANY: (_all_lost, _none_lost, _cut, _holed, _holed),
}
