"""The server's side of the WebSocket protocol, as the link sees it: bytes in, events out; commands in, bytes out.

Not here: an implementation, which is in :mod:`~wsresearch.lab.exchange`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wsresearch.lab.door import Answer

__all__ = ["Asked", "Closed", "Event", "Pinged", "Ponged", "Said", "WebSocket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An HTTP request for `path`."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A text or binary message."""

    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinged:
    """A ping; the WebSocket answers it itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ponged:
    """A pong."""

    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A Close frame; the WebSocket answers it itself."""

    code: int
    reason: str


Event = Asked | Said | Pinged | Ponged | Closed


class WebSocket(Protocol):
    """The server's side of the WebSocket protocol: bytes in, events out; commands in, bytes out."""

    @property
    def is_open(self) -> bool:
        """Whether it is open, with no Close frame from either side."""

    def receive(self, data: bytes) -> list[Event]:
        """Take in what came from the client."""

    def receive_eof(self) -> None:
        """Take in that nothing more comes."""

    def outgoing(self) -> list[bytes]:
        """Return what is to be sent; an empty element stands for FIN."""

    def accept(self) -> int:
        """Answer the upgrade request that was received; return the HTTP status: 101, or what was wrong with it."""

    def answer(self, answer: Answer) -> None:
        """Answer the request that was received without upgrading."""

    def text(self, payload: bytes) -> None:
        """Send a text message."""

    def ping(self, payload: bytes) -> None:
        """Send a ping."""

    def close(self, code: int | None, reason: str) -> None:
        """Send a Close frame."""
