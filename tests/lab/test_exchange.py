"""The local exchange as a client meets it: streams, requests, REST, the truth, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc
import pytest
import websockets

from tests.lab.clients import MS, PATH, Bare, bare, connect, dialled, eventually, to_the_end, trade_ids
from wsresearch.errors import UsageError
from wsresearch.lab.exchange import Exchange
from wsresearch.lab.options import Begin, FaultClock
from wsresearch.lab.plan import FaultPlan
from wsresearch.lab.tape import Tape
from wsresearch.lab.truth import Truth

SYMBOLS = ("BTCUSDT", "ETHUSDT")


async def _get(url: str) -> bytes:
    def fetch() -> bytes:
        with urllib.request.urlopen(url.replace("ws://", "http://"), timeout=5) as answer:
            return bytes(answer.read())

    return await asyncio.to_thread(fetch)


def test_combined_and_raw() -> None:
    """The path decides which streams a client gets, and in which form; both get the same trades."""

    async def scenario() -> None:
        tape = Tape.generate(SYMBOLS, 2_000, count=200)
        async with (
            Exchange(tape, begin=Begin.WITH_FIRST_CLIENT) as exchange,
            connect(exchange.url) as both,
            connect(exchange.url, "/ws/ethusdt@trade") as one,
        ):
            await exchange.played()
            assert await exchange.settled()
            truth = exchange.truth
            mine = truth.sent.filter(pc.equal(truth.sent["connection"], 1))
            for row in mine.to_pylist():
                message = json.loads(await both.recv())
                assert message["stream"] == row["symbol"].lower() + "@trade"
                assert (message["data"]["t"], message["data"]["s"]) == (row["trade_id"], row["symbol"])
                assert Decimal(message["data"]["p"]) == row["price"]
                assert message["data"]["T"] == row["trade_time"].timestamp() * 1_000
                assert abs(message["data"]["E"] - row["sent_ns"] // 10**6) <= 1
            theirs = truth.sent.filter(pc.equal(truth.sent["connection"], 2))
            assert set(theirs["symbol"].to_pylist()) == {"ETHUSDT"}
            ids = [json.loads(await one.recv())["t"] for _ in range(theirs.num_rows)]
            assert ids == theirs["trade_id"].to_pylist()
        assert truth.produced().num_rows == 200

    asyncio.run(scenario())


def test_subscribe_by_request() -> None:
    """A client that names no streams gets none until it asks; each request is answered."""

    async def scenario() -> None:
        tape = Tape.generate(SYMBOLS, 500)
        async with Exchange(tape) as exchange, connect(exchange.url, "/ws") as client:
            await client.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
            assert json.loads(await client.recv()) == {"result": None, "id": 1}
            assert json.loads(await client.recv())["s"] == "BTCUSDT"
            await client.send('{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":2}')
            while json.loads(await client.recv()) != {"result": None, "id": 2}:
                pass
            await client.send('{"method":"LIST_SUBSCRIPTIONS","id":3}')
            assert json.loads(await client.recv()) == {"result": [], "id": 3}
            await client.send("nonsense")
            assert json.loads(await client.recv())["code"] == 3

    asyncio.run(scenario())


@pytest.mark.parametrize("target", ["/", "/wsx", "//[", "/stream?foo=1", "/ws/a@trade?timeUnit=HOUR"])
def test_targets_that_are_none(target: str) -> None:
    """A path that is not of this venue is refused, and the refusal is on record."""

    async def scenario() -> None:
        async with Exchange(Tape.generate()) as exchange:
            client = await Bare.dial(exchange.url)
            assert (await client.request(target))[0] == 400
            await client.close()
            row = exchange.truth.connections.to_pylist()[0]
            assert (row["connection"], row["status"], row["path"]) == (0, 400, target)

    asyncio.run(scenario())


def test_rest_on_the_same_port() -> None:
    """A backfill finds what was produced while nobody listened."""

    async def scenario() -> None:
        tape = Tape.generate(SYMBOLS, 5_000, count=100, first_ids={"BTCUSDT": 7})
        async with Exchange(tape) as exchange:
            await exchange.played()
            rows = json.loads(await _get(f"{exchange.url}/api/v3/historicalTrades?symbol=BTCUSDT&fromId=0"))
            produced = exchange.truth.produced()
            assert [row["id"] for row in rows] == produced.filter(pc.equal(produced["symbol"], "BTCUSDT"))[
                "trade_id"
            ].to_pylist()
            assert produced["connection"].to_pylist() == [0] * 100
            assert exchange.truth.connections["ended_by"].to_pylist() == ["answered"]

    asyncio.run(scenario())


def test_a_tape_that_waits_stands_still() -> None:
    """Nothing is produced while nobody is connected; the first client misses nothing, and so the next."""

    async def scenario() -> None:
        async with Exchange(Tape.generate(SYMBOLS, 2_000), waits=True) as exchange:
            for _ in range(3):
                await asyncio.sleep(20 * MS)
                before = exchange.produced
                async with connect(exchange.url) as client:
                    ids = await trade_ids(client, 50)
                sent = exchange.truth.sent
                assert ids == sent["trade_id"].to_pylist()[before : before + 50]
                assert 0 not in sent["connection"].to_pylist()
                assert exchange.produced < before + 500, "no burst makes up for the time nobody was there"

    asyncio.run(scenario())


async def _collect(exchange: Exchange, *, pace: float = 0.0) -> list[bytes]:
    """Receive like a collector: again after each end, to the last message."""
    received: list[bytes] = []
    while True:
        try:
            # Little is taken in at a time, so that much stays on the exchange's side, for a reset to destroy.
            sock = await dialled(exchange.url, receive_buffer=4_096)
            async with connect(exchange.url, max_queue=4, sock=sock) as client:
                while True:
                    received.append(await client.recv(decode=False))
                    if pace and len(received) % 100 == 0:
                        await asyncio.sleep(pace)
        except (OSError, websockets.WebSocketException):
            if exchange.has_played:
                return received
            await asyncio.sleep(1 * MS)


async def _survive(exchange: Exchange, *, pace: float = 0.0) -> list[dict[str, object]]:
    async with exchange:
        task = asyncio.create_task(_collect(exchange, pace=pace))
        await exchange.played()
        while not task.done():  # the client may just be on its way in
            if await exchange.settled():
                await exchange.inject({"fault": "close"})
            await asyncio.sleep(5 * MS)
        return [json.loads(message)["data"] for message in await task]


@pytest.mark.parametrize("pace", [0.0, 40 * MS])
@pytest.mark.parametrize("clock", list(FaultClock))
def test_disconnects_lose_nothing_when_the_tape_waits(pace: float, clock: FaultClock) -> None:
    """Twenty disconnects of every kind, and every trade arrives once, in order, at a slow client too."""
    seconds = 0.8
    kinds = ["reset_peer", "close", "timeout", "slow_close", "refuse", "flap", "limit_data", "http"]
    entries = FaultPlan.random(seed=3, count=20, seconds=seconds, kinds=kinds).faults
    quick = [fault.to_json() for fault in entries]
    for entry in quick:
        entry.update({name: value for name, value in {"for": 20 * MS, "delay": 5 * MS}.items() if name in entry})
    tape = Tape.generate(("BTCUSDT",), 4_000, seconds=seconds, seed=1)
    exchange = Exchange(tape, waits=True, faults=FaultPlan.parse(quick), fault_clock=clock)
    trades = asyncio.run(_survive(exchange, pace=pace))
    truth = exchange.truth
    assert [trade["t"] for trade in trades] == truth.expected()["trade_id"].to_pylist()
    assert truth.expected().num_rows == truth.produced().num_rows == len(list(tape.play()))
    assert truth.holes(truth.expected()).num_rows == 0
    assert len(set(truth.faults["at"].to_pylist())) >= (20 if clock is FaultClock.TAPE else 1)
    planned = truth.faults.filter(pc.less(truth.faults["wall_ns"], pc.max(truth.sent["sent_ns"])))
    assert False not in planned["confirmed"].to_pylist()


def test_the_real_recording_with_twenty_disconnects(shared: Path) -> None:
    """19,904 recorded trades arrive byte for byte, whatever is torn, and their sums are those of the recording."""
    path = shared / "recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz"
    tape = Tape.from_recording(path, speed=650)
    plan = FaultPlan.random(seed=1, count=20, seconds=1.0)
    exchange = Exchange(tape, waits=True, faults=plan, fault_clock=FaultClock.TAPE)
    trades = asyncio.run(_survive(exchange))
    assert [trade["t"] for trade in trades] == list(range(3735683259, 3735703162 + 1))
    assert sum(Decimal(str(trade["q"])) for trade in trades) == Decimal("437.91552000")
    turnover = sum(Decimal(str(trade["p"])) * Decimal(str(trade["q"])) for trade in trades)
    assert turnover == Decimal("27006929.5910348")
    assert sum(bool(trade["m"]) for trade in trades) == 10_811
    expected = exchange.truth.expected()
    assert expected.num_rows == 19_904
    assert pc.sum(expected["quantity"]).as_py() == Decimal("437.91552000")
    assert pc.sum(pc.equal(expected["side"], "sell")).as_py() == 10_811
    assert False not in exchange.truth.faults["confirmed"].to_pylist()


def test_disconnects_when_the_tape_runs_on() -> None:
    """What a client has and the holes between are together what the exchange produced; nothing comes twice."""
    tape = Tape.generate(("BTCUSDT",), 4_000, seconds=0.6, seed=1)
    plan = FaultPlan.random(seed=2, count=10, seconds=0.6)
    exchange = Exchange(tape, faults=plan, begin=Begin.WITH_FIRST_CLIENT)
    ids = [int(str(trade["t"])) for trade in asyncio.run(_survive(exchange))]
    truth = exchange.truth
    produced = truth.produced()["trade_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(truth.expected()["trade_id"].to_pylist())
    stored = truth.sent.filter(pc.is_in(truth.sent["trade_id"], pc.cast(ids, "int64"))) if ids else truth.sent
    holes = truth.holes(stored).to_pylist()
    missing = [n for hole in holes for n in range(hole["first_id"], hole["last_id"] + 1)]
    assert sorted([*ids, *missing]) == [n for n in produced if ids[0] <= n <= ids[-1]]
    assert missing, "with a tape that runs on, a disconnect costs something"


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_hundreds_of_connections_leave_nothing_behind() -> None:
    """Neither a descriptor nor a task nor a connection is left after 300 lives of all kinds."""

    async def scenario() -> None:
        async with Exchange(Tape.generate(rate=2_000)) as exchange:
            before_files, before_tasks = _files(), len(asyncio.all_tasks())
            for round_ in range(75):
                async with bare(exchange.url) as one, bare(exchange.url) as two, bare(exchange.url) as three:
                    kind = ("reset_peer", "close", "half_open", "limit_data")[round_ % 4]
                    await exchange.inject({"fault": kind})
                    two.writer.close()
                    del one, three
                async with bare(exchange.url, target=None) as silent:
                    silent.writer.write(b"GET / HTT")
            await eventually(lambda: _files() <= before_files and not exchange._links)
            gc.collect()
            assert _files() <= before_files
            assert len(asyncio.all_tasks()) <= before_tasks
            assert exchange.truth.connections["closed_ns"].null_count == 0

    asyncio.run(scenario())


def test_stop_is_quick_whatever_hangs() -> None:
    """Half-open, stalled, deaf and slow clients do not hold up the end."""

    async def scenario() -> None:
        exchange = Exchange(Tape.generate(rate=1_000))
        async with exchange:
            clients = [await Bare.dial(exchange.url) for _ in range(30)]
            for client in clients[:20]:
                await client.request()
            await exchange.inject({"fault": "half_open"})
            await exchange.inject({"fault": "stall_handshake", "drop": False})
            for client in clients[20:25]:
                client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
            more = [await Bare.dial(exchange.url) for _ in range(5)]
            await exchange.inject({"fault": "latency", "latency": 60, "for": 60})
            begun = time.perf_counter()
        assert time.perf_counter() - begun < 1.0
        for client in clients + more:
            await client.close()
        assert exchange.truth.connections["closed_ns"].null_count == 0

    asyncio.run(scenario())


def test_stop_says_goodbye() -> None:
    """A client that listens is told 1001."""

    async def scenario() -> None:
        async with Exchange(Tape.generate()) as exchange:
            client = await connect(exchange.url)
        with pytest.raises(websockets.ConnectionClosedOK):
            await to_the_end(client)
        assert client.close_code == 1001
        assert exchange.truth.connections["ended_by"].to_pylist() == ["stop"]

    asyncio.run(scenario())


def test_twenty_thousand_a_second() -> None:
    """The exchange keeps up with 20,000 trades a second, with every message in a frame of its own."""

    async def scenario() -> tuple[Truth, int]:
        tape = Tape.generate(("BTCUSDT",), 20_000, seconds=1.0)
        frames = 0
        async with Exchange(tape, begin=Begin.WITH_FIRST_CLIENT) as exchange, bare(exchange.url) as client:

            async def drain() -> int:
                seen = 0
                while data := await client.reader.read(2**20):
                    seen += data.count(b'{"stream":')
                return seen

            task = asyncio.create_task(drain())
            begun = time.process_time()
            await exchange.played()
            # Of a processor, its client's share included: less than the tape lasts, whatever else the machine does.
            assert time.process_time() - begun < 1.0
            await exchange.inject({"fault": "reset_peer"})
            with pytest.raises(ConnectionResetError):
                frames = await task
            return exchange.truth, frames

    truth, _ = asyncio.run(scenario())
    assert truth.expected().num_rows == truth.produced().num_rows > 15_000


def test_the_clock_can_wait_for_the_first_client() -> None:
    """Tape and faults begin with the first client, or at once."""

    async def scenario() -> None:
        plan = FaultPlan.parse([{"at": 0, "fault": "garble"}])
        async with Exchange(
            Tape.generate(rate=1_000, count=50), faults=plan, begin=Begin.WITH_FIRST_CLIENT
        ) as exchange:
            await asyncio.sleep(20 * MS)
            assert exchange.produced == exchange.truth.faults.num_rows == 0
            async with connect(exchange.url) as client:
                await client.recv()
                await exchange.played()
            assert exchange.truth.faults["connection"].to_pylist() == [1]

    asyncio.run(scenario())


def test_faults_on_the_clock_of_the_tape_are_exact() -> None:
    """The same plan on the same tape strikes between the same two trades every time."""

    async def scenario() -> list[int]:
        plan = FaultPlan.parse([{"at": at, "fault": "skip_ids", "count": 3} for at in (0.05, 0.1, 0.15)])
        async with Exchange(
            Tape.generate(rate=5_000, seconds=0.2), waits=True, faults=plan, fault_clock=FaultClock.TAPE
        ) as exchange:
            async with connect(exchange.url, max_queue=None):
                await exchange.played()
            sent = exchange.truth.sent
            return sent.filter(pc.equal(sent["kind"], "skipped"))["trade_id"].to_pylist()

    assert asyncio.run(scenario()) == asyncio.run(scenario())


def test_a_taken_port() -> None:
    """Two exchanges cannot have one port; the second says so."""

    async def scenario() -> None:
        async with Exchange(Tape.generate()) as exchange:
            number = int(exchange.url.rsplit(":", 1)[1])
            with pytest.raises(UsageError, match=f"port {number}"):
                async with Exchange(Tape.generate(), port=number):
                    pass

    asyncio.run(scenario())


def test_futures_shape() -> None:
    """The futures family is served in its own shape, under its own route."""

    async def scenario() -> None:
        tape = Tape.generate(rate=1_000)
        async with Exchange(tape, futures=True) as exchange, connect(exchange.url, "/public" + PATH) as client:
            assert json.loads(await client.recv())["data"]["X"] == "MARKET"

    asyncio.run(scenario())


def test_its_own_failure_is_not_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the exchange itself breaks, whoever waits for it is told, and leaving raises it."""

    async def scenario() -> None:
        async with Exchange(Tape.generate(rate=1_000)) as exchange:
            monkeypatch.setattr(exchange._disturber, "passed", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await exchange.played()
            assert isinstance(exchange.failure, ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scenario())
