"""Writing journals: every row once, where its date belongs, through rotation, midnight and a disk that refuses."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capture.faulty import DyingDisk, PowerCut, RefusingDisk
from tests.capture.made import MIDNIGHT, NOON, SECOND, events, ids, segments, stats, trades
from wsresearch.capture.append import FORMAT_KEY, SEGMENT_KEY
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.journal import read_segment
from wsresearch.capture.layout import Layout, Segment, Suffix
from wsresearch.capture.writer import AppendError, CaptureWriter, Rotation
from wsresearch.errors import UsageError
from wsresearch.schema import TIME_COLUMN, TableName

TRADES = TableName.TRADES


class QuickDisk(RealDisk):
    """The real disk without the waiting for it."""

    def fdatasync(self, descriptor: int) -> None:
        pass


def lengths(layout: Layout, table: TableName = TRADES) -> list[int]:
    return [rows.num_rows for rows in segments(layout, table).values()]


def dates(layout: Layout) -> list[set[int]]:
    """The days since 1970 of the rows of each segment."""
    return [
        {time.value // (86_400 * SECOND) for time in rows[TIME_COLUMN[TRADES]]}
        for rows in segments(layout, TRADES).values()
    ]


def test_a_row_is_there_for_every_reader_as_soon_as_append_returns(tmp_path: Path) -> None:
    """Nothing waits in memory: what was appended survives a kill of the process."""
    layout = Layout(tmp_path)
    with CaptureWriter(tmp_path) as writer:
        writer.append(TRADES, trades([1, 2]), now_ns=0)
        assert ids(layout) == [1, 2]
        writer.append(TRADES, trades([3]), now_ns=0)
        assert ids(layout) == [1, 2, 3]
        assert not read_segment(layout, Segment(TRADES, 1)).closed
    assert read_segment(layout, Segment(TRADES, 1)).closed


def test_a_reader_that_looks_between_any_two_writes_sees_no_damage(tmp_path: Path) -> None:
    """A message is there before its record: who watches live is never told of damage that is only unfinished."""
    layout, problems = Layout(tmp_path), []

    class WatchedDisk(QuickDisk):
        """A disk with a reader that looks after every write."""

        def write(self, descriptor: int, content: bytes | memoryview) -> None:
            super().write(descriptor, content)
            problems.extend(read_segment(layout, segment).problem for segment in layout.journals(TRADES))

    with CaptureWriter(tmp_path, rotation=Rotation(rows=3), disk=WatchedDisk()) as writer:
        for number in range(1, 6):
            writer.append(TRADES, trades([number]), now_ns=0)
    assert len(problems) > 18
    assert set(problems) == {None}


def test_tables_have_journals_of_their_own(tmp_path: Path) -> None:
    """Trades, events and stats are numbered apart and rotate apart."""
    with CaptureWriter(tmp_path) as writer:
        writer.append(TRADES, trades([1]), now_ns=0)
        writer.append(TableName.EVENTS, events([1, 2]), now_ns=0)
        writer.append(TableName.STATS, stats([5]), now_ns=0)
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == [
        f"{table}-000000000001{suffix}" for table in ("events", "stats", "trades") for suffix in (".arrows", ".idx")
    ]
    assert lengths(Layout(tmp_path), TableName.EVENTS) == [2]


def test_an_empty_batch_leaves_no_trace(tmp_path: Path) -> None:
    """There are no segments without rows."""
    with CaptureWriter(tmp_path, rotation=Rotation(rows=2)) as writer:
        writer.append(TRADES, trades([]), now_ns=0)
        assert list(tmp_path.iterdir()) == []
        writer.append(TRADES, trades([1, 2]), now_ns=0)
        writer.append(TRADES, trades([]), now_ns=0)
        writer.tick(10**15)
    assert lengths(Layout(tmp_path)) == [2]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.integers(1, 9), st.lists(st.integers(0, 20), max_size=8))
def test_segments_have_exactly_the_rows_asked_for(
    tmp_path_factory: pytest.TempPathFactory, limit: int, sizes: list[int]
) -> None:
    """A batch is split where a segment is full; rows keep their order."""
    root = tmp_path_factory.mktemp("rows")
    count = 0
    with CaptureWriter(root, rotation=Rotation(rows=limit), disk=QuickDisk()) as writer:
        for size in sizes:
            writer.append(TRADES, trades(range(count, count + size)), now_ns=0)
            count += size
    assert ids(Layout(root)) == list(range(count))
    assert lengths(Layout(root)) == [limit] * (count // limit) + ([count % limit] if count % limit else [])


def test_a_segment_ends_at_its_age_without_any_row_arriving(tmp_path: Path) -> None:
    """In a quiet market the rows of a segment become Parquet in time all the same."""
    finished: list[Segment] = []
    with CaptureWriter(tmp_path, rotation=Rotation(age=300), on_finished=finished.append) as writer:
        writer.append(TRADES, trades([1]), now_ns=10 * SECOND)
        writer.append(TRADES, trades([2]), now_ns=200 * SECOND)
        writer.tick(310 * SECOND - 1)
        assert finished == []
        writer.tick(310 * SECOND)
        assert finished == [Segment(TRADES, 1)]
        writer.tick(10_000 * SECOND)
        writer.append(TRADES, trades([3]), now_ns=10_001 * SECOND)
        writer.append(TRADES, trades([4]), now_ns=10_301 * SECOND)
    assert finished == [Segment(TRADES, number) for number in (1, 2, 3)]
    assert [rows["trade_id"].to_pylist() for rows in segments(Layout(tmp_path), TRADES).values()] == [[1, 2], [3], [4]]


def test_a_clock_set_back_does_not_keep_a_segment_open(tmp_path: Path) -> None:
    """After the clock was set back an hour, a segment still ends one age later."""
    finished: list[Segment] = []
    with CaptureWriter(tmp_path, rotation=Rotation(age=300), on_finished=finished.append) as writer:
        writer.append(TRADES, trades([1]), now_ns=4000 * SECOND)
        writer.tick(400 * SECOND)
        writer.tick(699 * SECOND)
        assert finished == []
        writer.tick(700 * SECOND)
        assert finished == [Segment(TRADES, 1)]


def test_a_batch_over_midnight_becomes_two_segments(tmp_path: Path) -> None:
    """A row lies under the UTC date of its own receive time, to the nanosecond."""
    with CaptureWriter(tmp_path) as writer:
        writer.append(TRADES, trades([1, 2, 3], times=[MIDNIGHT - 2, MIDNIGHT - 1, MIDNIGHT]), now_ns=0)
    found = segments(Layout(tmp_path), TRADES)
    assert [rows["trade_id"].to_pylist() for rows in found.values()] == [[1, 2], [3]]


@pytest.mark.parametrize("age", [1.0, 300.0])
def test_rows_out_of_order_around_midnight_do_not_shatter_into_segments(tmp_path: Path, age: float) -> None:
    """A thousand rows that jump over midnight and back, in one batch, cost two segments and keep their order."""
    times = [MIDNIGHT + (1 if number % 2 else -1) for number in range(1000)]
    with CaptureWriter(tmp_path, rotation=Rotation(age=age)) as writer:
        writer.append(TRADES, trades(range(1000), times=times), now_ns=0)
        writer.append(TRADES, trades([1001, 1002, 1003], times=[MIDNIGHT - 5, MIDNIGHT + 5, MIDNIGHT + 6]), now_ns=0)
    found = [rows["trade_id"].to_pylist() for rows in segments(Layout(tmp_path), TRADES).values()]
    # The second batch begins with the date that was being written.
    assert found == [list(range(0, 1000, 2)), [*range(1, 1000, 2), 1002, 1003], [1001]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.lists(st.sampled_from([-86_400, -1, 0, 1, 86_400]), max_size=6), max_size=6), st.integers(1, 4))
def test_whatever_the_order_no_segment_crosses_midnight(
    tmp_path_factory: pytest.TempPathFactory, seconds: list[list[int]], limit: int
) -> None:
    """Each row is there once, under its date; within a date the order is that of arrival."""
    root = tmp_path_factory.mktemp("midnight")
    count = 0
    by_day: dict[int, list[int]] = {}
    with CaptureWriter(root, rotation=Rotation(rows=limit), disk=QuickDisk()) as writer:
        for batch in seconds:
            times = [MIDNIGHT + second * SECOND for second in batch]
            numbers = list(range(count, count + len(batch)))
            writer.append(TRADES, trades(numbers, times=times), now_ns=0)
            for number, time in zip(numbers, times, strict=True):
                by_day.setdefault(time // (86_400 * SECOND), []).append(number)
            count += len(batch)
    layout = Layout(root)
    assert all(len(days) == 1 for days in dates(layout))
    assert all(length <= limit for length in lengths(layout))
    found: dict[int, list[int]] = {}
    for (day,), rows in zip(dates(layout), segments(layout, TRADES).values(), strict=True):
        found.setdefault(day, []).extend(rows["trade_id"].to_pylist())
    assert found == by_day


def test_times_before_1970_have_the_right_date_too(tmp_path: Path) -> None:
    """A machine whose clock stands at zero, or before it, still files every row under its date."""
    with CaptureWriter(tmp_path) as writer:
        writer.append(TRADES, trades([1, 2, 3], times=[-86_400 * SECOND - 1, -1, 0]), now_ns=0)
    assert dates(Layout(tmp_path)) == [{-2}, {-1}, {0}]


def test_a_segment_is_done_before_the_next_begins(tmp_path: Path) -> None:
    """Whoever sees a later segment may leave the one before for good."""
    layout = Layout(tmp_path)

    def carry(table: TableName) -> dict[bytes, bytes]:
        assert all(read_segment(layout, segment).closed for segment in layout.journals(table))
        return {}

    with CaptureWriter(tmp_path, rotation=Rotation(rows=3), carry=carry) as writer:
        for number in range(10):
            writer.append(TRADES, trades([number] * 2, times=MIDNIGHT + (number % 3 - 1) * SECOND), now_ns=0)
    assert len(ids(layout)) == 20


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    """A second run never writes into, or reuses the name of, what the first one left."""
    for run in range(3):
        with CaptureWriter(tmp_path) as writer:
            writer.append(TRADES, trades([run]), now_ns=0)
    assert [segment.number for segment in segments(Layout(tmp_path), TRADES)] == [1, 2, 3]
    layout = Layout(tmp_path)
    layout.quarantine_dir.mkdir()
    layout.journal_path(Segment(TRADES, 3)).rename(layout.quarantine_path(Segment(TRADES, 3), Suffix.JOURNAL))
    layout.index_path(Segment(TRADES, 3)).unlink()
    with CaptureWriter(tmp_path) as writer:
        writer.append(TRADES, trades([4]), now_ns=0)
    assert [segment.number for segment in segments(layout, TRADES)] == [1, 2, 4]


def test_what_is_carried_stands_in_every_segment(tmp_path: Path) -> None:
    """A reader of one segment learns from its schema what those before it established."""
    state = {"n": 0}

    def carry(table: TableName) -> dict[bytes, bytes]:
        state["n"] += 1
        return {b"marks": f"{table} {state['n']}".encode()}

    with CaptureWriter(tmp_path, rotation=Rotation(rows=1), carry=carry) as writer:
        writer.append(TRADES, trades([1, 2]), now_ns=0)
    for number in (1, 2):
        segment = Segment(TRADES, number)
        assert read_segment(Layout(tmp_path), segment).schema_metadata == {
            b"marks": f"trades {number}".encode(),
            SEGMENT_KEY: str(segment).encode(),
            FORMAT_KEY: b"1",
        }


@pytest.mark.parametrize("carried", [{b"\xff": b""}, {b"marks": b"\xc3\x28"}])
def test_metadata_that_other_readers_refuse_is_refused_at_once(tmp_path: Path, carried: dict[bytes, bytes]) -> None:
    """No file is begun that Polars or DuckDB could not open because of its metadata."""
    with CaptureWriter(tmp_path, carry=lambda _: carried) as writer, pytest.raises(UsageError, match="UTF-8"):
        writer.append(TRADES, trades([1]), now_ns=0)
    assert ids(Layout(tmp_path)) == []


def _invalid_text() -> pa.RecordBatch:
    batch = trades([1])
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    return batch.set_column(0, batch.schema.field(0), text)


def _without_time() -> pa.RecordBatch:
    batch = trades([1, 2])
    time = batch.schema.field("recv_time")
    return batch.set_column(7, time, pa.array([NOON, None], time.type))


@pytest.mark.parametrize(
    "make", [lambda: stats([1]), lambda: trades([1]).drop_columns(["side"]), _invalid_text, _without_time]
)
def test_a_batch_that_no_reader_would_take_is_refused_whole(tmp_path: Path, make: Callable[[], pa.RecordBatch]) -> None:
    """One bad batch never costs the rows after it: it does not get into the journal."""
    with CaptureWriter(tmp_path) as writer:
        writer.append(TRADES, trades([1]), now_ns=0)
        with pytest.raises(UsageError) as caught:
            writer.append(TRADES, make(), now_ns=0)
        assert "\n" not in str(caught.value)
        writer.append(TRADES, trades([2]), now_ns=0)
        assert ids(Layout(tmp_path)) == [1, 2]


@pytest.mark.parametrize("values", [{"age": 0}, {"age": float("nan")}, {"age": float("inf")}, {"rows": 0}])
def test_an_impossible_rotation_is_refused(values: dict[str, float]) -> None:
    """The value that makes no sense is named."""
    with pytest.raises(UsageError, match=str(next(iter(values.values())))):
        Rotation(**values)  # type: ignore[arg-type]


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    """A row after the end is refused, not lost; closing twice is closing once."""
    finished: list[Segment] = []
    writer = CaptureWriter(tmp_path, on_finished=finished.append)
    writer.append(TRADES, trades([1]), now_ns=0)
    writer.close()
    writer.close()
    writer.tick(10**18)
    assert finished == [Segment(TRADES, 1)]
    with pytest.raises(UsageError, match="closed"):
        writer.append(TRADES, trades([2]), now_ns=0)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_can_read_what_is_recorded(tmp_path: Path, umask: int) -> None:
    """Folders are 0700 and files 0600 whatever the umask of the process."""
    before = os.umask(umask)
    try:
        with CaptureWriter(tmp_path) as writer:
            writer.append(TRADES, trades([1]), now_ns=0)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes.pop("journal") == 0o700
    assert len(modes) == 2
    assert set(modes.values()) == {0o600}


def test_sync_reaches_the_disk_once_per_change(tmp_path: Path) -> None:
    """An idle capture does not keep the disk busy, and a new file's name is made durable with it."""
    done: list[str] = []

    class Listening(RealDisk):
        def fdatasync(self, descriptor: int) -> None:
            done.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix)

        def fsync_dir(self, path: Path) -> None:
            done.append(path.name)

    writer = CaptureWriter(tmp_path, disk=Listening())
    writer.sync()
    assert done == []
    writer.append(TRADES, trades([1]), now_ns=0)
    writer.sync()
    assert done == [".arrows", ".idx", "journal", tmp_path.name]
    writer.sync()
    assert len(done) == 4
    writer.append(TRADES, trades([2]), now_ns=0)
    writer.sync()
    assert done[4:] == [".arrows", ".idx"]
    writer.close()
    assert done[6:] == [".arrows", ".idx"]


