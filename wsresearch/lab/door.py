"""Who is let in: the door faults in force and the venue's own limit on attempts.

Not here: sockets, and whether anybody listens at all. Time is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from wsresearch.lab.faults import DoorFault, Flap, Http, StallHandshake
from wsresearch.lab.parameters import FlapHow, HttpTarget

__all__ = ["Answer", "Door"]

_ATTEMPTS: Final = 300
_WINDOW: Final = 300.0
"""Binance spot, documentation of 2026-07-21: 300 connection attempts per 5 minutes per IP."""
_BEFORE_ANSWER: Final = frozenset({FlapHow.ACCEPT_EOF, FlapHow.ACCEPT_RESET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Door:
    """Decides what meets a client; of several faults in force, the latest counts.

    Parameters
    ----------
    enforce_limits
        Whether the 301st attempt within 5 minutes is answered 429. All clients count as one address.
    """

    def __init__(self, *, enforce_limits: bool) -> None:
        self._enforce_limits = enforce_limits
        self._active: list[DoorFault] = []
        self._attempts: deque[float] = deque()

    def begin(self, fault: DoorFault) -> None:
        """Bring `fault` into force."""
        self._active.append(fault)

    def end(self, fault: DoorFault) -> None:
        """Take `fault` out of force."""
        self._active = [other for other in self._active if other is not fault]

    def on_accept(self) -> Flap | None:
        """Return the fault that ends a connection before a word is said."""
        fault = self._active[-1] if self._active else None
        return fault if isinstance(fault, Flap) and fault.how in _BEFORE_ANSWER else None

    def on_rest(self) -> Answer | None:
        """Return what a REST request is answered instead of data."""
        for fault in reversed(self._active):
            if isinstance(fault, Http) and fault.on is not HttpTarget.STREAM:
                return _http(fault)
        return None

    def on_upgrade(self, now: float) -> Answer | StallHandshake | Flap | None:
        """Return what an upgrade request meets at `now` (monotonic seconds); None lets it in for good.

        Returns
        -------
        Answer
            Turned away with it.
        StallHandshake
            Never answered.
        Flap
            Let in, to be ended as the fault says.
        """
        if self._enforce_limits:
            while self._attempts and self._attempts[0] <= now - _WINDOW:
                self._attempts.popleft()
            if len(self._attempts) >= _ATTEMPTS:
                wait = self._attempts[0] + _WINDOW - now
                return Answer(
                    status=429, body=b"Too many connection attempts\n", headers={"Retry-After": f"{wait:.0f}"}
                )
            self._attempts.append(now)
        for fault in reversed(self._active):
            if isinstance(fault, Http) and fault.on is HttpTarget.REST:
                continue
            if isinstance(fault, Http):
                return _http(fault)
            if isinstance(fault, StallHandshake | Flap):
                return fault
        return None


def _http(fault: Http) -> Answer:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if fault.retry_after is not None:
        # Retry-After has whole seconds (RFC 9110, 10.2.3); rounding up keeps "not before".
        value = fault.retry_after
        headers["Retry-After"] = value if isinstance(value, str) else str(int(-(-value // 1)))
    return Answer(status=fault.status, body=fault.body.encode(), headers=headers)
