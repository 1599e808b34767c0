"""What else lies in a capture, and what of it matters."""

from __future__ import annotations

from pathlib import Path

from tests.capture.recorded import Recorded
from wsresearch.capture.check import Findings
from wsresearch.capture.layout import Segment
from wsresearch.capture.leftovers import look_around
from wsresearch.schema import TableName


def around(capture: Recorded, *present: int) -> Findings:
    findings = Findings()
    look_around(capture.layout, {Segment(TableName.TRADES, number) for number in present}, findings)
    return findings


def test_a_tidy_capture_has_nothing_to_say(tmp_path: Path) -> None:
    """Journals, indexes, sealed files, lock and identity are ours."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(2)
    capture.rotate()
    capture.seal()
    capture.trade(2)
    capture.layout.lock.write_text("{}")
    assert around(capture, 1, 2) == Findings()


def test_parquet_files_that_are_not_ours_are_a_problem_wherever_a_glob_finds_them(tmp_path: Path) -> None:
    """Directly in the table, in a date folder, deeper down; hidden ones and links into nowhere are only noted."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(2)
    capture.stop()
    folder = capture.layout.table_dir(TableName.TRADES)
    (folder / "deep" / "er").mkdir(parents=True)
    for path in (folder / "a.parquet", folder / "date=2026-11-23" / "b.parquet", folder / "deep" / "er" / "c.parquet"):
        path.write_bytes(b"")
    (folder / ".hidden.parquet").write_bytes(b"")
    (folder / "link").symlink_to(tmp_path)
    found = around(capture, 1)
    assert len(found.problems) == 3
    assert len(found.notes) == 2


def test_quarantine_matters_when_rows_may_be_lost(tmp_path: Path) -> None:
    """A Parquet file made anew since is a note, one without a successor or a journal a problem, samples nothing."""
    capture = Recorded(tmp_path / "btc")
    capture.layout.quarantine_dir.mkdir()
    for name in (
        "trades-000000000001.parquet.1",
        "trades-000000000002.parquet.1",
        "trades-000000000003.arrows.1",
        "trades-000000000003.idx.1",
        "trades-000000000003.parquet.1",
        "trades-000000000004.idx.1",
        "rejected-run-1.jsonl",
    ):
        (capture.layout.quarantine_dir / name).write_bytes(b"")
    found = around(capture, 1, 3)
    assert [problem.partition(":")[0] for problem in found.problems] == [f"trades-00000000000{n}" for n in (2, 3, 4)]
    assert [note.partition(":")[0] for note in found.notes] == ["trades-000000000001"]
