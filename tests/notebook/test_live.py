"""What is to be seen of a capture, told by what is new."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.recording import SECOND, Recording
from tests.study.eventlog import EventLog
from wsresearch.collect.status import read_status
from wsresearch.notebook import strand
from wsresearch.notebook.live import Live
from wsresearch.notebook.recent import Stretch
from wsresearch.schema import TableName


@pytest.fixture
def live(recording: Recording) -> Iterator[Live]:
    made = Live(recording.root)
    yield made
    made.close()


def _story(recording: Recording) -> Iterator[str]:
    """Everything that can happen to a run, step by step."""
    log = recording.log
    log.wait(3)
    yield "open"
    log.lost(0.5, cause="reset", detail="connection reset by peer")
    log.back_off(2.0)
    yield "backing off"
    log.connecting(2.0)
    yield "connecting"
    log.failed(0.25, cause="refused")
    log.back_off(4.0)
    yield "backing off again"
    log.connecting(4.0)
    log.opened(0.25)
    yield "open again"
    log.first_message(0.5)
    log.hole(100, 120, cause="outage", outage=1)
    yield "first message"
    recording.rotate()
    yield "sealed"
    log.wait(5)
    log.add("stopped", cause="stop")
    yield "stopped"
    log.wait(5)
    log.connect()
    yield "another run"
    log.wait(2)
    log.hole(200, 220, cause="connection")
    yield "a hole"
    log.lost(0.5, cause="closed")
    log.add("error", cause="certificate", detail="check this machine's clock")
    yield "failed"


def test_the_status_is_that_of_the_capture(recording: Recording, live: Live) -> None:
    """Whatever happens, following tells the very status that reading everything tells."""
    live.look()
    with recording.alive():
        for step in _story(recording):
            recording.write()
            now = datetime.fromtimestamp(recording.log.now / 1e9 + 0.5, UTC)
            seen = live.look(now=now)
            assert seen.status == read_status(recording.root, now=now), step
            assert not seen.problems
    seen = live.look()
    assert seen.outages == 2
    assert [row["cause"] for row in seen.history] == ["closed", "reset"]
    assert seen.last_words == "check this machine's clock"


def test_only_what_is_new_is_read(recording: Recording, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the stretch is there, no sealed segment is read again, and none that is older."""
    for _ in range(30):
        recording.log.wait(600)
        recording.outage()
        recording.write(stats=False)
        recording.rotate()
    read = []
    original = strand.segment_rows

    def counting(*args: Any, **kwargs: Any) -> Any:
        read.append(args[1])
        return original(*args, **kwargs)

    monkeypatch.setattr(strand, "segment_rows", counting)
    live.look(patience=60)
    # An hour holds 6 outages, the history 12; a segment before them tells the state at the beginning.
    assert 12 <= len(read) <= 16
    read.clear()
    for _ in range(5):
        recording.outage()
        recording.write(stats=False)
        assert live.look().history[0]["outage"] == recording.log.outages
    assert not read


def test_a_long_stretch_fills_up_over_several_looks(recording: Recording, live: Live) -> None:
    """The first look is quick however much there is to read; what comes later is told by a number."""
    for _ in range(20):
        recording.outage()
        recording.write()
        recording.rotate()
    live.stretch = Stretch.ALL
    first = live.look(patience=0)
    assert first.loading
    assert first.status is not None
    last = live.look(patience=60)
    assert not last.loading
    assert last.fetched > first.fetched
    assert len(live.recent().events()) >= len(recording.log.rows)


def test_the_pictures_get_their_stretch(recording: Recording, live: Live) -> None:
    """Events and stats end with the newest row and begin where the stretch does."""
    recording.log.wait(1_000)
    recording.outage()
    recording.log.wait(10)
    recording.write()
    live.stretch = Stretch.MINUTES
    seen = live.look()
    recent = live.recent()
    assert seen.until is not None
    assert recent.since == seen.until - 300 * SECOND == seen.first
    assert min(row.time for row in recent.events()) == recent.since
    assert 298 <= len(recent.stats()) <= 301
    assert recent.table()["kind"].to_pylist()[0] == "opened"


def test_rate_and_lag_are_those_of_the_last_seconds(recording: Recording, live: Live) -> None:
    """A rate is an average over a few seconds, a lag the newest that was measured."""
    live.look()
    recording.log.wait(5)
    recording.write(messages=40)
    seen = live.look()
    assert (seen.rate, seen.lag) == (40.0, 0.05)
    recording.log.wait(5)
    recording.write(messages=0)
    assert (live.look().rate, live.look().lag) == (0.0, None)


def test_a_capture_with_only_events(tmp_path: Path) -> None:
    """Nothing was counted yet: the state is told all the same."""
    recording = Recording(tmp_path / "capture", log=EventLog())
    recording.log.connect()
    recording.write(stats=False)
    live = Live(recording.root)
    with recording.alive():
        seen = live.look()
    assert seen.status is not None
    assert seen.status.state == "open"
    assert (seen.rate, seen.problems) == (None, ())
    assert not len(live.recent().stats())
    live.close()


def test_a_capture_without_data(tmp_path: Path) -> None:
    """A collector that has not written yet is idle, and there is nothing to draw."""
    live = Live(Recording(tmp_path / "capture").root)
    seen = live.look()
    assert seen.status is not None
    assert seen.status.state == "idle"
    assert (seen.until, seen.first, seen.history) == (None, None, ())
    assert live.recent().events() == []
    live.close()


def test_no_capture_is_a_thing_to_show(tmp_path: Path) -> None:
    """What is wrong is told in words, at each look anew, until it is mended."""
    live = Live(tmp_path / "later")
    seen = live.look()
    assert seen.status is None
    assert "is no directory, so it is no capture" in seen.problems[0]
    recording = Recording(tmp_path / "later")
    recording.log.connect()
    recording.write()
    seen = live.look()
    assert not seen.problems
    assert seen.status is not None
    live.close()


def test_a_capture_that_disappears(recording: Recording, live: Live) -> None:
    """What was seen stays, and the words say what happened."""
    recording.outage()
    recording.write()
    live.look()
    recording.writer.close()
    shutil.rmtree(recording.root)
    seen = live.look()
    assert seen.status is None
    assert "was it moved or removed?" in seen.problems[0]
    assert len(seen.history) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_that_was_deleted_is_missed(
    recording: Recording, live: Live, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone before or while we look: the rest is shown, and it is said what is not."""
    monkeypatch.setattr("wsresearch.notebook.live._INVENTORY", 0.0)
    monkeypatch.setattr("wsresearch.notebook.live._INVENTORY_SHARE", 1e9)
    for _ in range(3):
        recording.outage()
        recording.write()
        recording.rotate()
    if when == "after":
        assert not live.look(patience=60).problems
    recording.layout.parquets(TableName.EVENTS)[1].unlink()
    seen = live.look(patience=60)
    assert seen.problems == ("segment 2 of events is not there: what it held, if anything, is not shown",)
    assert seen.status is not None
    assert seen.outages == 3
    assert live.look().problems == seen.problems


def test_a_damaged_file_is_told_and_left_out(recording: Recording, live: Live) -> None:
    """The outages that can be read are shown beside the words."""
    for _ in range(3):
        recording.outage()
        recording.write()
        recording.rotate()
    recording.layout.parquets(TableName.EVENTS)[1].write_bytes(b"PAR1" * 100)
    seen = live.look(patience=60)
    assert "events-000000000002.parquet" in seen.problems[0]
    assert [row["outage"] for row in seen.history] == [3, 1]
    assert live.look().problems == seen.problems
