"""The collector on virtual time: rules of reconnection as a user sees them, in what is written to disk."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.simnet import EPOCH_NS, Opens, Refuses, SimTransport, Tape, trade
from tests.virtual import run_virtually
from wsresearch.api import make_config
from wsresearch.capture.reader import Reader
from wsresearch.capture.writer import CaptureWriter
from wsresearch.collect import resume
from wsresearch.collect.collector import Collector
from wsresearch.collect.recorder import MARKS_KEY, Immediately
from wsresearch.errors import CaptureBusy, NotACapture, UsageError
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.schema import TableName
from wsresearch.study import holes, outages
from wsresearch.venues import Frames

RESET = Failure(cause=Cause.RESET, detail="connection reset by the peer", close_by="peer")
EMPTY_CLOSE = Failure(cause=Cause.CLOSED, close_code=1000, close_by="peer")


def collect(
    root: Path, venue: Any, *, seconds: float, stream: str = "binance:btcusdt", **options: Any
) -> tuple[int, SimTransport]:
    """Run a collector against a scripted venue for so many virtual seconds."""
    net = SimTransport(venue)
    config = make_config(stream, root, duration=seconds, seed=1, **options)

    async def main() -> int:
        async with Collector(config, transport=net, executors=(Immediately(), Immediately())) as collector:
            return await collector.run()

    return run_virtually(main()), net


def verify(root: Path) -> Any:
    from wsresearch.capture.verify import verify as check

    return check(root)


def kinds(root: Path, kind: str) -> pa.Table:
    events = Reader(root).events()
    return events.filter(pc.equal(events["kind"], kind))


def test_a_server_that_accepts_and_closes_is_not_hammered(tmp_path: Path) -> None:
    """Ten minutes against a server that closes at once: never more attempts in any window than the budget allows."""
    venue = lambda number, now: Opens(script=[(0.0, EMPTY_CLOSE)])  # noqa: E731
    code, net = collect(
        tmp_path / "c", venue, seconds=600, policy="constant", policy_args={"delay": "0.1"}, budget="60/300"
    )
    assert code == 0
    for first in net.attempts:
        assert sum(first <= at < first + 300 for at in net.attempts) <= 60
    assert len(net.attempts) > 60
    assert net.most_live == 1


def test_the_budget_outlives_the_process(tmp_path: Path) -> None:
    """A collector restarted in a crash loop does not get a fresh budget: attempts of earlier runs count."""
    venue = lambda number, now: Refuses()  # noqa: E731
    options = {"policy": "constant", "policy_args": {"delay": "1"}, "budget": "5/1000"}
    _, first = collect(tmp_path / "c", venue, seconds=20, **options)
    _, second = collect(tmp_path / "c", venue, seconds=20, **options)
    assert len(first.attempts) == 5
    assert second.attempts == []


def test_the_seed_gives_up_after_ten_attempts_and_says_so(tmp_path: Path) -> None:
    """The original policy: 2, 4, 8, 16, 32, 60, 60, 60, 60, 60 s after a loss, then gave_up and exit code 4."""

    def venue(number: int, now: float) -> Opens | Refuses:
        return Opens(script=[(0.1, trade(1, now)), (5.0, RESET)]) if number == 1 else Refuses(after=0.0)

    code, net = collect(tmp_path / "c", venue, seconds=10_000, policy="seed")
    assert code == 4
    waits = [round(b - a, 6) for a, b in zip(net.attempts[1:], net.attempts[2:], strict=False)]
    lost = kinds(tmp_path / "c", "lost")["time"].cast(pa.int64())[0].as_py()
    assert net.attempts[1] - (lost - EPOCH_NS) / 1e9 == pytest.approx(2, abs=1e-6)
    assert waits == [4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert kinds(tmp_path / "c", "gave_up").num_rows == 1
    assert outages(Reader(tmp_path / "c").events())["censored"].to_pylist() == [True]


def test_the_seed_starts_anew_after_a_market_message(tmp_path: Path) -> None:
    """With the reset rule `message` one trade returns the policy to 2 s, as the original does."""

    def venue(number: int, now: float) -> Opens:
        return Opens(script=[(0.1, trade(number, now)), (0.5, RESET)])

    collect(tmp_path / "c", venue, seconds=30, policy="seed", budget="1000/300")
    drawn = [value for value in kinds(tmp_path / "c", "backoff")["drawn"].to_pylist() if value is not None]
    assert drawn
    assert set(drawn) == {2.0}


def test_with_delay_0_the_next_attempt_begins_at_the_moment_of_the_loss(tmp_path: Path) -> None:
    """What the queue still held is told first, all rows stand in their order, and a status knows of them at once."""
    told: list[tuple[str, str | None]] = []

    def venue(number: int, now: float) -> Opens:
        told.append((str(collector.status.state), collector.status.cause))
        return Opens(script=[(0.1, trade(3 * number, now)), (0.01, trade(3 * number + 1, now)), (0.0, RESET)])

    net = SimTransport(venue)
    config = make_config("binance:btcusdt", tmp_path / "c", duration=1, seed=1, policy="constant(delay=0)")
    collector = Collector(config, transport=net, executors=(Immediately(), Immediately()))

    async def main() -> None:
        async with collector:
            assert await collector.run() == 0

    run_virtually(main())
    assert len(net.attempts) > 5
    assert told == [("connecting", None)] + [("connecting", "reset")] * (len(net.attempts) - 1)
    events = Reader(tmp_path / "c").events().to_pylist()
    assert [row["seq"] for row in events] == list(range(1, len(events) + 1))
    opening = ["backoff", "connecting", "opened", "first_message"]
    seen = ["run_started", *opening, "lost", *[*opening, "hole", "lost"] * 3]
    assert [row["kind"] for row in events][: len(seen)] == seen
    lost = [row for row in events if row["kind"] == "lost"]
    times = [(row["time"].value - EPOCH_NS) / 1e9 for row in lost]
    assert net.attempts[1:] == pytest.approx(times, abs=1e-6)
    assert [row["waited"] for row in lost] == pytest.approx([0.0] * len(lost), abs=1e-6)


def test_after_a_stable_connection_the_first_attempt_is_immediate(tmp_path: Path) -> None:
    """A connection that delivered for over a minute is replaced at once, with the default rules."""
    tape = Tape()

    def venue(number: int, now: float) -> Opens:
        return Opens(script=tape.from_(now, until=now + 70, then=RESET) if number == 1 else tape.from_(now))

    _, net = collect(tmp_path / "c", venue, seconds=100)
    assert net.attempts[1] - net.attempts[0] == pytest.approx(0.03 + 70, abs=1e-3)


def test_holes_are_exactly_what_was_not_received(tmp_path: Path) -> None:
    """While we are away the venue goes on: every id is either stored once or in exactly one recorded hole."""
    tape = Tape(every=0.25)

    def venue(number: int, now: float) -> Opens | Refuses:
        if number in {3, 4}:
            return Refuses()
        return Opens(script=tape.from_(now, until=now + 20, then=RESET))

    collect(tmp_path / "c", venue, seconds=120, policy="constant", policy_args={"delay": "2"})
    reader = Reader(tmp_path / "c")
    ids = reader.trades()["trade_id"].to_pylist()
    missing = [
        number for row in holes(reader.events()).to_pylist() for number in range(row["first_id"], row["last_id"] + 1)
    ]
    assert len(ids) == len(set(ids))
    assert sorted(ids + missing) == list(range(min(ids), max(ids) + 1))
    assert missing
    result = verify(tmp_path / "c")
    assert result.as_json()["ok"], result.as_json()["problems"]
    table = outages(reader.events())
    assert table["ids_lost"].to_pylist() == [
        sum(row["count"] for row in holes(reader.events()).to_pylist() if row["outage"] == number)
        for number in table["outage"].to_pylist()
    ]


def test_silence_is_noticed_although_the_connection_lives(tmp_path: Path) -> None:
    """An open connection without market data for idle_timeout is given up as stalled, and recovered from."""
    tape = Tape()

    def venue(number: int, now: float) -> Opens:
        return Opens(script=tape.from_(now, until=now + 5) if number == 1 else tape.from_(now))

    collect(tmp_path / "c", venue, seconds=60, idle_timeout=10.0)
    table = outages(Reader(tmp_path / "c").events())
    assert table["cause"].to_pylist() == ["stalled"]
    assert table["detect"].to_pylist() == [pytest.approx(10, abs=1e-3)]
    assert table["censored"].to_pylist() == [False]


@pytest.mark.parametrize("asleep", [0.9, 1.2, 1.7, 100.0])
def test_what_lies_in_the_socket_after_a_sleep_is_read_before_it_is_judged(tmp_path: Path, asleep: float) -> None:
    """Stopped for longer than idle_timeout, by a little or by much: data that came meanwhile says that all is well."""

    def slept_through() -> Any:
        yield from [(0.1, trade(1, 0.1)), (0.1, trade(2, 0.2)), (0.2, trade(3, 0.4))]
        asyncio.get_running_loop().virtual_time += asleep  # type: ignore[attr-defined]
        yield (0.01, trade(4, 0.5))
        yield from [(0.5, trade(number, number * 0.5)) for number in range(5, 15)]

    collect(tmp_path / "c", lambda n, now: Opens(script=slept_through()), seconds=asleep + 5.8, idle_timeout=0.8)
    assert kinds(tmp_path / "c", "opened").num_rows == 1
    assert kinds(tmp_path / "c", "stalled").num_rows == 0
    assert Reader(tmp_path / "c").trades()["trade_id"].to_pylist() == list(range(1, 15))


def test_only_market_data_is_a_sign_of_life(tmp_path: Path) -> None:
    """A venue that goes on sending acks, other events and garbage, and no trade, has stalled all the same."""
    chatter = [(0.5, message) for message in (b'{"result":null,"id":1}', b'{"e":"kline"}', b"{garbage")] * 20
    tape = Tape()

    def venue(number: int, now: float) -> Opens:
        return Opens(script=[(0.1, trade(1, now)), *chatter] if number == 1 else tape.from_(now))

    collect(tmp_path / "c", venue, seconds=60, idle_timeout=10.0)
    stalled = kinds(tmp_path / "c", "stalled")["time"].cast(pa.int64()).to_pylist()
    assert [(at - EPOCH_NS) / 1e9 for at in stalled] == [pytest.approx(0.03 + 0.1 + 10, abs=1e-3)]


def test_a_dead_peer_is_not_bidden_farewell(tmp_path: Path) -> None:
    """After a stall the connection is dropped: a goodbye would cost its timeout. Only a stop is polite."""

    def venue(number: int, now: float) -> Opens:
        return Opens(script=[] if number == 1 else Tape().from_(now))

    _, net = collect(tmp_path / "c", venue, seconds=60, idle_timeout=10.0)
    assert len(net.attempts) == 2
    assert net.goodbyes == [pytest.approx(60, abs=1e-3)]


def test_the_phases_of_an_outage_add_up_to_its_silence(tmp_path: Path) -> None:
    """Silence = detect + backoff + connect + first message, to a microsecond, in what was written to disk."""
    tape = Tape()

    def venue(number: int, now: float) -> Opens | Refuses:
        return Refuses() if number % 3 == 0 else Opens(script=tape.from_(now, until=now + 7, then=RESET))

    collect(tmp_path / "c", venue, seconds=300)
    rows = [row for row in outages(Reader(tmp_path / "c").events()).to_pylist() if not row["censored"]]
    assert len(rows) > 5
    for row in rows:
        total = row["detect"] + row["backoff"] + row["connect"] + row["first_message"]
        assert row["silence"] == pytest.approx(total, abs=1e-6)
        assert (row["ended"] - row["began"]).total_seconds() == pytest.approx(row["silence"], abs=2e-6)


def test_duplicates_and_late_rows_are_stored_once(tmp_path: Path) -> None:
    """Rows that come twice are stored once; rows out of order are stored, and leave no hole behind."""
    script = [(0.1, trade(n, 0.1 * n)) for n in [1, 2, 4, 3, 3, 4, 5, 9, 2, 6, 7, 8, 10]]
    collect(tmp_path / "c", lambda number, now: Opens(script=script), seconds=20)
    reader = Reader(tmp_path / "c")
    assert reader.trades()["trade_id"].to_pylist() == [1, 2, 4, 3, 5, 9, 6, 7, 8, 10]
    assert holes(reader.events()).num_rows == 0
    assert verify(tmp_path / "c").as_json()["ok"]


def test_a_second_run_continues_the_numbers_and_tells_the_hole_of_the_stop(tmp_path: Path) -> None:
    """Runs of one capture are one story: connections and outages count on, and what a stop cost is a hole."""
    tape = Tape(every=1.0)
    collect(tmp_path / "c", lambda n, now: Opens(script=tape.from_(now, until=now + 5.5, then=RESET)), seconds=20)
    first = Reader(tmp_path / "c").events()
    # The venue is 100 trades further when we come back.
    collect(tmp_path / "c", lambda n, now: Opens(script=[(0.1, trade(200 + n, now + 100))]), seconds=3)
    second = kinds(tmp_path / "c", "run_started")
    assert second["run"].to_pylist() == [1, 2]
    opened = kinds(tmp_path / "c", "opened")["connection"].to_pylist()
    assert opened == list(range(1, len(opened) + 1))
    told = holes(Reader(tmp_path / "c").events()).to_pylist()
    assert told[-1]["where"] == "stop"
    assert told[-1]["last_id"] == 200
    seq = Reader(tmp_path / "c").events()["seq"].to_pylist()
    assert seq == list(range(1, len(seq) + 1))
    assert len(seq) > first.num_rows


def test_a_hole_that_a_crash_kept_untold_is_told_by_the_next_run(tmp_path: Path) -> None:
    """Killed between a row and the event of the hole before it: the next run finds the hole and tells it."""
    root = tmp_path / "c"
    collect(root, lambda n, now: Opens(script=[(0.1, trade(k, 0.1 * k)) for k in (1, 2, 3)]), seconds=2)
    decoder = make_config("binance:btcusdt", root).stream.venue.decoder(["BTCUSDT"])
    late = Frames.of([trade(number, 1.0) for number in (7, 8, 12)], EPOCH_NS + 3 * 10**9)
    with CaptureWriter(root, carry=lambda table: {MARKS_KEY: b'{"BTCUSDT": 3}'}) as writer:
        writer.append(TableName.TRADES, decoder.decode(late, connection=1).batch, now_ns=EPOCH_NS + 3 * 10**9)
    collect(root, lambda n, now: Opens(script=[(0.1, trade(13, 50.0))]), seconds=2)
    told = [(row["first_id"], row["last_id"]) for row in holes(Reader(root).events()).to_pylist()]
    assert told == [(4, 6), (9, 11)]
    assert verify(root).ok, verify(root).problems


def test_bad_rows_are_counted_by_kind_and_cost_nothing_else(tmp_path: Path) -> None:
    """Garbage between trades is counted, sampled and told, and the trades around it are all there."""
    script: list[tuple[float, bytes]] = []
    for number in range(1, 40):
        script.append((0.05, trade(number, number * 0.1)))
        script.append((0.05, b"{garbage" if number % 2 else trade(number, 0).replace(b'"100.5"', b'"1e2"')))
    collect(tmp_path / "c", lambda n, now: Opens(script=script), seconds=10)
    reader = Reader(tmp_path / "c")
    assert reader.trades()["trade_id"].to_pylist() == list(range(1, 40))
    assert pc.sum(reader.stats()["rejected"]).as_py() == 39
    details = [row["detail"] for row in kinds(tmp_path / "c", "error").to_pylist() if row["cause"] == "rejected"]
    assert any("json" in detail for detail in details)
    samples = list((tmp_path / "c" / "quarantine").glob("rejects-run-*.jsonl"))
    assert sum(len(path.read_text().splitlines()) for path in samples) == 39


def spent(number: int, now: float, *, symbol: str = "BTCUSDT") -> bytes:
    """A futures placeholder: an id without a trade."""
    return trade(number, now, symbol=symbol, price="0", quantity="0").replace(b'"m":', b'"X":"NA","m":')


def test_ids_spent_without_a_trade_are_no_holes(tmp_path: Path) -> None:
    """Futures spend ids on placeholders of price 0: nothing is stored for them, nothing is missing, and it is told."""
    script = [(0.1, spent(n, 0.1 * n) if n in {3, 4, 7} else trade(n, 0.1 * n)) for n in range(1, 10)]
    collect(tmp_path / "c", lambda n, now: Opens(script=script), seconds=20, stream="binance-usdm:btcusdt")
    reader = Reader(tmp_path / "c")
    assert reader.trades()["trade_id"].to_pylist() == [1, 2, 5, 6, 8, 9]
    assert holes(reader.events()).num_rows == 0
    told = [row for row in kinds(tmp_path / "c", "hole_filled").to_pylist() if row["cause"] == "vacant"]
    assert [(row["first_id"], row["last_id"]) for row in told] == [(3, 3), (4, 4), (7, 7)]
    assert verify(tmp_path / "c").ok, verify(tmp_path / "c").problems


def test_ids_spent_right_before_a_stop_are_no_holes_of_the_next_run(tmp_path: Path) -> None:
    """A placeholder is the last there is before each stop: only what was really missed across one is a hole."""
    for sent, last in (((1, 2, 3), 4), ((5, 6), 7), ((9,), 10), ((11,), 12)):
        script = [*((0.1, trade(number, 0.1 * number)) for number in sent), (0.1, spent(last, 0.1 * last))]
        collect(
            tmp_path / "c", lambda n, now, script=script: Opens(script=script), seconds=3, stream="binance-usdm:btcusdt"
        )
    reader = Reader(tmp_path / "c")
    assert reader.trades()["trade_id"].to_pylist() == [1, 2, 3, 5, 6, 9, 11]
    assert [(row["first_id"], row["last_id"]) for row in holes(reader.events()).to_pylist()] == [(8, 8)]
    assert verify(tmp_path / "c").ok, verify(tmp_path / "c").problems


def test_ids_that_a_quiet_symbol_spent_long_before_a_stop_are_no_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbol that ends in placeholders, further back than a start reads: it goes on without a hole all the same."""
    monkeypatch.setattr(resume, "RECALLED", 10)
    quiet = [
        (0.1, trade(7, 0.1, symbol="ETHUSDT")),
        *((0.1, spent(number, 0.2, symbol="ETHUSDT")) for number in (8, 9)),
        *((20.0, trade(number, 20.0 * number)) for number in range(1, 80)),
    ]
    options: dict[str, Any] = {"stream": "binance-usdm:btcusdt,ethusdt", "rotate_age": 600.0}
    collect(tmp_path / "c", lambda n, now: Opens(script=quiet), seconds=1590, **options)
    read = resume.past_of(tmp_path / "c", now_ns=EPOCH_NS + 1600 * 10**9, window=300)
    assert (read.told.num_rows, read.marks["ETHUSDT"]) == (0, 9)
    again = [(0.1, trade(10, 0.1, symbol="ETHUSDT")), (0.1, trade(12, 0.2, symbol="ETHUSDT"))]
    collect(tmp_path / "c", lambda n, now: Opens(script=again), seconds=3, **options)
    told = holes(Reader(tmp_path / "c").events()).to_pylist()
    assert [(row["symbol"], row["first_id"], row["last_id"]) for row in told] == [("ETHUSDT", 11, 11)]


