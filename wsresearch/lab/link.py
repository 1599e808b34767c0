"""One client of the local exchange: its upgrade, its subscriptions, its pings, its end.

Not here: what TCP does to bytes (:mod:`~wsresearch.lab.line`), the WebSocket protocol
(:mod:`~wsresearch.lab.websocket`), and the exchange.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final, Protocol

from wsresearch.lab.conditions import Conditions
from wsresearch.lab.door import Answer, Door
from wsresearch.lab.faults import Flap, StallHandshake
from wsresearch.lab.inject import PATIENCE
from wsresearch.lab.line import Line
from wsresearch.lab.parameters import FlapHow
from wsresearch.lab.recorder import ConnectionRecord
from wsresearch.lab.rest import PREFIX, Rest
from wsresearch.lab.subscriptions import IncomingLimit, Subscriptions
from wsresearch.lab.websocket import Asked, Closed, Pinged, Ponged, Said, WebSocket
from wsresearch.venues.binance_wire import Form, Unit, shutdown_message

__all__ = ["House", "Link"]

_CLOSE_PATIENCE: Final = 5.0
"""Seconds for a client to answer our Close frame."""
_PONG_INTERVALS: Final = 3
"""The venue pings every 20 s and wants a pong within a minute."""
_MAX_PENDING_BYTES: Final = 64 * 2**20
"""A client that is this far behind is reset, as a real exchange does, to keep memory bounded."""
_LAGGING_BYTES: Final = 2**20
"""A tape that waits also waits for a client that is this far behind."""


class House(Protocol):
    """The exchange, as far as a client's connection is concerned with it."""

    conditions: Conditions
    door: Door
    rest: Rest
    waits: bool
    enforces_limits: bool
    ping_interval: float
    lifetime: float | None

    def enters(self, link: Link) -> None:
        """Note that TCP was accepted."""

    def opens(self, link: Link) -> None:
        """Note that the WebSocket is open, and give it a number."""

    def leaves(self, link: Link) -> None:
        """Note that TCP is gone."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it is done or the exchange stops."""


