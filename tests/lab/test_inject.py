"""Faults on the wire: each does what it says, seen by a client that hides nothing."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pyarrow.compute as pc
import pytest
import websockets

from tests.lab.clients import CLOSE, MS, PATH, PING, PONG, TEXT, Bare, bare, connect, eventually, to_the_end
from wsresearch.errors import FaultPlanError
from wsresearch.lab import inject
from wsresearch.lab.exchange import Exchange
from wsresearch.lab.faults import FaultKind
from wsresearch.lab.tape import Tape
from wsresearch.lab.truth import Truth

Scenario = Callable[[Exchange, Bare], Awaitable[None]]


def _run(scenario: Scenario, *, rate: float = 1_000, **options: Any) -> Truth:
    """Play `scenario` with one upgraded bare client; return the truth after the exchange has closed."""

    async def play() -> Truth:
        tape = Tape.generate(("BTCUSDT", "ETHUSDT"), rate)
        async with Exchange(tape, **options) as exchange, bare(exchange.url) as client:
            await scenario(exchange, client)
        return exchange.truth

    return asyncio.run(play())


async def _silent_for(client: Bare, seconds: float) -> None:
    """Fail if a byte, or an end, comes within `seconds`."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.reader.read(1), seconds)


async def _drained(client: Bare) -> None:
    """Read what is on its way already."""
    while True:
        try:
            async with asyncio.timeout(10 * MS):
                await client.reader.read(2**20)
        except TimeoutError:
            return


def test_reset() -> None:
    """RST, not FIN: the client's read fails."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await client.frame()
        await exchange.inject({"fault": "reset"})
        with pytest.raises(ConnectionResetError):
            await client.to_the_end()

    truth = _run(scenario)
    assert truth.connections["ended_by"].to_pylist() == ["reset_peer"]
    assert truth.faults.select(["fault", "connection", "confirmed"]).to_pylist() == [
        {"fault": "reset_peer", "connection": 1, "confirmed": None}
    ]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1013, 4000, 1006, 2999, None])
def test_close(code: int | None) -> None:
    """A Close frame with the code, sendable or not, then FIN once it is answered."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "close", "code": code, "reason": "" if code is None else "bye <b>"})
        payload = await client.until(CLOSE)
        assert payload == (b"" if code is None else struct.pack("!H", code) + b"bye <b>")
        await _silent_for(client, 20 * MS)
        client.send(CLOSE, struct.pack("!H", 1000))
        await client.to_the_end()

    truth = _run(scenario)
    row = truth.connections.to_pylist()[0]
    assert (row["ended_by"], row["close_code"]) == ("close", 1000)


def test_slow_close() -> None:
    """After the answer to the Close frame TCP stays open for the delay."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "slow_close", "delay": 100 * MS, "code": 1001})
        assert await client.until(CLOSE) == struct.pack("!H", 1001)
        client.send(CLOSE, struct.pack("!H", 1001))
        await _silent_for(client, 70 * MS)
        assert await client.to_the_end() == b""

    _run(scenario)


def test_timeout() -> None:
    """Nothing gets through, not even a pong, and then FIN without a Close frame."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "timeout", "for": 100 * MS})
        await _drained(client)
        client.send(PING, b"there?")
        await _silent_for(client, 50 * MS)
        assert await client.to_the_end() == b""

    assert _run(scenario).connections["ended_by"].to_pylist() == ["timeout"]


def test_the_times_of_an_end() -> None:
    """What a client's account is compared with: opened, first and last message sent, first sign of the end, TCP gone.

    A Close frame that is answered late ends the connection when it was sent, not when TCP was gone.
    """
    struck: list[int] = []

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await client.frame()
        await asyncio.sleep(50 * MS)
        struck.append(time.time_ns())
        await exchange.inject({"fault": "close", "code": 1001})
        struck.append(time.time_ns())
        await client.until(CLOSE)
        await asyncio.sleep(100 * MS)
        client.send(CLOSE, struct.pack("!H", 1001))
        await client.to_the_end()

    row = _run(scenario).connections.to_pylist()[0]
    times = [row[name] for name in ("accepted_ns", "opened_ns", "first_ns", "last_ns", "ended_ns", "closed_ns")]
    assert times == sorted(times)
    assert row["last_ns"] - row["first_ns"] > 30 * MS * 1e9
    assert struck[0] <= row["ended_ns"] <= struck[1]
    assert row["closed_ns"] - row["ended_ns"] >= 100 * MS * 1e9


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("fault", ["half_open", "timeout", "silence"])
def test_a_client_that_leaves_ends_the_connection(fault: str, *, polite: bool) -> None:
    """The end of a connection that the fault left standing is when the client's FIN or RST came, read or not."""
    left: list[int] = []

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await client.frame()
        await exchange.inject({"fault": fault, "for": 5.0})
        await _drained(client)
        client.send(PING, b"there?")
        await asyncio.sleep(50 * MS)
        left.append(time.time_ns())
        if polite:
            client.writer.write_eof()
        else:
            client.writer.transport.abort()
        await eventually(lambda: exchange.truth.connections["ended_ns"].null_count == 0)
        left.append(time.time_ns())

    row = _run(scenario).connections.to_pylist()[0]
    assert left[0] <= row["ended_ns"] <= left[1]
    assert row["last_ns"] < row["ended_ns"] - 40 * MS * 1e9