def test_overflow_is_counted_and_is_a_hole_and_no_stall(tmp_path: Path) -> None:
    """When the queue is full, drops are counted and become holes; the connection is not blamed for our slowness."""

    class Slow(Immediately):
        """A disk that takes its time: jobs are done when the test says so."""

        def __init__(self) -> None:
            self.held: list[Any] = []
            self.open = False

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            if self.open:
                return super().submit(fn, *args, **kwargs)
            from concurrent.futures import Future

            future: Any = Future()
            self.held.append((future, fn, args, kwargs))
            return future

        def release(self) -> None:
            self.open = True
            for future, fn, args, kwargs in self.held:
                future.set_result(fn(*args, **kwargs))

    slow = Slow()
    net = SimTransport(lambda n, now: Opens(script=[(0.001, trade(k, k * 0.001)) for k in range(1, 5001)]))
    config = make_config("binance:btcusdt", tmp_path / "c", duration=60, queue_bytes=1 << 16, idle_timeout=2.0)

    async def main() -> None:
        async with Collector(config, transport=net, executors=(slow, Immediately())) as collector:
            running = asyncio.create_task(collector.run())
            await asyncio.sleep(6)
            slow.release()
            collector.stop()
            await running

    run_virtually(main())
    reader = Reader(tmp_path / "c")
    stored = reader.trades()["trade_id"].to_pylist()
    dropped = pc.sum(reader.stats()["dropped"]).as_py()
    assert dropped > 1000
    assert len(stored) + dropped == 5000
    assert kinds(tmp_path / "c", "stalled").num_rows <= 1
    assert any(row["cause"] == "overflow" for row in kinds(tmp_path / "c", "error").to_pylist())


