"""The one bounded queue between socket and disk, where every drop is made and counted; no task or thread is here.

Messages count against the bound from the moment they are received until their rows are in the journal, however
many stages lie between, so memory is bounded by one number and there is one place where something can be lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from wsresearch.venues.base import Frames

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
        Bytes of payload held at most; a message that would exceed it is dropped and counted.
    on_arrival
        Called without arguments when a message arrives in an empty inbox.
    """

    def __init__(self, *, limit: int, on_arrival: Callable[[], None]) -> None:
        self.limit = limit
        self.held_bytes = 0
        self.last_arrival_ns: int | None = None
        self._on_arrival = on_arrival
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._counters = Counters()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: bytes, recv_ns: int) -> None:
        """Take one message, received at ``recv_ns`` (ns since 1970 UTC); never waits."""
        size = len(message)
        counters = self._counters
        counters.messages += 1
        counters.bytes += size
        self.last_arrival_ns = recv_ns
        if self.held_bytes + size > self.limit:
            counters.dropped += 1
            counters.dropped_bytes += size
            return
        self.held_bytes += size
        self._waiting.append((message, recv_ns))
        if len(self._waiting) == 1:
            self._on_arrival()

    def take(self, most: int) -> Frames:
        """Hand on up to ``most`` messages, oldest first; they stay counted until :meth:`release`."""
        count = min(most, len(self._waiting))
        taken = [self._waiting.popleft() for _ in range(count)]
        return Frames.of([message for message, _ in taken], [recv_ns for _, recv_ns in taken])

    def release(self, size: int) -> None:
        """``size`` bytes of payload are in the journal now, or were no market data."""
        self.held_bytes -= size
        assert self.held_bytes >= 0, "released more than was held"

    def count(self) -> Counters:
        """Return what arrived since the last call."""
        counters, self._counters = self._counters, Counters()
        return counters
