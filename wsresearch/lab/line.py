"""One accepted TCP connection, and what can be done to it below the WebSocket: hold up, cut, freeze, reset.

Not here: what the bytes mean (:mod:`~wsresearch.lab.exchange`) and when faults happen.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from wsresearch.lab.conditions import Conditions

__all__ = ["Line"]

_LINGER_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing discards everything unsent and sends RST."""
_FIN_PATIENCE: Final = 2.0
"""Seconds after our FIN for the client to close its side too."""


class Line(asyncio.Protocol):
    """A TCP connection whose outgoing bytes obey the present conditions.

    Attributes
    ----------
    is_frozen
        Whether the connection is half open: nothing is read, written or closed any more.
    is_muted
        Whether everything written is thrown away.
    is_ending
        Whether FIN was asked for; nothing more can be written.
    was_cut
        Whether a limit of bytes has ended it.
    bytes_written
        Handed to TCP so far.
    gone
        Done when TCP is closed on both sides or was aborted.
    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes, Callable[[], object] | None]] = deque()
        self._waiting_bytes = 0
        self._trickle: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._bytes_left: int | None = None
        self._transport: asyncio.Transport | None = None
        self._gone_watch: select.epoll | None = None
        self.is_frozen = False
        self.is_muted = False
        self.is_ending = False
        self.was_cut = False
        self.bytes_written = 0
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection (called by asyncio)."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything that belongs to the connection (called by asyncio)."""
        del exc  # how TCP ended is no secret of ours: the subclass records who ended it
        self._drop_waiting()
        if self._gone_watch is not None:
            self._loop.remove_reader(self._gone_watch.fileno())
            self._gone_watch.close()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if not self.gone.done():
            self.gone.set_result(None)

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; there is one from the moment the connection is accepted."""
        assert self._transport is not None
        return self._transport

    @property
    def peer_port(self) -> int:
        """The client's port."""
        name = self.transport.get_extra_info("peername")
        return int(name[1]) if name else 0

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait here because the client does not read or the path is slow; the kernel holds more."""
        return self._waiting_bytes + self.transport.get_write_buffer_size()

    @property
    def is_limited(self) -> bool:
        """Whether the connection ends after so many bytes."""
        return self._bytes_left is not None

    def later(self, delay: float, callback: Callable[[], object]) -> None:
        """Call `callback` in `delay` seconds, unless the connection is gone by then."""
        if self.gone.done():
            return
        now = self._loop.time()
        self._timers = [timer for timer in self._timers if timer.when() > now]
        self._timers.append(self._loop.call_later(delay, callback))

    def on_end(self) -> None:
        """Hear that the first Close frame, FIN or RST, of either side, is on its way; may be called again."""

    def write(self, data: bytes, on_sent: Callable[[], object] | None = None) -> None:
        """Send `data` as the conditions allow; without effect on a connection that can send no more.

        Parameters
        ----------
        data
            What is to be sent.
        on_sent
            Called when the last byte of it was handed to TCP; never, when it was thrown away before.
        """
        if self.is_frozen or self.is_muted or self.is_ending or self.transport.is_closing():
            return
        if self._conditions.is_calm and self._trickle is None:
            if self._put(data) and on_sent is not None:
                on_sent()
            return
        self._waiting.append((self._loop.time() + self._conditions.delay(), data, on_sent))
        self._waiting_bytes += len(data)
        if self._trickle is None:
            self._trickle = self._loop.create_task(self._send_waiting())

    def limit(self, size_bytes: int) -> None:
        """End the connection with FIN after `size_bytes` more bytes, wherever that cuts."""
        self._bytes_left = size_bytes

    def finish(self) -> None:
        """Send FIN after everything that was written; the client then has 2 s to close its side."""
        if self.is_ending or self.is_frozen or self.gone.done():
            return
        self.is_ending = True
        if self._trickle is None:
            self._send_fin()

    def reset(self) -> None:
        """Send RST now: what has not reached the client is lost; on some systems also what it has not read yet."""
        if self.gone.done():
            return
        self.is_ending = True
        self.on_end()
        sock = self.transport.get_extra_info("socket")
        if sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self.transport.abort()

    def mute(self) -> None:
        """Let no byte through any more; what waits here is thrown away."""
        self.is_muted = True
        self._drop_waiting()

    def freeze(self) -> None:
        """Make the connection half open: never read, write or close again. The client may leave, unanswered."""
        if self.is_frozen or self.gone.done():
            return
        self.is_frozen = True
        self._drop_waiting()
        self.transport.pause_reading()
        self._watch()

    def _watch(self) -> None:
        """Release a frozen connection when its client has gone: as nothing is read, asyncio would never notice."""
        sock = self.transport.get_extra_info("socket")
        if not hasattr(select, "epoll") or sock.fileno() < 0:
            return  # there it is released when the exchange stops
        # FIN and RST alone, and an epoll can be waited for like a socket: known at once, whatever lies unread.
        self._gone_watch = select.epoll()
        self._gone_watch.register(sock.fileno(), select.EPOLLRDHUP)
        self._loop.add_reader(self._gone_watch.fileno(), self.reset)

    async def _send_waiting(self) -> None:
        while self._waiting:
            ready_at, whole, on_sent = self._waiting.popleft()
            left, pause = memoryview(whole), ready_at - self._loop.time()
            while left and not self.is_muted:
                if pause > 0:
                    await asyncio.sleep(pause)
                size, pause = self._conditions.piece(len(left))
                self._waiting_bytes -= size
                if not self._put(left[:size]):
                    break
                left = left[size:]
            if on_sent is not None and not left:
                on_sent()
            if pause > 0:
                await asyncio.sleep(pause)
        self._trickle = None
        if self.is_ending:
            self._send_fin()

    def _put(self, data: bytes | memoryview) -> bool:
        """Hand `data` to TCP; return whether all of it was let through."""
        whole = len(data)
        if self._bytes_left is not None:
            data = data[: self._bytes_left]
            self._bytes_left -= len(data)
        self.bytes_written += len(data)
        self.transport.write(data)
        if self._bytes_left == 0:
            self._bytes_left = None
            self.was_cut = True
            self.is_ending = True
            self._drop_waiting()
            self._send_fin()
        return len(data) == whole

    def _drop_waiting(self) -> None:
        if self._trickle is not None:
            self._trickle.cancel()
            self._trickle = None
        self._waiting.clear()
        self._waiting_bytes = 0

    def _send_fin(self) -> None:
        if self.transport.is_closing():
            return
        self.on_end()
        try:
            self.transport.write_eof()
        except OSError:  # the client's RST is here already, and asyncio has not yet heard of it
            self.reset()
        else:
            self.later(_FIN_PATIENCE, self.reset)