@pytest.mark.parametrize("set_back", [0, 3600])
@pytest.mark.parametrize("chatter", [(), ((0.5, b'{"result":null,"id":1}'),)], ids=["silent", "an ack"])
def test_what_one_connection_dropped_is_no_sign_of_life_of_the_next(
    tmp_path: Path, set_back: int, chatter: tuple[tuple[float, bytes], ...]
) -> None:
    """After an overload, connections that deliver nothing have no first message, and stall when they should."""

    class SetBack(SimTransport):
        def wall_ns(self) -> int:
            return super().wall_ns() - (set_back * 10**9 if self.now() > 1.5 else 0)

    flood = [(0.2, trade(1, 0.2)), *((0.0, trade(number, 0.2)) for number in range(2, 1000)), (1.8, RESET)]
    net = SetBack(lambda number, now: Opens(script=flood if number == 1 else chatter))
    config = make_config(
        "binance:btcusdt",
        tmp_path / "c",
        duration=60,
        queue_bytes=1 << 16,
        idle_timeout=5.0,
        policy="constant(delay=0)",
    )

    async def main() -> None:
        async with Collector(config, transport=net, executors=(Immediately(), Immediately())) as collector:
            await collector.run()

    run_virtually(main())
    assert pc.sum(Reader(tmp_path / "c").stats()["dropped"]).as_py() > 100
    assert kinds(tmp_path / "c", "first_message")["connection"].to_pylist() == [1]
    lives = [after - at for at, after in pairwise(net.attempts[1:])]
    assert len(lives) > 5
    assert lives == pytest.approx([0.03 + 5.0] * len(lives), abs=1e-3)


