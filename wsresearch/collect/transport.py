"""The real network behind the seam, on the ``websockets`` library; deciding is not here."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import re
import socket
import ssl
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urldefrag, urljoin, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    PayloadTooBig,
    ProtocolError,
    SecurityError,
    TooManyFragments,
)
from websockets.http11 import Response

from wsresearch.collect.clock import Anchor
from wsresearch.collect.connection import UNANSWERED, Connection
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.reach import BadUrl, Resolver, Stopwatch, peer_name, place_of, reach
from wsresearch.collect.seam import AttemptFailed
from wsresearch.collect.tasks import happens_before
from wsresearch.reconnect.actions import Phases
from wsresearch.reconnect.causes import Cause, Failure, parse_http_date, parse_retry_after
from wsresearch.safetext import safe

__all__ = ["WebSocketTransport"]

_log = logging.getLogger(__name__)

# As many as a chain on one server can need; more is a loop.
_REDIRECTS: Final = 3
# Longest polite close when we stop; the promise is two seconds from any state.
_CLOSE_TIMEOUT: Final = 1.0


class WebSocketTransport:
    """The real network, by way of the ``websockets`` library.

    Parameters
    ----------
    open_timeout
        Seconds for a whole attempt: DNS, TCP, TLS and upgrade together.
    ping_interval, ping_timeout
        Keepalive. A dead peer is noticed after at most their sum.
    max_size
        Longest message accepted, in bytes.
    direct
        Take messages out of the socket's bytes ourselves where the library allows; see
        :class:`~wsresearch.collect.connection.Connection`. Else each comes by ``recv()``, which is slower.

    Notes
    -----
    Proxies in the environment are not used: phase timings would describe the proxy, and a dead one would look
    like a dead venue. Messages are not compressed: venues do not, and a compression bomb finds no reader.
    """

    def __init__(
        self,
        *,
        open_timeout: float = 10.0,
        ping_interval: float = 5.0,
        ping_timeout: float = 5.0,
        max_size: int = 1 << 20,
        direct: bool = True,
    ) -> None:
        self.open_timeout = open_timeout
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.max_size = max_size
        self.direct = direct
        self._resolver = Resolver()
        self._tls: ssl.SSLContext | None = None

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def connect(self, url: str, *, began: float, anchor: Anchor, inbox: Inbox) -> WebSocketLink:
        """Open a WebSocket; see :meth:`wsresearch.collect.seam.Transport.connect`."""
        watch = Stopwatch(began, secure=url.startswith("wss:"))
        websocket: Connection | None = None
        try:
            async with asyncio.timeout(self.open_timeout):
                websocket = await self._follow(url, watch, anchor, inbox)
            return WebSocketLink(websocket, watch.phases(), anchor, inbox)
        except Exception as exc:
            if websocket is not None:
                websocket.transport.abort()
            # Whatever the attempt died of is a failure to record, decided on by the rules; it is never swallowed.
            during = watch.running
            watch.lap_rest()
            raise AttemptFailed(_failure_of_attempt(exc, during, anchor), watch.phases()) from exc

    async def _follow(self, url: str, watch: Stopwatch, anchor: Anchor, inbox: Inbox) -> Connection:
        """Open a WebSocket, going where the same server sends us, a few times at most."""
        for _ in range(1 + _REDIRECTS):
            try:
                return await self._open(url, watch, anchor, inbox)
            except (ValueError, LookupError, InvalidURI) as exc:
                # The library cannot follow a redirect on the socket we gave it, and says so with a ValueError; one that
                # is written as http://, or twice, it does not understand, and says so while it handles the answer.
                answer = _answer_behind(exc)
                if answer is None:
                    raise
                url = _redirected(url, answer)
                watch.lap_rest()
        raise _RedirectError(f"redirected more than {_REDIRECTS} times")

    async def _open(self, url: str, watch: Stopwatch, anchor: Anchor, inbox: Inbox) -> Connection:
        place = place_of(url)
        sock = await reach(place, watch, self._resolver)
        try:
            # A wrapper will do, the library says; its types want a class, and making one for each attempt takes longer.
            create: Any = functools.partial(
                Connection, stopwatch=watch, peer=peer_name(sock), anchor=anchor, inbox=inbox, direct=self.direct
            )
            websocket = await connect(
                url,
                sock=sock,
                ssl=self._trust() if place.secure else None,
                server_hostname=place.host if place.secure else None,
                compression=None,
                open_timeout=None,  # the caller's timeout is the total
                ping_interval=self.ping_interval,
                ping_timeout=self.ping_timeout,
                close_timeout=_CLOSE_TIMEOUT,
                max_size=self.max_size,
                create_connection=create,
            )
        except BaseException:
            sock.close()
            raise
        watch.lap("upgrade")
        assert isinstance(websocket, Connection)
        return websocket

    def _trust(self) -> ssl.SSLContext:
        # Built once: a context made while no descriptor is free silently holds no CA and then blames the venue.
        if self._tls is None:
            context = ssl.create_default_context()
            if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
                raise OSError(errno.EMFILE, "no CA certificates could be loaded")
            self._tls = context
        return self._tls


class WebSocketLink:
    """An open WebSocket of the ``websockets`` library; see :class:`wsresearch.collect.seam.Link`."""

    def __init__(self, websocket: Connection, phases: Phases, anchor: Anchor, inbox: Inbox) -> None:
        self.phases = phases
        self.peer = websocket.peer
        self.clock_offset = _clock_offset(websocket.response)
        self._websocket = websocket
        self._anchor = anchor
        self._inbox = inbox
        self._reader = asyncio.create_task(self._read(), name="read")

    @property
    def ping_rtt(self) -> float | None:
        """Seconds of the newest ping's round trip, None before the first."""
        return self._websocket.round_trip

    async def lost(self) -> tuple[Failure, float]:
        """Wait for the end; see :meth:`Link.lost`."""
        reader = self._reader
        ending = asyncio.create_task(self._websocket.ending.wait(), name="await the closing handshake")
        try:
            await asyncio.wait({reader, ending}, return_when=asyncio.FIRST_COMPLETED)
            noticed = time.monotonic()
            # recv() does not return while a peer keeps TCP open after a Close frame, be it its own or ours because
            # it broke the protocol. Nothing may follow, and what came before is queued: TCP is not waited for.
            self._websocket.transport.abort()
            if not reader.done():
                await asyncio.wait({reader})
        finally:
            ending.cancel()
        if reader.cancelled():
            return Failure(cause=Cause.CLOSED, detail="dropped here", close_by="local"), noticed
        return reader.result(), noticed

    async def send(self, text: str) -> None:
        """Send a text message; see :meth:`Link.send`."""
        with contextlib.suppress(ConnectionClosed):
            await self._websocket.send(text)

    async def close(self) -> None:
        """Close with 1000; see :meth:`Link.close`."""
        self._websocket.leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                # When the peer has said goodbye too, it need not also hang up: some take their time over that.
                await happens_before(self._websocket.farewell, self._websocket.close(1000))
        self.abort()

    def abort(self) -> None:
        """Drop the connection; see :meth:`Link.abort`."""
        self._reader.cancel()
        self._websocket.transport.abort()

    async def _read(self) -> Failure:
        recv, put, wall = self._websocket.recv, self._inbox.put, self._anchor.wall
        monotonic = time.monotonic
        try:
            while True:
                message = await recv(decode=False)
                put(message, wall(monotonic()))
        except ConnectionClosed as exc:
            return _failure_of_close(exc)


