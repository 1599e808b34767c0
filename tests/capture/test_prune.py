"""Pruning: what is left and what is written down are together what was there; no reader and no crash ever sees less."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.faulty import DyingDisk, PowerCut, RefusingDisk
from tests.capture.made import MIDNIGHT, NOON, SECOND
from tests.capture.recorded import NoSync, Recorded, trade_rows
from tests.capture.test_reader import WatchedDisk
from wsresearch.capture import rows as rows_module
from wsresearch.capture import scan as scan_module
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.prune import KEPT, Pruning, prune
from wsresearch.capture.pruned import read_pruned
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import Recovered, recover, seal
from wsresearch.capture.verify import VerifyReport, verify
from wsresearch.capture.writer import CaptureWriter
from wsresearch.collect.resume import past_of
from wsresearch.errors import CaptureBusy, CaptureDamaged, CaptureTooNew, NotACapture, UsageError
from wsresearch.notebook.inventory import Inventory
from wsresearch.schema import TableName

TRADES = TableName.TRADES
WHEN = datetime(2026, 11, 30, tzinfo=UTC)
GOES = 6
"""Segments of the sample that may go; `KEPT` more stay."""
ALL = [*range(1, 6), *range(8, 46)]
"""Ids of the sample: two a segment, but for one that begins with a hole."""
LEFT = ALL[2 * GOES - 1 :]


def at(second: int) -> datetime:
    return datetime.fromtimestamp(NOON // SECOND + second, UTC)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of 22 sealed segments, two seconds each, with a hole that was told, events and stats."""
    capture = Recorded(tmp_path_factory.mktemp("sample") / "btc", rows=2)
    capture.event("run_started")
    capture.trade(5)
    capture.next_id = 8
    capture.event("hole", symbol="BTCUSDT", first_id=6, last_id=7, cause="outage")
    capture.rotate()
    capture.trade(38)
    capture.second(trades=43)
    capture.event("stopped")
    capture.stop()
    assert len(capture.layout.parquets(TRADES)) == GOES + KEPT
    return capture.root


@pytest.fixture
def root(sample: Path, tmp_path: Path) -> Path:
    """A copy of the sample."""
    return copied(sample, tmp_path / "btc")