def test_a_capture_that_is_removed_while_it_is_written_is_noticed(tmp_path: Path) -> None:
    """A collector whose directory was deleted does not go on writing into nothing for days."""
    root = tmp_path / "capture"
    root.mkdir()
    writer = CaptureWriter(root)
    writer.append(TRADES, trades([1]), now_ns=0)
    for path in (root / "journal").iterdir():
        path.unlink()
    (root / "journal").rmdir()
    root.rmdir()
    with pytest.raises(FileNotFoundError, match="removed while it was written"):
        writer.sync()
    with pytest.raises(FileNotFoundError):
        writer.append(TRADES, trades([2]), now_ns=0)
    writer.close()


# -- a disk that refuses ------------------------------------------------------------------------------------------


def _story(writer: CaptureWriter, append: Callable[[pa.RecordBatch, int], None]) -> None:
    """Rotation by rows and by age, midnight both ways, syncs and the end, in few rows."""
    append(trades([1, 2]), 0)
    writer.sync()
    append(trades([3, 4, 5, 6, 7, 8]), SECOND)
    append(trades([9, 10, 11], times=[MIDNIGHT - 1, MIDNIGHT, MIDNIGHT - 1]), 2 * SECOND)
    writer.tick(500 * SECOND)
    append(trades([12]), 501 * SECOND)
    writer.sync()
    append(trades([13]), 1000 * SECOND)
    writer.close()