class _RedirectError(ConnectionError):
    """Sent somewhere we do not go."""


def _answer_behind(exc: BaseException | None) -> InvalidStatus | None:
    """Return the server's answer in whose handling an exception was raised."""
    while exc is not None and not isinstance(exc, InvalidStatus):
        exc = exc.__cause__ or exc.__context__
    return exc


def _redirected(url: str, answer: InvalidStatus) -> str:
    """Return where a redirect leads, if that is the same server."""
    location = next(iter(_told(answer.response, "Location")), "")
    try:
        target, _ = urldefrag(urljoin(url, re.sub(r"^http(s?)://", r"ws\1://", location, flags=re.IGNORECASE)))
        here, there = urlsplit(url), urlsplit(target)
    except ValueError as exc:  # brackets that do not close
        raise _RedirectError(f"redirected to {location}, which is no URL: {exc}") from exc
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise _RedirectError(f"redirected to another server: {target}")
    return target


def _told(response: Response | None, header: str) -> list[str]:
    """Every value of a header: the library's `get` and `[]` raise where a server, or a proxy before it, repeats one."""
    return [] if response is None else response.headers.get_all(header)


def _clock_offset(response: Response | None) -> float | None:
    """Local wall time minus the server's ``Date``, in seconds; the header resolves whole seconds."""
    told = next((date for text in _told(response, "Date") if (date := parse_http_date(text))), None)
    return None if told is None else time.time() - told.timestamp()


# -- exceptions to failures: the only place that knows what the library raises ------------------------------------