class Link(Line):
    """One client: its upgrade, its WebSocket, its place in the truth."""

    def __init__(self, exchange: House, ws: WebSocket) -> None:
        super().__init__(exchange.conditions)
        self._exchange = exchange
        self._ws = ws
        self._subscriptions = Subscriptions()
        self._limit = IncomingLimit()
        self._pongs: dict[bytes, asyncio.Future[bool]] = {}
        self._confirmations = itertools.count()
        self._unanswered_since: float | None = None
        self._fin_delay = 0.0
        self._messages_left: int | None = None
        self._flap: Flap | None = None
        self._bytes_allowed: int | None = None
        self._is_deaf = False
        self._is_leaving = False
        self.record: ConnectionRecord

    # A receiver of the player

    @property
    def number(self) -> int:
        """Its number among the opened connections; 0 before it is open."""
        return self.record.connection

    @property
    def form(self) -> Form:
        """How its messages are wrapped."""
        return self._subscriptions.form

    @property
    def unit(self) -> Unit:
        """The unit of its times."""
        return self._subscriptions.unit

    @property
    def streams(self) -> Collection[str]:
        """What it is subscribed to."""
        return self._subscriptions.streams

    @property
    def is_open(self) -> bool:
        """Whether the WebSocket is open and nothing has begun to end it."""
        ends = self.is_ending or self.is_frozen or self._is_leaving or self.transport.is_closing()
        return self._ws.is_open and not ends

    @property
    def is_receptive(self) -> bool:
        """Whether it can take market data now."""
        lags = self._exchange.waits and self.pending_bytes > _LAGGING_BYTES
        return self.is_open and not self.is_muted and not lags

    @property
    def is_rationed(self) -> bool:
        """Whether it may take only so much."""
        return self._messages_left is not None or self._bytes_allowed is not None

    def take(self, frames: Sequence[bytes]) -> int:
        """Send frames of the tape; return how many were sent before its ration was used up."""
        frames = frames[: self._messages_left]
        for data in frames if self.is_limited else [b"".join(frames)]:  # one by one where a cut may fall between two
            self.write(data, self._on_sent)
        self.record.messages += len(frames)
        self.record.bytes = self.bytes_written
        if self._messages_left is not None and self._flap is not None:
            self._messages_left -= len(frames)
            if not self._messages_left:
                self._end_flap(self._flap)
        if self._bytes_allowed is not None and self.bytes_written >= self._bytes_allowed:
            self.leave("limit_data", self.finish)
        if self.pending_bytes > _MAX_PENDING_BYTES:
            self.leave("slow", self.reset)
        return len(frames)

    # A victim of faults

    async def confirm(self, patience: float) -> bool:
        """Return whether the client has read everything written so far, by a ping and its pong."""
        self.record.confirmed = await self._pong(patience)
        return self.record.confirmed

    async def _pong(self, patience: float) -> bool:
        if not self._ws.is_open or self.is_ending or self.is_frozen or self.is_muted:
            return False
        payload = b"confirm-%d" % next(self._confirmations)
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._pongs[payload] = waiter
        self._ws.ping(payload)
        self._flush()
        try:
            async with asyncio.timeout(patience):
                return await waiter
        except TimeoutError:
            return False
        finally:
            self._pongs.pop(payload, None)

    def ended_by(self, cause: str) -> None:
        """Note what ends the connection; the first cause counts."""
        self.record.ended_by = self.record.ended_by or cause

    def close(self, code: int | None, reason: str = "", *, fin_delay: float = 0.0) -> None:
        """Send a Close frame, and FIN `fin_delay` seconds after its answer; RST if none comes."""
        if not self._ws.is_open:
            return
        self._is_leaving = True
        self._fin_delay = fin_delay
        self._ws.close(code, reason)
        self._flush()
        self.on_end()
        self.later(_CLOSE_PATIENCE + fin_delay, self.reset)

    def half_open(self, seconds: float | None) -> None:
        """Never read or write again; RST after `seconds`."""
        self.freeze()
        if seconds is not None:
            self.later(seconds, self.reset)

    def time_out(self, seconds: float) -> None:
        """Let no byte through, and send FIN after `seconds`."""
        self._is_leaving = True
        self.mute()
        self.later(seconds, self.finish)

    def ration(self, size_bytes: int) -> None:
        """Send FIN after so many bytes more."""
        if self._exchange.waits:  # cut between messages, once the client has them, or something would be lost
            self._bytes_allowed = self.bytes_written + size_bytes
        else:
            self.limit(size_bytes)

    def announce_shutdown(self) -> None:
        """Send ``serverShutdown``."""
        now = time.time_ns() * self.unit.per_second // 10**9
        self._say(shutdown_message(now, combined=self.form is Form.COMBINED))

    def send_giant(self, size_bytes: int) -> None:
        """Send one message of `size_bytes`, in a frame of its own."""
        head, tail = b'{"e":"giant","pad":"', b'"}'
        self._say(head + b"x" * (size_bytes - len(head) - len(tail)) + tail)

    def leave(self, cause: str, act: Callable[[], object]) -> None:
        """End the connection by `act` for a reason of our own; if the tape waits, once the client has everything."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self.ended_by(cause)
        if self._exchange.waits:
            self._exchange.spawn(self._confirm_and(act))
        else:
            act()

    async def _confirm_and(self, act: Callable[[], object]) -> None:
        await self.confirm(PATIENCE)
        act()

    def _end_flap(self, flap: Flap) -> None:
        acts = {FlapHow.EOF: self.finish, FlapHow.RESET: self.reset}
        self.leave(flap.kind, acts.get(flap.how, lambda: self.close(flap.code)))

    # TCP

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection (called by asyncio)."""
        super().connection_made(transport)
        self.record = ConnectionRecord(accepted_ns=time.time_ns(), peer_port=self.peer_port)
        self._exchange.enters(self)
        if flap := self._exchange.door.on_accept():
            self._is_deaf = True
            self.ended_by(flap.kind)
            (self.reset if flap.how is FlapHow.ACCEPT_RESET else self.finish)()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the account (called by asyncio)."""
        super().connection_lost(exc)
        self.on_end()
        self._ws.receive_eof()
        self.record.closed_ns = time.time_ns()
        self.record.bytes = self.bytes_written
        self.ended_by("limit_data" if self.was_cut else "client")
        for waiter in self._pongs.values():
            if not waiter.done():
                waiter.set_result(False)
        self._exchange.leaves(self)

    def data_received(self, data: bytes) -> None:
        """Read what the client says (called by asyncio)."""
        if self._is_deaf or self.is_frozen or self.is_muted:
            return
        for event in self._ws.receive(data):
            match event:
                case Asked(path=path):
                    self._on_request(path)
                case Said(payload=payload):
                    if self._is_within_limit():
                        self._say(self._subscriptions.answer(payload))
                case Pinged():
                    self._is_within_limit()
                case Ponged(payload=payload):
                    self._on_pong(payload)
                case Closed(code=code, reason=reason):
                    self.on_end()
                    self.record.close_code, self.record.close_reason = code, reason
        self._flush()

    def eof_received(self) -> None:
        """Note that the client has closed its side (called by asyncio, which then closes ours)."""
        self.on_end()
        self._ws.receive_eof()
        self._flush()

    def on_end(self) -> None:
        """Note when the first sign of the end was sent or came."""
        self.record.ended_ns = self.record.ended_ns or time.time_ns()

    def _on_sent(self) -> None:
        self.record.last_ns = time.time_ns()
        self.record.first_ns = self.record.first_ns or self.record.last_ns

    def _flush(self) -> None:
        for data in self._ws.outgoing():
            if data:
                self.write(data)
            elif self._fin_delay:
                self.later(self._fin_delay, self.finish)
            else:
                self.finish()

    # HTTP

    def _on_request(self, path: str) -> None:
        self.record.path = path
        exchange = self._exchange
        if path.startswith(PREFIX):
            self._answer(exchange.door.on_rest() or exchange.rest.answer(path, time.time()))
            return
        met = exchange.door.on_upgrade(time.monotonic())
        if isinstance(met, StallHandshake):
            self._is_deaf = True
            self.ended_by(met.kind)
            return
        if isinstance(met, Answer):
            self._answer(met)
            return
        try:
            self._subscriptions = Subscriptions.of_target(path)
        except ValueError as error:  # ours, or urllib's of what is no URL
            self._answer(Answer(status=400, body=f"{error}\n".encode()))
            return
        self.record.status = self._ws.accept()
        self._flush()
        if self._ws.is_open:
            self._open(met)

    def _answer(self, answer: Answer) -> None:
        self.record.status = answer.status
        self.ended_by("answered")
        self._ws.answer(answer)
        self._flush()

    # WebSocket

    def _open(self, flap: Flap | None) -> None:
        self._exchange.opens(self)
        self.later(self._exchange.ping_interval, self._keep_alive)
        if self._exchange.lifetime is not None:
            self.later(self._exchange.lifetime, lambda: self.leave("lifetime", lambda: self.close(1001)))
        if flap is not None and flap.after:
            self._flap, self._messages_left = flap, flap.after
        elif flap is not None:
            self._end_flap(flap)

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if not self.is_open:
            return
        if self._unanswered_since is None:
            self._unanswered_since = now
        elif now - self._unanswered_since >= _PONG_INTERVALS * self._exchange.ping_interval:
            self.leave("pong", lambda: self.close(1008, "Pong timeout"))
            return
        self._ws.ping(b"%d" % (time.time_ns() // 10**6))
        self._flush()
        self.later(self._exchange.ping_interval, self._keep_alive)

    def _on_pong(self, payload: bytes) -> None:
        waiter = self._pongs.get(payload)
        if waiter is None:
            self._unanswered_since = None
            self._is_within_limit()
        elif not waiter.done():
            waiter.set_result(True)

    def _is_within_limit(self) -> bool:
        """Count one message of the client; end the connection when it sends too many."""
        if not self._exchange.enforces_limits or self._limit.allows(time.monotonic()):
            return True
        self.leave("limit", lambda: self.close(1008, "Too many requests"))
        return False

    def _say(self, payload: bytes) -> None:
        if self.is_open:
            self._ws.text(payload)
            self._flush()