def test_half_open() -> None:
    """Nothing is answered, nothing closed; when the client leaves, it is let go."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "half_open"})
        await _drained(client)
        client.send(PING, b"there?")
        client.send(CLOSE, struct.pack("!H", 1000))
        await _silent_for(client, 100 * MS)
        async with bare(exchange.url) as other:
            await other.frame()  # whoever comes now is served
        await client.close()
        await eventually(lambda: exchange.truth.connections["closed_ns"].null_count == 0)

    assert "half_open" in _run(scenario).connections["ended_by"].to_pylist()


def test_half_open_for_a_while() -> None:
    """With a duration it ends as after a reboot of the peer: RST."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "half_open", "for": 50 * MS})
        with pytest.raises(ConnectionResetError):
            await client.to_the_end()

    _run(scenario)


def test_silence() -> None:
    """Pings are answered, but no trade comes, to new connections neither; then trades go on, with a hole."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        before = json.loads(await client.until(TEXT))["data"]
        await exchange.inject({"fault": "silence", "for": 150 * MS})
        await _drained(client)
        client.send(PING, b"there?")
        assert await client.frame() == (PONG, b"there?")
        async with bare(exchange.url) as other:
            await _silent_for(other, 50 * MS)
        after = json.loads(await client.until(TEXT))["data"]
        assert after["E"] - before["E"] >= 140

    truth = _run(scenario)
    assert 0 in truth.sent["connection"].to_pylist(), "the tape ran on"


def test_refuse() -> None:
    """Those inside are reset, those outside refused, and then the same port is open again."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await client.frame()
        await exchange.inject({"fault": "refuse", "for": 100 * MS})
        with pytest.raises(ConnectionResetError):
            await client.to_the_end()
        begun = time.perf_counter()
        refused = 0
        while True:
            try:
                again = await Bare.dial(exchange.url)
                break
            except ConnectionRefusedError:
                refused += 1
                await asyncio.sleep(10 * MS)
        assert refused >= 3
        assert time.perf_counter() - begun >= 60 * MS
        assert (await again.request())[0] == 101
        await again.close()

    assert _run(scenario).connections["ended_by"].to_pylist()[0] == "refuse"


def test_refuse_without_dropping() -> None:
    """Those inside may stay."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "refuse", "for": 50 * MS, "drop": False})
        with pytest.raises(ConnectionRefusedError):
            await Bare.dial(exchange.url)
        for _ in range(100):
            await client.frame()

    _run(scenario)


def test_http() -> None:
    """Upgrade requests are turned away with the status and Retry-After, and are on record."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        del client
        await exchange.inject({"fault": "http", "status": 429, "retry_after": 7, "body": "slow", "for": 80 * MS})
        refused = await Bare.dial(exchange.url)
        status, headers = await refused.request()
        assert (status, headers["retry-after"]) == (429, "7")
        assert await refused.to_the_end() == b"slow"
        await refused.close()
        await asyncio.sleep(100 * MS)
        async with bare(exchange.url) as again:
            await again.frame()

    truth = _run(scenario)
    assert truth.connections["status"].to_pylist() == [101, 429, 101]
    assert truth.connections["connection"].to_pylist() == [1, 0, 2]


def test_http_for_rest_alone() -> None:
    """REST answers 418 while the streams go on."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "http", "status": 418, "on": "rest", "for": 10})
        async with bare(exchange.url, target=None) as rest:
            assert (await rest.request("/api/v3/aggTrades?symbol=BTCUSDT"))[0] == 418
        for _ in range(100):
            await client.frame()

    assert _run(scenario).connections["status"].to_pylist() == [101, 418]


@pytest.mark.parametrize("status", [200, 301, 403, 451, 599])
def test_any_status(status: int) -> None:
    """Any status can be sent, also one that has no name."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        del client
        await exchange.inject({"fault": "http", "status": status, "for": 10})
        refused = await Bare.dial(exchange.url)
        assert (await refused.request())[0] == status
        await refused.close()

    _run(scenario)