ROTATION = Rotation(age=300, rows=3)


def _calls(tmp_path: Path) -> int:
    disk = RefusingDisk(at=-1, times=0)
    writer = CaptureWriter(tmp_path / "count", rotation=ROTATION, disk=disk)
    (tmp_path / "count").mkdir()
    _story(writer, lambda batch, now: writer.append(TRADES, batch, now_ns=now))
    return disk.calls


def _stubbornly(call: Callable[[], None]) -> None:
    """Try again as a collector does, as often as a disk of these tests refuses."""
    for _ in range(4):
        with suppress(OSError):
            return call()
    raise AssertionError("still refused")


class Stubborn(CaptureWriter):
    """A writer whose owner tries again."""

    def tick(self, now_ns: int) -> None:
        _stubbornly(lambda: super(Stubborn, self).tick(now_ns))

    def sync(self) -> None:
        _stubbornly(super().sync)

    def close(self) -> None:
        _stubbornly(super().close)


@pytest.mark.parametrize(
    ("times", "error", "half"),
    [(1, errno.ENOSPC, True), (3, errno.ENOSPC, True), (1, errno.EIO, False), (3, errno.EIO, True)],
)
def test_a_disk_that_refuses_any_call_costs_no_row(tmp_path: Path, half: bool, times: int, error: int) -> None:
    """Full or failing disk at every possible moment: appended again what was refused, each row is there once."""
    for at in range(1, _calls(tmp_path) + 1):
        root = tmp_path / f"{at}"
        root.mkdir()
        disk = RefusingDisk(at=at, times=times, error=error, half=half)
        finished: list[Segment] = []
        writer = Stubborn(root, rotation=ROTATION, disk=disk, on_finished=finished.append)
        layout = Layout(root)

        told: list[tuple[int, int]] = []

        def append(
            batch: pa.RecordBatch,
            now: int,
            writer: CaptureWriter = writer,
            layout: Layout = layout,
            told: list[tuple[int, int]] = told,
        ) -> None:
            rest, before = batch, ids(layout)

            def once() -> None:
                nonlocal rest
                try:
                    writer.append(TRADES, rest, now_ns=now)
                except AppendError as partly:
                    told.append((partly.recorded, rest.num_rows - partly.remaining.num_rows))
                    rest = partly.remaining
                    raise
                else:
                    rest = rest.slice(0, 0)
                finally:
                    # What was refused is not there, what was not refused is.
                    refused = rest["trade_id"].to_pylist()
                    taken = [number for number in batch["trade_id"].to_pylist() if number not in refused]
                    assert sorted(ids(layout)) == sorted(before + taken)

            _stubbornly(once)

        _story(writer, append)
        assert all(recorded == missing > 0 for recorded, missing in told)
        assert sorted(ids(layout)) == list(range(1, 14))
        assert finished == sorted(set(finished))
        assert set(finished) == set(segments(layout, TRADES))
        assert all(len(days) == 1 for days in dates(layout))
        if error == errno.ENOSPC:
            assert not [path for path in layout.journal_dir.iterdir() if path.stat().st_size == 0]


