"""What the next run must know: where the counters stand, which ids are stored, and what a crash kept untold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.collect.moodydisk import MoodyDisk
from tests.simnet import EPOCH_NS, Opens, Refuses, SimTransport, Tape, trade
from tests.virtual import run_virtually
from wsresearch.api import make_config
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover
from wsresearch.collect.collector import Collector
from wsresearch.collect.newest import FURTHEST
from wsresearch.collect.recorder import Immediately
from wsresearch.collect.resume import ledger_of, past_of
from wsresearch.errors import CaptureDamaged
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.schema import EventKind, TableName

SECOND = 10**9
RESET = Failure(cause=Cause.RESET)


def collect(root: Path, venue: object, *, seconds: float, **options: object) -> SimTransport:
    net = SimTransport(venue)  # type: ignore[arg-type]
    config = make_config("binance:btcusdt", root, duration=seconds, seed=1, **options)

    async def main() -> None:
        async with Collector(config, transport=net, executors=(Immediately(), Immediately())) as collector:
            await collector.run()

    run_virtually(main())
    return net


def test_a_new_capture_has_no_past(tmp_path: Path) -> None:
    """The first run begins at 1, with no id known."""
    create_identity(Layout(tmp_path / "c"), venue="binance", symbols=["BTCUSDT"], config={})
    found = past_of(tmp_path / "c", now_ns=EPOCH_NS, window=300)
    assert found.numbers == {"run": 0, "connection": 0, "outage": 0, "seq": 0}
    assert (found.marks, found.attempts, found.recent_trades.num_rows) == ({}, [], 0)
    ledger, untold = ledger_of(found)
    assert (ledger.marks, untold) == ({}, [])


def test_counters_stand_where_they_ended_however_many_segments_ago(tmp_path: Path) -> None:
    """Runs, connections, outages and event numbers count on, although the newest segment alone does not say them."""
    root = tmp_path / "c"
    tape = Tape(every=0.5)

    def venue(number: int, now: float) -> Opens:
        return Opens(script=tape.from_(now, until=now + 20, then=RESET) if number <= 3 else tape.from_(now))

    collect(root, venue, seconds=200, rotate_age=10.0, policy="constant", policy_args={"delay": "1"})
    events = Reader(root).events()
    assert len(Layout(root).parquets(TableName.EVENTS)) > 3
    found = past_of(root, now_ns=EPOCH_NS + 200 * SECOND, window=1000)
    assert found.numbers == {"run": 1, "connection": 4, "outage": 3, "seq": events.num_rows}
    assert len(found.attempts) == 4


def test_attempts_within_the_window_are_known(tmp_path: Path) -> None:
    """The budget outlives the process: attempts count that are younger than its window, and no others."""
    root = tmp_path / "c"
    collect(root, lambda n, now: Refuses(), seconds=100, policy="constant", policy_args={"delay": "10"})
    tried = past_of(root, now_ns=EPOCH_NS + 100 * SECOND, window=35).attempts
    assert len(tried) == 3
    assert min(tried) >= EPOCH_NS + 65 * SECOND
    assert past_of(root, now_ns=EPOCH_NS + 1000 * SECOND, window=35).attempts == []


def test_ids_are_known_from_marks_and_the_newest_segments(tmp_path: Path) -> None:
    """A symbol quiet for many segments still has its mark; the ids of the newest segments are known one by one."""
    root = tmp_path / "c"
    script = [(0.1, trade(7, 0, symbol="ETHUSDT")), *((1.0, trade(n, n)) for n in range(100, 300))]
    net = SimTransport(lambda n, now: Opens(script=script))
    config = make_config("binance:btcusdt,ethusdt", root, duration=210, rotate_age=10.0)

    async def main() -> None:
        async with Collector(config, transport=net, executors=(Immediately(), Immediately())) as collector:
            await collector.run()

    run_virtually(main())
    found = past_of(root, now_ns=EPOCH_NS + 220 * SECOND, window=300)
    assert found.marks["ETHUSDT"] == 7
    assert FURTHEST * 8 < found.recent_trades.num_rows < FURTHEST * 12
    ledger, untold = ledger_of(found)
    assert ledger.marks == {"BTCUSDT": 299, "ETHUSDT": 7}
    assert ledger.seen("BTCUSDT") == [(found.marks["BTCUSDT"], 299)]
    assert untold == []


def test_what_a_venue_sends_again_after_a_restart_is_not_stored_again(tmp_path: Path) -> None:
    """Stopped just after a new segment was begun, started again: the rows of the segments before are known as well."""
    root = tmp_path / "c"
    sent = [(1.0, trade(n, n)) for n in range(1, 43)]
    collect(root, lambda n, now: Opens(script=sent), seconds=42.5, rotate_age=10.0)
    sizes = [pq.read_metadata(path).num_rows for path in Layout(root).parquets(TableName.TRADES)]
    assert len(sizes) == 5
    assert sizes[-1] < 5
    more = [*((0.0, message) for _, message in sent[10:]), (0.1, trade(43, 43))]
    collect(root, lambda n, now: Opens(after=50.0, script=more), seconds=60, open_timeout=100)
    assert Reader(root).trades()["trade_id"].to_pylist() == [*range(1, 44)]
    assert EventKind.HOLE not in Reader(root).events()["kind"].to_pylist()


def test_ids_are_known_back_to_a_segment_that_cannot_be_read(tmp_path: Path) -> None:
    """Beyond a damaged or missing segment nothing is recalled: the ids between would look like a hole."""
    root = tmp_path / "c"
    tape = Tape(every=1.0)
    collect(root, lambda n, now: Opens(script=tape.from_(now)), seconds=42.5, rotate_age=10.0)
    second, third = Layout(root).parquets(TableName.TRADES)[1:3]
    content = bytearray(third.read_bytes())
    content[len(content) // 3] ^= 0x40
    third.write_bytes(content)

    def known() -> list[tuple[int, int]]:
        found = past_of(root, now_ns=EPOCH_NS + 50 * SECOND, window=300)
        ledger, untold = ledger_of(found)
        assert untold == []
        [(first, last)] = ledger.seen("BTCUSDT")
        assert found.recent_trades["trade_id"][0].as_py() == first + 1  # the mark itself is known too
        return [(first, last)]

    damaged = known()
    third.unlink()
    assert known() == damaged
    second.unlink()
    assert known() == damaged


def test_a_journal_that_could_not_be_sealed_still_counts(tmp_path: Path) -> None:
    """If the disk has no room to seal what a crash left, its numbers and ids are read from the journal."""
    root = tmp_path / "c"
    tape = Tape(every=1.0)
    net = SimTransport(lambda n, now: Opens(script=tape.from_(now)))
    config = make_config("binance:btcusdt", root)

    async def crash() -> None:
        collector = await Collector(config, transport=net, executors=(Immediately(), Immediately())).__aenter__()
        running = asyncio.create_task(collector.run())
        await asyncio.sleep(10)
        running.cancel()
        await collector._tasks.cancel()
        await collector._stack.aclose()

    run_virtually(crash())
    disk = MoodyDisk()
    disk.no_room_for_parquet = True
    assert recover(root, disk=disk).unsealed
    found = past_of(root, now_ns=EPOCH_NS + 20 * SECOND, window=300)
    assert (found.run, found.connection) == (1, 1)
    assert ledger_of(found)[0].marks == {"BTCUSDT": 9}


def test_a_new_count_ends_what_was_told_of_the_old_one(tmp_path: Path) -> None:
    """A hole of ids that were counted anew since is neither told again nor taken for filled."""
    root = tmp_path / "c"
    old = [(0.1, trade(n, t)) for t, n in enumerate([1, 2, 5, 6])]
    new = [(0.1, trade(n, 100 + n)) for n in (1, 2, 3, 4, 5, 6)]
    collect(root, lambda n, now: Opens(script=[*old, *new]), seconds=10)
    _, untold = ledger_of(past_of(root, now_ns=EPOCH_NS + 20 * SECOND, window=300))
    assert untold == []
    kinds = Reader(root).events()["kind"].to_pylist()
    assert kinds.count(EventKind.HOLE) == 1


def test_a_damaged_last_segment_is_told_in_words(tmp_path: Path) -> None:
    """A collector does not begin on ids it cannot read: an error of ours names the file, and nothing is overwritten."""
    root = tmp_path / "c"
    tape = Tape(every=0.1)
    collect(root, lambda n, now: Opens(script=tape.from_(now)), seconds=10)
    [path] = Layout(root).parquets(TableName.TRADES)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(CaptureDamaged, match="trades-000000000001"):
        past_of(root, now_ns=EPOCH_NS, window=300)
