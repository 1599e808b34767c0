"""One connection of the ``websockets`` library, whose messages go straight into the inbox; opening it is not here.

The library makes an object of every frame and wakes a task for every message, which costs ten microseconds each. Here
its ``data_received`` is overridden: bytes go through :mod:`.frames` first, whole text messages into the inbox, a block
for each socket read, and only the rest to the library. That is no documented extension point. So it is done only with
versions that were tested and only when what it relies on is there; otherwise messages come by ``recv()``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, Final

import numpy as np
from websockets.asyncio import messages
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidMessage, ProtocolError, TooManyFragments
from websockets.frames import DATA_OPCODES, CloseCode, Frame
from websockets.protocol import OPEN, Event
from websockets.typing import DataLike
from websockets.version import version

from wsresearch.collect.brake import Brake
from wsresearch.collect.clock import WAKING_UP, Anchor, is_overslept
from wsresearch.collect.frames import Splitter, Texts
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.reach import Stopwatch
from wsresearch.venues import Frames

__all__ = ["UNANSWERED", "Connection"]

_log = logging.getLogger(__name__)

_TESTED: Final = ("17.4",)
"""Versions of the library whose insides are known to be as expected here."""

UNANSWERED: Final = "keepalive ping timeout"
"""What the library says in its Close frame when a ping was not answered in time, and we do."""

# Answers to pings that wait for a peer which does not read them; beyond that it is flooding us.
_MOST_UNREAD: Final = 1 << 20
# A block costs as much as so many single messages.
_FEW: Final = 8
# While a pause lasts, the queue is looked at so often.
_LOOK_AGAIN: Final = 0.005
# Packets that come closer than this, each a few messages, cost more to wake up for than to work on. Then the next are
# gathered for half a millisecond, which makes receive times late by no more than that.
_DENSE: Final = 0.0003
_GATHER: Final = 0.0005
_LITTLE: Final = 1 << 14


class Connection(ClientConnection):
    """Delivers messages; tells what the library keeps to itself: when TLS is done, and that an end has begun.

    Attributes
    ----------
    direct
        Whether messages go straight into the inbox; if not, ``recv()`` has them. Known once the connection is open.
    ending, farewell
        Set when nothing more may be expected, and when the peer has said goodbye.
    leaving
        Whether it was us who said goodbye first.
    round_trip
        Seconds between the newest answered ping and its answer, None before the first. The library measures them by
        the loop's clock, which on uvloop has a resolution of a millisecond.
    """

    def __init__(
        self,
        *args: Any,
        stopwatch: Stopwatch,
        peer: str,
        anchor: Anchor,
        inbox: Inbox,
        direct: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.stopwatch = stopwatch
        self.peer = peer
        self.anchor = anchor
        self.inbox = inbox
        self.direct = direct
        self.ending = asyncio.Event()
        self.farewell = asyncio.Event()
        self.leaving = False
        self._answered_wrongly = False
        self._answer_tail = b""
        self._splitter: Splitter | None = None
        self._fragments: list[bytes] = []
        self._stamp = 0
        self._brake = Brake(self.inbox.limit)
        self._left_off = 0.0
        self._pinged = 0.0
        self.round_trip: float | None = None

    # -- what the library calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - the library's
        if transport.get_extra_info("ssl_object") is not None:
            self.stopwatch.lap("tls")
        super().connection_made(transport)

    async def handshake(self, *args: Any, **kwargs: Any) -> None:  # noqa: D102 - the library's
        try:
            await super().handshake(*args, **kwargs)
        except InvalidMessage as exc:
            # The library speaks of an EOF where a line does not end as HTTP's do, and where there was a reset.
            if not isinstance(exc.__cause__, EOFError):
                raise
            if self._answered_wrongly:
                raise InvalidMessage("the answer is not HTTP") from None
            if isinstance(self.connection_exc, ConnectionResetError):
                raise self.connection_exc from exc
            raise

    def data_received(self, data: bytes) -> None:  # noqa: D102 - the library's
        if self.request is None:
            # Another protocol's banner: the library has not asked yet and is not ready for an answer.
            self.transport.pause_reading()
            self.loop.call_soon(self._answered_early, data)
            return
        if self._splitter is not None:
            self._receive(data, self._splitter)
        elif self.direct:
            self._shake_hands(data)
        else:
            super().data_received(data)
        self._look_around()

    def eof_received(self) -> None:  # noqa: D102 - the library's
        self._hand_over_the_rest()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102 - the library's
        self._hand_over_the_rest()
        super().connection_lost(exc)

    def process_event(self, event: Event) -> None:  # noqa: D102 - the library's
        if self._splitter is None or not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        if len(self._fragments) < messages.MAX_FRAGMENTS:
            self._fragments.append(bytes(event.data))
            if event.fin:
                self.inbox.put(b"".join(self._fragments), self._stamp)
                self._fragments.clear()
        elif not self._over():
            self.set_connection_exc(TooManyFragments(messages.MAX_FRAGMENTS))
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.send_data()

    async def ping(self, data: DataLike | None = None) -> Awaitable[float]:  # noqa: D102 - the library's
        self._pinged = time.monotonic()
        return await super().ping(data)

    def acknowledge_pings(self, data: bytes) -> None:  # noqa: D102 - the library's
        if data in self.pending_pings:
            self.round_trip = time.monotonic() - self._pinged
        super().acknowledge_pings(data)

    async def keepalive(self) -> None:  # noqa: D102 - the library's
        # The library's own judges when a timer says so: a process that slept takes a peer for dead whose answer lies in
        # its socket. And it says goodbye to the dead for a second.
        if version not in _TESTED:
            await super().keepalive()
            return
        assert self.ping_interval is not None
        while True:
            await asyncio.sleep(self.ping_interval - (self.round_trip or 0.0))
            if not await self._is_heard(await self.ping()):
                self.protocol.fail(CloseCode.INTERNAL_ERROR, UNANSWERED)
                self.send_data()
                self.ending.set()
                return

    async def _is_heard(self, pong: Awaitable[float]) -> bool:
        """Wait for an answer to a ping; True as well when the connection has ended meanwhile."""
        answer = asyncio.ensure_future(pong)
        patience = self.ping_timeout
        assert patience is not None
        while True:
            due = time.monotonic() + patience
            await asyncio.wait({answer}, timeout=patience)
            if answer.done() or self.protocol.state is not OPEN:
                return True
            if not is_overslept(due, time.monotonic()):
                return False
            patience = WAKING_UP

    def _answered_early(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.request is not None:
            self.transport.resume_reading()
        self.data_received(data)

    # -- receiving ------------------------------------------------------------------------------------------------

    def _over(self) -> bool:
        """Whether the library discards what comes: it has heard a Close frame or given up."""
        return _name(self.protocol.parser) == "discard"

    def _shake_hands(self, data: bytes) -> None:
        """Give the library its answer, and what follows only if it must have that: it would vanish in its parser."""
        before = len(self._answer_tail)
        answer = self._answer_tail + data
        end = answer.find(b"\r\n\r\n")
        if end < 0:
            self._answer_tail = answer[-3:]
            super().data_received(data)
            return
        cut = end + 4 - before
        super().data_received(data[:cut])
        rest = data[cut:]
        missing = self._missing() if self.protocol.state is OPEN else "it is not open"
        if missing is None:
            size = self.protocol.max_message_size
            assert size is not None
            self._splitter = Splitter(size)
        else:
            self.direct = False
            if self.protocol.state is OPEN:
                _log.warning("messages are received by recv(), which is slower: %s", missing)
        if rest:
            self.data_received(rest)

    def _missing(self) -> str | None:
        """What the library is expected to have and has not, right after the opening handshake; None if nothing."""
        protocol = self.protocol
        if version not in _TESTED:
            return f"websockets {version} is not among the versions tested, {', '.join(_TESTED)}"
        try:
            as_expected = (
                _name(protocol.parser) == "parse"
                and protocol.reader.buffer == b""
                and protocol.current_size is None
                and protocol.extensions == []
                and protocol.max_message_size is not None
                and messages.MAX_FRAGMENTS > 0
            )
        except AttributeError as exc:
            return f"websockets {version} has changed inside: {exc}"
        return None if as_expected else f"websockets {version} is in a state nobody foresaw"

    def _receive(self, data: bytes, splitter: Splitter) -> None:
        now = time.monotonic()
        if self._over():
            super().data_received(data)
            return
        self._stamp = self.anchor.wall(now)
        for piece in splitter.feed(data):
            if isinstance(piece, Texts):
                self._deliver(piece)
                continue
            super().data_received(piece)
            if self._over():
                return
        if self._brake.tread(self.inbox.held_bytes, now):
            self.transport.pause_reading()
            self.loop.call_later(_LOOK_AGAIN, self._resume)
        elif len(data) < _LITTLE and now - self._left_off < _DENSE:
            time.sleep(_GATHER)
        self._left_off = time.monotonic()

    def _deliver(self, texts: Texts) -> None:
        starts, ends, payload = texts.starts, texts.ends, texts.payload
        count = len(starts)
        if count <= _FEW:
            for start, end in zip(starts, ends, strict=True):
                self.inbox.put(payload[start:end], self._stamp)
            return
        bounds = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
        # One number for all: an array of their own would be a twentieth of what a full queue takes.
        self.inbox.put_block(Frames(payload, *bounds, np.broadcast_to(np.int64(self._stamp), count)))

    def _resume(self) -> None:
        if self.transport.is_closing():
            return
        if self.leaving or self._brake.ease(self.inbox.held_bytes, time.monotonic()):
            self.transport.resume_reading()
        else:
            self.loop.call_later(_LOOK_AGAIN, self._resume)

    def _hand_over_the_rest(self) -> None:
        # How much of a frame had come when the stream ended is the library's to tell.
        if self._splitter is not None and not self._over() and (rest := self._splitter.rest()):
            self.protocol.receive_data(rest)

    def _look_around(self) -> None:
        if self.protocol.handshake_exc is not None:
            self._answered_wrongly = True
            self.transport.abort()  # the library would wait for the peer to leave
        elif self.protocol.close_expected():
            if self.protocol.close_rcvd is not None:
                self.farewell.set()
            if not self.leaving or self.farewell.is_set():  # our own goodbye is heard out
                self.ending.set()
        elif self.transport.get_write_buffer_size() > _MOST_UNREAD:
            # Each ping is answered at once, and with a full buffer the library's keepalive waits for ever.
            self.set_connection_exc(ProtocolError("the peer sends pings and does not read the answers"))
            self.transport.abort()


def _name(generator: object) -> str | None:
    return getattr(generator, "__name__", None)