def test_stall_handshake() -> None:
    """TCP is accepted and the upgrade request never answered."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        del client
        await exchange.inject({"fault": "stall_handshake", "for": 10})
        stalled = await Bare.dial(exchange.url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stalled.request(), 100 * MS)
        await stalled.close()

    truth = _run(scenario)
    assert truth.connections["status"].to_pylist() == [101, None]
    assert truth.connections["ended_by"].to_pylist()[1] == "stall_handshake"


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("how", ["close", "eof", "reset"])
def test_flap(how: str, after: int) -> None:
    """Connections are accepted and ended, at once or after so many messages, again and again."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        del client
        await exchange.inject({"fault": "flap", "how": how, "after": after, "code": 1012, "for": 10})
        for _ in range(3):
            short = await Bare.dial(exchange.url)
            messages, code, error = 0, None, None
            try:
                assert (await short.request())[0] == 101
                while True:
                    opcode, payload = await short.frame()
                    messages += opcode == TEXT
                    if opcode == CLOSE:
                        code = struct.unpack("!H", payload)[0]
                        short.send(CLOSE, payload)
            except (asyncio.IncompleteReadError, ConnectionResetError) as end:
                error = end
            assert isinstance(error, ConnectionResetError) == (how == "reset")
            assert code == (1012 if how == "close" else None)
            assert messages == after or how == "reset"
            await short.close()

    truth = _run(scenario)
    rows = truth.connections.to_pylist()[1:]
    assert [(row["ended_by"], row["messages"], row["status"]) for row in rows] == [("flap", after, 101)] * 3


async def _dial_and_ask(exchange: Exchange) -> None:
    async with bare(exchange.url):
        pass


@pytest.mark.parametrize("how", ["accept_eof", "accept_reset"])
def test_flap_before_a_word(how: str) -> None:
    """TCP is accepted and ended before any answer."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        del client
        await exchange.inject({"fault": "flap", "how": how, "for": 10})
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await _dial_and_ask(exchange)

    assert _run(scenario).connections["status"].to_pylist() == [101, None]


@pytest.mark.parametrize("target", [PATH, "/ws/btcusdt@trade"])
def test_server_shutdown(target: str) -> None:
    """The announcement in the form of the connection, and the close after the delay."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        del client
        async with bare(exchange.url, target=target) as told:
            await exchange.inject({"fault": "server_shutdown", "delay": 50 * MS})
            announced = 0
            while True:
                opcode, payload = await told.frame()
                if opcode == CLOSE:
                    break
                document = json.loads(payload)
                event = document.get("data", document)
                if event["e"] == "serverShutdown":
                    announced = time.perf_counter()
                    assert document.get("stream") == ("!serverShutdown" if target == PATH else None)
            assert announced
            assert time.perf_counter() - announced >= 30 * MS
            assert payload == struct.pack("!H", 1001)
            told.send(CLOSE, payload)
            await told.to_the_end()

    assert "server_shutdown" in _run(scenario).connections["ended_by"].to_pylist()


def test_latency() -> None:
    """Every byte comes later, pongs included, and after the fault at once again."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        async def answered() -> float:
            begun = time.perf_counter()
            client.send(PING, b"1")
            assert await client.until(PONG) == b"1"
            return time.perf_counter() - begun

        # Another process may hold up any one answer, but none comes too early: the quickest of several counts.
        late: list[float] = []
        while len(late) < 5 and not any(took < 250 * MS for took in late):
            await exchange.inject({"fault": "latency", "latency": 100 * MS, "for": 150 * MS})
            late.append(await answered())
            await asyncio.sleep(200 * MS)
        assert 100 * MS <= min(late) < 250 * MS
        assert min([await answered() for _ in range(5)]) < 80 * MS

    _run(scenario)


def test_bandwidth() -> None:
    """Bytes come at the rate, not faster, in order, and all of them once the fault is over."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "bandwidth", "rate": 20_000, "for": 400 * MS})
        await client.reader.read(2**20)  # what was on its way before
        got, begun = b"", time.perf_counter()
        while time.perf_counter() - begun < 200 * MS:
            got += await client.reader.read(2**16)
        assert 5_000 < len(got) / (time.perf_counter() - begun) < 30_000
        client.send(PING, b"all is through")
        while b"all is through" not in got:
            got += await client.reader.read(2**16)

    _run(scenario, rate=2_000)


