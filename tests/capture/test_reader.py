"""Reading a capture while it is written, rotated, sealed and retired: no row missing, none twice, at any moment."""

from __future__ import annotations

import datetime as dt
import errno
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.made import MIDNIGHT, NOON, SECOND
from tests.capture.recorded import NoSync, Recorded, trade_rows
from wsresearch.capture import follow as follow_module
from wsresearch.capture import reader as reader_module
from wsresearch.capture import rows as rows_module
from wsresearch.capture import sealed as sealed_module
from wsresearch.capture.identity import create_identity
from wsresearch.capture.journal import Follower
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.reader import Reader, Totals
from wsresearch.capture.seal import seal
from wsresearch.capture.writer import CaptureWriter, Rotation
from wsresearch.errors import CaptureDamaged, CaptureError, CaptureTooNew, NotACapture, UsageError
from wsresearch.schema import EVENTS, STATS, TRADES, TableName

HOUR = 3600


class Unretiring(NoSync):
    """A disk on which nothing can be removed: every seal ends between its rename and the retiring of the journal."""

    __slots__ = ()

    def unlink(self, path: Path) -> None:
        if path.suffix in {".arrows", ".idx"}:
            return
        super().unlink(path)


def damage(path: Path) -> None:
    """Flip one bit of a data page."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def ids(table: pa.Table) -> list[int]:
    return table["trade_id"].to_pylist() if table.num_columns else []


class WatchedDisk(NoSync):
    """Calls `watch` after every change that a writer or sealer makes to the disk, wherever it is in its work."""

    __slots__ = ("watch",)

    def __init__(self) -> None:
        self.watch: Callable[[], None] = lambda: None

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self.watch()
        return descriptor

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        half = len(memoryview(content).cast("B")) // 2
        super().write(descriptor, memoryview(content).cast("B")[:half])
        self.watch()
        super().write(descriptor, memoryview(content).cast("B")[half:])
        self.watch()

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.watch()

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.watch()

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self.watch()


def test_every_moment_of_an_hour_of_rotation(tmp_path: Path) -> None:
    """An hour of virtual time: whoever reads or polls between any two steps of the disk sees every row once."""
    disk = WatchedDisk()
    capture = Recorded(tmp_path / "btc", age=300, disk=disk)
    reader = Reader(capture.root)
    follow = reader.follow()
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        read = ids(reader.trades(columns=["trade_id"]))
        follow.poll()
        # The batch being appended counts from its record on, which is the last thing written.
        assert read in (list(range(1, recorded + 1)), list(range(1, capture.next_id)))
        assert ids(follow.snapshot()) == list(range(1, len(follow) + 1))
        assert len(follow) >= recorded

    recorded = 0
    disk.watch = look
    while capture.now < NOON + HOUR * SECOND:
        capture.trade(5, step=6 * SECOND)
        recorded = capture.next_id - 1
        capture.seal()
    capture.stop()
    assert looks > 500
    assert recorded == 600
    assert ids(reader.trades()) == ids(follow.snapshot()) == list(range(1, 601))
    assert follow.poll() == 0
    assert reader.totals().segments == 12
    assert all(segment.sealed for segment in reader.segments(TableName.TRADES))


class Steps:
    """Runs an action before the n-th time that a reader asks the disk anything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        self.action: Callable[[], None] = lambda: None
        for owner, name in (
            (Layout, "journals"),
            (Layout, "sealed"),
            (rows_module, "Follower"),
            (follow_module, "Follower"),
            (rows_module, "read_sealed"),
            (rows_module, "read_footer"),
            (follow_module, "segment_rows"),
            (sealed_module.pq, "ParquetFile"),
            (Follower, "poll"),
        ):
            monkeypatch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            # Between two calls a reader only computes, so before each is wherever it can be interrupted.
            self._step()
            return call(*args, **kwargs)

        return stepped

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            action, self.action = self.action, lambda: None
            action()

    @contextmanager
    def armed(self, step: int, action: Callable[[], None]) -> Iterator[None]:
        """Let the action go off at call number `step` from now, if there are so many."""
        self.left, self.action = step, action
        yield
        self.left = -1


def _append(capture: Recorded) -> None:
    capture.trade(2)


def _seal(capture: Recorded) -> None:
    capture.seal()


def _rotate(capture: Recorded) -> None:
    capture.trade(1)
    capture.rotate()
    capture.trade(1)


