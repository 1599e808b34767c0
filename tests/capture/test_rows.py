"""The rows of one segment while it moves from journal to Parquet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from tests.capture.made import NOON, SECOND
from tests.capture.recorded import Recorded
from wsresearch.capture import rows as module
from wsresearch.capture.append import SegmentWriter
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.rows import capture_is_there, segment_rows, summary
from wsresearch.capture.scan import Place, places
from wsresearch.errors import CaptureDamaged, NotACapture
from wsresearch.schema import EVENTS, TableName

TRADES = TableName.TRADES


def test_a_listed_journal_is_read_where_it_has_gone(tmp_path: Path) -> None:
    """A place listed before a seal is good after it: the rows come from the Parquet file."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    (place,) = places(capture.layout, TRADES)
    live, known = segment_rows(capture.layout, place), summary(capture.layout, place)
    capture.stop()
    assert segment_rows(capture.layout, place).equals(live)
    now = summary(capture.layout, place)
    assert known is not None
    assert now is not None
    assert (known.sealed, now.sealed) == (False, True)
    assert (known.rows, known.first, known.last) == (now.rows, now.first, now.last) == (5, NOON, NOON + 4 * SECOND)


def test_a_segment_without_a_trace_has_no_rows(tmp_path: Path) -> None:
    """A journal without a row is removed by a recovery: who had listed it reads nothing, with the right columns."""
    capture = Recorded(tmp_path / "btc")
    place = Place(segment=Segment(TRADES, 1), journal=True, parquet=None)
    assert segment_rows(capture.layout, place, columns=["price"]).column_names == ["price"]
    assert summary(capture.layout, place) is None
    with pytest.raises(NotACapture):
        segment_rows(Layout(tmp_path / "gone"), place)
    capture_is_there(capture.layout)


def test_a_file_that_keeps_vanishing_is_an_error_not_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever moves files about under a reader, it ends, and says what it saw."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(5)
    capture.stop()
    (place,) = places(capture.layout, TRADES)

    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(module, "read_sealed", gone)
    monkeypatch.setattr(module, "read_footer", gone)
    for call in (segment_rows, summary):
        with pytest.raises(CaptureDamaged, match=r"trades-000000000001.*moving"):
            call(capture.layout, place)


def test_the_summary_of_a_growing_journal(tmp_path: Path) -> None:
    """Rows and times of a journal at each stage: no row yet, one batch, several, closed."""
    capture = Recorded(tmp_path / "btc")
    told = []
    capture.trade(2)
    (place,) = places(capture.layout, TRADES)
    for _ in range(3):
        told.append(summary(capture.layout, place))
        capture.trade(3)
    capture.rotate()
    told.append(summary(capture.layout, place))
    assert [known.rows for known in told if known] == [2, 5, 8, 11]
    lasts = [known.last for known in told if known and known.last]
    assert [(last - NOON) // SECOND for last in lasts] == [1, 4, 7, 10]
    assert all(known and known.first == NOON and not known.sealed and known.size_bytes > 0 for known in told)
    empty = Segment(TableName.STATS, 1)
    capture.layout.index_path(empty).write_bytes(b"")
    capture.layout.journal_path(empty).write_bytes(b"")
    nothing = summary(capture.layout, Place(segment=empty, journal=True, parquet=None))
    assert nothing is not None
    assert (nothing.rows, nothing.first, nothing.last) == (0, None, None)


READS = """
import re, sys
from pathlib import Path
from wsresearch.capture.layout import Layout
from wsresearch.capture.rows import segment_rows
from wsresearch.capture.scan import places
from wsresearch.schema import TableName

layout = Layout(Path(sys.argv[1]))
(place,) = places(layout, TableName.EVENTS)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
rows = segment_rows(layout, place)
print(rows.num_rows, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kB there")
def test_a_journal_of_single_events_is_not_held_message_by_message(tmp_path: Path) -> None:
    """A batch of one event takes 16 kB as it is read; what is put together takes a few hundred bytes a row."""
    events = 6000
    layout = Recorded(tmp_path / "btc").layout
    layout.journal_dir.mkdir(exist_ok=True)
    writer = SegmentWriter(layout, Segment(TableName.EVENTS, 1), carried={})
    row = dict.fromkeys(EVENTS.names) | {"run": 1, "kind": "hole", "cause": "outage", "symbol": "BTCUSDT"}
    for seq in range(events):
        of = pa.array([row | {"seq": seq, "time": NOON, "first_id": seq, "last_id": seq}], pa.struct(list(EVENTS)))
        writer.append(pa.RecordBatch.from_struct_array(of))
    writer.give_up()
    told = subprocess.run(
        [sys.executable, "-c", READS, str(layout.root)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(told[0]) == events
    assert int(told[1]) < 6 * events, "kB"