def _failure_of_attempt(exc: Exception, during: str, anchor: Anchor) -> Failure:
    """Name the cause of a failed attempt."""
    detail = safe(str(exc) or type(exc).__name__)
    match exc:
        case TimeoutError():
            return Failure(cause=Cause.OPEN_TIMEOUT, detail=f"no answer in time during {during}", close_by="local")
        case ssl.SSLCertVerificationError():
            return Failure(cause=Cause.CERTIFICATE, detail=safe(exc.verify_message or detail), close_by="local")
        case ssl.SSLError():
            return Failure(cause=Cause.TLS, detail=detail)
        case socket.gaierror():
            return Failure(cause=Cause.NAME_NOT_FOUND, detail=detail)
        case BadUrl() | InvalidURI():
            return Failure(cause=Cause.BAD_URL, detail=detail, close_by="local")
        case InvalidStatus():
            return _failure_of_status(exc, anchor)
        case InvalidMessage() if isinstance(exc.__cause__, (EOFError, ConnectionResetError)):
            cause = Cause.RESET if isinstance(exc.__cause__, ConnectionResetError) else Cause.EOF
            return Failure(cause=cause, detail="the connection ended during the opening handshake", close_by="peer")
        case InvalidHeader():
            return Failure(cause=Cause.BAD_UPGRADE, detail=detail)
        case InvalidMessage() | InvalidHandshake() | SecurityError():
            return Failure(cause=Cause.NOT_WEBSOCKET, detail=detail)
        case _RedirectError():
            return Failure(cause=Cause.REDIRECTED, detail=detail, close_by="peer")
        case OSError() if exc.errno in {errno.EMFILE, errno.ENFILE}:
            return Failure(cause=Cause.NO_DESCRIPTORS, detail=detail, close_by="local")
        case ConnectionRefusedError():
            return Failure(cause=Cause.REFUSED, detail=detail, close_by="peer")
        case ConnectionResetError() | BrokenPipeError():
            return Failure(cause=Cause.RESET, detail="connection reset by the peer", close_by="peer")
        case OSError():
            # Any other OSError is about reaching the host, whatever its number.
            return Failure(cause=Cause.UNREACHABLE, detail=detail)
        case ConnectionClosed():
            return _failure_of_close(exc)
        case _:
            _log.warning("an attempt failed in a way nobody foresaw", exc_info=exc)
            return Failure(cause=Cause.UNKNOWN, detail=safe(f"{type(exc).__name__}: {exc}"))


def _failure_of_status(exc: InvalidStatus, anchor: Anchor) -> Failure:
    response = exc.response
    text = safe(bytes(response.body[:1000]).decode("utf-8", "replace"))
    now = datetime.fromtimestamp(anchor.wall(time.monotonic()) / 1e9, tz=UTC)
    # Whoever of several on the way asks for the longest is obeyed: that obeys the others too.
    told = [parse_retry_after(value, now=now) for value in _told(response, "Retry-After")]
    return Failure(
        cause=Cause.HTTP_STATUS,
        detail=safe(f"HTTP {response.status_code} {response.reason_phrase} {text}"),
        close_by="peer",
        http_status=response.status_code,
        retry_after=max((seconds for seconds in told if seconds is not None), default=None),
    )


def _failure_of_close(exc: ConnectionClosed) -> Failure:
    """Name the cause of a connection's end."""
    rcvd, sent = exc.rcvd, exc.sent
    if rcvd is not None:
        detail = safe(rcvd.reason) or "closed by the peer"
        return Failure(cause=Cause.CLOSED, detail=detail, close_code=int(rcvd.code), close_by="peer")
    if sent is not None:
        detail = safe(sent.reason) or "closed here"
        if sent.reason == UNANSWERED:
            cause, detail = Cause.PING_TIMEOUT, "a ping was not answered in time"
        elif isinstance(exc.__cause__, (PayloadTooBig, TooManyFragments)):
            cause = Cause.TOO_BIG
        elif isinstance(exc.__cause__, (ProtocolError, UnicodeDecodeError)) or sent.code in {1002, 1007, 1009}:
            cause = Cause.PROTOCOL_ERROR
        else:
            cause = Cause.CLOSED
        return Failure(cause=cause, detail=detail, close_code=int(sent.code), close_by="local")
    if isinstance(exc.__cause__, ProtocolError):
        return Failure(cause=Cause.PROTOCOL_ERROR, detail=safe(str(exc.__cause__)), close_by="local")
    if isinstance(exc.__cause__, (ConnectionResetError, BrokenPipeError)):
        return Failure(cause=Cause.RESET, detail="connection reset by the peer", close_by="peer")
    if isinstance(exc.__cause__, OSError):
        return Failure(cause=Cause.UNREACHABLE, detail=safe(str(exc.__cause__)))
    return Failure(cause=Cause.EOF, detail="the connection ended without a Close frame", close_by="peer")
