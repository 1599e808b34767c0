"""TCP below the WebSocket: writes under conditions, FIN after what was written, RST at once, half open."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.lab.clients import MS, eventually
from wsresearch.lab.conditions import Conditions
from wsresearch.lab.faults import Latency, Slicer
from wsresearch.lab.line import Line


def _run(scenario: Callable[[Line, asyncio.StreamReader, asyncio.StreamWriter, Conditions], Awaitable[None]]) -> None:
    async def play() -> None:
        conditions = Conditions(random.Random(1))
        lines: list[Line] = []

        def accept() -> Line:
            lines.append(Line(conditions))
            return lines[-1]

        server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await eventually(lambda: lines and lines[0]._transport)
        try:
            await scenario(lines[0], reader, writer, conditions)
        finally:
            writer.transport.abort()
            server.close()
            lines[0].reset()
            await lines[0].gone

    asyncio.run(play())


def test_fin_comes_after_what_was_written() -> None:
    """However slow the path, bytes written before the end arrive before the end, and none after."""

    async def scenario(
        line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conditions: Conditions
    ) -> None:
        del writer
        conditions.begin(Slicer(average_size=3, size_variation=2, delay=1 * MS))
        conditions.begin(Latency(latency=20 * MS, jitter=20 * MS))
        line.write(b"hello ")
        line.write(b"world")
        line.finish()
        line.write(b"too late")
        assert await reader.read() == b"hello world"
        assert line.bytes_written == 11

    _run(scenario)


def test_who_asks_is_told_when_bytes_were_sent() -> None:
    """Not when they were written into a slow path, and never if the path lost them."""

    async def scenario(
        line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conditions: Conditions
    ) -> None:
        del writer
        told: list[str] = []
        line.write(b"at once ", lambda: told.append("calm"))
        assert told == ["calm"]
        conditions.begin(Slicer(average_size=2, size_variation=0, delay=2 * MS))
        line.write(b"slowly", lambda: told.append("slow"))
        await reader.readuntil(b"slow")
        assert told == ["calm"]
        await reader.readuntil(b"ly")
        assert told == ["calm", "slow"]
        line.write(b"lost", lambda: told.append("lost"))
        line.mute()
        line.write(b"mute", lambda: told.append("mute"))
        await asyncio.sleep(20 * MS)
        assert told == ["calm", "slow"]

    _run(scenario)


@pytest.mark.parametrize("slow", [False, True])
def test_what_a_limit_cuts_was_not_sent(*, slow: bool) -> None:
    """The last write that went out whole is the last one that counts as sent."""

    async def scenario(
        line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conditions: Conditions
    ) -> None:
        del writer
        told: list[str] = []
        if slow:
            conditions.begin(Slicer(average_size=2, size_variation=0, delay=1 * MS))
        line.limit(7)
        for text in ("one", "two", "three", "four"):
            line.write(text.encode(), lambda text=text: told.append(text))
        assert await reader.read() == b"onetwot"
        assert told == ["one", "two"]

    _run(scenario)


def test_order_is_kept_when_the_path_gets_free() -> None:
    """Bytes written after a fault has ended do not overtake those that it still holds."""

    async def scenario(
        line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conditions: Conditions
    ) -> None:
        del writer
        fault = Latency(latency=30 * MS)
        conditions.begin(fault)
        line.write(b"first ")
        conditions.end(fault)
        line.write(b"second")
        assert line.pending_bytes == 12
        assert await reader.readexactly(12) == b"first second"
        await asyncio.sleep(5 * MS)
        assert line.pending_bytes == 0

    _run(scenario)


def test_reset_while_bytes_wait() -> None:
    """RST takes what still waits with it."""

    async def scenario(
        line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conditions: Conditions
    ) -> None:
        del writer
        conditions.begin(Latency(latency=60))
        line.write(b"never")
        line.reset()
        line.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await line.gone
        assert line.bytes_written == 0

    _run(scenario)


def test_timers_end_with_the_connection() -> None:
    """What was to happen later does not happen to a connection that is gone."""

    async def scenario(
        line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conditions: Conditions
    ) -> None:
        del reader, writer, conditions
        late: list[int] = []
        line.later(30 * MS, lambda: late.append(1))
        line.reset()
        await line.gone
        line.later(1 * MS, lambda: late.append(2))
        await asyncio.sleep(50 * MS)
        assert late == []

    _run(scenario)


@pytest.mark.parametrize("polite", [True, False])
def test_a_frozen_line_is_released_when_the_client_has_gone(polite: bool) -> None:
    """Half open, the exchange answers neither FIN nor RST, but does not keep the dead for ever."""

    async def scenario(
        line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conditions: Conditions
    ) -> None:
        del reader, conditions
        line.freeze()
        line.freeze()
        line.write(b"nothing")
        line.finish()
        writer.write(b"anybody?")
        if polite:
            writer.write_eof()
        else:
            writer.transport.abort()
        async with asyncio.timeout(2):
            await line.gone
        assert line.bytes_written == 0

    _run(scenario)
