"""The newest stretch of a capture, and what is true at its left edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.eventlog import EventLog, days
from wsresearch import study
from wsresearch.errors import UsageError
from wsresearch.notebook.recent import Recent, Stretch, as_of, clamped, quiet_gaps
from wsresearch.schema import STATS
from wsresearch.study.rows import Event, plain_rows, read_events

SECOND = 10**9


def _log() -> EventLog:
    """Runs that stop, give up and are killed, with outages, failed attempts and holes."""
    log = days(40, span=4_000)
    log.wait(20)
    log.connect()
    log.wait(30)
    log.lost(0.5, cause="eof")
    log.try_to_open(2.0)
    log.failed(0.5)
    log.add("gave_up", cause="refused", detail="10 attempts in a row failed")
    log.wait(50)
    log.connect()
    log.wait(9)
    log.wait(11)
    log.connect()
    log.wait(7)
    log.lost(0.5)
    log.try_to_open(1.0)
    return log


ROWS: list[Event] = read_events(_log().table())
STATES = plain_rows(study.states(ROWS))
OUTAGES = plain_rows(study.outages(ROWS))


@given(st.integers(ROWS[0].time, ROWS[-1].time - 1))
def test_a_stretch_tells_what_the_whole_tells(since: int) -> None:
    """Wherever it is cut: the states from there on are those of the whole capture, and so are the outages."""
    rows = clamped(ROWS, since)
    cut = [{**row, "began": max(row["began"], since)} for row in STATES if row["ended"] > since]
    assert plain_rows(study.states(rows)) == cut
    wanted = [row["outage"] for row in OUTAGES if row["noticed"] >= since]
    found = {row["outage"]: row for row in plain_rows(study.outages(rows))}
    under_way = [row["outage"] for row in OUTAGES if row["noticed"] < since and (row["ended"] or 0) >= since]
    assert set(wanted) <= set(found)
    # One that had ended before has no place in it, one under way is there with all of its silence.
    ended_at = {row["outage"]: row["ended"] for row in OUTAGES}
    assert all((ended_at[number] or since) >= since for number in found)
    for row in OUTAGES:
        if row["outage"] in under_way:
            assert found[row["outage"]]["silence"] == pytest.approx(row["silence"])


def test_everything_is_taken_as_it_is() -> None:
    """Without a limit nothing is cut."""
    assert clamped(ROWS, None) == ROWS
    assert clamped([], SECOND) == []


def test_an_outage_under_way_grows_with_the_time() -> None:
    """Between two events an outage goes on: it is as long as the newest sign of life says."""
    log = EventLog()
    log.connect()
    log.wait(5)
    log.lost(1.0)
    log.back_off(20.0)
    rows = read_events(log.table())
    later = as_of(rows, log.now + 7 * SECOND)
    (row,) = plain_rows(study.outages(later))
    assert row["silence"] == pytest.approx(8.0)
    assert row["backoff"] == pytest.approx(7.0)
    assert row["censored"]
    assert as_of(rows, log.now) == rows
    assert as_of([], SECOND) == []


def _stats(*rows: tuple[int, int]) -> object:
    """Stats rows of these connections and numbers of messages."""
    told = [{"time": at * SECOND, "connection": connection, "messages": n} for at, (connection, n) in enumerate(rows)]
    return STATS.empty_table().from_pylist(told, STATS)


def test_quiet_seconds_inside_a_connection_are_gaps() -> None:
    """Where another connection came next the silence is an outage; at the ends nobody knows how long it was."""
    stats = _stats((1, 0), (1, 5), (1, 0), (1, 0), (1, 7), (1, 1), (1, 0), (2, 3), (2, 0))
    (gap,) = plain_rows(quiet_gaps(stats))  # type: ignore[arg-type]
    assert (gap["start"], gap["end"], gap["seconds"]) == (SECOND, 4 * SECOND, 3.0)
    assert (gap["connection_before"], gap["connection_after"], gap["outage"]) == (1, 1, 0)


def test_seconds_that_were_not_written_down_are_no_silence() -> None:
    """A collector too busy for a row each second has said nothing of the market."""
    stats = _stats((1, 5), (1, 5))
    late = stats.set_column(0, "time", [[0, 9 * SECOND]]).cast(STATS)  # type: ignore[attr-defined]
    assert not len(quiet_gaps(late))
    assert not len(quiet_gaps(STATS.empty_table()))


def test_stats_of_the_stretch() -> None:
    """Only the seconds of the stretch, and none where it holds none."""
    stats = _stats(*[(1, 1)] * 10)
    recent = Recent(rows=(), counters=stats, since=6 * SECOND, until=9 * SECOND)  # type: ignore[arg-type]
    assert len(recent.stats()) == 4
    assert len(Recent(rows=(), counters=stats, since=99 * SECOND).stats()) == 0  # type: ignore[arg-type]
    assert len(Recent(rows=(), counters=stats).stats()) == 10  # type: ignore[arg-type]


def test_a_stretch_by_its_name() -> None:
    """What is no stretch is refused with the choices."""
    assert Stretch.named("24 h").seconds == 86_400
    assert Stretch.named("all").since(SECOND) is None
    assert Stretch.MINUTES.since(400 * SECOND) == 100 * SECOND
    with pytest.raises(UsageError, match=r"stretch is '2 h'; choose from '5 min', '1 h', '24 h', 'all'"):
        Stretch.named("2 h")