def test_slicer() -> None:
    """Bytes come in small pieces, each in a packet of its own; frames are whole again when put together."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "slicer", "average_size": 10, "size_variation": 3, "delay": 2 * MS, "for": 10})
        await _drained(client)
        pieces = [await client.reader.read(2**16) for _ in range(30)]
        # Two slices may be read as one when this machine is busy; one of 30 that is not cut would be hundreds.
        assert sorted(map(len, pieces))[15] <= 13

    _run(scenario, rate=20)


def test_slices_are_whole_frames_again() -> None:
    """A client that reads on sees nothing but whole messages."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "slicer", "average_size": 7, "size_variation": 6, "for": 10})
        for _ in range(200):
            opcode, payload = await client.frame()
            assert opcode == TEXT
            json.loads(payload)

    _run(scenario)


def test_limit_data() -> None:
    """Exactly so many bytes, in the middle of a frame, then FIN."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await exchange.inject({"fault": "silence", "for": 50 * MS})
        await _drained(client)
        await exchange.inject({"fault": "limit_data", "bytes": 1_003})
        assert len(await client.to_the_end()) == 1_003

    assert _run(scenario).connections["ended_by"].to_pylist() == ["limit_data"]


def test_giant() -> None:
    """A message of exactly that size in one frame, which a client with the library's limit refuses with 1009."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        async with connect(exchange.url) as strict:
            await exchange.inject({"fault": "giant", "bytes": 2**20 + 1})
            with pytest.raises(websockets.ConnectionClosedError, match="1009"):
                await to_the_end(strict)
        while len((await client.frame())[1]) != 2**20 + 1:
            pass

    assert 1009 in _run(scenario).connections["close_code"].to_pylist()


def test_giant_loses_nothing_when_the_tape_waits() -> None:
    """A client that refuses the message and comes back has missed nothing."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await client.close()
        ids: list[int] = []
        for round_ in range(3):
            async with connect(exchange.url) as strict:
                ids += [json.loads(await strict.recv())["data"]["t"] for _ in range(20)]
                await exchange.inject({"fault": "giant"} if round_ < 2 else {"fault": "close"})
                with pytest.raises(websockets.ConnectionClosed):
                    await to_the_end(strict, ids)
        assert ids == exchange.truth.expected()["trade_id"].to_pylist()

    _run(scenario, waits=True)


def test_content() -> None:
    """Skipped ids, doubled, reversed and garbled trades arrive as the truth says they were sent."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        for fault in ("skip_ids", "duplicate", "reorder", "garble"):
            await exchange.inject({"fault": fault, "count": 3, "symbol": "btcusdt"})
        await exchange.inject({"fault": "garble", "count": 2, "replace": True, "garbage": "truncated"})
        got = [(await client.frame())[1] for _ in range(100)]
        sent = exchange.truth.sent
        mine = sent.filter(pc.equal(sent["connection"], 1)).to_pylist()
        for payload, row in zip(got, mine, strict=False):
            if row["kind"] in ("sent", "duplicate"):
                assert json.loads(payload)["data"]["t"] == row["trade_id"]
        kinds = sent["kind"].to_pylist()
        counts = {kind: kinds.count(kind) for kind in set(kinds) - {"sent"}}
        assert counts == {"skipped": 3, "duplicate": 3, "garbage": 3, "garbled": 2}
        assert sum(sent["reordered"].to_pylist()) == 3

    _run(scenario)


def test_a_fault_with_nobody_there() -> None:
    """It is on record with connection 0."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await client.close()
        await eventually(lambda: not exchange.connections)
        for kind in FaultKind:
            await exchange.inject({"fault": kind})

    truth = _run(scenario)
    assert truth.faults["fault"].to_pylist() == list(FaultKind)
    assert set(truth.faults["connection"].to_pylist()) == {0}


def test_a_client_that_does_not_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault does not wait for ever for a client that does not read; the truth says that nothing was confirmed."""
    monkeypatch.setattr(inject, "PATIENCE", 50 * MS)

    async def scenario(exchange: Exchange, client: Bare) -> None:
        await client.frame()  # and never answer a ping
        await exchange.inject({"fault": "reset"})
        with pytest.raises(ConnectionResetError):
            await client.to_the_end()

    assert _run(scenario, waits=True).faults["confirmed"].to_pylist() == [False]


def test_no_fault() -> None:
    """What is none is refused, and nothing happens."""

    async def scenario(exchange: Exchange, client: Bare) -> None:
        with pytest.raises(FaultPlanError, match="unknown"):
            await exchange.inject({"fault": "earthquake"})
        await client.frame()

    assert _run(scenario).faults.num_rows == 0
