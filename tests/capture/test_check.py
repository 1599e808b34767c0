"""Checking one segment by itself: what a reader would not notice is noticed here."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.capture.recorded import Recorded
from wsresearch.capture.check import Findings, journal_rows, sealed_rows
from wsresearch.capture.guard import guarded
from wsresearch.capture.layout import Segment
from wsresearch.schema import TableName

SEGMENT = Segment(TableName.TRADES, 1)


@pytest.fixture(name="capture")
def recorded(tmp_path: Path) -> Recorded:
    """Forty trades in one segment, not sealed yet."""
    capture = Recorded(tmp_path / "btc")
    for _ in range(4):
        capture.trade(10)
    return capture


def ids(pieces: object) -> list[int]:
    return [number for piece in pieces for number in piece["trade_id"].to_pylist()]  # type: ignore[attr-defined]


def test_good_files_give_their_rows_and_no_finding(capture: Recorded) -> None:
    """Journal and Parquet file give the same rows; growing and closed journals are both fine."""
    findings = Findings()
    assert ids(journal_rows(capture.layout, SEGMENT, findings)) == capture.ids
    capture.rotate()
    assert ids(journal_rows(capture.layout, SEGMENT, findings)) == capture.ids
    capture.seal()
    assert ids(sealed_rows(capture.layout.parquets(TableName.TRADES)[0], SEGMENT, findings)) == capture.ids
    assert findings == Findings()
    with pytest.raises(FileNotFoundError):
        list(journal_rows(capture.layout, SEGMENT, findings))


def test_no_flipped_bit_gives_wrong_rows(capture: Recorded) -> None:
    """Wherever it is, the rows are right or are not given; in pages and footer it is a problem as well."""
    capture.stop()
    (path,) = capture.layout.parquets(TableName.TRADES)
    good = guarded(path.read_bytes())
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    for at in range(0, len(good), 13):
        bad = bytearray(good)
        bad[at] ^= 0x40
        path.write_bytes(bad)
        findings = Findings()
        given = ids(sealed_rows(path, SEGMENT, findings))
        # The header of a page is under no checksum; some of its bytes say nothing to anybody.
        assert given in ([], capture.ids)
        assert findings.problems or at < footer


def test_a_file_that_declares_less_than_it_holds_is_seen(capture: Recorded) -> None:
    """A footer of one row group over the bytes of two: the bytes that no column claims give it away."""
    capture.stop()
    (path,) = capture.layout.parquets(TableName.TRADES)
    table = pq.ParquetFile(path).read()
    pq.write_table(table, path, row_group_size=20, write_page_checksum=True)
    both = path.read_bytes()
    pq.write_table(table[:20], path, row_group_size=20, write_page_checksum=True)
    one = path.read_bytes()
    footer = len(one) - 8 - int.from_bytes(one[-8:-4], "little")
    end_of_both = len(both) - 8 - int.from_bytes(both[-8:-4], "little")
    path.write_bytes(one[:footer] + both[footer:end_of_both] + one[footer:])
    findings = Findings()
    list(sealed_rows(path, SEGMENT, findings))
    assert any("none of its columns claims" in problem for problem in findings.problems)
