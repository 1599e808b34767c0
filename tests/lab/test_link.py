"""One client's connection: pings, lifetime, limits, and a client that cannot keep up."""

from __future__ import annotations

import asyncio
import struct

import pytest

from tests.lab.clients import CLOSE, MS, PING, PONG, TEXT, bare, eventually
from wsresearch.lab import link
from wsresearch.lab.exchange import Exchange
from wsresearch.lab.tape import Tape


def test_pings_and_the_want_of_pongs() -> None:
    """The exchange pings at its interval; a client that does not answer for three is closed with 1008."""

    async def scenario() -> None:
        async with Exchange(Tape.generate(rate=100), ping_interval=20 * MS) as exchange:
            async with bare(exchange.url) as polite:
                for _ in range(8):
                    polite.send(PONG, await polite.until(PING))
                assert exchange.connections == 1
            async with bare(exchange.url) as mute:
                assert await mute.until(CLOSE) == struct.pack("!H", 1008) + b"Pong timeout"
        assert exchange.truth.connections["ended_by"].to_pylist() == ["client", "pong"]

    asyncio.run(scenario())


def test_lifetime() -> None:
    """The 24 h limit, scaled: a close with 1001 at the end of the lifetime."""

    async def scenario() -> None:
        async with (
            Exchange(Tape.generate(rate=100), lifetime=50 * MS) as exchange,
            bare(exchange.url) as client,
        ):
            assert await client.until(CLOSE) == struct.pack("!H", 1001)
            client.send(CLOSE, struct.pack("!H", 1001))
            await client.to_the_end()
        assert exchange.truth.connections["ended_by"].to_pylist() == ["lifetime"]

    asyncio.run(scenario())


@pytest.mark.parametrize("opcode", [PING, PONG, TEXT])
def test_five_messages_a_second(opcode: int) -> None:
    """Pings, pongs and requests all count when limits are enforced, and only then."""

    async def scenario(*, enforce: bool) -> list[str]:
        exchange = Exchange(Tape.generate(rate=100), enforce_limits=enforce)
        async with exchange, bare(exchange.url) as client:
            for _ in range(6):
                client.send(opcode, b"{}")
            if enforce:
                assert (await client.until(CLOSE))[:2] == struct.pack("!H", 1008)
            else:
                client.send(PING, b"last")
                while await client.until(PONG) != b"last":
                    pass
        ends: list[str] = exchange.truth.connections["ended_by"].to_pylist()
        return ends

    assert asyncio.run(scenario(enforce=True)) == ["limit"]
    assert asyncio.run(scenario(enforce=False)) == ["client"]


def test_three_hundred_attempts() -> None:
    """The 301st attempt is answered 429 when limits are enforced."""

    async def scenario() -> None:
        async with Exchange(Tape.generate(rate=1), enforce_limits=True) as exchange:
            for _ in range(300):
                async with bare(exchange.url):
                    pass
            async with bare(exchange.url, target=None) as late:
                status, headers = await late.request()
                assert status == 429
                assert 290 <= int(headers["retry-after"]) <= 300

    asyncio.run(scenario())


def test_a_client_that_cannot_keep_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a client is bounded: when it is too far behind, it is reset."""
    monkeypatch.setattr(link, "_MAX_PENDING_BYTES", 100_000)

    async def scenario() -> None:
        exchange = Exchange(Tape.generate(rate=50_000))
        async with exchange, bare(exchange.url, receive_buffer=4_096):
            await eventually(lambda: not exchange.connections)
        assert exchange.truth.connections["ended_by"].to_pylist() == ["slow"]

    asyncio.run(scenario())


def test_a_tape_that_waits_waits_for_a_slow_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands still while the client is far behind, and everything arrives in the end."""
    monkeypatch.setattr(link, "_LAGGING_BYTES", 10_000)

    async def scenario() -> None:
        tape = Tape.generate(rate=200_000, count=30_000)
        exchange = Exchange(tape, waits=True)
        async with exchange, bare(exchange.url, receive_buffer=4_096) as client:
            before = -1
            while before < exchange.produced:
                before = exchange.produced
                await asyncio.sleep(100 * MS)
            assert before < 30_000
            for _ in range(30_000):
                await client.until(TEXT)
            assert exchange.has_played

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n", b"POST /ws HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_websocket(said: bytes) -> None:
    """TLS, a plain GET and a POST are answered or closed, and harm nobody."""

    async def scenario() -> None:
        async with Exchange(Tape.generate(rate=100)) as exchange, bare(exchange.url) as good:
            async with bare(exchange.url, target=None) as odd:
                odd.writer.write(said)
                odd.writer.write_eof()
                await odd.to_the_end()
            await good.frame()

    asyncio.run(scenario())
