"""The way to the disk: in order, once each, whatever the disk does, and never in the way of the network."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.capture.made import MIDNIGHT, NOON, SECOND, trades
from tests.collect.moodydisk import MoodyDisk
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover
from wsresearch.capture.writer import Rotation
from wsresearch.collect import trying
from wsresearch.collect.recorder import MARKS_KEY, NUMBERS_KEY, TOTALS_KEY, Recorder
from wsresearch.schema import EVENTS, STATS, EventKind, TableName

BLANK = dict.fromkeys(EVENTS.names)
QUIET = {**dict.fromkeys(STATS.names, 0), "ping_rtt": None, "lag": None}


class Ears:
    """Hears the recorder's troubles, and lets a test wait for one."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def _hear(self, what: str, detail: str = "") -> None:
        with self._changed:
            self.heard.append((what, detail))
            self._changed.notify_all()

    def disk_fails(self, what: str) -> None:
        self._hear("fails", what)

    def disk_works(self) -> None:
        self._hear("works")

    def left_over(self, what: str) -> None:
        self._hear("left", what)

    def disk_is_gone(self, what: str) -> None:
        self._hear("gone", what)

    def wait_for(self, what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: what in [kind for kind, _ in self.heard], 10), what

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.heard]


class Setup:
    """A capture, a recorder on a moody disk, and what was told to be written."""

    def __init__(self, root: Path, **rotation: Any) -> None:
        self.layout = Layout(root)
        create_identity(self.layout, venue="binance", symbols=["BTCUSDT"], config={})
        self.disk, self.ears = MoodyDisk(), Ears()
        self.written: list[int] = []
        self._handed_over: list[int] = []
        self.recorder = Recorder(
            root,
            rotation=Rotation(**rotation),
            numbers={"run": 3, "connection": 4, "outage": 5, "seq": 10},
            marks={"ETHUSDT": 99},
            trouble=self.ears,
            disk=self.disk,
        )

    def trades(self, *ids: int, now: int = NOON) -> None:
        self._handed_over += ids
        self.recorder.trades(
            trades(ids, times=now), now_ns=now, marks={"BTCUSDT": max(ids)}, size=len(ids), written=self._written
        )

    def _written(self, size: int) -> None:
        self.written += self._handed_over[:size]
        del self._handed_over[:size]

    def event(self, seq: int, *, now: int = NOON, kind: EventKind = EventKind.ERROR, **columns: Any) -> None:
        row = BLANK | {"run": 3, "connection": 6, "outage": 0, "attempt": 0} | columns
        row |= {"seq": seq, "time": now, "kind": kind}
        self.recorder.event(row, now_ns=now, standing={"holes": seq, "cause": None})

    def stats(self, *, now: int = NOON, **columns: int) -> None:
        self.recorder.stats({**QUIET, "time": now, "run": 3, **columns}, now_ns=now)

    def flushed(self) -> None:
        """Wait until all that was handed over so far has been dealt with."""
        self.recorder._append_in.submit(lambda: None).result(10)

    def sealed(self) -> None:
        self.recorder._seal_in.submit(lambda: None).result(10)

    def ids(self) -> list[int]:
        return Reader(self.layout.root).trades()["trade_id"].to_pylist()

    def metadata(self, table: TableName, key: bytes) -> list[dict[str, Any]]:
        return [json.loads(pq.read_schema(path).metadata[key]) for path in self.layout.parquets(table)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a failing disk again after milliseconds, not after a quarter of a second."""
    monkeypatch.setattr(trying, "_RETRY_AFTER", 0.002)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Setup]:
    return lambda **rotation: Setup(tmp_path / "c", **rotation)


def close(setup: Setup, *, patience: float = 10.0, sealing: float = 10.0) -> None:
    asyncio.run(setup.recorder.close(patience=patience, sealing=sealing))


@pytest.mark.parametrize("half", [False, True], ids=["nothing", "half a write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_disk_that_fails_for_a_while_costs_nothing(made: Callable[..., Setup], number: int, *, half: bool) -> None:
    """Full, broken, read-only: it is tried again until it works, told once each way, and no row is lost or doubled."""
    setup = made(rows=7)
    setup.trades(1, 2, 3)
    setup.flushed()
    setup.disk.half = half
    setup.disk.error = number
    for first in range(4, 40, 3):
        setup.trades(first, first + 1, first + 2)
    setup.event(11)
    setup.ears.wait_for("fails")
    assert setup.written == [1, 2, 3]
    setup.disk.error = None
    setup.ears.wait_for("works")
    close(setup)
    assert setup.ids() == list(range(1, 40))
    assert setup.written == list(range(1, 40))
    told = [(kind, what) for kind, what in setup.ears.heard if kind != "left"]  # a seal's own failure, if one began
    assert [kind for kind, _ in told] == ["fails", "works"]
    assert os.strerror(number) in told[0][1]
    assert setup.recorder.unwritten_rows == 0
    assert Reader(setup.layout.root).events()["seq"].to_pylist() == [11]
    assert not list(setup.layout.journal_dir.iterdir())


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ELOOP])
def test_a_disk_that_is_away_altogether_is_no_capture_that_is_gone(
    made: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A server or a cable away, a right taken: whether the capture exists cannot be told, and it is tried again."""
    setup = made()
    setup.trades(1)
    setup.flushed()
    stat_of = os.stat

    def away(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if setup.disk.error is not None and str(path).startswith(str(setup.layout.root)):
            raise OSError(number, os.strerror(number), path)
        return stat_of(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", away)
    setup.disk.error = number
    setup.trades(2, 3)
    setup.event(11)
    setup.recorder.every_second(now_ns=NOON)
    setup.ears.wait_for("fails")
    setup.disk.error = None
    setup.ears.wait_for("works")
    close(setup)
    assert "gone" not in setup.ears.kinds()
    assert setup.ids() == setup.written == [1, 2, 3]
    assert setup.recorder.unwritten_rows == 0


def test_whatever_ends_the_writing_of_rows_they_are_counted_and_let_go(
    made: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect while rows are written is told, its rows count as lost, and those behind them are written."""
    setup = made()
    setup.disk.writes.clear()
    setup.trades(1)
    assert setup.disk.writing.wait(10)
    append = setup.recorder._writer.append

    def defect(table: TableName, *args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(setup.recorder._writer, "append", append)
        raise RuntimeError("a defect")

    monkeypatch.setattr(setup.recorder._writer, "append", defect)
    setup.trades(2, 3)
    setup.event(11)
    setup.disk.writes.set()
    setup.ears.wait_for("gone")
    close(setup)
    assert setup.ids() == [1]
    assert setup.written == [1, 2, 3]
    assert setup.recorder.unwritten_rows == 2
    assert Reader(setup.layout.root).events()["seq"].to_pylist() == [11]


def test_what_waits_behind_lost_rows_is_given_up_with_them(made: Callable[..., Setup]) -> None:
    """When time is over a night's worth of rows is not tried one by one; all are counted, and nothing is held."""
    setup = made()
    setup.disk.error = errno.ENOSPC
    for number in range(1, 500):
        setup.trades(number)
        setup.event(number)
        setup.stats()
    setup.ears.wait_for("fails")
    tried = 0
    create = setup.disk.create

    def counted(path: Path) -> int:
        nonlocal tried
        tried += 1
        return create(path)

    setup.disk.create = counted  # type: ignore[method-assign]
    close(setup, patience=0.05)
    assert setup.recorder.unwritten_rows == 3 * 499
    assert setup.written == list(range(1, 500))
    assert tried < 400, "as often as in the time that was left, and not once for each row"


def test_a_directory_that_is_removed_is_told_once(made: Callable[..., Setup]) -> None:
    """Nothing can be written any more: said once, loudly, and nothing hangs."""
    setup = made()
    setup.trades(1)
    setup.flushed()
    shutil.rmtree(setup.layout.root)
    setup.recorder.every_second(now_ns=NOON)
    for number in range(2, 6):
        setup.trades(number)
        setup.stats()
        setup.recorder.every_second(now_ns=NOON)
    setup.ears.wait_for("gone")
    close(setup)
    assert setup.ears.kinds().count("gone") == 1
    assert "no capture any more" in dict(setup.ears.heard)["gone"]
    assert not setup.layout.root.exists(), "a removed capture is not half made again"


def test_stopping_while_the_disk_fails_counts_what_is_lost(made: Callable[..., Setup]) -> None:
    """A stop waits for a failing disk as long as it was told, then gives up and knows exactly how much."""
    setup = made()
    setup.trades(1, 2)
    setup.flushed()
    setup.disk.error = errno.ENOSPC
    setup.trades(3, 4, 5)
    setup.event(11)
    setup.ears.wait_for("fails")
    began = time.monotonic()
    close(setup, patience=0.05)
    assert time.monotonic() - began < 1.0
    assert setup.recorder.unwritten_rows == 4
    assert setup.written == [1, 2, 3, 4, 5], "memory is let go of all the same"
    assert setup.ids() == [1, 2]


def test_rows_that_the_disk_took_before_it_failed_do_not_count_as_lost(made: Callable[..., Setup]) -> None:
    """Of a batch that was split only what is really missing is counted."""
    setup = made(rows=2)
    original = setup.disk.create

    def create(path: Path) -> int:
        if path.name == "trades-000000000002.idx":
            setup.disk.error = errno.ENOSPC
        return original(path)

    setup.disk.create = create  # type: ignore[method-assign]
    setup.trades(1, 2, 3, 4, 5)
    setup.ears.wait_for("fails")
    close(setup, patience=0.05)
    assert setup.recorder.unwritten_rows == 3
    setup.disk.error = None
    assert setup.ids() == [1, 2]


def test_a_disk_that_hangs_keeps_nobody_waiting(made: Callable[..., Setup]) -> None:
    """Whoever receives hands its rows over and goes on, while the write before them has not come back."""
    setup = made()
    setup.disk.writes.clear()
    setup.trades(1, 2)
    assert setup.disk.writing.wait(10)
    setup.trades(3)
    assert setup.written == []
    setup.disk.writes.set()
    close(setup)
    assert setup.written == setup.ids() == [1, 2, 3]


def test_slow_sealing_delays_no_append(made: Callable[..., Setup]) -> None:
    """While one segment is being sealed, rows go on into the next ones and readers see them."""
    setup = made(rows=2)
    setup.disk.renames.clear()
    setup.trades(1, 2)
    setup.trades(3)
    assert setup.disk.renaming.wait(10)
    setup.trades(4, 5)
    setup.flushed()
    assert setup.ids() == [1, 2, 3, 4, 5]
    setup.disk.renames.set()
    close(setup)
    assert setup.ids() == [1, 2, 3, 4, 5]
    assert len(setup.layout.parquets(TableName.TRADES)) == 3


def test_a_seal_that_failed_is_tried_again(made: Callable[..., Setup]) -> None:
    """Without room for the Parquet file the journal stays, and is sealed when there is room, without a restart."""
    setup = made(rows=1)
    setup.disk.no_room_for_parquet = True
    setup.trades(1)
    setup.trades(2)
    setup.ears.wait_for("left")
    assert "sealing trades-000000000001 fails and will be tried again: No space left" in setup.ears.heard[0][1]
    setup.flushed()
    assert setup.ids() == [1, 2]
    setup.disk.no_room_for_parquet = False
    setup.trades(3)
    setup.flushed()
    setup.sealed()
    assert len(setup.layout.parquets(TableName.TRADES)) == 2
    setup.disk.no_room_for_parquet = True
    setup.trades(4)
    setup.flushed()
    setup.sealed()
    setup.disk.no_room_for_parquet = False
    close(setup)
    assert setup.ids() == [1, 2, 3, 4]
    assert not list(setup.layout.journal_dir.iterdir())


def test_a_folder_that_takes_no_seal_is_told_once_and_asked_once_a_segment(made: Callable[..., Setup]) -> None:
    """A day of it is a row and an attempt for each segment, not their square; when it takes them all are sealed."""
    setup = made(rows=1)
    setup.disk.no_room_for_parquet = True
    asked = 0
    create = setup.disk.create

    def counted(path: Path) -> int:
        nonlocal asked
        asked += path.name.startswith(".")
        return create(path)

    setup.disk.create = counted  # type: ignore[method-assign]
    for number in range(1, 41):
        setup.trades(number)
        setup.flushed()
        setup.sealed()
    assert setup.ears.kinds() == ["left"]
    assert asked == 39
    assert len(setup.recorder.unsealed) == 39
    setup.disk.no_room_for_parquet = False
    setup.trades(41)
    setup.flushed()
    setup.sealed()
    assert setup.recorder.unsealed == []
    setup.disk.no_room_for_parquet = True
    setup.trades(42)
    setup.flushed()
    setup.sealed()
    assert setup.ears.kinds() == ["left", "left"], "another stretch is told of again"
    setup.disk.no_room_for_parquet = False
    close(setup)
    assert setup.ids() == list(range(1, 43))


def test_a_segment_that_cannot_be_sealed_keeps_no_other_from_it(made: Callable[..., Setup]) -> None:
    """A bad sector under one journal: told once, and those before and after it become Parquet files."""
    setup = made(rows=1)
    create = setup.disk.create

    def bad(path: Path) -> int:
        if path.name.startswith(".") and "trades-000000000002" in path.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return create(path)

    setup.disk.create = bad  # type: ignore[method-assign]
    for number in range(1, 12):
        setup.trades(number)
        setup.event(number)
        setup.flushed()
        setup.sealed()
    assert setup.ears.heard == [
        ("left", "sealing trades-000000000002 fails and will be tried again: Input/output error")
    ]
    assert [str(segment) for segment in setup.recorder.unsealed if segment.number < 9] == ["trades-000000000002"]
    close(setup)
    assert setup.ids() == list(range(1, 12))
    assert "trades-000000000002" in map(str, setup.recorder.unsealed)


def test_no_more_than_one_tick_waits_for_a_disk_that_is_slow_to_sync(
    made: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows never wait behind a pile of syncs, and a stop leaves out the one that waits: it syncs for good."""
    setup = made()
    calls: list[str] = []
    syncing, go_on = threading.Event(), threading.Event()
    tick = setup.recorder._writer.tick

    def ticking(now_ns: int) -> None:
        calls.append("tick")
        tick(now_ns)

    def slow(descriptor: int) -> None:
        calls.append("sync")
        syncing.set()
        assert go_on.wait(10)

    monkeypatch.setattr(setup.recorder._writer, "tick", ticking)
    setup.disk.fdatasync = slow  # type: ignore[method-assign]
    setup.trades(1)
    setup.recorder.every_second(now_ns=NOON)
    assert syncing.wait(10)
    for number in range(2, 30):
        setup.trades(number)
        setup.stats()
        setup.recorder.every_second(now_ns=NOON + number * SECOND)
    go_on.set()
    setup.flushed()
    assert calls == ["tick", *["sync"] * 2, "tick", *["sync"] * 4], "of both files of each table that has news"
    calls.clear()
    go_on.clear()
    syncing.clear()
    setup.trades(30)
    setup.recorder.every_second(now_ns=NOON + 30 * SECOND)
    assert syncing.wait(10)
    setup.recorder.every_second(now_ns=NOON + 31 * SECOND)
    closing = threading.Thread(target=close, args=[setup])
    closing.start()
    while not setup.recorder._closing:
        time.sleep(0.001)
    go_on.set()
    closing.join(10)
    assert calls == ["tick", *["sync"] * 2, *["sync"] * 4]
    assert setup.ids() == list(range(1, 31))


def test_a_tick_that_waited_is_one_of_now(made: Callable[..., Setup]) -> None:
    """Segments age by the newest of the ticks that were made one, and the next tick is heard as well."""
    setup = made(age=60.0)
    setup.trades(1)
    setup.flushed()
    setup.disk.writes.clear()
    setup.event(11)
    for second in (0, 10, 61):
        setup.recorder.every_second(now_ns=NOON + second * SECOND)
    setup.disk.writes.set()
    setup.flushed()
    setup.sealed()
    assert len(setup.layout.parquets(TableName.TRADES)) == 1
    setup.trades(2, now=NOON + 61 * SECOND)
    setup.recorder.every_second(now_ns=NOON + 130 * SECOND)
    setup.flushed()
    setup.sealed()
    assert len(setup.layout.parquets(TableName.TRADES)) == 2
    close(setup)


def test_a_seal_is_left_off_when_its_time_is_over(made: Callable[..., Setup], caplog: pytest.LogCaptureFixture) -> None:
    """A disk that does not come back from one call in time: sealing ends there, and says what it left undone."""
    setup = made()
    setup.trades(1, 2)
    setup.event(11)
    setup.flushed()
    setup.disk.renames.clear()
    over = setup.recorder._leaving  # the disk comes back after that, and not before
    threading.Thread(target=lambda: over.wait(10) and setup.disk.renames.set()).start()
    close(setup, sealing=1.0)  # long enough to come to that call on a busy machine
    assert setup.disk.renaming.is_set()
    assert [str(segment) for segment in setup.recorder.unsealed] == ["trades-000000000001", "events-000000000001"]
    assert "left to the next start to seal" in caplog.text
    assert "trades-000000000001, events-000000000001" in caplog.text
    assert setup.ids() == [1, 2]
    done = recover(setup.layout.root)
    assert [each.rows for each in done.sealed] == [2, 1]
    assert setup.ids() == [1, 2]


def test_each_segment_knows_what_came_before_it(made: Callable[..., Setup]) -> None:
    """Marks, counters and sums stand in a segment's metadata as they were when it was begun."""
    setup = made(age=60.0)
    for minute in range(4):
        now = NOON + minute * 61 * SECOND
        setup.trades(minute * 10 + 1, minute * 10 + 2, now=now)
        setup.event(11 + minute, now=now, connection=20 + minute, outage=minute)
        setup.stats(now=now, messages=10**minute, trades=2, bytes=5, rejected=minute, dropped=1)
    close(setup)
    marks = setup.metadata(TableName.TRADES, MARKS_KEY)
    assert marks[0] == {"ETHUSDT": 99}
    assert [told.get("BTCUSDT") for told in marks] == [None, 2, 12, 22]
    numbers = setup.metadata(TableName.EVENTS, NUMBERS_KEY)
    assert [told["seq"] for told in numbers] == [10, 11, 12, 13]
    assert [told["connection"] for told in numbers] == [4, 20, 21, 22]
    assert [told["outage"] for told in numbers] == [5, 5, 5, 5], "never falls, although rows outside an outage say 0"
    assert [told.get("holes") for told in numbers] == [None, 11, 12, 13]
    totals = setup.metadata(TableName.STATS, TOTALS_KEY)
    assert [told["messages"] for told in totals] == [0, 1, 11, 111]
    assert [told["rejected"] for told in totals] == [0, 0, 1, 3]
    assert {told["run"] for told in totals} == {3}


@pytest.mark.parametrize("times", [NOON, [MIDNIGHT - 3, MIDNIGHT - 2, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1]])
def test_a_segment_that_begins_within_a_batch_knows_what_the_batch_left_before_it(
    made: Callable[..., Setup], times: int | list[int]
) -> None:
    """Else the next run takes those rows for missing, and tells of a hole where every row is stored."""
    setup = made(rows=3)
    stray = 2**62
    batch = trades([7, 8, stray, 10, 11], times=times)
    marks = {"BTCUSDT": 11, "ETHUSDT": 99}  # ids that divide by three are of ETHUSDT, the stray one is believed by none
    setup.recorder.trades(batch, now_ns=NOON, marks=marks, size=1, written=lambda _: None)
    close(setup)
    assert setup.metadata(TableName.TRADES, MARKS_KEY) == [{"ETHUSDT": 99}, {"BTCUSDT": 8, "ETHUSDT": 99}]


def test_a_segment_that_begins_after_a_refusal_within_a_batch_knows_it_too(made: Callable[..., Setup]) -> None:
    """The rows of a batch that the disk took before it refused are stored, and never told missing."""
    setup = made(rows=3)
    setup.trades(1)
    setup.flushed()
    original, refused = setup.disk.create, []

    def create(path: Path) -> int:
        if path.name == "trades-000000000002.idx" and not refused:
            refused.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path)

    setup.disk.create = create  # type: ignore[method-assign]
    setup.trades(2, 4, 5, 7)
    close(setup)
    assert refused
    assert setup.ids() == [1, 2, 4, 5, 7]
    assert [told.get("BTCUSDT") for told in setup.metadata(TableName.TRADES, MARKS_KEY)] == [None, 4]


@pytest.mark.parametrize("refused", [False, True])
def test_a_segment_that_begins_within_rows_that_waited_knows_those_before_it(
    made: Callable[..., Setup], *, refused: bool
) -> None:
    """Events and stats that waited are written together, and what a segment tells of is still what is before it."""
    setup = made(rows=3)
    setup.disk.writes.clear()
    setup.trades(1)
    assert setup.disk.writing.wait(10)
    for seq in range(11, 18):
        setup.event(seq, connection=seq, now=NOON + seq)
    for messages in range(1, 8):
        setup.stats(messages=messages, now=NOON + messages)
    create = setup.disk.create

    def refuses(path: Path) -> int:
        if refused and path.name in {"events-000000000002.idx", "stats-000000000003.idx"}:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(path)

    setup.disk.create = refuses  # type: ignore[method-assign]
    setup.disk.writes.set()
    close(setup)
    reader = Reader(setup.layout.root)
    assert reader.events()["seq"].to_pylist() == list(range(11, 18))
    assert reader.stats()["messages"].to_pylist() == list(range(1, 8))
    numbers = setup.metadata(TableName.EVENTS, NUMBERS_KEY)
    assert [told["seq"] for told in numbers] == [10, 13, 16]
    assert [told["connection"] for told in numbers] == [4, 13, 16]
    assert [told.get("holes") for told in numbers] == [None, 13, 16]
    assert [told["messages"] for told in setup.metadata(TableName.STATS, TOTALS_KEY)] == [0, 6, 21]


def test_what_was_not_written_is_not_noted(made: Callable[..., Setup]) -> None:
    """The metadata of a segment never speaks of rows that are nowhere."""
    setup = made(rows=1)
    setup.trades(1)
    setup.flushed()
    setup.disk.error = errno.ENOSPC
    setup.trades(50)
    setup.ears.wait_for("fails")
    setup.recorder._giving_up.set()
    setup.flushed()
    setup.recorder._giving_up.clear()
    setup.disk.error = None
    setup.trades(60)
    close(setup)
    assert setup.ids() == [1, 60]
    assert [told.get("BTCUSDT") for told in setup.metadata(TableName.TRADES, MARKS_KEY)] == [None, 1]


def samples_of(setup: Setup) -> Sequence[Path]:
    return sorted(setup.layout.quarantine_dir.glob("rejects-run-*"))


def test_samples_of_rejects_are_kept_as_they_came(made: Callable[..., Setup]) -> None:
    """One line of JSON each, any bytes, in a file of the run that only its owner reads."""
    setup = made()
    for raw in (b"{garbage", b"\xff\n\x00", "\u202e".encode()):
        setup.recorder.sample("json", raw, run=3, recv_ns=NOON)
    close(setup)
    [path] = samples_of(setup)
    assert path.name == "rejects-run-000003.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["raw"] for line in lines] == ["{garbage", "\\xff\n\x00", "\u202e"]
    assert {(line["kind"], line["recv_ns"]) for line in lines} == {("json", NOON)}


def test_samples_of_an_earlier_run_of_the_same_number_do_not_stop_the_journal(made: Callable[..., Setup]) -> None:
    """A power cut can take a run's events and leave its samples; the next run has its number and goes on."""
    setup = made()
    setup.layout.quarantine_dir.mkdir()
    old = setup.layout.quarantine_dir / "rejects-run-000003.jsonl"
    old.write_text("old\n")
    setup.recorder.sample("json", b"new", run=3, recv_ns=NOON)
    setup.trades(1)
    close(setup)
    assert setup.ids() == [1]
    assert setup.ears.heard == []
    assert old.read_text() == "old\n"
    assert len(samples_of(setup)) == 2


def test_a_defect_is_not_lost_in_a_thread(made: Callable[..., Setup]) -> None:
    """What the program does wrong ends the run with its name, instead of a silent loss."""
    setup = made()
    setup.recorder.trades(trades([1]).select(["symbol"]), now_ns=NOON, marks={}, size=1, written=lambda _: None)
    setup.ears.wait_for("gone")
    close(setup)
    assert "UsageError" in setup.ears.heard[0][1]


def test_what_is_held_is_written_later_and_in_its_order(made: Callable[..., Setup]) -> None:
    """While the next attempt begins the journal's thread is left alone; then rows come as they were handed over."""
    setup = made()
    setup.recorder.hold()
    setup.trades(1)
    setup.recorder.in_turn(setup.trades, 2)
    setup.recorder.hold()
    setup.trades(3)
    setup.flushed()
    assert setup.written == []
    setup.recorder.let_go()
    setup.trades(4)
    setup.flushed()
    assert len(setup.written) == 4
    close(setup)
    assert setup.ids() == [1, 2, 3, 4]


def test_what_is_held_at_the_end_is_written(made: Callable[..., Setup]) -> None:
    """A run that ends within a hold loses nothing."""
    setup = made()
    setup.recorder.hold()
    setup.trades(1)
    setup.recorder.in_turn(setup.trades, 2)
    close(setup)
    assert setup.ids() == [1, 2]


def test_a_defect_in_what_is_held_is_told_and_costs_nothing_else(made: Callable[..., Setup]) -> None:
    """Whoever lets go hears of it, and the rows behind it are written."""

    def defect() -> None:
        raise RuntimeError("a defect")

    setup = made()
    setup.recorder.hold()
    setup.trades(1)
    setup.recorder.in_turn(defect)
    setup.trades(2)
    with pytest.raises(RuntimeError, match="a defect"):
        setup.recorder.let_go()
    setup.trades(3)
    close(setup)
    assert setup.ids() == [1, 2, 3]


def test_closing_leaves_no_thread(made: Callable[..., Setup]) -> None:
    """After the end there are as many threads as before; what comes late is not written and breaks nothing."""
    before = threading.active_count()
    setup = made()
    setup.trades(1)
    close(setup)
    assert threading.active_count() == before
    setup.event(12)
    setup.trades(2)
    assert setup.ids() == [1]