def _rotate_and_seal(capture: Recorded) -> None:
    capture.trade(1)
    capture.rotate()
    capture.seal()
    capture.trade(1)


def _rotate_often(capture: Recorded) -> None:
    for _ in range(2):
        _rotate_and_seal(capture)
    capture.rotate()


def _seal_without_retiring(capture: Recorded) -> None:
    capture.disk = Unretiring()
    capture.seal()


def _stop(capture: Recorded) -> None:
    capture.stop()


ACTIONS = [_append, _seal, _seal_without_retiring, _rotate, _rotate_and_seal, _rotate_often, _stop]


def every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[Recorded], None]
) -> Iterator[tuple[Recorded, Callable[[], AbstractContextManager[None]]]]:
    """Yield a fresh capture for each step at which the action can be set off, until a step is never reached."""
    steps = Steps(monkeypatch)
    went_off = [True]
    for step in range(1, 200):
        if not went_off.pop():
            assert step > 2, "nothing was interrupted"
            return
        capture = Recorded(tmp_path / str(step))
        capture.trade(3)
        capture.rotate()
        capture.seal()
        capture.trade(3)
        capture.rotate()
        capture.trade(3)
        went_off[:] = [False]

        def act(capture: Recorded = capture) -> None:
            went_off[:] = [True]
            action(capture)

        yield capture, partial(steps.armed, step, act)
    raise AssertionError("a reader that asks the disk so often does not end")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_read_interrupted_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[Recorded], None]
) -> None:
    """Whatever happens between a reader's listings and its opening of files, it returns a whole prefix, once."""
    for capture, armed in every_step(tmp_path, monkeypatch, action):
        reader = Reader(capture.root)
        before = capture.ids
        with armed():
            read = ids(reader.trades())
        assert read == list(range(1, len(read) + 1))
        assert len(before) <= len(read) <= len(capture.ids)
        assert ids(reader.trades()) == capture.ids


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("backfill", [None, "1d"])
def test_a_follower_interrupted_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[Recorded], None], backfill: str | None
) -> None:
    """The same for the start of a follower: from then on nothing is missing and nothing comes twice."""
    for capture, armed in every_step(tmp_path, monkeypatch, action):
        before = len(capture.ids)
        with armed():
            follow = Reader(capture.root).follow(backfill=backfill)
        meanwhile = len(capture.ids)
        capture.restart_if_stopped()
        capture.trade(2)
        follow.poll()
        got = ids(follow.snapshot())
        assert got == capture.ids[len(capture.ids) - len(got) :]
        assert len(got) == len(capture.ids) if backfill else len(capture.ids) - meanwhile <= len(got)
        assert backfill or len(got) <= len(capture.ids) - before


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("before", [_append, _rotate, _rotate_and_seal])
def test_a_poll_interrupted_at_every_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[Recorded], None],
    before: Callable[[Recorded], None],
) -> None:
    """And for each poll of a follower that is under way, with or without rotations it did not see before."""
    for capture, armed in every_step(tmp_path, monkeypatch, action):
        follow = Reader(capture.root).follow()
        first = capture.next_id
        before(capture)
        with armed():
            follow.poll()
        follow.poll()
        assert ids(follow.snapshot()) == list(range(first, capture.next_id))
        assert follow.counts.added == capture.next_id - first