def test_a_full_disk_is_not_littered(tmp_path: Path) -> None:
    """Hours of trying on a full disk leave no heap of empty files, and recording goes on when space returns."""
    disk = RefusingDisk(at=8, times=400)
    writer = CaptureWriter(tmp_path, disk=disk)
    writer.append(TRADES, trades([1]), now_ns=0)
    refused = 0
    while disk.calls < 408:
        try:
            writer.append(TRADES, trades([2]), now_ns=0)
        except OSError:
            refused += 1
        else:
            break
    assert refused > 50
    writer.close()
    assert ids(Layout(tmp_path)) == [1, 2]
    assert len(list((tmp_path / "journal").iterdir())) <= 8


def test_a_segment_that_failed_to_sync_is_written_anew(tmp_path: Path) -> None:
    """After a failed fdatasync nobody knows what is on the disk, so the segment goes to be sealed at once."""
    finished: list[Segment] = []

    class Unsafe(RealDisk):
        broken = True

        def fdatasync(self, descriptor: int) -> None:
            if self.broken:
                raise OSError(errno.EIO, "Input/output error")

    disk = Unsafe()
    writer = CaptureWriter(tmp_path, on_finished=finished.append, disk=disk)
    writer.append(TRADES, trades([1]), now_ns=0)
    with pytest.raises(OSError, match="Input/output error"):
        writer.sync()
    assert finished == [Segment(TRADES, 1)]
    disk.broken = False
    writer.append(TRADES, trades([2]), now_ns=0)
    writer.close()
    assert finished == [Segment(TRADES, 1), Segment(TRADES, 2)]
    assert ids(Layout(tmp_path)) == [1, 2]


