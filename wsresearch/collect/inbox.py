"""The one bounded queue between socket and disk, where every drop is made and counted; no task or thread is here.

Messages count against the bound from the moment they are received until their rows are in the journal, however
many stages lie between, so memory is bounded by one number and there is one place where something can be lost.
They come and go as blocks; single ones are gathered into a block when somebody takes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wsresearch.venues.frames import PER_MESSAGE, Frames

__all__ = ["Counters", "Inbox"]


@dataclass(slots=True, kw_only=True)
class Counters:
    """What arrived since the counters were last taken."""

    messages: int = 0
    bytes: int = 0
    dropped: int = 0
    dropped_bytes: int = 0


class Inbox:
    """Received messages that are not yet in the journal.

    Parameters
    ----------
    limit
        Bytes held at most, a message being its payload and what a block knows of it; one that would exceed it is
        dropped and counted.
    on_arrival
        Called without arguments when a message arrives in an empty inbox.

    Attributes
    ----------
    last_drop_ns
        When the newest of the dropped messages was received, in ns since 1970 UTC; None if there is none since whoever
        looks at it last set it so.
    """

    def __init__(self, *, limit: int, on_arrival: Callable[[], None]) -> None:
        self.limit = limit
        self.held_bytes = 0
        self.last_drop_ns: int | None = None
        self._on_arrival = on_arrival
        self._waiting = 0
        self._blocks: deque[Frames] = deque()
        # Single messages that came after the last block; making a block of each would cost fifty times as much.
        self._singles: list[bytes] = []
        self._single_ns: list[int] = []
        self._counters = Counters()

    def __len__(self) -> int:
        return self._waiting

    def put(self, message: bytes, recv_ns: int) -> None:
        """Take one message, received at ``recv_ns`` (ns since 1970 UTC); never waits."""
        size = len(message)
        counters = self._counters
        counters.messages += 1
        counters.bytes += size
        if self.held_bytes + size + PER_MESSAGE > self.limit:
            counters.dropped += 1
            counters.dropped_bytes += size
            self.last_drop_ns = recv_ns
            return
        self.held_bytes += size + PER_MESSAGE
        self._singles.append(message)
        self._single_ns.append(recv_ns)
        self._arrived(1)

    def put_block(self, block: Frames) -> None:
        """Take a block; from its first message on that does not fit, it is dropped. Never waits."""
        if not len(block):
            return
        footprint = block.footprint
        size = footprint - PER_MESSAGE * len(block)
        counters = self._counters
        counters.messages += len(block)
        counters.bytes += size
        room = self.limit - self.held_bytes
        if footprint > room:
            fit = int(np.searchsorted(np.cumsum(block.ends - block.starts + PER_MESSAGE), room, side="right"))
            kept = block[:fit]
            counters.dropped += len(block) - fit
            counters.dropped_bytes += size - kept.nbytes
            self.last_drop_ns = int(block.recv_ns[-1])
            if not fit:
                return
            # A copy, lest the few that are kept and counted hold the many bytes in memory that are not.
            block = Frames.of(kept.messages(), kept.recv_ns)
            footprint = block.footprint
        self.held_bytes += footprint
        self._close_singles()
        self._blocks.append(block)
        self._arrived(len(block))

    def take(self, most: int) -> Frames:
        """Hand on up to ``most`` messages, oldest first; they stay counted until :meth:`release`."""
        self._close_singles()
        taken: list[Frames] = []
        while self._blocks and most > 0:
            block = self._blocks.popleft()
            if len(block) > most:
                self._blocks.appendleft(block[most:])
                block = block[:most]
            taken.append(block)
            most -= len(block)
        self._waiting -= sum(map(len, taken))
        return Frames.concat(taken)

    def release(self, size: int) -> None:
        """Messages of that footprint are in the journal now, or were no market data."""
        self.held_bytes -= size
        assert self.held_bytes >= 0, "released more than was held"

    def count(self) -> Counters:
        """Return what arrived since the last call."""
        counters, self._counters = self._counters, Counters()
        return counters

    def _close_singles(self) -> None:
        if self._singles:
            self._blocks.append(Frames.of(self._singles, self._single_ns))
            self._singles, self._single_ns = [], []

    def _arrived(self, count: int) -> None:
        before, self._waiting = self._waiting, self._waiting + count
        if not before:
            self._on_arrival()