def test_a_listing_that_misses_a_segment_begun_meanwhile_leaves_no_hole_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory listing may return segment 3 and not 2, when both were begun while it ran: then it is asked again."""
    capture = Recorded(tmp_path / "btc")
    for _ in range(3):
        capture.trade(2)
        capture.rotate()
    real = Layout.journals
    listings = []

    def torn(self: Layout, table: TableName) -> list[Segment]:
        listings.append(table)
        return [segment for segment in real(self, table) if len(listings) > 1 or segment.number != 2]

    monkeypatch.setattr(Layout, "journals", torn)
    assert ids(Reader(capture.root).trades()) == capture.ids
    listings.clear()
    assert ids(Reader(capture.root).follow(backfill="1d").snapshot()) == capture.ids


def test_writer_sealer_and_readers_at_once(tmp_path: Path) -> None:
    """Real threads and real files, hundreds of segments: no reader ever sees a gap, a repeat or a step back."""
    capture = Recorded(tmp_path / "btc")
    todo: queue.Queue[Segment | None] = queue.Queue()
    writer = CaptureWriter(capture.root, rotation=Rotation(rows=20), on_finished=todo.put, disk=NoSync())
    done = threading.Event()
    wrong: list[str] = []
    reader = Reader(capture.root)
    follow = reader.follow()

    def seal_all() -> None:
        while (segment := todo.get()) is not None:
            seal(capture.layout, segment, disk=NoSync())

    def read() -> None:
        seen = 0
        while not done.is_set():
            found = ids(reader.trades(columns=["trade_id"]))
            if found != list(range(1, len(found) + 1)) or len(found) < seen:
                wrong.append(f"{len(found)} rows after {seen}")
            seen = len(found)
            follow.poll()

    sealer = threading.Thread(target=seal_all)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in (sealer, *readers):
        thread.start()
    for first in range(1, 2_000, 7):
        writer.append(TableName.TRADES, trade_rows(range(first, first + 7)), now_ns=NOON)
    writer.close()
    todo.put(None)
    sealer.join()
    done.set()
    for thread in readers:
        thread.join()
    follow.poll()
    assert wrong == []
    assert ids(reader.trades()) == ids(follow.snapshot()) == list(range(1, first + 7))
    assert reader.totals().segments > 90


def test_a_segment_with_journal_and_parquet_is_read_once(tmp_path: Path) -> None:
    """A crash between rename and retiring leaves both; a reader takes one."""
    capture = Recorded(tmp_path / "btc", disk=Unretiring())
    capture.trade(5)
    capture.stop()
    assert capture.layout.journals(TableName.TRADES)
    assert capture.layout.parquets(TableName.TRADES)
    reader = Reader(capture.root)
    assert ids(reader.trades()) == capture.ids
    assert reader.totals().trades == 5


def test_a_damaged_parquet_file_is_read_from_its_journal_while_that_is_there(tmp_path: Path) -> None:
    """Until a recovery rebuilds the file, nothing is lost: the journal still has every row."""
    capture = Recorded(tmp_path / "btc", disk=Unretiring())
    capture.trade(5)
    capture.stop()
    damage(capture.layout.parquets(TableName.TRADES)[0])
    reader = Reader(capture.root)
    assert ids(reader.trades()) == ids(reader.trades(last="1h")) == capture.ids
    assert reader.totals().trades == 5


def test_a_damaged_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Leaving rows out would falsify a result, so a reader refuses, says which file it is and what to do."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    capture.stop()
    path = capture.layout.parquets(TableName.TRADES)[0]
    damage(path)
    reader = Reader(capture.root)
    with pytest.raises(CaptureDamaged, match="wsresearch verify") as caught:
        reader.trades()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"PAR1")
    with pytest.raises(CaptureDamaged, match=path.name):
        Reader(capture.root).totals()


def test_a_journal_that_the_disk_keeps_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input/output error in a journal ends its prefix for the moment: that must not look like the end."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    reader = Reader(capture.root)
    follow = reader.follow()
    capture.trade(2)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", broken)
        with pytest.raises(CaptureError, match="Input/output error"):
            reader.trades()
        with pytest.raises(CaptureError, match="Input/output error"):
            follow.poll()
    assert follow.poll() == 2
    assert ids(reader.trades()) == capture.ids


def test_two_files_of_one_segment_are_refused(tmp_path: Path) -> None:
    """A copy in another date folder would double its rows: an error names both files."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    capture.stop()
    path = capture.layout.parquets(TableName.TRADES)[0]
    other = path.parent.with_name("date=2026-11-24") / path.name
    other.parent.mkdir()
    shutil.copy(path, other)
    with pytest.raises(CaptureDamaged, match=r"date=2026-11-23.*date=2026-11-24"):
        Reader(capture.root).trades()


def test_a_directory_that_has_gone_is_no_empty_capture(tmp_path: Path) -> None:
    """A removed capture raises; it does not look like one in which nothing happened."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    reader = Reader(capture.root)
    follow = reader.follow()
    shutil.rmtree(capture.root)
    for call in (reader.trades, reader.totals, follow.poll, lambda: reader.events(last="1min")):
        with pytest.raises(NotACapture, match="moved or removed"):
            call()


def test_what_is_no_capture_or_too_new_is_refused_untouched(tmp_path: Path) -> None:
    """A folder without ``capture.json``, and one of a later format, are refused when the reader is made."""
    with pytest.raises(NotACapture):
        Reader(tmp_path)
    with pytest.raises(NotACapture):
        Reader(tmp_path / "nowhere")
    capture = Recorded(tmp_path / "btc")
    text = capture.layout.identity.read_text().replace('"format_version": 1', '"format_version": 99')
    capture.layout.identity.write_text(text)
    with pytest.raises(CaptureTooNew):
        Reader(capture.root)


def test_reading_changes_nothing_in_the_capture(tmp_path: Path) -> None:
    """Not a file is made, touched or locked, by any method."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    capture.rotate()
    capture.seal()
    capture.trade(5)

    def state() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.rglob("*"))

    before = state()
    reader = Reader(capture.root)
    reader.trades(last="1s")
    reader.events()
    reader.stats()
    reader.totals()
    with reader.follow(backfill=60) as follow:
        follow.poll()
    assert state() == before