def test_one_tables_trouble_does_not_keep_the_others_from_their_turn(tmp_path: Path) -> None:
    """If one segment cannot be finished, every other one that is due still is."""
    finished: list[Segment] = []
    disk = RefusingDisk(at=10**9)
    writer = CaptureWriter(tmp_path, on_finished=finished.append, disk=disk)
    writer.append(TRADES, trades([1]), now_ns=0)
    writer.append(TableName.EVENTS, events([1]), now_ns=0)
    disk.at = disk.calls + 1
    with pytest.raises(OSError, match="No space"):
        writer.tick(300 * SECOND)
    assert finished == [Segment(TRADES, 1), Segment(TableName.EVENTS, 1)]
    assert ids(Layout(tmp_path)) == [1]


@pytest.mark.parametrize("half", [True, False])
def test_power_lost_at_any_call_leaves_exactly_the_rows_that_were_acknowledged(tmp_path: Path, half: bool) -> None:
    """Dead at every possible moment: readers see all rows for which append had returned, and one batch more at most."""
    for at in range(1, _calls(tmp_path) + 1):
        root = tmp_path / f"{half}-{at}"
        root.mkdir()
        writer = CaptureWriter(root, rotation=ROTATION, disk=DyingDisk(at=at, half=half))
        begun: list[int] = []
        done: list[int] = []

        def append(
            batch: pa.RecordBatch,
            now: int,
            writer: CaptureWriter = writer,
            begun: list[int] = begun,
            done: list[int] = done,
        ) -> None:
            begun += batch["trade_id"].to_pylist()
            writer.append(TRADES, batch, now_ns=now)
            done += batch["trade_id"].to_pylist()

        with pytest.raises(PowerCut):
            _story(writer, append)
        found = ids(Layout(root))
        assert len(found) == len(set(found))
        assert set(done) <= set(found) <= set(begun)
