"""The connections of a capture, and its state at every moment."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa

from tests.study.eventlog import START_NS, EventLog, days, ns
from wsresearch.schema import EVENTS, STATS
from wsresearch.study import CONNECTIONS, STATES, connections, states


def _stats(*rows: tuple[int, int, int, int]) -> pa.Table:
    names = ("time", "run", "connection", "messages")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=STATS)


def _seconds(events: pa.Table, **more: Any) -> list[tuple[str, float, float]]:
    found = states(events, **more)
    began, ended = (found[name].cast(pa.int64()).to_pylist() for name in ("began", "ended"))
    rows = zip(found["state"].to_pylist(), began, ended, strict=True)
    return [(state, (a - START_NS) / 1e9, (b - START_NS) / 1e9) for state, a, b in rows]


def _two_runs() -> EventLog:
    log = EventLog()
    log.connect()  # ends at 0.07 s
    log.wait(9.93)
    log.lost(1.0, cause="eof", close_by="peer", detail="no close frame")
    log.try_to_open(2.0)
    log.opened(1.0)
    log.wait(6)
    log.add("stopped", cause="stop")
    log.wait(10)
    log.connect()
    return log


def test_connections_in_full() -> None:
    """Lost, stopped by us and still open: only the first has a cause, the others would have lived longer."""
    log = _two_runs()
    log.wait(5)
    log.add("error", cause="disk")
    lost, stopped, still = connections(log.table()).to_pylist()
    assert (lost["connection"], lost["run"], lost["cause"], lost["censored"]) == (1, 1, "eof", False)
    assert lost["life"] == 10.95
    assert lost["first_message"] is not None
    assert (stopped["connection"], stopped["cause"], stopped["censored"], stopped["life"]) == (
        2,
        None,
        True,
        6,
    )
    assert stopped["first_message"] is None
    assert (still["connection"], still["run"], still["ended"], still["life"]) == (3, 2, None, 5.02)
    assert [row["messages"] for row in (lost, stopped, still)] == [None] * 3


def test_stats_tell_the_messages_and_how_long_a_killed_run_lived() -> None:
    """Without stats, an hour of quiet work after the last event would be taken for death."""
    log = EventLog()
    log.connect()
    log.wait(7200)
    log.connect()
    stats = _stats((START_NS + ns(1), 1, 1, 10), (START_NS + ns(3600), 1, 1, 32))
    killed, open_ = connections(log.table(), stats=stats).to_pylist()
    assert (killed["life"], killed["messages"], killed["ended"], killed["censored"]) == (
        3599.95,
        42,
        None,
        True,
    )
    assert open_["messages"] == 0
    assert _seconds(log.table(), stats=stats)[1:3] == [("open", 0.05, 3600), ("killed", 3600, 7200.07)]
    assert _seconds(log.table())[1:3] == [("open", 0.05, 0.07), ("killed", 0.07, 7200.07)]


def test_states_in_full() -> None:
    """What the collector did at every moment, a stop and the time until the next run included."""
    log = _two_runs()
    assert _seconds(log.table(), until=log.now + ns(8)) == [
        ("connecting", 0, 0.05),
        ("open", 0.05, 11),
        ("backing_off", 11, 13),
        ("connecting", 13, 14),
        ("open", 14, 20),
        ("stopped", 20, 30),
        ("connecting", 30, 30.05),
        ("open", 30.05, 38.07),
    ]


def test_after_the_last_run_nothing_is_known() -> None:
    """A run that has stopped writes its last stats a moment later; that moment is no state of the capture."""
    log = EventLog()
    log.connect()
    log.wait(1)
    log.add("stopped")
    stats = _stats((log.now + ns(0.1), 1, 1, 10))
    assert _seconds(log.table(), stats=stats, until=log.now + ns(1))[-1] == ("open", 0.05, 1.07)


def test_a_permanent_failure_is_told_apart_from_a_mere_error() -> None:
    """An error instead of a delay ends the run; an error while open is only an event."""
    log = EventLog()
    log.connect()
    log.wait(1)
    log.add("error", cause="disk")
    log.wait(1)
    log.lost(1)
    log.add("error", cause="certificate")
    log.wait(10)
    log.connect()
    assert _seconds(log.table())[:4] == [
        ("connecting", 0, 0.05),
        ("open", 0.05, 3.07),
        ("failed", 3.07, 13.07),
        ("connecting", 13.07, 13.12),
    ]


def test_states_tile_the_time() -> None:
    """Each state begins where the one before it ended: no moment is left out or told twice."""
    found = _seconds(days(300, span=86400).table())
    assert len(found) > 900
    assert all(a[2] == b[1] and a[0] != b[0] for a, b in itertools.pairwise(found))


def test_no_events_nothing_to_tell() -> None:
    """The columns are all there, the rows are none."""
    assert connections(EVENTS.empty_table()).equals(CONNECTIONS.empty_table())
    assert states(EVENTS.empty_table()).equals(STATES.empty_table())