def test_live_and_sealed_rows_have_one_schema(tmp_path: Path) -> None:
    """Tables have the declared columns, sealed or live or empty, without metadata."""
    capture = Recorded(tmp_path / "btc")
    reader = Reader(capture.root)
    assert (reader.trades().schema, reader.events().schema, reader.stats().schema) == (TRADES, EVENTS, STATS)
    capture.trade(2)
    capture.event("opened")
    capture.second(trades=2)
    capture.rotate()
    capture.seal()
    capture.trade(2)
    assert reader.trades().num_rows == 4
    for table, schema in ((reader.trades(), TRADES), (reader.events(), EVENTS), (reader.stats(), STATS)):
        assert table.schema.equals(schema, check_metadata=True)
    assert reader.trades(columns=["price", "trade_id"]).schema == pa.schema(
        [TRADES.field("price"), TRADES.field("trade_id")]
    )
    assert reader.events()["kind"].to_pylist() == ["opened"]
    assert reader.identity.symbols == ("BTCUSDT",)


def test_windows_cut_sealed_and_live_rows_alike(tmp_path: Path) -> None:
    """``since`` is included, ``until`` is not, whatever the row lies in."""
    capture = Recorded(tmp_path / "btc", rows=7)
    capture.trade(40)
    capture.seal()
    reader = Reader(capture.root)
    times = reader.trades()["recv_time"]
    for first, last in ((0, 40), (3, 3), (3, 4), (6, 8), (10, 39), (20, 40), (36, 40)):
        until = times[last] if last < 40 else "2026-11-24"
        assert ids(reader.trades(since=times[first], until=until)) == capture.ids[first:last]
    assert ids(reader.trades(until="2026-11-23 12:00:02")) == [1, 2]
    assert ids(reader.trades(since=dt.datetime(2026, 11, 23, 12, 0, 38, tzinfo=dt.UTC))) == [39, 40]


def test_last_counts_back_from_the_newest_row_of_the_whole_capture(tmp_path: Path) -> None:
    """In an outage stats go on: the last minute then holds no trades, and the same cut holds for every table."""
    capture = Recorded(tmp_path / "btc", rows=5)
    capture.trade(20)
    capture.seal()
    reader = Reader(capture.root)
    assert ids(reader.trades(last="5s")) == [15, 16, 17, 18, 19, 20]
    assert ids(reader.trades(last=5)) == [15, 16, 17, 18, 19, 20]
    capture.event("lost")
    capture.now += 100 * SECOND
    capture.second()
    assert ids(reader.trades(last="1min")) == []
    assert reader.events(last="1min").num_rows == 0
    assert reader.stats(last="1min").num_rows == 1
    assert ids(reader.trades(last="105s")) == [16, 17, 18, 19, 20]
    assert Reader(Recorded(tmp_path / "empty").root).trades(last="1min").num_rows == 0


def test_symbols_are_chosen_in_either_case(tmp_path: Path) -> None:
    """One name or several, as the venue writes them or in lower case."""
    capture = Recorded(tmp_path / "btc")
    for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
        capture.append(TableName.TRADES, trade_rows([1, 2], symbol=symbol))
    capture.rotate()
    capture.seal()
    capture.append(TableName.TRADES, trade_rows([3], symbol="ETHUSDT"))
    reader = Reader(capture.root)
    assert set(reader.trades(symbols="btcusdt")["symbol"].to_pylist()) == {"BTCUSDT"}
    assert reader.trades(symbols=["ETHUSDT"], columns=["trade_id"])["trade_id"].to_pylist() == [1, 2, 3]
    assert reader.trades(symbols=["ethusdt", "BTCUSDT"]).num_rows == 7


