"""What passed before the first message of a run, and that with the outages it is all the time without data."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.eventlog import START_NS, EventLog, ns
from wsresearch.schema import EVENTS
from wsresearch.study import STARTS, attempts, outages, starts

SECONDS = st.integers(0, 400_000_000).map(lambda microseconds: microseconds / 1e6)


def _refused(tries: int = 3, *, end: str | None = "gave_up") -> EventLog:
    """A run that was refused so many times, each after 10 s of waiting, each within half a second."""
    log = EventLog()
    log.start()
    for _ in range(tries):
        log.try_to_open(10.0)
        log.failed(0.5, cause="refused", detail="nobody there")
    if end is not None:
        log.add(end, cause="refused")
    return log


def test_a_run_that_never_connected_was_without_data_from_its_start() -> None:
    """No outage, for none can begin; three attempts, why they failed, and 31.5 s of 31.5 s without data."""
    events = _refused().table()
    assert len(outages(events)) == 0
    [row] = starts(events).to_pylist()
    assert (row["first_message"], row["ended"]) == (None, "gave_up")
    assert (row["attempts"], row["attempts_failed"], row["attempts_opened"]) == (3, 3, 0)
    assert (row["cause"], row["detail"]) == ("refused", "nobody there")
    assert row["silence"] == row["lived"] == pytest.approx(31.5)


def test_connections_that_deliver_nothing_are_no_data() -> None:
    """Opened twice, lost without a message, then open without one until the stop: all of it counts."""
    log = EventLog()
    log.start()
    for _ in range(2):
        log.try_to_open(1.0)
        log.opened(0.5)
        log.lost(30.0, cause="stalled")
    log.try_to_open(1.0)
    log.opened(0.5)
    log.wait(7.0)
    log.add("stopped", cause="stop")
    [row] = starts(log.table()).to_pylist()
    assert (row["attempts"], row["attempts_failed"], row["attempts_opened"]) == (3, 0, 3)
    assert (row["cause"], row["ended"], row["first_message"]) == ("stalled", "stopped", None)
    assert row["silence"] == pytest.approx(3 * 1.5 + 60 + 7)


def test_a_wall_clock_that_stepped_changes_nothing() -> None:
    """Durations are those of the monotonic clock, as for outages."""
    log = _refused(2, end=None)
    log.wall_offset = -ns(3600)
    log.try_to_open(1.0)
    log.opened(0.25)
    log.first_message(0.25)
    assert starts(log.table())["silence"][0].as_py() == pytest.approx(22.5)


@pytest.mark.parametrize(
    ("stats", "until", "silence"), [(None, None, 10.5), (20, None, 20.0), (None, 40, 40.0), (50, 40, 50.0)]
)
def test_a_run_under_way_has_lasted_until_its_last_sign(stats: int | None, until: int | None, silence: float) -> None:
    """Events are rare while nothing happens; the stats of each second tell that it lived."""
    log = _refused(1, end=None)
    seconds = None
    if stats is not None:
        columns = {"time": [START_NS + ns(stats)], "run": [1], "connection": [0], "messages": [0]}
        types = {"time": pa.timestamp("ns", "UTC"), "run": pa.int32(), "connection": pa.int32(), "messages": pa.int64()}
        seconds = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    [row] = starts(log.table(), stats=seconds, until=None if until is None else START_NS + ns(until)).to_pylist()
    assert (row["ended"], row["silence"], row["lived"]) == (None, pytest.approx(silence), pytest.approx(silence))


def test_only_what_had_received_nothing_waits_at_the_edge_of_a_table() -> None:
    """Read from the middle on: in an outage it is the outage's silence, at a start it counts from the first row."""
    log = EventLog()
    log.connect()
    log.wait(5)
    log.lost(1.0)
    log.try_to_open(9.0)
    log.failed(1.0)
    log.back_off(5.0)
    cut = pa.Table.from_pylist(log.rows[5:], schema=EVENTS)
    assert starts(cut)["silence"].to_pylist() == [0.0]
    assert starts(cut)["first_message"].null_count == 0
    later = pa.Table.from_pylist(_refused().rows[4:], schema=EVENTS)
    assert starts(later)["silence"].to_pylist() == [pytest.approx(21.0)]


def test_nothing_has_no_start() -> None:
    """An empty table, of the schema that is promised."""
    assert starts(EVENTS.empty_table()).schema == STARTS
    assert len(starts(EVENTS.empty_table())) == 0


@given(st.lists(st.tuples(st.lists(SECONDS, max_size=3), SECONDS, SECONDS, st.booleans()), min_size=1, max_size=4))
def test_starts_and_outages_are_all_the_time_without_data(
    runs: list[tuple[list[float], float, float, bool]],
) -> None:
    """Whatever failed before the first message or after it: nothing is counted twice and nothing is left out."""
    log = EventLog()
    truth, lived = 0.0, 0.0
    for failures, up, down, lose in runs:
        began = log.now
        log.start()
        for wait in failures:
            log.try_to_open(wait)
            log.failed(wait / 2)
        log.try_to_open(down)
        log.opened(0.5)
        log.first_message(0.25)
        truth += (log.now - began) / 1e9
        log.wait(up)
        if lose:
            lost = log.now
            log.lost(down)
            log.try_to_open(up)
            log.failed(0.5)
            log.add("gave_up")
            truth += (log.now - lost) / 1e9
        else:
            log.add("stopped", cause="stop")
        lived += (log.now - began) / 1e9
        log.wait(up)  # nobody ran, and nobody was without data
    events = log.table()
    found = starts(events)
    silence = sum(found["silence"].to_pylist()) + sum(outages(events)["silence"].to_pylist())
    assert silence == pytest.approx(truth, abs=1e-5)
    assert sum(found["lived"].to_pylist()) == pytest.approx(lived, abs=1e-5)
    of_starts = [row for row in attempts(events).to_pylist() if row["outage"] == 0]
    assert sum(found["attempts"].to_pylist()) == len(of_starts)
    assert sum(found["attempts_failed"].to_pylist()) == sum(row["outcome"] == "failed" for row in of_starts)