@pytest.mark.parametrize("when", [0.0, 0.02, 0.5, 3.0, 3.5, 9.9])
def test_stop_is_immediate_from_every_state(tmp_path: Path, when: float) -> None:
    """Stopping while connecting, open, stalled or backing off ends the run at once, with everything sealed."""

    def venue(number: int, now: float) -> Opens | Refuses:
        if number == 1:
            return Opens(after=0.1, script=Tape().from_(now, until=now + 3, then=RESET))
        return Refuses(after=1.0)

    net = SimTransport(venue)
    config = make_config("binance:btcusdt", tmp_path / "c", policy="constant", policy_args={"delay": "30"})

    async def main() -> float:
        async with Collector(config, transport=net, executors=(Immediately(), Immediately())) as collector:
            running = asyncio.create_task(collector.run())
            await asyncio.sleep(when)
            asked = net.now()
            collector.stop()
            collector.stop("asked twice")
            assert await running == 0
            return net.now() - asked

    assert run_virtually(main()) < 0.1
    assert not list((tmp_path / "c" / "journal").iterdir())
    assert kinds(tmp_path / "c", "stopped").num_rows == 1


def test_two_collectors_on_one_directory(tmp_path: Path) -> None:
    """The second one is refused at once, and told who holds it."""
    config = make_config("binance:btcusdt", tmp_path / "c")
    net = SimTransport(lambda n, now: Opens())

    async def main() -> None:
        async with Collector(config, transport=net, executors=(Immediately(), Immediately())):
            with pytest.raises(CaptureBusy, match="pid"):
                async with Collector(config, transport=net, executors=(Immediately(), Immediately())):
                    pass

    run_virtually(main())


