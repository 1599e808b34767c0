"""What events say is missing, held against the ids that are there."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tests.capture.made import NOON, SECOND
from tests.capture.recorded import trade_rows
from wsresearch.capture.check import Findings
from wsresearch.capture.claims import Claims, judge
from wsresearch.capture.ledger import SETTLE_NS, IdLedger
from wsresearch.schema import EVENTS


def told(*events: dict[str, Any]) -> Claims:
    claims = Claims()
    rows = [{"seq": n, "time": NOON, "run": 1, "symbol": "BTCUSDT"} | event for n, event in enumerate(events, 1)]
    claims.add(pa.Table.from_pylist(rows, schema=EVENTS))
    return claims


def hole(first: int, last: int, **more: Any) -> dict[str, Any]:
    return {"kind": "hole", "first_id": first, "last_id": last} | more


def filled(first: int, last: int, **more: Any) -> dict[str, Any]:
    return hole(first, last, kind="hole_filled", **more)


def stored(ids: list[int], *, settled: bool = True, start: int = NOON) -> IdLedger:
    ledger = IdLedger()
    ledger.add(pa.Table.from_batches([trade_rows(ids, start=start)]), settled=settled)
    return ledger


def problems(ledger: IdLedger, claims: Claims, *, settled: bool = True) -> list[str]:
    findings = Findings()
    judge(ledger, claims, findings, settled=settled)
    return findings.problems


def test_holes_that_are_told_are_honest() -> None:
    """One event or several, overlapping or wider than the hole turned out to be: what is missing is explained."""
    assert problems(stored([1, 2, 8, 9]), told(hole(3, 7))) == []
    assert problems(stored([1, 2, 8, 9]), told(hole(3, 5), hole(4, 7))) == []
    assert problems(stored([1, 2, 8, 9]), told(hole(3, 7), hole(10, 99))) == []
    assert problems(stored([1, 5, 9]), told(hole(2, 8), filled(5, 5))) == []


def test_a_hole_that_is_told_in_part_is_a_problem_in_the_rest() -> None:
    """Ids no event speaks of, and ids said to have come that are not there."""
    assert problems(stored([1, 9]), told(hole(2, 5))) == ["'BTCUSDT': ids 6 to 8 are missing and no event says so"]
    assert problems(stored([1, 9]), told(hole(2, 8), filled(4, 4))) == [
        "'BTCUSDT': ids 4 to 4 are missing and no event says so"
    ]
    assert problems(stored([1, 9]), told(hole(2, 8, symbol="ETHUSDT"))) != []


def test_a_hole_that_is_none_is_a_problem() -> None:
    """An event that denies rows which are there would have a study count a loss that never was."""
    assert problems(stored([1, 2, 3]), told(hole(2, 2))) == [
        "'BTCUSDT': ids 2 to 2 are there although an event says they are missing"
    ]


def test_many_holes_are_named_in_part_and_counted() -> None:
    """A thousand defects are six lines, not a thousand."""
    said = problems(stored(list(range(1, 200, 2))), told())
    assert len(said) == 6
    assert said[-1] == "'BTCUSDT': 94 more ids in 94 intervals are missing and no event says so"


def test_what_is_under_way_is_not_judged() -> None:
    """Young rows and young events may wait for each other; what has settled is judged also in a running capture."""
    later = NOON + 2 * SETTLE_NS
    young = stored([1, 5], settled=False)
    assert problems(young, told(), settled=True) != []
    assert problems(young, told(), settled=False) == []
    young.add(pa.Table.from_batches([trade_rows([6], start=later)]), settled=False)
    assert problems(young, told(), settled=False) != []
    assert problems(young, told(hole(2, 4, time=later), filled(2, 4, time=later)), settled=False) == []
    fresh = stored([1, 5, 2], settled=False)
    assert problems(fresh, told(hole(2, 4)), settled=False) == []


def test_runs_that_ended_in_order_are_known() -> None:
    """A run ends by being stopped or giving up; a killed one leaves neither row."""
    assert told({"kind": "stopped"}, {"kind": "gave_up", "run": 3}, {"kind": "lost", "run": 4}).ended == {1, 3}


def test_each_count_of_a_venue_has_holes_of_its_own() -> None:
    """A hole told before the ids began anew says nothing about the same ids afterwards."""
    ledger = stored([1, 2, 5, 6])
    ledger.add(pa.Table.from_batches([trade_rows([1, 2, 3, 4, 7], start=NOON + 60 * SECOND)]), settled=True)
    restarted = {"kind": "error", "cause": "ids_restarted"}
    assert problems(ledger, told(hole(3, 4), restarted, hole(5, 6))) == []
    assert problems(ledger, told(hole(3, 4), restarted)) == ["'BTCUSDT': ids 5 to 6 are missing and no event says so"]