def copied(sample: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(sample, to)
    return to


def go(root: Path, **given: Any) -> Pruning:
    """Prune as much as may go."""
    return prune(root, **{"before": at(1_000), "yes": True, "now": WHEN, "disk": NoSync(), "patience": 0.0} | given)


def ids(root: Path) -> list[int]:
    found: list[int] = Reader(root).trades(columns=["trade_id"])["trade_id"].to_pylist()
    return found


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def proof(report: VerifyReport) -> tuple[Any, ...]:
    """What a capture proves, whatever was pruned: ids, holes, duplicates, problems, and rows, there or removed."""
    removed = {} if report.pruned is None else report.pruned.symbols
    symbols = {
        symbol: replace(known, rows=known.rows + (removed[symbol].rows if symbol in removed else 0))
        for symbol, known in report.symbols.items()
    }
    rows = report.rows + (0 if report.pruned is None else report.pruned.rows)
    return rows, report.duplicates, symbols, report.holes, report.problems


# -- what goes and what stays -----------------------------------------------------------------------------------------


def test_what_goes_is_told_and_what_was_told_goes(root: Path) -> None:
    """Without `yes` nothing changes; with it, exactly the files told go, and the record is the only new file."""
    before, proven = tree(root), proof(verify(root))
    told = prune(root, before=at(1_000))
    assert tree(root) == before
    assert (told.done, told.segments, told.rows, told.removed) == (False, GOES, 11, 0)
    assert (told.first, told.last) == (at(0), at(10))
    assert told.symbols["BTCUSDT"].ends == (1, 13)
    assert told.stopped is not None
    assert f"the newest {KEPT}" in told.stopped
    done = go(root)
    assert done == replace(told, done=True, removed=GOES, freed_bytes=told.size_bytes)
    after = tree(root)
    gone = {name for name in before if name not in after}
    assert gone == {f"trades/date=2026-11-23/{Segment(TRADES, number)}.parquet" for number in range(1, GOES + 1)}
    assert done.freed_bytes == sum(len(before[name]) for name in gone)
    assert set(after) - set(before) == {"pruned.json"}
    assert all(before[name] == content for name, content in after.items() if name in before)
    assert ids(root) == LEFT
    assert proof(verify(root)) == proven


def test_the_proof_goes_on(root: Path) -> None:
    """`verify` says what went, in a note and in JSON; holes within what went are still told and still confirmed."""
    go(root)
    report = verify(root)
    assert report.ok
    assert (report.rows, report.segments) == (len(LEFT), KEPT + 3)
    (note,) = report.notes
    assert note == (
        "11 trades of 6 segments, received until 2026-11-23 12:00:10 UTC, were removed by `prune`, last on 2026-11-30; "
        "ids BTCUSDT 1 to 13"
    )
    document = json.loads(json.dumps(report.as_json()))
    assert document["holes"] == [{"symbol": "BTCUSDT", "first_id": 6, "last_id": 7}]
    assert document["symbols"] == {"BTCUSDT": {"first_id": 1, "last_id": 45, "rows": len(LEFT), "missing": 2}}
    assert document["pruned"] == {
        "at": "2026-11-30T00:00:00+00:00",
        "segments": 6,
        "rows": 11,
        "bytes": report.pruned.size_bytes if report.pruned else None,
        "first": "2026-11-23T12:00:00+00:00",
        "last": "2026-11-23T12:00:10+00:00",
        "symbols": {"BTCUSDT": {"first_id": 1, "last_id": 13, "rows": 11}},
    }


def test_doing_it_again_changes_nothing(root: Path) -> None:
    """What is gone is gone, and nothing counts twice."""
    go(root)
    before = tree(root)
    again = go(root, now=WHEN + timedelta(days=1))
    assert (again.segments, again.rows, again.removed) == (0, 0, 0)
    assert tree(root) == before


@settings(max_examples=8, deadline=None)
@given(limits=st.lists(st.integers(-1, 50), min_size=1, max_size=4))
def test_whatever_is_pruned_whatever_often_all_is_told(
    sample: Path, tmp_path_factory: pytest.TempPathFactory, limits: list[int]
) -> None:
    """Record and rows together are what was there; only what is older than the latest limit goes, oldest first."""
    root = copied(sample, tmp_path_factory.mktemp("often") / "btc")
    proven, all_ids = proof(verify(root)), ids(root)
    for limit in limits:
        go(root, before=at(limit))
        left, record = ids(root), read_pruned(Layout(root))
        assert left == all_ids[len(all_ids) - len(left) :]
        removed = [] if record is None else [each for a, b in record.symbols["BTCUSDT"].eras[0].ids for each in (a, b)]
        assert (removed[-1] if removed else 0) + 1 in {left[0], left[0] - 2}
        assert proof(verify(root)) == proven
    # Receive times are those of the rows: 0, 1, 2, …; a segment goes if its last row is older.
    ends = [1, 3, 4, 6, 8, 10]
    assert len(all_ids) - len(left) == sum([2, 2, 1, 2, 2, 2][n] for n in range(GOES) if ends[n] < max(limits))


def test_how_much_stays_counts_back_from_the_newest_row(root: Path) -> None:
    """A capture of last year is not emptied by the calendar; the newest row of any table is where it ends."""
    assert Reader(root).trades(last="39s").num_rows == 39
    assert prune(root, keep="39s").segments == 2
    assert prune(root, keep="36s").before == at(7)
    assert prune(root, keep="3600s").segments == 0


def test_a_row_of_the_moment_itself_keeps_its_segment(root: Path) -> None:
    """`before` is a bound: what was received then or later stays."""
    assert prune(root, before=at(3)).segments == 1
    assert prune(root, before=at(4)).segments == 2


def test_wrong_use_is_one_clear_line(root: Path, tmp_path: Path) -> None:
    """Nothing goes unless exactly one bound is given, and it makes sense."""
    for wrong, said in (
        ({}, "give one of them"),
        ({"keep": "7d", "before": "2026-11-20"}, "give one of them"),
        ({"keep": "7 fortnights"}, "'7 fortnights'"),
        ({"before": "last week"}, "'last week'"),
        ({"before": datetime(2026, 11, 20)}, "time zone"),  # noqa: DTZ001 - that is the mistake
    ):
        with pytest.raises(UsageError, match=said):
            prune(root, yes=True, **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotACapture):
        prune(tmp_path / "nothing", keep="7d", yes=True)
    assert ids(root) == ALL


def test_nothing_was_sealed_yet(tmp_path: Path) -> None:
    """A capture without a row, and one with journals only: nothing goes, and nothing is written."""
    capture = Recorded(tmp_path / "btc", rows=2)
    for _ in range(2):
        before = tree(capture.root)
        assert go(capture.root).segments == 0
        assert go(capture.root, before=None, keep="1ms").segments == 0
        assert tree(capture.root) == before
        capture.trade(50)


def test_a_journal_or_an_index_ends_the_run(root: Path) -> None:
    """A segment that has not been retired is not touched, nor any after it: its recovery is to come."""
    layout = Layout(root)
    path = layout.index_path(Segment(TRADES, 3))
    path.write_bytes(b"")
    told = go(root)
    assert told.segments == 2
    assert told.stopped is not None
    assert str(Segment(TRADES, 3)) in told.stopped
    path.unlink()
    layout.journal_path(Segment(TRADES, 4)).write_bytes(b"")
    assert go(root).segments == 1
    assert ids(root) == ALL[5:]


def test_a_segment_that_could_not_be_sealed_ends_the_run(tmp_path: Path) -> None:
    """Its rows are in its journal alone, and those after it would leave a hole in the middle."""
    capture = Recorded(tmp_path / "btc", rows=2)
    capture.trade(2 * (KEPT + 5))
    capture.rotate()
    third = capture.finished.pop(2)
    capture.seal()
    told = go(capture.root)
    assert told.segments == 2
    assert told.stopped == f"{third} is not sealed yet"
    assert ids(capture.root) == capture.ids[4:]


def test_a_clock_that_stepped_back_ends_the_run(tmp_path: Path) -> None:
    """An old row behind a new one stays as long as the new one: what is left has no hole."""
    capture = Recorded(tmp_path / "btc", rows=1)
    for second in (0, 500, 1, 2, *range(600, 600 + KEPT)):
        capture.append(TRADES, trade_rows([capture.next_id], start=NOON + second * SECOND))
        capture.next_id += 1
    capture.stop()
    assert prune(capture.root, before=at(100)).segments == 1
    assert prune(capture.root, before=at(501)).segments == 4


def test_symlinks_are_not_followed(root: Path, tmp_path: Path) -> None:
    """A link in place of a file or a folder is not ours: what it leads to is neither read nor removed."""
    layout = Layout(root)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    third = layout.parquets(TRADES)[2]
    precious = elsewhere / third.name
    third.rename(precious)
    third.symlink_to(precious)
    (layout.table_dir(TRADES) / "date=2026-11-22").symlink_to(elsewhere)
    (elsewhere / "record").write_text("{}")
    layout.pruned.symlink_to(elsewhere / "record")
    done = go(root)
    assert done.removed == GOES - 1
    assert precious.exists()
    assert third.is_symlink()
    assert (elsewhere / "record").read_text() == "{}"
    record = read_pruned(layout)
    assert record is not None
    assert record.segments == ((1, 2), (4, 6))
    assert any("ids 5 to 8 are missing" in each or "ids 5" in each for each in verify(root).problems)


# -- damage -----------------------------------------------------------------------------------------------------------


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[40] ^= 4  # in its first page: its footer stands
    path.write_bytes(content)


def test_a_damaged_old_file_goes_and_is_told_for_good(root: Path) -> None:
    """Its ids were lost before and are lost after: `verify` is as little content, and says who removed what."""
    damaged(Layout(root).parquets(TRADES)[1])
    before = verify(root)
    told = go(root)
    assert told.segments == GOES
    assert told.problems[0].startswith(f"{Segment(TRADES, 2)} is damaged")
    after = verify(root)
    assert not after.ok
    assert (proof(after)[:4]) == proof(before)[:4]
    assert [each for each in after.problems if "was damaged when `prune` removed it" in each]
    assert "'BTCUSDT': ids 3 to 4 are missing and no event says so" in after.problems
    assert ids(root) == LEFT


def test_a_damaged_footer_is_judged_by_its_date(root: Path) -> None:
    """Nothing says when its rows are from but the folder it lies in: it goes when that day is over."""
    path = Layout(root).parquets(TRADES)[1]
    path.write_bytes(path.read_bytes()[:-100])
    assert go(root).segments == 1
    midnight = datetime.fromtimestamp(MIDNIGHT // SECOND, UTC)
    assert go(root, before=midnight).segments == GOES - 1
    assert not verify(root).ok


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "pruned.json"),
        (b"{}", "pruned.json"),
        (b"\xff\x00", "pruned.json"),
        (b'{"format_version": 1', "pruned.json"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(root: Path, content: bytes, said: str) -> None:
    """Reading, verifying and pruning say which file it is and what to do; nothing is changed."""
    go(root)
    Layout(root).pruned.write_bytes(content)
    before = tree(root)
    for call in (lambda: ids(root), lambda: verify(root), lambda: go(root), lambda: prune(root, keep="1s")):
        with pytest.raises(CaptureDamaged, match=said):
            call()  # type: ignore[no-untyped-call]
    assert Reader(root).events().num_rows == 3, "what needs no record is read"
    assert tree(root) == before


def test_a_record_of_a_later_version_is_left_alone(root: Path) -> None:
    """What a later program wrote down is not understood half."""
    go(root)
    path = Layout(root).pruned
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CaptureTooNew, match="format version 2"):
        ids(root)


def test_no_changed_digit_in_a_record_goes_unnoticed(root: Path) -> None:
    """Flip each digit: it cannot be read, or `verify` says something else; never the same with other ids."""
    go(root)
    path = Layout(root).pruned
    good, well = path.read_bytes(), verify(root)
    for place in [place for place, byte in enumerate(good) if chr(byte).isdigit()]:
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            report = verify(root)
        except (CaptureDamaged, CaptureTooNew):
            continue
        assert report.pruned is not None
        same = report.ok and report.holes == well.holes and report.symbols == well.symbols
        told = report.pruned.symbols["BTCUSDT"].eras[0].ids
        assert not same or told == ((1, 5), (8, 13)), good[place - 10 : place + 10]


def test_a_file_that_comes_back_is_not_read(root: Path, tmp_path: Path) -> None:
    """A backup put back over a pruned capture: nothing is twice, `verify` says so, and the next prune removes it."""
    saved = tmp_path / "saved"
    third = Layout(root).parquets(TRADES)[2]
    shutil.copy(third, saved)
    go(root)
    shutil.copy(saved, third)
    assert ids(root) == LEFT
    assert Reader(root).totals().trades == len(LEFT)
    report = verify(root)
    assert report.ok
    assert report.duplicates == 0
    assert any("run `wsresearch prune` again" in note for note in report.notes)
    assert go(root).removed == 1
    assert not third.exists()


def test_what_was_not_written_down_is_missing_as_ever(root: Path) -> None:
    """A segment behind the pruned ones removed by hand is a problem, and so is everything without the record."""
    go(root)
    layout = Layout(root)
    layout.parquets(TRADES)[0].unlink()
    problems = verify(root).problems
    assert any(f"the segments before {Segment(TRADES, GOES + 2)} are missing" in each for each in problems)
    assert "'BTCUSDT': ids 14 to 15 are missing and no event says so" in problems
    assert Inventory(layout).take() == ("segment 7 of trades is not there: what it held, if anything, is not shown",)
    layout.pruned.unlink()
    assert any("are missing: bring them back" in each for each in verify(root).problems)


def test_quarantine_is_not_touched_and_tells_the_same(root: Path) -> None:
    """What failed a check is never deleted; that it was made anew stays a note when the new one has gone."""
    layout = Layout(root)
    layout.quarantine_dir.mkdir(mode=0o700)
    for number in (2, 50):
        (layout.quarantine_dir / f"{Segment(TRADES, number)}.parquet.1").write_bytes(b"damaged")
    before = verify(root)
    go(root)
    after = verify(root)
    assert len(list(layout.quarantine_dir.iterdir())) == 2
    assert proof(after) == proof(before)
    assert set(before.notes) <= set(after.notes)


# -- several symbols, counts that begin anew, ids that are none -------------------------------------------------------


def test_the_proof_of_a_difficult_capture_is_the_same_before_and_after(tmp_path: Path) -> None:
    """Duplicates, late rows, a venue that counts anew, an absurd id, a second symbol: none is forgotten or invented."""
    capture = Recorded(tmp_path / "btc", rows=3)

    def add(numbers: list[int], symbol: str = "BTCUSDT") -> None:
        capture.append(TRADES, trade_rows(numbers, symbol=symbol, start=capture.now))
        capture.now += len(numbers) * SECOND

    add([100, 101, 102, 105])
    add([7, 8], "ETHUSDT")
    add([2**62])
    capture.append(TRADES, trade_rows([101], start=NOON + SECOND))
    add([103])
    capture.event("error", symbol="BTCUSDT", cause="ids_restarted")
    add([1, 2, 3])
    for number in range(4, 4 + 3 * (KEPT + 2)):
        add([number])
    add([10, 11], "ETHUSDT")
    capture.stop()
    proven = proof(verify(capture.root))
    assert proven[1] == 1
    assert len(proven[4]) > 1, "two holes that nobody told of, and a row that came twice"
    for second in (0, 6, 9, 12, 15, 100):
        go(capture.root, before=at(second))
        assert proof(verify(capture.root)) == proven
    assert len(Layout(capture.root).parquets(TRADES)) == KEPT


# -- crashes ----------------------------------------------------------------------------------------------------------


def settled(root: Path, proven: tuple[Any, ...]) -> None:
    """After whatever happened: readers see all, or what is to be left; doing it again ends it, and proves the same."""
    assert ids(root) in (ALL, LEFT)
    assert proof(verify(root)) == proven
    record = read_pruned(Layout(root))
    there = {number for number, _ in Layout(root).sealed(TRADES)}
    assert there | ({*range(1, GOES + 1)} if record else set()) == {*range(1, GOES + KEPT + 1)}
    assert recover(root, disk=NoSync()) == Recovered(), "a recovery has nothing to do with it"
    go(root)
    assert ids(root) == LEFT
    assert len(Layout(root).parquets(TRADES)) == KEPT
    assert proof(verify(root)) == proven
    assert sorted(path.name for path in root.iterdir() if path.is_file()) == ["capture.json", "pruned.json"]


@pytest.mark.parametrize("fault", ["dies", "refuses", "is full"])
def test_a_crash_at_any_call_leaves_a_file_or_its_record(sample: Path, tmp_path: Path, fault: str) -> None:
    """Every call to the disk in turn is the last, or fails: doing it again ends where it would have ended."""
    proven = proof(verify(sample))
    calls = 0
    for place in range(1, 100):
        root = copied(sample, tmp_path / "btc")
        disk = {"dies": DyingDisk, "refuses": lambda at: RefusingDisk(at, error=5), "is full": RefusingDisk}[fault](
            place
        )
        with suppress(PowerCut, OSError):
            go(root, disk=disk)
        if disk.calls < place:
            break
        calls += 1
        settled(root, proven)
    assert calls >= (7 if fault == "is full" else 7 + GOES)  # a full disk removes files all the same


# -- readers ----------------------------------------------------------------------------------------------------------


def test_between_any_two_steps_readers_see_all_or_what_is_left(root: Path) -> None:
    """Rows, totals, windows, coverage and a follower: whole, at every moment of a prune."""
    proven = proof(verify(root))
    reader = Reader(root)
    follow = reader.follow(backfill="1d")
    looks: list[int] = []

    def look() -> None:
        read = ids(root)
        assert read in (ALL, LEFT)
        assert reader.totals().trades == len(read)
        assert sum(batch.num_rows for batch in reader.batches()) == len(read)
        assert reader.trades(since=at(5)).num_rows in {len(ALL) - 5, len(LEFT)}
        assert proof(verify(root)) == proven
        follow.poll()
        assert follow.snapshot()["trade_id"].to_pylist() == ALL
        assert Inventory(Layout(root)).take() == ()
        looks.append(len(read))

    disk = WatchedDisk()
    disk.watch = look
    go(root, disk=disk)
    assert len(looks) > GOES + 3
    assert set(looks) == {len(ALL), len(LEFT)}


def _read(root: Path) -> list[int]:
    return ids(root)


def _stream(root: Path) -> list[int]:
    return [each for batch in Reader(root).batches(columns=["trade_id"]) for each in batch["trade_id"].to_pylist()]


def _backfill(root: Path) -> list[int]:
    found: list[int] = Reader(root).follow(backfill="1d").snapshot()["trade_id"].to_pylist()
    return found


def _totals(root: Path) -> list[int]:
    return ALL[len(ALL) - Reader(root).totals().trades :]


def _verified(root: Path) -> list[int]:
    report = verify(root)
    assert report.ok, report.problems
    assert (report.symbols["BTCUSDT"].first_id, report.symbols["BTCUSDT"].missing) == (1, 2)
    return ALL[len(ALL) - report.rows :]


@pytest.mark.parametrize(
    ("read", "cut_off"),
    [(_read, False), (_read, True), (_totals, False), (_stream, False), (_backfill, False), (_verified, False)],
)
def test_a_prune_at_every_step_of_a_read(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], list[int]], *, cut_off: bool
) -> None:
    """Wherever a reader is when a prune comes, or one that dies halfway: what it returns is of before, or of after."""
    left, action = -1, lambda: None

    def stepped(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                action()
            return call(*args, **kwargs)

        return step

    for owner, name in (
        (Layout, "journals"),
        (Layout, "sealed"),
        (scan_module, "read_pruned"),
        (scan_module, "hold"),
        (rows_module, "read_sealed"),
        (rows_module, "read_footer"),
        (verify.__globals__["places"].__globals__["Places"], "held"),
    ):
        monkeypatch.setattr(owner, name, stepped(getattr(owner, name)))
    monkeypatch.setitem(verify.__globals__, "sealed_rows", stepped(verify.__globals__["sealed_rows"]))
    found: list[list[int]] = []
    every, left_over = ALL, LEFT
    if cut_off:  # and a number is missing for good, so that all is listed twice, and one less goes
        every = [each for each in ALL if each not in {40, 41}]
        left_over = [each for each in every if each >= 12]
    for place in range(1, 100):
        root = copied(sample, tmp_path / "btc")
        for path in Layout(root).parquets(TRADES)[19:20] if cut_off else ():
            path.unlink()
        went_off = False

        def act(root: Path = root) -> None:
            nonlocal went_off
            went_off = True
            with suppress(PowerCut):
                go(root, disk=DyingDisk(10) if cut_off else NoSync())  # when two files have gone

        left, action = place, act
        found.append(read(root))
        left = -1
        assert found[-1] in (every, left_over), place
        if not went_off:
            break
        go(root)  # whoever held it has gone
        assert len(Layout(root).parquets(TRADES)) == KEPT
    assert every in found[:-1]
    assert left_over in found[:-1]


def test_a_stream_under_way_is_waited_for_and_in_the_end_left_alone(root: Path) -> None:
    """Who began before the prune reads all that was there, however late; who begins after it is not in its way."""
    stream = iter(Reader(root).batches(columns=["trade_id"]))
    got = next(stream)["trade_id"].to_pylist()
    told: list[str] = []
    first = go(root, patience=0.1, progress=told.append)
    assert first.held == Layout(root).parquets(TRADES)[0]
    assert first.removed == 0
    assert told[-1].startswith("waiting for a reader of trades-000000000001.parquet")
    assert ids(root) == LEFT
    later = iter(Reader(root).batches(columns=["trade_id"]))
    next(later)
    assert any("are still there" in note for note in verify(root).notes)
    got += [each for batch in stream for each in batch["trade_id"].to_pylist()]
    assert got == ALL
    del stream
    second = go(root)
    assert (second.held, second.removed, second.leftovers, second.segments) == (None, GOES, GOES, 0)


def test_a_stream_that_ends_lets_a_waiting_prune_go_on(root: Path) -> None:
    """It waits no longer than it must."""
    stream = Reader(root).batches()
    waiting = threading.Event()

    def progress(text: str) -> None:
        if text.startswith("waiting"):
            waiting.set()

    done: list[Pruning] = []
    thread = threading.Thread(target=lambda: done.append(go(root, patience=60.0, progress=progress)))
    thread.start()
    assert waiting.wait(30)
    del stream
    thread.join(30)
    assert done[0].removed == GOES


def test_two_prunes_at_once_are_refused(root: Path) -> None:
    """The second is told so; what the first does is not disturbed."""
    told: list[BaseException] = []

    def second(text: str) -> None:
        if not told:
            with pytest.raises(CaptureBusy, match="is being pruned") as refused:
                go(root)
            told.append(refused.value)

    assert go(root, progress=second).removed == GOES
    assert told
    assert ids(root) == LEFT


def test_a_reader_of_journals_alone_is_waited_for(tmp_path: Path) -> None:
    """No sealed file to hold: a stream that began before anything was sealed still reads all of it."""
    capture = Recorded(tmp_path / "btc", rows=2)
    capture.trade(2 * (KEPT + 4))
    stream = Reader(capture.root).batches(columns=["trade_id"])
    capture.rotate()
    capture.seal()
    assert go(capture.root).held == capture.layout.journal_dir
    assert [each for batch in stream for each in batch["trade_id"].to_pylist()] == capture.ids
    del stream
    assert go(capture.root).removed == 4


def test_a_follower_that_slept_through_a_prune_has_no_hole(tmp_path: Path) -> None:
    """Rows that were removed before it took them: what it holds is without a gap, and what it drops is counted."""
    capture = Recorded(tmp_path / "btc", rows=2)
    capture.trade(4)
    follow = Reader(capture.root).follow(backfill="1d")
    follow.poll()
    capture.trade(2 * (KEPT + 4))
    capture.rotate()
    capture.seal()
    go(capture.root)
    follow.poll()
    assert follow.snapshot()["trade_id"].to_pylist() == ids(capture.root)
    assert follow.counts.evicted == 4


def test_a_descriptor_is_given_back(root: Path) -> None:
    """A hold lasts as long as a read, also one that is given up halfway or never begun."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("no /proc here")
    reader = Reader(root)
    before = len(list(folder.iterdir()))
    for _ in range(3):
        reader.batches()
        next(iter(reader.batches()))
        reader.trades()
        reader.totals()
        verify(root)
    assert len(list(folder.iterdir())) <= before


# -- beside a collector -----------------------------------------------------------------------------------------------


def test_while_it_is_recorded(tmp_path: Path) -> None:
    """Appending, rotating, sealing and pruning in turn: always the newest, never a gap, and the proof is whole."""
    capture = Recorded(tmp_path / "btc", rows=2)
    removed = 0
    for _ in range(60):
        capture.trade(3)
        capture.seal()
        done = go(capture.root, before=None, keep="60s")
        removed += done.rows
        assert ids(capture.root) == capture.ids[removed:]
    assert removed > 0
    capture.stop()
    assert proof(verify(capture.root))[0] == 180
    assert verify(capture.root).ok


def test_numbers_are_used_once(root: Path) -> None:
    """A run that begins after everything else was removed by hand does not take numbers that readers leave out."""
    go(root)
    layout = Layout(root)
    for path in layout.parquets(TRADES):
        path.unlink()
    with CaptureWriter(root, on_finished=lambda segment: seal(layout, segment, disk=NoSync()), disk=NoSync()) as writer:
        writer.append(TRADES, trade_rows([1, 2]), now_ns=0)
    assert [number for number, _ in layout.sealed(TRADES)] == [GOES + 1]
    assert ids(root) == [1, 2]


def test_a_start_knows_what_it_knew(root: Path) -> None:
    """The newest segments, which the next run reads its marks from, are never among those that go."""
    before = past_of(root, now_ns=NOON, window=300.0)
    go(root)
    after = past_of(root, now_ns=NOON, window=300.0)
    assert after.numbers == before.numbers
    assert after.recent_trades == before.recent_trades
    assert after.marks == before.marks


def test_what_is_counted_against_the_trades_is_of_their_time(root: Path) -> None:
    """A rate is of the time of which there are trades: outages from before it would make an idle timeout look worse."""
    noticed = pa.table(
        {"began": pa.array([NOON, NOON + 10 * SECOND, NOON + 11 * SECOND], pa.timestamp("ns", tz="UTC"))}
    )
    reader = Reader(root)
    assert reader.pruned() is None
    assert reader.since_pruned(noticed, "began").num_rows == 3
    go(root)
    assert reader.pruned() == read_pruned(Layout(root))
    assert reader.since_pruned(noticed, "began").num_rows == 1


def test_only_the_owner_can_read_the_record(root: Path) -> None:
    """As every file of a capture."""
    go(root)
    assert Layout(root).pruned.stat().st_mode & 0o777 == 0o600
