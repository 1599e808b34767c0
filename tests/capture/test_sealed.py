"""Reading one Parquet file: only what is asked for, and never a damaged row."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.capture.made import NOON, SECOND
from tests.capture.recorded import Recorded, trade_rows
from wsresearch.capture.guard import guarded
from wsresearch.capture.layout import Segment
from wsresearch.capture.sealed import chosen, read_footer, read_sealed
from wsresearch.capture.window import Window
from wsresearch.errors import CaptureDamaged, CaptureError
from wsresearch.schema import TRADES, TableName

SEGMENT = Segment(TableName.TRADES, 1)


@pytest.fixture(name="path")
def sealed_file(tmp_path: Path) -> Path:
    """A sealed segment of 40 trades, one a second, in row groups of ten."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(40)
    capture.stop()
    (path,) = capture.layout.parquets(TableName.TRADES)
    table = pq.ParquetFile(path).read()
    pq.write_table(table, path, row_group_size=10, write_page_checksum=True)
    path.write_bytes(guarded(path.read_bytes()))
    return path


def test_the_footer_tells_rows_and_times(path: Path) -> None:
    """Rows, lowest and highest time and size come from the footer alone."""
    footer = read_footer(path, SEGMENT)
    assert (footer.rows, footer.first, footer.last) == (40, NOON, NOON + 39 * SECOND)
    assert footer.size_bytes == path.stat().st_size


def test_a_file_without_statistics_is_read_all_the_same(path: Path) -> None:
    """Where the footer does not say which times a file holds, it has to be looked at."""
    table = pq.ParquetFile(path).read()
    pq.write_table(table, path, write_statistics=False)
    footer = read_footer(path, SEGMENT)
    assert (footer.rows, footer.first, footer.last) == (40, None, None)
    assert read_sealed(path, SEGMENT, window=Window(since=NOON + 38 * SECOND)).num_rows == 2


@pytest.mark.parametrize(("since", "until"), [(0, 40), (5, 6), (9, 11), (10, 20), (39, 99), (40, 99), (7, 7)])
def test_rows_of_a_window(path: Path, since: int, until: int) -> None:
    """Exactly the rows of the window, whichever row groups they lie in."""
    window = Window(since=NOON + since * SECOND, until=NOON + until * SECOND)
    table = read_sealed(path, SEGMENT, columns=["trade_id"], window=window, symbols=["BTCUSDT"])
    assert table["trade_id"].to_pylist() == list(range(since + 1, min(until, 40) + 1))
    assert table.column_names == ["trade_id"]


def test_only_the_row_groups_of_the_window_are_read(path: Path) -> None:
    """Damage in a part that nobody asked for is not met: that part is not read."""
    content = bytearray(path.read_bytes())
    content[40] ^= 1  # in the first row group
    path.write_bytes(content)
    window = Window(since=NOON + 10 * SECOND)
    assert read_sealed(path, SEGMENT, window=window).num_rows == 30
    with pytest.raises(CaptureDamaged):
        read_sealed(path, SEGMENT)


def test_every_flipped_byte_is_seen_or_harmless(path: Path) -> None:
    """Wherever a byte is changed, footer included, the same rows come out or an error of ours, never other rows."""
    good = path.read_bytes()
    right = read_sealed(path, SEGMENT)
    seen = 0
    for at in range(0, len(good), 23):
        bad = bytearray(good)
        bad[at] ^= 0x10
        path.write_bytes(bad)
        try:
            assert read_sealed(path, SEGMENT).equals(right), f"byte {at} changed the rows"
        except CaptureDamaged:
            seen += 1
    assert seen > 100


def test_what_is_no_sealed_trades_file_is_refused(path: Path, tmp_path: Path) -> None:
    """Other columns, other bytes, no file, no permission: each an error that names the file."""
    with pytest.raises(FileNotFoundError):
        read_footer(tmp_path / "none.parquet", SEGMENT)
    with pytest.raises(CaptureDamaged, match="not those of stats"):
        read_sealed(path, Segment(TableName.STATS, 1))
    for content in (b"", b"PAR1", b"PAR1" * 100):
        path.write_bytes(content)
        with pytest.raises(CaptureDamaged, match=path.name):
            read_footer(path, SEGMENT)
    with pytest.raises(CaptureError, match="cannot be read"):
        read_footer(tmp_path, SEGMENT)


def test_nothing_is_copied_where_everything_is_wanted() -> None:
    """A window that holds all rows gives the same memory back."""
    table = pa.Table.from_batches([trade_rows(range(10))])
    for window in (Window(), Window(since=NOON), Window(since=NOON, until=NOON + 10 * SECOND)):
        assert chosen(table, TableName.TRADES, window=window) is table
    assert chosen(table, TableName.TRADES, window=Window(until=NOON)).num_rows == 0
    empty = TRADES.empty_table()
    assert chosen(empty, TableName.TRADES, window=Window(since=1), symbols=["X"]).equals(empty)
