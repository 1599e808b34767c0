"""From a URL to a connected TCP socket, DNS and TCP timed apart; TLS, WebSocket and deciding are not here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from wsresearch.reconnect.actions import Phases

__all__ = ["BadUrl", "Place", "Stopwatch", "peer_name", "place_of", "reach"]

# RFC 8305 recommends 250 ms before the next address is tried beside the first.
_NEXT_ADDRESS_AFTER: Final = 0.25


class BadUrl(ValueError):  # noqa: N818 - reads as what it says
    """Not a ``ws://`` or ``wss://`` URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What of a URL is needed to reach its host."""

    host: str
    port: int
    secure: bool


def place_of(url: str) -> Place:
    """Take a URL apart.

    Raises
    ------
    BadUrl
        If it is none that a WebSocket could be opened to.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:  # a port that is no number, brackets that do not close
        raise BadUrl(f"{url} is no URL: {exc}") from exc
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise BadUrl(f"{url} is no ws:// or wss:// URL")
    secure = parts.scheme == "wss"
    return Place(host=parts.hostname, port=port or (443 if secure else 80), secure=secure)


class Stopwatch:
    """Laps that tile an attempt: each phase begins where the one before ended.

    Parameters
    ----------
    began
        Monotonic second at which the attempt began.
    secure
        Whether TLS is one of its phases.
    """

    def __init__(self, began: float, *, secure: bool) -> None:
        self.last = began
        self.order = ("dns", "tcp", "tls", "upgrade") if secure else ("dns", "tcp", "upgrade")
        self.laps: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """End a phase."""
        now = time.monotonic()
        self.laps[phase] = now - self.last
        self.last = now

    @property
    def running(self) -> str:
        """The phase under way."""
        return next((phase for phase in self.order if phase not in self.laps), self.order[-1])

    def lap_rest(self) -> None:
        """Give the time since the last lap to the phase under way."""
        now = time.monotonic()
        phase = self.running
        self.laps[phase] = self.laps.get(phase, 0.0) + now - self.last
        self.last = now

    def phases(self) -> Phases:
        """Return what has been measured."""
        return Phases(**self.laps)


async def reach(place: Place, watch: Stopwatch) -> socket.socket:
    """Connect a TCP socket, several addresses in a race; the caller owns it.

    Raises
    ------
    OSError
        If the name is not found or no address answers.
    """
    addresses = await _resolve(place.host, place.port)
    watch.lap("dns")
    sock = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER)
    watch.lap("tcp")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """Look a host up in a thread of its own that nobody waits for: a resolver that never answers cannot hold a stop.

    Raises
    ------
    OSError
        If the name cannot be found.
    """
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[tuple[Any, ...]]] = loop.create_future()

    def tell(result: Sequence[tuple[Any, ...]] | OSError) -> None:
        if answer.done():
            return
        if isinstance(result, OSError):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def look_up() -> None:
        result: Sequence[tuple[Any, ...]] | OSError
        try:
            result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as exc:
            result = exc
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile: nobody is interested any more
            loop.call_soon_threadsafe(tell, result)

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    return await answer


def peer_name(sock: socket.socket) -> str:
    """Return address and port of the other end."""
    host, port = sock.getpeername()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