def test_a_symbol_that_is_not_collected_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """A slip of the pen is no empty table; what capture.json names may be empty, what only a row names is there."""
    layout = Layout(tmp_path)
    create_identity(layout, venue="binance", symbols=["BTCUSDT", "SOLUSDT"], config={})
    with CaptureWriter(tmp_path) as writer:
        writer.append(TableName.TRADES, trade_rows([1, 2], symbol="BTCUSDT"), now_ns=NOON)
        writer.append(TableName.TRADES, trade_rows([3], symbol="ethusdt"), now_ns=NOON)
    reader = Reader(tmp_path)
    assert reader.trades(symbols="solusdt").equals(TRADES.empty_table())
    assert reader.batches(symbols="SOLUSDT").read_all().cast(TRADES).equals(TRADES.empty_table())
    assert reader.trades(symbols=["ethusdt"])["trade_id"].to_pylist() == [3]
    for ask in (reader.trades, reader.batches):
        with pytest.raises(UsageError, match="has no 'btcusd'; it has 'BTCUSDT', 'SOLUSDT', 'ethusdt'"):
            ask(symbols=["BTCUSDT", "btcusd"])
        for wrong in (3, [3], [], "", [""]):
            with pytest.raises(UsageError, match="symbols is"):
                ask(symbols=wrong)  # type: ignore[arg-type]


