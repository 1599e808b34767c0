"""The one seam to the network and to time: connect with phase timings, receive, abort, now, sleep.

What stands behind it is not here: the real network is in :mod:`wsresearch.collect.transport`; tests put a
simulated one in its place and run hours in milliseconds.
"""

from __future__ import annotations

from typing import Protocol

from wsresearch.collect.clock import Anchor
from wsresearch.collect.inbox import Inbox
from wsresearch.reconnect.actions import Phases
from wsresearch.reconnect.causes import Failure

__all__ = ["AttemptFailed", "Link", "Transport"]


class AttemptFailed(Exception):  # noqa: N818 - carries a failure, is raised at one place and caught at one place
    """An attempt did not lead to an open WebSocket."""

    def __init__(self, failure: Failure, phases: Phases) -> None:
        super().__init__(failure.detail or failure.cause)
        self.failure = failure
        self.phases = phases


class Link(Protocol):
    """One open WebSocket, whose messages go straight into the inbox it was opened with."""

    phases: Phases
    peer: str
    clock_offset: float | None

    @property
    def ping_rtt(self) -> float | None:
        """Seconds of the newest ping's round trip, None before the first."""

    async def lost(self) -> tuple[Failure, float]:
        """Wait until the connection has ended; say why, and at which monotonic second that was noticed."""

    async def send(self, text: str) -> None:
        """Send a text message; that the link died meanwhile is told by :meth:`lost` alone."""

    async def close(self) -> None:
        """Say goodbye with code 1000, be gone when the peer has answered, or after a second."""

    def abort(self) -> None:
        """Be gone at once."""


class Transport(Protocol):
    """A network and its time."""

    def now(self) -> float:
        """Monotonic seconds."""

    def wall_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def connect(self, url: str, *, began: float, anchor: Anchor, inbox: Inbox) -> Link:
        """Open a WebSocket whose messages go into ``inbox``, stamped by ``anchor``.

        The phases tile the time from ``began``, the monotonic second at which the attempt was recorded.

        Raises
        ------
        AttemptFailed
            With the failure and the seconds each phase took until then.
        """
