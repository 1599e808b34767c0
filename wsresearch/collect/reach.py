"""From a URL to a connected TCP socket, DNS and TCP timed apart; TLS, WebSocket and deciding are not here."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from wsresearch.reconnect.actions import Phases

__all__ = ["Addresses", "BadUrl", "Place", "Resolver", "Stopwatch", "peer_name", "place_of", "reach"]

Addresses = Sequence[tuple[Any, ...]]
"""What :func:`socket.getaddrinfo` returns."""

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

    Attributes
    ----------
    last
        When the last lap ended.
    running
        The phase under way.
    """

    def __init__(self, began: float, *, secure: bool) -> None:
        self.last = began
        self.running = "dns"
        self._order = ("dns", "tcp", "tls", "upgrade") if secure else ("dns", "tcp", "upgrade")
        self._laps: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """End a phase; after the last one the first begins again, as it does when a redirect is followed."""
        now = time.monotonic()
        self._laps[phase] = self._laps.get(phase, 0.0) + now - self.last
        self.last = now
        self.running = self._order[(self._order.index(phase) + 1) % len(self._order)]

    def lap_rest(self) -> None:
        """Give the time since the last lap to the phase under way."""
        self.lap(self.running)

    def phases(self) -> Phases:
        """Return what has been measured."""
        return Phases(**self._laps)


class Resolver:
    """Looks names up in threads that nobody waits for: a resolver that never answers cannot hold up a stop.

    While a question is open the next attempt waits for the same answer, so an outage of the resolver costs one
    thread, however often a connection is tried.
    """

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], Future[Addresses]] = {}

    async def addresses(self, host: str, port: int) -> Addresses:
        """Return where a host can be reached.

        Raises
        ------
        BadUrl
            If it cannot be the name of a host.
        OSError
            If the name cannot be found.
        """
        try:
            with contextlib.suppress(socket.gaierror):
                return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except UnicodeError as exc:
            raise BadUrl(f"{host} is no name of a host: {exc}") from exc
        try:
            return await asyncio.wrap_future(self._answer(host, port))
        except (RuntimeError, MemoryError) as exc:
            # No thread or no memory was to be had: as when a resolver is overloaded, it may be soon.
            why = f"no thread or memory to look the name up: {str(exc) or type(exc).__name__}"
            raise socket.gaierror(socket.EAI_AGAIN, why) from exc

    def _answer(self, host: str, port: int) -> Future[Addresses]:
        asked = self._asked.get((host, port))
        if asked is not None and not asked.done():
            return asked
        answer: Future[Addresses] = Future()
        answer.set_running_or_notify_cancel()  # whoever stops waiting must not take the answer from the others
        threading.Thread(target=_look_up, args=(host, port, answer), name=f"resolve {host}", daemon=True).start()
        # Only now: a question that no thread works on would never be answered, nor asked again.
        self._asked[host, port] = answer
        return answer


def _look_up(host: str, port: int, answer: Future[Addresses]) -> None:
    try:
        answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except Exception as exc:  # noqa: BLE001 - whatever it is, those who wait for the answer are told
        answer.set_exception(exc)


async def reach(place: Place, watch: Stopwatch, resolver: Resolver) -> socket.socket:
    """Connect a TCP socket, several addresses in a race; the caller owns it.

    Raises
    ------
    BadUrl, OSError
        If the name is none or not found, or no address answers.
    """
    addresses = await resolver.addresses(place.host, place.port)
    watch.lap("dns")
    sock = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER)
    watch.lap("tcp")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def peer_name(sock: socket.socket) -> str:
    """Return address and port of the other end of a connected socket.

    Raises
    ------
    ConnectionResetError
        If it has reset the connection already.
    """
    try:
        host, port = sock.getpeername()[:2]
    except OSError as exc:
        if exc.errno != errno.ENOTCONN:
            raise
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from exc
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
