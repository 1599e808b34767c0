"""Which ids are still missing, in the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.study.eventlog import EventLog
from wsresearch.errors import UsageError
from wsresearch.schema import EVENTS
from wsresearch.study import HOLES, HoleState, holes

STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from("AB"), st.integers(-20, 60), st.integers(0, 30)), max_size=25)


@settings(deadline=None)
@given(steps=STEPS)
def test_what_is_missing_is_exactly_what_was_missed_and_not_filled(steps: list[Any]) -> None:
    """Against a set of ids, one by one: any sequence of holes and fills, overlapping as they like."""
    log = EventLog(run=1)
    missing: dict[str, set[int]] = {"A": set(), "B": set()}
    for filled, symbol, first, more in steps:
        (log.filled if filled else log.hole)(first, first + more, symbol=symbol)
        ids = range(first, first + more + 1)
        missing[symbol] = missing[symbol].difference(ids) if filled else missing[symbol].union(ids)
    found: dict[str, list[int]] = {"A": [], "B": []}
    for row in holes(log.table()).to_pylist():
        assert row["count"] == row["last_id"] - row["first_id"] + 1
        found[row["symbol"]] += range(row["first_id"], row["last_id"] + 1)
    assert {symbol: sorted(ids) for symbol, ids in found.items()} == {
        symbol: sorted(ids) for symbol, ids in missing.items()
    }


def test_a_filled_middle_leaves_two_holes_of_the_same_outage() -> None:
    """Both keep the time, the outage and the place of the hole they are left of."""
    log = EventLog(run=1, connection=2)
    log.hole(100, 199, cause="outage", outage=3)
    log.hole(500, 500, symbol="ETHUSDT", cause="connection")
    log.filled(140, 149)
    table = holes(log.table())
    assert table.schema == HOLES
    first, second, other = table.to_pylist()
    assert [(row["first_id"], row["last_id"], row["count"]) for row in (first, second)] == [
        (100, 139, 40),
        (150, 199, 50),
    ]
    assert {key: first[key] for key in ("time", "outage", "where", "connection")} == {
        key: second[key] for key in ("time", "outage", "where", "connection")
    }
    assert (first["outage"], first["where"], first["connection"]) == (3, "outage", 2)
    assert (other["symbol"], other["outage"], other["where"]) == ("ETHUSDT", 0, "connection")


def test_an_id_told_missing_twice_is_missing_once() -> None:
    """A collector that was killed tells of the same hole again after its restart."""
    log = EventLog(run=1)
    log.hole(10, 19, outage=1)
    log.hole(15, 29, outage=2)
    found = holes(log.table()).to_pylist()
    assert [(row["first_id"], row["last_id"], row["outage"]) for row in found] == [(10, 19, 1), (20, 29, 2)]


def test_an_absurd_interval_does_not_break_the_table() -> None:
    """Two ids at the ends of int64: the count is as large as a column can say."""
    log = EventLog(run=1)
    log.hole(-(2**63), 2**63 - 1)
    assert holes(log.table())["count"].to_pylist() == [2**63 - 1]


@settings(deadline=None)
@given(steps=STEPS)
def test_every_id_ever_missing_has_one_state(steps: list[Any]) -> None:
    """Against a dict of ids, one by one: unknown until told, then filled or absent as the event says."""
    log = EventLog(run=1)
    states: dict[tuple[str, int], str] = {}
    for number, (settles, symbol, first, more) in enumerate(steps):
        ids = [(symbol, number) for number in range(first, first + more + 1)]
        if not settles:
            log.hole(first, first + more, symbol=symbol)
            states.update(dict.fromkeys(ids, "unknown"))
            continue
        vacant = number % 3 == 0
        log.add(
            "hole_filled", symbol=symbol, first_id=first, last_id=first + more, cause="vacant" if vacant else "outage"
        )
        for each in ids:
            if states.get(each) == "unknown":
                states[each] = "absent" if vacant else "filled"
    found = {}
    for row in holes(log.table(), settled=True).to_pylist():
        assert (row["settled"] is None) == (row["state"] == HoleState.UNKNOWN)
        for number in range(row["first_id"], row["last_id"] + 1):
            assert (row["symbol"], number) not in found
            found[row["symbol"], number] = row["state"]
    assert found == states
    left = holes(log.table())
    assert set(left["state"].to_pylist()) <= {"unknown"}
    assert sum(left["count"].to_pylist()) == list(states.values()).count("unknown")


def test_a_hole_is_told_apart_into_what_came_and_what_never_was() -> None:
    """Late rows that came one by one are one part; ids spent without a trade are absent; the rest is unknown."""
    log = EventLog(run=1, connection=2)
    log.hole(100, 109, cause="outage", outage=3)
    for number in (102, 103, 104):
        log.wait(1)
        log.filled(number, number)
    log.add("hole_filled", symbol="BTCUSDT", first_id=107, last_id=107, cause="vacant")
    told = [(row["first_id"], row["last_id"], row["state"]) for row in holes(log.table(), settled=True).to_pylist()]
    assert told == [
        (100, 101, "unknown"),
        (102, 104, "filled"),
        (105, 106, "unknown"),
        (107, 107, "absent"),
        (108, 109, "unknown"),
    ]
    assert {row["outage"] for row in holes(log.table(), settled=True).to_pylist()} == {3}


def test_ids_that_began_anew_are_other_trades() -> None:
    """The venue counts from 1 again: the same number may be missing twice, and filling one leaves the other."""
    log = EventLog(run=1)
    log.hole(10, 19, cause="connection")
    log.add("error", cause="ids_restarted", symbol="BTCUSDT")
    log.hole(15, 24, cause="connection")
    log.filled(15, 24)
    found = holes(log.table(), settled=True).to_pylist()
    assert [(row["first_id"], row["last_id"], row["state"]) for row in found] == [
        (10, 19, "unknown"),
        (15, 24, "filled"),
    ]


def test_no_events_no_holes() -> None:
    """The columns are all there, the rows are none."""
    assert holes(EVENTS.empty_table()).equals(HOLES.empty_table())


def test_ids_in_the_wrong_order_are_an_error() -> None:
    """The message names the column, the event and the values."""
    log = EventLog(run=1)
    log.hole(10, 9)
    with pytest.raises(UsageError, match="column 'last_id' of event 1 is 9, first_id is 10"):
        holes(log.table())
