"""The port: refuses and listens again without losing its number."""

from __future__ import annotations

import asyncio
import socket

import pytest

from wsresearch.errors import UsageError
from wsresearch.lab.port import Port


def test_refuse_and_listen_again() -> None:
    """While it refuses, nobody else can take the number; then it is there again."""

    async def scenario() -> None:
        port = Port("127.0.0.1", 0, asyncio.Protocol)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port.number)
        for _ in range(3):
            await port.listen()
            _, writer = await asyncio.open_connection("127.0.0.1", port.number)
            port.refuse()
            port.refuse()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port.number)
            with socket.socket() as thief, pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.1", port.number))
            writer.transport.abort()
        port.close()

    asyncio.run(scenario())


def test_messages_do_not_wait_for_acknowledgements() -> None:
    """What is accepted has TCP_NODELAY, after a refusal too: a message leaves at once, not with the next ACK."""

    class Accepted(asyncio.Protocol):
        def __init__(self, options: asyncio.Queue[int]) -> None:
            self.options = options

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            sock = transport.get_extra_info("socket")
            self.options.put_nowait(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def scenario() -> list[int]:
        options: asyncio.Queue[int] = asyncio.Queue()
        port = Port("127.0.0.1", 0, lambda: Accepted(options))
        found = []
        for _ in range(2):
            await port.listen()
            _, writer = await asyncio.open_connection("127.0.0.1", port.number)
            found.append(await options.get())
            writer.transport.abort()
            port.refuse()
        port.close()
        return found

    assert all(asyncio.run(scenario()))


def test_a_port_that_is_taken() -> None:
    """The number stands in the error, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {number} of 127.0.0.1 cannot be used.*choose another"):
            Port("127.0.0.1", number, asyncio.Protocol)


def test_no_address() -> None:
    """A host that is none is said to be one."""
    with pytest.raises(UsageError, match="no address"):
        Port("256.1.1.1", 0, asyncio.Protocol)
