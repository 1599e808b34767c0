"""Verifying: what is well is well, also after a crash and while a collector runs, and every planted defect is named."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.capture.faulty import RefusingDisk
from tests.capture.made import MIDNIGHT, NOON, SECOND, events, trades
from tests.capture.recorded import Recorded, trade_rows
from wsresearch.capture.guard import GUARD_BYTES
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.seal import recover, seal
from wsresearch.capture.verify import Hole, SymbolCoverage, VerifyReport, verify
from wsresearch.capture.writer import CaptureWriter
from wsresearch.errors import CaptureTooNew, NotACapture
from wsresearch.schema import TableName

TRADES = TableName.TRADES


def good(tmp_path: Path) -> Recorded:
    """A capture with an honest hole, a filled one, events and stats, over five sealed segments of trades."""
    capture = Recorded(tmp_path / "btc", rows=10)
    capture.event("run_started")
    capture.trade(25)
    capture.event("hole", symbol="BTCUSDT", first_id=26, last_id=29, cause="outage")
    capture.next_id = 30
    capture.trade(21)
    capture.event("hole", symbol="BTCUSDT", first_id=51, last_id=52)
    capture.append(TRADES, trade_rows([53, 51, 52], start=capture.now))
    capture.event("hole_filled", symbol="BTCUSDT", first_id=51, last_id=52)
    capture.second(trades=49)
    capture.event("stopped")
    capture.stop()
    return capture


def test_a_good_capture_is_well(tmp_path: Path) -> None:
    """Honest holes are no problem; the document has exactly the keys that other tools rely on."""
    capture = good(tmp_path)
    told: list[tuple[int, int]] = []
    report = verify(str(capture.root), progress=lambda done, of: told.append((done, of)))
    assert report.as_json() == {
        "ok": True,
        "rows": 49,
        "segments": 7,
        "duplicates": 0,
        "symbols": {"BTCUSDT": {"first_id": 1, "last_id": 53, "rows": 49, "missing": 4}},
        "holes": [{"symbol": "BTCUSDT", "first_id": 26, "last_id": 29}],
        "problems": [],
        "pruned": None,
    }
    assert json.loads(json.dumps(report.as_json())) == report.as_json()
    assert report.notes == ()
    assert report.holes == (Hole(symbol="BTCUSDT", first_id=26, last_id=29),)
    assert report.symbols["BTCUSDT"] == SymbolCoverage(first_id=1, last_id=53, rows=49, missing=4)
    assert told == [(number, 7) for number in range(1, 8)]


def test_a_symbol_that_never_came_is_told(tmp_path: Path) -> None:
    """Nothing is damaged, so all is well; but a venue says nothing of a symbol that it does not know."""
    root = tmp_path / "two"
    create_identity(Layout(root), venue="binance", symbols=["BTCUSDT", "DOGEUSDT"], config={})
    with CaptureWriter(root) as writer:
        writer.append(TRADES, trades([1, 2, 3]), now_ns=NOON)
    never = SymbolCoverage(first_id=None, last_id=None, rows=0, missing=0)
    report = verify(root)
    assert (report.ok, report.symbols["DOGEUSDT"]) == (True, never)
    assert report.notes == ("DOGEUSDT: no trade, ever, for no connection was ever opened",)
    opened = events([1])
    opened = opened.set_column(opened.schema.get_field_index("kind"), opened.schema.field("kind"), pa.array(["opened"]))
    with CaptureWriter(root) as writer:
        writer.append(TableName.EVENTS, opened, now_ns=NOON)
    report = verify(root)
    assert (report.ok, report.symbols["DOGEUSDT"]) == (True, never)
    assert report.notes == ("DOGEUSDT: no trade, ever: is the symbol right?",)


def sealed(capture: Recorded, number: int, table: TableName = TRADES) -> Path:
    return capture.layout.parquets(table)[number - 1]


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a sealed file anew with other rows, metadata and checksums right: only its neighbours give it away."""
    table = change(pq.ParquetFile(path).read())
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def flip_a_bit(capture: Recorded) -> None:
    path = sealed(capture, 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def cut_short(capture: Recorded) -> None:
    path = sealed(capture, 2)
    path.write_bytes(path.read_bytes()[:-100])


def empty_file(capture: Recorded) -> None:
    sealed(capture, 2).write_bytes(b"")


def first_magic(capture: Recorded) -> None:
    path = sealed(capture, 2)
    path.write_bytes(b"XXXX" + path.read_bytes()[4:])


def delete_in_the_middle(capture: Recorded) -> None:
    sealed(capture, 2).unlink()


def delete_the_first(capture: Recorded) -> None:
    sealed(capture, 1).unlink()


def delete_the_last(capture: Recorded) -> None:
    sealed(capture, 5).unlink()


def delete_all_trades(capture: Recorded) -> None:
    shutil.rmtree(capture.layout.table_dir(TRADES))


def delete_events(capture: Recorded) -> None:
    sealed(capture, 1, TableName.EVENTS).unlink()


def drop_an_event(capture: Recorded) -> None:
    rewrite(sealed(capture, 1, TableName.EVENTS), lambda table: pa.concat_tables([table[:2], table[3:]]))


def repeat_an_event(capture: Recorded) -> None:
    rewrite(sealed(capture, 1, TableName.EVENTS), lambda table: pa.concat_tables([table, table[2:3]]))


def repeat_rows(capture: Recorded) -> None:
    rewrite(sealed(capture, 2), lambda table: pa.concat_tables([table, table[3:6]]))


def drop_rows(capture: Recorded) -> None:
    rewrite(sealed(capture, 2), lambda table: pa.concat_tables([table[:4], table[6:]]))


def put_rows_into_a_hole(capture: Recorded) -> None:
    extra = pa.Table.from_batches([trade_rows([27], start=NOON)])
    rewrite(sealed(capture, 3), lambda table: pa.concat_tables([table, extra.cast(table.schema)]))


def wrong_date_folder(capture: Recorded) -> None:
    path = sealed(capture, 2)
    other = path.parent.with_name("date=2026-11-24")
    other.mkdir()
    path.rename(other / path.name)


def copy_in_another_folder(capture: Recorded) -> None:
    path = sealed(capture, 2)
    other = path.parent.with_name("date=2026-11-24")
    other.mkdir()
    shutil.copy(path, other / path.name)


def renamed_segment(capture: Recorded) -> None:
    path = sealed(capture, 5)
    path.rename(path.with_name("trades-000000000099.parquet"))


def another_table(capture: Recorded) -> None:
    shutil.copy(sealed(capture, 1, TableName.STATS), sealed(capture, 2))


def foreign_parquet(capture: Recorded) -> None:
    path = sealed(capture, 2)
    shutil.copy(path, path.with_name("copy of trades.parquet"))


def hidden_bytes(capture: Recorded) -> None:
    path = sealed(capture, 2)
    content = path.read_bytes()
    guard = len(content) - 8 - int.from_bytes(content[-8:-4], "little") - GUARD_BYTES
    path.write_bytes(content[:guard] + b"rows that no footer names" + content[guard:])


def newer_file(capture: Recorded) -> None:
    newer = {b"wsresearch.format_version": b"7"}
    rewrite(sealed(capture, 2), lambda table: table.replace_schema_metadata(dict(table.schema.metadata) | newer))


def only_in_quarantine(capture: Recorded) -> None:
    path = sealed(capture, 2)
    capture.layout.quarantine_dir.mkdir()
    path.rename(capture.layout.quarantine_dir / f"{path.name}.1")


def journal_in_quarantine(capture: Recorded) -> None:
    capture.layout.quarantine_dir.mkdir()
    (capture.layout.quarantine_dir / "trades-000000000002.arrows.1").write_bytes(b"damaged")


def linked_table(capture: Recorded) -> None:
    folder = capture.layout.table_dir(TableName.STATS)
    folder.rename(capture.root / "elsewhere")
    folder.symlink_to("elsewhere")


DEFECTS = [
    (flip_a_bit, r"date=2026-11-23/trades-000000000002.parquet: damaged"),
    (cut_short, r"trades-000000000002.parquet: damaged"),
    (empty_file, r"trades-000000000002.parquet: damaged"),
    (first_magic, r"trades-000000000002.parquet: does not begin and end"),
    (delete_in_the_middle, r"'BTCUSDT': ids 11 to 20 are missing and no event says so"),
    (delete_the_first, r"trades: the segments before trades-000000000002 are missing"),
    (delete_the_last, r"stats count 49 trades .* only 40 are stored"),
    (delete_all_trades, r"stats count 49 trades .* only 0 are stored"),
    (delete_events, r"'BTCUSDT': ids 26 to 29 are missing and no event says so"),
    (drop_an_event, r"events: rows with seq 3 to 3 are missing"),
    (repeat_an_event, r"events: 1 rows have a seq that was there before"),
    (repeat_rows, r"'BTCUSDT': 3 rows have an id that was there before"),
    (drop_rows, r"'BTCUSDT': ids 15 to 16 are missing and no event says so"),
    (put_rows_into_a_hole, r"'BTCUSDT': ids 27 to 27 are there although an event says they are missing"),
    (wrong_date_folder, r"holds rows of 2026-11-23 but lies in date=2026-11-24"),
    (copy_in_another_folder, r"date=2026-11-23 and date=2026-11-24 both hold trades-000000000002.parquet"),
    (renamed_segment, r"trades-000000000099.parquet: says inside that it is 'trades-000000000005'"),
    (another_table, r"its columns are not those of trades"),
    (foreign_parquet, r"copy of trades.parquet': is no file of this capture"),
    (hidden_bytes, r"trades-000000000002.parquet: holds bytes that none of its columns claims"),
    (newer_file, r"trades-000000000002.parquet: has format version '7'"),
    (only_in_quarantine, r"trades-000000000002: is only in quarantine"),
    (journal_in_quarantine, r"trades-000000000002: its damaged journal is in quarantine"),
    (linked_table, r"stats is a symbolic link"),
]


@pytest.mark.parametrize(("plant", "said"), DEFECTS, ids=[plant.__name__ for plant, _ in DEFECTS])
def test_a_planted_defect_is_named(tmp_path: Path, plant: Callable[[Recorded], None], said: str) -> None:
    """One defect, one line that names file, segment or ids; never an exception, and never "all is well"."""
    capture = good(tmp_path)
    plant(capture)
    report = verify(capture.root)
    assert not report.ok
    assert not report.as_json()["ok"]
    assert any(pa.compute.match_substring_regex(pa.array([problem]), said)[0].as_py() for problem in report.problems)
    assert all("\n" not in problem for problem in report.problems)


def test_rows_and_duplicates_are_counted_in_spite_of_defects(tmp_path: Path) -> None:
    """The numbers tell what is there: repeated rows count as rows, and as duplicates."""
    capture = good(tmp_path)
    repeat_rows(capture)
    report = verify(capture.root)
    assert (report.rows, report.duplicates) == (52, 3)


def killed(tmp_path: Path) -> Recorded:
    capture = Recorded(tmp_path / "btc", rows=10)
    capture.event("run_started")
    capture.trade(25)
    capture.second(trades=25)
    capture.kill()
    return capture


def test_a_capture_that_was_killed_is_well_before_and_after_the_next_start(tmp_path: Path) -> None:
    """SIGKILL leaves journals; they count in full, and recovery changes nothing of what is told."""
    capture = killed(tmp_path)
    before = verify(capture.root)
    assert before.ok
    recover(capture.root, disk=capture.disk)
    after = verify(capture.root)
    assert after.as_json() == before.as_json()
    capture.restart()
    capture.event("hole", symbol="BTCUSDT", first_id=26, last_id=29, cause="stop")
    capture.next_id = 30
    capture.trade(3)
    running = verify(capture.root)
    assert running.ok
    assert running.rows == 28
    assert running.holes == (Hole(symbol="BTCUSDT", first_id=26, last_id=29),)


@pytest.mark.parametrize("table", [TRADES, TableName.EVENTS])
def test_a_journal_cut_anywhere_in_its_last_append_is_well(tmp_path: Path, table: TableName) -> None:
    """Half a message, half a record: what a kill can leave is no problem, and the rows before it count."""
    capture = killed(tmp_path)
    segment = capture.layout.journals(table)[-1]
    with capture.layout.journal_path(segment).open("ab") as file:
        file.write(b"\xff\xff\xff\xff half of a message")
    for torn in (b"", b"half of a record"):
        with capture.layout.index_path(segment).open("ab") as file:
            file.write(torn)
        report = verify(capture.root)
        assert report.ok
        assert report.rows == 25


def test_damage_that_hides_good_rows_is_a_problem_and_damage_at_the_end_a_note(tmp_path: Path) -> None:
    """A flipped bit in the middle of a journal makes the batches behind it unreachable: that is said, with how many."""
    capture = Recorded(tmp_path / "btc")
    for _ in range(4):
        capture.trade(5)
    capture.kill()
    path = capture.layout.journal_path(capture.layout.journals(TRADES)[0])
    content = path.read_bytes()

    def flipped(at: int) -> VerifyReport:
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        return verify(capture.root)

    middle = flipped(len(content) // 2)
    assert middle.rows < 15
    assert any("good records" in problem and "does not match its data" in problem for problem in middle.problems)
    end = flipped(len(content) - 20)
    assert end.ok
    assert end.rows == 15
    assert any("nothing good stands behind" in note for note in end.notes)
    first = flipped(40)
    assert not first.ok
    assert first.rows == 0


def test_a_journal_without_its_index_is_a_problem(tmp_path: Path) -> None:
    """No row of it can be told from rubbish, so none is there."""
    capture = killed(tmp_path)
    capture.layout.index_path(capture.layout.journals(TRADES)[-1]).unlink()
    assert any("whole index" in problem for problem in verify(capture.root).problems)


def test_what_a_crash_leaves_is_noted(tmp_path: Path) -> None:
    """A temporary file, an index alone, journal and Parquet side by side, a stray note: said, and no problem."""
    capture = good(tmp_path)
    path = sealed(capture, 2)
    (path.parent / f".{path.name}.tmp").write_bytes(b"half")
    capture.layout.index_path(capture.layout.next_segment(TRADES)).write_bytes(b"")
    (capture.layout.journal_dir / "notes.txt").write_text("mine")
    for number in range(8):
        (path.parent / f"{number}.csv").write_text("mine")
    capture.layout.quarantine_dir.mkdir()
    (capture.layout.quarantine_dir / "samples.jsonl").write_text("{}")
    (capture.layout.quarantine_dir / f"{path.name}.1").write_bytes(b"made anew since")
    report = verify(capture.root)
    assert report.ok
    said = "\n".join(report.notes)
    for text in ("tmp", "index without its journal", "notes.txt", "0.csv", "3 more such files", "made anew"):
        assert text in said
    assert "samples" not in said


def test_a_capture_can_be_verified_while_it_is_recorded(tmp_path: Path) -> None:
    """With a writer and a sealer at work, and holes being told just after the rows that show them: always well."""
    capture = Recorded(tmp_path / "btc", rows=50)
    done = threading.Event()
    reports: list[VerifyReport] = []

    def check() -> None:
        while not done.is_set():
            reports.append(verify(capture.root))

    checker = threading.Thread(target=check)
    checker.start()
    for _ in range(60):
        capture.trade(7)
        first = capture.next_id
        capture.next_id += 2
        capture.trade(1)
        capture.event("hole", symbol="BTCUSDT", first_id=first, last_id=first + 1)
        capture.second(trades=8)
        capture.seal()
    done.set()
    checker.join()
    assert [report.problems for report in reports if not report.ok] == []
    assert reports[-1].rows > 0
    capture.stop()
    last = verify(capture.root)
    assert (last.ok, last.rows, last.symbols["BTCUSDT"].missing) == (True, 480, 120)


def test_the_last_moments_of_a_running_capture_are_not_judged_but_older_ones_are(tmp_path: Path) -> None:
    """A hole whose event may still be on its way is left out of account; a minute later it is a problem."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(3)
    capture.next_id += 2
    capture.trade(2)
    assert verify(capture.root).ok
    capture.now += 60 * SECOND
    capture.trade(1)
    assert verify(capture.root).problems == ("'BTCUSDT': ids 4 to 5 are missing and no event says so",)


def test_several_symbols_are_told_apart(tmp_path: Path) -> None:
    """Same ids under other names are no duplicates; each symbol has its own coverage; ids may be null."""
    capture = Recorded(tmp_path / "btc", rows=4)
    for symbol in ("BTCUSDT", "ETHUSDT", "币安人生USDT"):
        capture.append(TRADES, trade_rows([5, 6, 7], symbol=symbol))
    capture.append(TRADES, trade_rows([9], symbol="ETHUSDT"))
    capture.append(TRADES, trade_rows([None, None], symbol="NOIDS"))  # type: ignore[list-item]
    capture.event("hole", symbol="ETHUSDT", first_id=8, last_id=8)
    capture.stop()
    report = verify(capture.root)
    assert report.ok
    assert report.duplicates == 0
    assert report.symbols["ETHUSDT"] == SymbolCoverage(first_id=5, last_id=9, rows=4, missing=1)
    assert report.symbols["币安人生USDT"].rows == 3
    assert report.symbols["NOIDS"] == SymbolCoverage(first_id=None, last_id=None, rows=2, missing=0)


def test_a_venue_that_counts_anew_is_no_defect_if_an_event_says_so(tmp_path: Path) -> None:
    """Ids that begin again at 1 are a new series; without the event they are duplicates."""
    capture = Recorded(tmp_path / "btc", rows=30)
    capture.trade(50)
    capture.next_id = 1
    capture.trade(20)
    capture.stop()
    without = verify(capture.root)
    assert without.duplicates == 20
    assert not without.ok
    capture.restart()
    capture.event("error", symbol="BTCUSDT", cause="ids_restarted")
    capture.stop()
    report = verify(capture.root)
    assert report.ok
    assert (report.rows, report.duplicates) == (70, 0)


def test_a_lone_absurd_id_is_noted(tmp_path: Path) -> None:
    """One row with id 2**62 is stored and believed by nobody: no hole of quintillions, no lost trust."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    capture.append(TRADES, trade_rows([2**62], start=capture.now))
    capture.trade(5)
    capture.stop()
    report = verify(capture.root)
    assert report.ok
    assert report.symbols["BTCUSDT"] == SymbolCoverage(first_id=1, last_id=10, rows=11, missing=0)
    assert any(str(2**62) in note for note in report.notes)


def test_minutes_without_stats_are_named_where_a_segment_is_gone(tmp_path: Path) -> None:
    """Stats have no ids, but a run writes one row a second."""
    capture = Recorded(tmp_path / "btc", age=100)
    for _ in range(300):
        capture.second()
        capture.now += SECOND
    capture.stop()
    assert verify(capture.root).ok
    sealed(capture, 2, TableName.STATS).unlink()
    assert any("nothing for 101 s of run 1" in problem for problem in verify(capture.root).problems)


def test_midnight_is_nothing_special(tmp_path: Path) -> None:
    """Segments of two dates make one story."""
    capture = Recorded(tmp_path / "btc")
    capture.now = MIDNIGHT - 5 * SECOND
    capture.trade(10)
    capture.stop()
    report = verify(capture.root)
    assert report.ok
    assert report.segments == 2


def test_an_empty_capture_is_well(tmp_path: Path) -> None:
    """A collector that never got a connection damages nothing; what it should have collected is told all the same."""
    report = verify(Recorded(tmp_path / "btc").root)
    assert report.notes == ("BTCUSDT: no trade, ever, for no connection was ever opened",)
    assert report.as_json() == {
        "ok": True,
        "rows": 0,
        "segments": 0,
        "duplicates": 0,
        "symbols": {"BTCUSDT": {"first_id": None, "last_id": None, "rows": 0, "missing": 0}},
        "holes": [],
        "problems": [],
        "pruned": None,
    }


def test_hostile_text_does_not_come_through(tmp_path: Path) -> None:
    """A symbol or a file name full of control characters is shown escaped, on one line."""
    capture = Recorded(tmp_path / "btc")
    evil = "BTC\x1b[31m\n\u202eUSDT"
    capture.append(TRADES, trade_rows([1, 5], symbol=evil))
    capture.stop()
    path = sealed(capture, 1)
    path.with_name("a\x1b[2J\n.parquet").write_bytes(b"")
    for problem in verify(capture.root).problems:
        assert problem.isprintable()
    assert len(verify(capture.root).problems) == 2


def test_what_is_no_capture_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    """Not a capture, or too new: an error of ours; and verifying writes nothing."""
    with pytest.raises(NotACapture):
        verify(tmp_path)
    capture = killed(tmp_path)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    verify(capture.root)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    identity = Layout(capture.root).identity
    identity.write_text(identity.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CaptureTooNew):
        verify(capture.root)


@pytest.mark.parametrize("sealed_first", [False, True])
@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_first_segment_that_could_not_be_made_is_none_that_is_missing(
    tmp_path: Path, at: int, times: int, *, sealed_first: bool
) -> None:
    """No descriptor or no room, at whichever call and however often: the number used up for it is told, and no more."""
    layout = Layout(tmp_path / "c")
    create_identity(layout, venue="binance", symbols=["BTCUSDT", "ETHUSDT"], config={})
    disk = RefusingDisk(at, times=times)
    with CaptureWriter(layout.root, disk=disk) as writer:
        for _ in range(times + 1):
            with suppress(OSError):
                writer.append(TableName.TRADES, trades([1, 2]), now_ns=NOON)
                break
        writer.append(TableName.EVENTS, events([1]), now_ns=NOON)
    (first,) = layout.journals(TableName.TRADES)
    if sealed_first:
        seal(layout, first)
    report = verify(layout.root)
    assert report.ok, report.problems
    # One that has really gone is missed as before, whoever wrote the next.
    with CaptureWriter(layout.root) as writer:
        writer.append(TableName.TRADES, trades([4, 5]), now_ns=NOON)
    seal(layout, first)
    layout.parquets(TableName.TRADES)[0].unlink()
    assert any("the segments before" in problem for problem in verify(layout.root).problems)


_PRCTL_CAPBSET_DROP = 24
_MAY_READ_ALL = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: with them modes mean nothing to root."""


def _obey_modes() -> None:
    for capability in _MAY_READ_ALL:
        ctypes.CDLL(None).prctl(_PRCTL_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.parametrize("kind", ["trades-*.parquet", "events-*.parquet", "stats-*.parquet", "trades-*.arrows"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, kind: str) -> None:
    """What lacks is a permission: that is said, once, and nobody is sent for a copy of what is intact."""
    capture = Recorded(tmp_path / "btc", rows=3)
    capture.event("run_started")
    capture.second(trades=9)
    capture.trade(9)
    capture.rotate()
    capture.seal()
    capture.trade(1)
    shut = max(capture.root.rglob(kind))
    shut.chmod(0)
    command = [sys.executable, "-m", "wsresearch", "verify", str(capture.root), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_obey_modes)
    assert done.returncode == 1, done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert "cannot be read (Permission denied): give yourself permission" in problem
    assert "damaged" not in problem
    shut.chmod(0o600)
    assert verify(capture.root).ok
