"""Clients of the local exchange for tests: one that sees bare TCP, one that speaks WebSocket by the library."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection

MS = 0.001
"""The unit of every time in these tests; larger on a machine that is slow."""

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
"""Opcodes of WebSocket frames."""

PATH = "/stream?streams=btcusdt@trade/ethusdt@trade"


async def dialled(url: str, *, receive_buffer: int | None = None) -> socket.socket:
    """Return a connected socket; with a small `receive_buffer` much stays on the exchange's side."""
    sock = socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        parts = urlsplit(url)
        await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
    except OSError:
        sock.close()
        raise
    return sock


class Bare:
    """A TCP connection that writes bytes by hand and reads frames by hand, so that nothing is hidden."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, url: str, *, receive_buffer: int | None = None) -> Self:
        sock = await dialled(url, receive_buffer=receive_buffer)
        return cls(*await asyncio.open_connection(sock=sock))

    async def request(self, target: str = PATH) -> tuple[int, dict[str, str]]:
        """Send an upgrade request; return status and headers of the answer, header names in lower case."""
        self.writer.write(
            f"GET {target} HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), {name.lower(): value for name, value in fields.items()}

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        first, length = await self.reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)

    def send(self, opcode: int, payload: bytes = b"") -> None:
        """Send one frame, masked with zeros."""
        self.writer.write(bytes((0x80 | opcode, 0x80 | len(payload))) + b"\0\0\0\0" + payload)

    async def to_the_end(self) -> bytes:
        """Return everything up to FIN."""
        data = b""
        while more := await self.reader.read(2**20):
            data += more
        return data

    async def until(self, opcode: int) -> bytes:
        """Read on to the next frame of `opcode`; return its payload."""
        while True:
            found, payload = await self.frame()
            if found == opcode:
                return payload

    async def close(self) -> None:
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def bare(url: str, *, target: str | None = PATH, receive_buffer: int | None = None) -> AsyncIterator[Bare]:
    """A bare connection, upgraded unless `target` is None."""
    client = await Bare.dial(url, receive_buffer=receive_buffer)
    try:
        if target is not None:
            status, _ = await client.request(target)
            assert status == 101
        yield client
    finally:
        await client.close()


def connect(url: str, target: str = PATH, **options: Any) -> websockets.connect:
    """A connection of the library, which reads eagerly unless `options`, which are its own, say otherwise."""
    quick = {"ping_interval": None, "close_timeout": 1, "max_queue": None, "proxy": None, "compression": None}
    return websockets.connect(url + target, **quick | options)


async def to_the_end(client: ClientConnection, into: list[int] | None = None) -> None:
    """Receive until the connection ends, which raises; put the ids of trades into `into`."""
    while True:
        message = json.loads(await client.recv())
        if into is not None:
            into.append(message["data"]["t"])


async def eventually(condition: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait until `condition` holds."""
    for _ in range(int(within / (5 * MS))):
        if condition():
            return
        await asyncio.sleep(5 * MS)
    raise AssertionError("it did not come about")


async def trade_ids(client: ClientConnection, count: int) -> list[int]:
    """Return the ids of the next `count` messages of a combined connection, which must be trades."""
    return [json.loads(await client.recv())["data"]["t"] for _ in range(count)]