def test_a_directory_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    """A folder with a user's own files is no capture, and nothing in it changes."""
    (tmp_path / "thesis.txt").write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(NotACapture):
        collect(tmp_path, lambda n, now: Opens(), seconds=1)
    assert sorted(tmp_path.iterdir()) == before


def test_other_symbols_need_another_directory(tmp_path: Path) -> None:
    """A capture is of one venue and its symbols; mixing them by mistake is refused with both named."""
    collect(tmp_path / "c", lambda n, now: Opens(), seconds=1)
    config = make_config("binance:ethusdt", tmp_path / "c")
    with pytest.raises(UsageError, match="ETHUSDT"):
        run_virtually(Collector(config, executors=(Immediately(), Immediately())).__aenter__())


def test_what_comes_with_the_handshake_is_stored_at_once(tmp_path: Path) -> None:
    """Trades in the packet of the server's answer arrive before the link is ours; nothing more need follow them."""

    class Eager(SimTransport):
        async def connect(self, url: str, *, began: float, anchor: Any, inbox: Any) -> Any:
            link = await super().connect(url, began=began, anchor=anchor, inbox=inbox)
            inbox.put(trade(1, self.now()), anchor.wall(self.now()))
            await asyncio.sleep(0.1)
            return link

    root = tmp_path / "c"
    config = make_config("binance:btcusdt", root, duration=10.0, seed=1)
    after_a_second: list[int] = []

    async def main() -> None:
        transport = Eager(lambda number, now: Opens())
        async with Collector(config, transport=transport, executors=(Immediately(), Immediately())) as collector:
            asyncio.get_running_loop().call_later(1.0, lambda: after_a_second.append(Reader(root).trades().num_rows))
            await collector.run()

    run_virtually(main())
    assert after_a_second == [1]
    assert kinds(root, "first_message")["waited"][0].as_py() >= 0
