"""Listing the segments of a table: each once, in order, wherever it lies; the race itself is in `test_reader`."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest

from tests.capture.made import NOON, SECOND
from tests.capture.recorded import Recorded
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.scan import Place, doubles, find, places
from wsresearch.capture.window import EVER, Window
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import TableName

TRADES = TableName.TRADES


def test_segments_are_listed_once_in_their_order(tmp_path: Path) -> None:
    """Sealed, waiting and growing segments in one list; a sealed one knows its date."""
    capture = Recorded(tmp_path / "btc", rows=2)
    assert list(places(capture.layout, TRADES)) == []
    capture.trade(2)
    capture.trade(2)
    capture.seal()
    capture.trade(2)
    capture.trade(1)
    found = list(places(capture.layout, TRADES))
    assert [(place.segment.number, place.journal, place.parquet is not None) for place in found] == [
        (1, False, True),
        (2, True, False),
        (3, True, False),
        (4, True, False),
    ]
    assert [place.date for place in found] == [dt.date(2026, 11, 23), None, None, None]
    assert list(places(capture.layout, TableName.EVENTS)) == []


def test_a_number_that_is_missing_for_good_costs_a_second_look_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody removed old days: the rest is listed as ever, and only so much as was there at the first look."""
    capture = Recorded(tmp_path / "btc", rows=1)
    for _ in range(4):
        capture.trade(1)
    capture.rotate()
    capture.seal()
    capture.layout.parquets(TRADES)[0].unlink()
    assert [place.segment.number for place in places(capture.layout, TRADES)] == [2, 3, 4]
    capture.trade(1)
    real = Layout.journals

    def growing(self: Layout, table: TableName) -> list[Segment]:
        found = real(self, table)
        capture.trade(1)
        return found

    monkeypatch.setattr(Layout, "journals", growing)
    assert [place.segment.number for place in places(capture.layout, TRADES)] == [2, 3, 4, 5]


def test_one_segment_can_be_looked_for_again(tmp_path: Path) -> None:
    """What was a journal is found where it has been sealed; what has no file is not found."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(1)
    (before,) = places(capture.layout, TRADES)
    assert before == Place(segment=Segment(TRADES, 1), journal=True, parquet=None)
    capture.stop()
    after = find(capture.layout, before.segment)
    assert after is not None
    assert (after.journal, after.parquet) == (False, capture.layout.parquets(TRADES)[0])
    assert find(capture.layout, Segment(TRADES, 2)) is None


def test_a_window_leaves_out_the_dates_that_it_cannot_hold_and_nothing_else(tmp_path: Path) -> None:
    """What is not sealed has no date to be judged by, so it is in every window."""
    capture = Recorded(tmp_path / "btc")
    for day in range(3):
        capture.now = NOON + day * 86_400 * SECOND
        capture.trade(1)
        capture.rotate()
    capture.seal()
    capture.trade(1)
    found = places(capture.layout, TRADES)
    assert found.numbers == [1, 2, 3, 4]
    noon = NOON + 86_400 * SECOND
    for window, numbers in (
        (EVER, [1, 2, 3, 4]),
        (Window(since=noon), [2, 3, 4]),
        (Window(until=noon), [1, 2, 4]),
        (Window(since=noon, until=noon), [2, 4]),
        (Window(since=noon + 10 * 86_400 * SECOND), [4]),
    ):
        assert [place.segment.number for place in found.within(window)] == numbers
    assert [place.segment.number for place in reversed(found)] == [4, 3, 2, 1]
    assert found.find(Segment(TRADES, 3)) == list(found)[2]
    assert found.find(Segment(TRADES, 5)) is None


def test_two_files_of_one_segment_are_told(tmp_path: Path) -> None:
    """Which of them is meant nobody can know, so listing refuses; `doubles` names them."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(1)
    capture.stop()
    (path,) = capture.layout.parquets(TRADES)
    assert doubles(capture.layout, TRADES) == []
    other = path.parent.with_name("date=2026-11-25") / path.name
    other.parent.mkdir()
    shutil.copy(path, other)
    assert [{one, two} for one, two in doubles(capture.layout, TRADES)] == [{path, other}]
    with pytest.raises(CaptureDamaged, match=path.name):
        places(capture.layout, TRADES)