def test_batches_are_the_rows_of_trades_a_segment_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows in the same order, sealed and live; at most one segment is read ahead."""
    capture = Recorded(tmp_path)
    for _ in range(5):
        capture.trade(100)
        capture.rotate()
    capture.seal()
    capture.trade(10)
    reader = Reader(tmp_path)
    read: list[Segment] = []
    original = reader_module.segment_rows
    monkeypatch.setattr(
        reader_module,
        "segment_rows",
        lambda layout, place, **asked: read.append(place.segment) or original(layout, place, **asked),
    )
    batches = reader.batches(columns=["trade_id", "recv_time"])
    assert read == []
    assert batches.read_next_batch().num_rows == 100
    assert 1 <= len(read) <= 2
    assert reader.batches(columns=["trade_id"]).read_all().equals(reader.trades(columns=["trade_id"]))
    since = reader.trades()["recv_time"][250]
    # Symbols stay encoded, as they are stored; written out, all is the same.
    assert reader.batches(since=since, symbols="btcusdt").read_all().cast(TRADES).equals(reader.trades(since=since))
    with pytest.raises(UsageError, match="columns"):
        reader.batches(columns=["id"])


def test_damage_is_found_when_its_segment_is_reached(tmp_path: Path) -> None:
    """What is whole comes, and then the error that names the file: never a silent end."""
    capture = Recorded(tmp_path)
    for _ in range(2):
        capture.trade(100)
        capture.rotate()
    capture.seal()
    second = sorted(tmp_path.glob("trades/*/*.parquet"))[1]
    damage(second)
    batches = Reader(tmp_path).batches()
    assert batches.read_next_batch().num_rows == 100
    with pytest.raises(CaptureDamaged, match=second.name):
        batches.read_next_batch()


def test_rows_of_two_dates_come_in_the_order_recorded(tmp_path: Path) -> None:
    """A run across midnight reads as one, and a date is enough to ask for a day."""
    capture = Recorded(tmp_path / "btc")
    capture.now = MIDNIGHT - 3 * SECOND
    capture.trade(6)
    capture.stop()
    reader = Reader(capture.root)
    assert ids(reader.trades()) == [1, 2, 3, 4, 5, 6]
    assert ids(reader.trades(since="2026-11-24")) == [4, 5, 6]
    assert ids(reader.trades(until="2026-11-24")) == [1, 2, 3]


def test_only_segments_that_can_match_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last minutes of a capture of many segments cost the last segments: no other is opened for its rows."""
    capture = Recorded(tmp_path / "btc")
    for day in range(3):
        capture.now = NOON + day * 24 * HOUR * SECOND
        for _ in range(10):
            capture.trade(60)
            capture.rotate()
    capture.seal()
    opened: list[str] = []
    footers: list[str] = []

    def noting(names: list[str], call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(path: Path, *args: Any, **kwargs: Any) -> Any:
            names.append(path.name)
            return call(path, *args, **kwargs)

        return noted

    monkeypatch.setattr(rows_module, "read_sealed", noting(opened, rows_module.read_sealed))
    monkeypatch.setattr(rows_module, "read_footer", noting(footers, rows_module.read_footer))
    reader = Reader(capture.root)
    assert reader.trades(last="90s").num_rows == 91
    assert opened == [f"trades-{number:012d}.parquet" for number in (29, 30)]
    assert len(footers) == 10, "only the footers of the one date that can match"
    reader.trades(last="90s")
    assert len(footers) == 10, "a footer is read once"


def test_a_read_lists_each_table_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month leaves nine thousand names: one look tells where the end is, and where the rows are."""
    capture = Recorded(tmp_path / "btc")
    for _ in range(3):
        capture.trade(60)
        capture.rotate()
    capture.second()
    capture.seal()
    listed: list[TableName] = []
    real = Layout.sealed
    monkeypatch.setattr(Layout, "sealed", lambda self, table: listed.append(table) or real(self, table))
    reader = Reader(capture.root)
    assert reader.trades(since="2026-11-23").num_rows == 180
    assert listed == [TableName.TRADES]
    listed.clear()
    assert reader.trades(last="90s").num_rows == 90
    assert sorted(listed) == sorted(TableName)


@settings(max_examples=40, deadline=None)
@given(
    starts=st.lists(st.tuples(st.integers(-30, 30), st.booleans()), min_size=1, max_size=8),
    edges=st.tuples(st.integers(-32, 32), st.integers(0, 40)),
)
def test_a_clock_that_steps_back_hides_no_row(starts: list[tuple[int, bool]], edges: tuple[int, int]) -> None:
    """Whatever hours the connections were stamped with, days apart and in any order: a window has all of its rows."""
    with tempfile.TemporaryDirectory() as name:
        capture = Recorded(Path(name) / "btc")
        times: list[int] = []
        for hours, sealed in starts:
            capture.now = NOON + hours * HOUR * SECOND
            times += [capture.now + number * SECOND for number in range(3)]
            capture.trade(3)
            capture.rotate()
            if sealed:
                capture.seal()
        since = NOON + edges[0] * HOUR * SECOND + SECOND
        until = since + edges[1] * HOUR * SECOND
        window = [dt.datetime.fromtimestamp(edge // SECOND, tz=dt.UTC) for edge in (since, until)]
        wanted = [number for number, time in enumerate(times, start=1) if since <= time < until]
        assert ids(Reader(capture.root).trades(since=window[0], until=window[1])) == wanted


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"columns": ["trade_id", "size"]}, "size"),
        ({"columns": []}, "columns"),
        ({"columns": "price"}, "columns"),
        ({"columns": ["price", "price"]}, "columns"),
        ({"symbols": []}, "symbols"),
        ({"symbols": [""]}, "symbols"),
        ({"symbols": [7]}, "symbols"),
        ({"last": "soon"}, "soon"),
        ({"last": "1min", "since": "2026-11-23"}, "last alone"),
        ({"since": "noon"}, "noon"),
        ({"since": "2026-11-24", "until": "2026-11-23"}, "since"),
    ],
)
def test_wrong_use_is_one_clear_line(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    """A value that makes no sense is an error of the caller that quotes it."""
    reader = Reader(Recorded(tmp_path / "btc").root)
    with pytest.raises(UsageError, match=said) as caught:
        reader.trades(**wrong)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="orders"):
        reader.follow(table="orders")  # type: ignore[arg-type]


def test_totals_and_segments_without_reading_rows(tmp_path: Path) -> None:
    """What there is, from footers and indexes: rows, times, and which segments are still journals."""
    capture = Recorded(tmp_path / "btc", rows=4)
    reader = Reader(capture.root)
    assert reader.totals() == Totals()
    capture.trade(4)
    capture.trade(4)
    capture.seal()
    capture.trade(1)
    capture.trade(2)
    capture.event("opened")
    totals = reader.totals()
    assert (totals.trades, totals.events, totals.stats, totals.segments) == (11, 1, 0, 4)
    assert totals.size_bytes > 0
    found = reader.segments(TableName.TRADES)
    assert [known.rows for known in found] == [4, 4, 3]
    seconds = [(NOON // SECOND + first, NOON // SECOND + last) for first, last in ((0, 3), (4, 7), (8, 10))]
    assert [(known.first // SECOND, known.last // SECOND) for known in found if known.first and known.last] == seconds
    capture.stop()
    assert [known.sealed for known in reader.segments(TableName.TRADES)] == [True] * 3
    assert reader.totals().trades == 11
