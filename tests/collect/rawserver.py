"""A server that says exactly the bytes a test wants, on a real loopback socket; no library decides what is allowed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

__all__ = ["Peer", "RawServer", "Script", "close_frame", "frame", "free_port", "http", "upgraded"]

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

Script = Callable[["Peer"], Awaitable[None]]


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = False,
    length: int | None = None,
) -> bytes:
    """A WebSocket frame, right or wrong: ``length`` announces something else than is there."""
    announced = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask = 0x80 if masked else 0
    if announced < 126:
        head += bytes([mask | announced])
    elif announced < 1 << 16:
        head += bytes([mask | 126]) + struct.pack("!H", announced)
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", announced)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """A Close frame; without a code it is empty."""
    return frame(8, b"" if code is None else struct.pack("!H", code) + reason)


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP answer; underscores in header names become hyphens."""
    lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = b""

    async def asked(self) -> bytes:
        """Read the request to upgrade."""
        self.request = await self.reader.readuntil(b"\r\n\r\n")
        return self.request

    @property
    def path(self) -> str:
        return self.request.split(b" ", 2)[1].decode()

    def answer(self) -> bytes:
        """The right answer to the request."""
        lines = self.request.split(b"\r\n")
        key = next(line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def say(self, content: bytes) -> None:
        self.writer.write(content)

    async def said(self, content: bytes) -> None:
        """Say something and wait until the kernel has it."""
        self.writer.write(content)
        await self.writer.drain()

    async def opcode(self) -> int:
        """Read one short frame of the client and return its opcode."""
        head = await self.reader.readexactly(2)
        await self.reader.readexactly(4 + (head[1] & 0x7F))
        return head[0] & 0x0F

    async def pinged(self) -> bytes:
        """Read one short frame of the client and return what it holds: what a pong must say."""
        head = await self.reader.readexactly(2)
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(head[1] & 0x7F)
        return bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))

    def reset(self) -> None:
        """End with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def forever(self) -> None:
        """Keep the connection and say nothing until the client leaves."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


def upgraded(then: Script) -> Script:
    """A script that answers the request rightly, then does the rest."""

    async def script(peer: Peer) -> None:
        await peer.asked()
        peer.say(peer.answer())
        await then(peer)

    return script


class RawServer:
    """Plays a script for every connection; leaving resets those that are left.

    Parameters
    ----------
    script
        Called with each connection; when it returns, the connection is closed with FIN.
    tls
        Speak TLS with this.
    listener
        Accept on this listening socket, which is closed with the server; by default on a new one.
    """

    def __init__(
        self, script: Script, *, tls: ssl.SSLContext | None = None, listener: socket.socket | None = None
    ) -> None:
        self._script = script
        self._tls = tls
        self._listener = listener
        self._playing: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'ws' if self._tls is None else 'wss'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        where: dict[str, Any] = {"sock": self._listener}
        if self._listener is None:
            where = {"host": "127.0.0.1", "port": self.port}
        self._server = await asyncio.start_server(self._serve, **where, ssl=self._tls, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._playing.add(task)
        try:
            # What the client does to the connection meanwhile is its right.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._script(Peer(reader, writer))
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._playing.discard(task)
            writer.close()
