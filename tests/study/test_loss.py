"""Who lost what is missing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from tests.study.eventlog import START_NS, EventLog, ns
from wsresearch.errors import UsageError
from wsresearch.schema import EVENTS, STATS, TRADES
from wsresearch.study import LOSSES, balance, losses

OWN = ("queue", "parser")
ALL = ("wire", "queue", "parser", "venue", "stop")


def _stats(rows: list[dict[str, Any]]) -> pa.Table:
    blank = {"run": 1, "connection": 1, "dropped": 0, "rejected": 0, "queue_bytes": 0}
    return pa.Table.from_pylist([blank | row for row in rows], schema=STATS)


def _at(seconds: float) -> int:
    return START_NS + ns(seconds)


def test_each_by_the_rule() -> None:
    """One hole of each kind, worked out by hand."""
    log = EventLog(run=1, connection=1)
    log.wait(1.5)
    log.hole(10, 19, cause="connection")  # 4 drops and 1 reject in this second: the rest was never sent
    log.wait(1)
    log.hole(50, 50, cause="connection")  # of 3 drops in this second one may be this id
    log.wait(2)
    log.connection = 2
    log.hole(60, 99, cause="outage", outage=1)  # the other two came before the end of connection 1
    log.wait(1)
    log.hole(200, 203, cause="connection")  # nothing of ours: the venue jumped over it
    log.add("hole_filled", symbol="BTCUSDT", first_id=200, last_id=201, cause="connection")
    log.add("hole_filled", symbol="BTCUSDT", first_id=202, last_id=202, cause="vacant")
    log.wait(1)
    log.run, log.connection = 2, 3
    log.hole(300, 309, cause="stop")
    stats = _stats(
        [
            {"time": _at(1)},
            {"time": _at(2), "dropped": 4, "rejected": 1},
            {"time": _at(3), "dropped": 3},
            *({"time": _at(at), "connection": 2} for at in (5, 6)),
            {"time": _at(7), "connection": 3, "run": 2, "rejected": 5},
        ]
    )
    table = losses(log.table(), stats)
    assert table.schema == LOSSES
    told = [(row["first_id"], row["last_id"], *(row[who] for who in ALL)) for row in table.to_pylist()]
    assert told == [
        (10, 19, 0, 4, 1, 5, 0),
        (50, 50, 0, 1, 0, 0, 0),
        (60, 99, 38, 2, 0, 0, 0),
        (202, 202, 0, 0, 0, 1, 0),
        (203, 203, 0, 0, 0, 1, 0),
        (300, 309, 0, 0, 5, 0, 5),
    ]
    assert balance(table, stats) == {
        "missing": 63,
        "wire": 38,
        "queue": 7,
        "parser": 6,
        "venue": 7,
        "stop": 5,
        "dropped": 7,
        "dropped_elsewhere": 0,
        "rejected": 6,
        "rejected_elsewhere": 0,
    }


def test_a_drop_lies_in_the_next_hole_of_its_symbol() -> None:
    """A hole noticed before the second began cannot hold what was dropped in it, nor one that began after it."""
    log = EventLog(run=1, connection=1)
    for at, first in ((0.5, 10), (3.5, 20), (7.5, 30)):
        log.now = _at(at)
        log.hole(first, first + 4, cause="connection")
    stats = _stats([{"time": _at(n)} | ({"dropped": 9} if n == 3 else {}) for n in range(1, 9)])
    table = losses(log.table(), stats)
    assert table["queue"].to_pylist() == [0, 5, 0]
    assert table["queue_most"].to_pylist() == [0, 5, 0]
    assert balance(table, stats)["dropped_elsewhere"] == 4


def test_trades_tell_when_a_hole_began() -> None:
    """The row before the second hole came after the drops: they lie in none that is known, and are charged to none."""
    log = EventLog(run=1, connection=1)
    for at, first in ((0.5, 10), (7.5, 30)):
        log.now = _at(at)
        log.hole(first, first + 4, cause="connection")
    stats = _stats([{"time": _at(n)} | ({"dropped": 9} if n == 3 else {}) for n in range(1, 9)])
    rows = [(9, 0.4, 1), (15, 0.5, 1), (29, 5.0, 1), (29, 2.0, 0), (35, 7.5, 1)]
    told = [
        {"symbol": "BTCUSDT", "trade_id": number, "recv_time": _at(at), "connection": connection}
        for number, at, connection in rows
    ]
    table = pa.Table.from_pylist(told, schema=TRADES)
    assert losses(log.table(), stats)["queue"].to_pylist() == [0, 5]
    assert losses(log.table(), stats, trades=table)["queue"].to_pylist() == [0, 0]
    reader = pa.RecordBatchReader.from_batches(TRADES, table.to_batches(max_chunksize=2))
    assert losses(log.table(), stats, trades=reader)["venue"].to_pylist() == [5, 5]


def test_what_waited_in_the_queue_may_be_rejected_late() -> None:
    """The queue was never empty since second 1: a message rejected in second 5 may lie in the hole of second 2."""
    log = EventLog(run=1, connection=1)
    log.now = _at(1.5)
    log.hole(10, 10, cause="connection")
    for held, who in ((1000, "parser"), (0, "venue")):
        rows = [{"time": _at(n), "queue_bytes": held if n > 1 else 0} for n in range(1, 5)]
        stats = _stats([*rows, {"time": _at(5), "rejected": 1}])
        assert losses(log.table(), stats)[who].to_pylist() == [1]


def test_a_stepped_clock_moves_nothing_to_another_connection() -> None:
    """The wall clock goes back an hour between two connections: drops stay with the holes of theirs."""
    log = EventLog(run=1, connection=1)
    log.now = _at(10.5)
    log.hole(10, 19, cause="connection")
    log.connection, log.now = 2, _at(-3590)
    log.hole(30, 39, cause="outage", outage=1)
    log.now = _at(-3585.5)
    log.hole(50, 59, cause="connection")
    rows = [{"time": _at(10)}, {"time": _at(11), "dropped": 2}, {"time": _at(12)}]
    rows += [{"time": _at(at), "connection": 2} for at in (-3589, -3586)]
    stats = _stats([*rows, {"time": _at(-3585), "connection": 2, "dropped": 3}])
    table = losses(log.table(), stats)
    assert table["queue"].to_pylist() == [2, 0, 3]
    assert table["wire"].to_pylist() == [0, 10, 0]


FATES = ("stored", "stored", "stored", "dropped", "rejected", "skipped", "unsent")


@st.composite
def streams(draw: st.DrawFn) -> tuple[pa.Table, pa.Table, Counter[str]]:
    """A stream of two symbols whose every message has a fate; events and stats as a collector would write them."""
    log = EventLog(run=1, connection=1)
    next_id = {"A": 1, "B": 1}
    stored: dict[str, tuple[int, int]] = {}
    lost: dict[str, list[str]] = {"A": [], "B": []}
    counts: Counter[str] = Counter()
    truth: Counter[str] = Counter()
    rows = []
    for tick in range(draw(st.integers(1, 8))):
        for _ in range(draw(st.integers(0, 6))):
            log.wait(0.01)
            symbol, fate = draw(st.sampled_from("AB")), draw(st.sampled_from(FATES))
            number = next_id[symbol]
            next_id[symbol] += 1
            if fate == "unsent":
                log.connection += draw(st.integers(0, 1))
            if fate in {"dropped", "rejected"}:
                counts[fate] += 1
            if fate != "stored":
                lost[symbol].append(fate)
                continue
            before = stored.get(symbol)
            if before is not None and before[0] + 1 < number:
                across = before[1] != log.connection
                log.hole(before[0] + 1, number - 1, symbol=symbol, cause="outage" if across else "connection")
                truth.update(lost[symbol])
            lost[symbol] = []
            stored[symbol] = (number, log.connection)
        log.now = _at(tick + 1)
        row = {"time": log.now, "connection": log.connection, "queue_bytes": draw(st.integers(0, 1))}
        rows.append(row | {name: counts[name] for name in ("dropped", "rejected")})
        counts.clear()
    return log.table() if log.rows else EVENTS.empty_table(), _stats(rows), truth


@settings(deadline=None)
@given(stream=streams())
def test_everything_adds_up(stream: tuple[pa.Table, pa.Table, Counter[str]]) -> None:
    """Each hole's five parts are its count, the counters are what was charged and what was not, bounds hold."""
    events, stats, truth = stream
    table = losses(events, stats)
    for row in table.to_pylist():
        assert sum(row[who] for who in ALL) == row["count"]
        assert min(row[who] for who in ALL) >= 0
        assert all(row[who] <= row[f"{who}_most"] <= row["count"] for who in OWN)
    told = balance(table, stats)
    assert told["missing"] == sum(told[who] for who in ALL) == truth.total()
    assert told["dropped"] == told["queue"] + told["dropped_elsewhere"]
    assert told["rejected"] == told["parser"] + told["rejected_elsewhere"]
    assert min(told.values()) >= 0
    # We blame ourselves first: what we lost is never charged to others.
    assert told["queue"] + told["parser"] >= truth["dropped"] + truth["rejected"]
    assert told["wire"] + told["venue"] <= truth["skipped"] + truth["unsent"]


@settings(deadline=None)
@given(stream=streams())
def test_as_many_find_a_place_as_can(stream: tuple[pa.Table, pa.Table, Counter[str]]) -> None:
    """Against scipy's maximum flow from seconds to the holes that were open in them."""
    events, stats, _ = stream
    table = losses(events, stats)
    holes = table.select(["symbol", "count", "connection"]).to_pylist()
    noticed = [
        (hole["connection"], at) for hole, at in zip(holes, table["time"].cast(pa.int64()).to_pylist(), strict=True)
    ]
    times = [(-1, 0), *zip(stats["connection"].to_pylist(), stats["time"].cast(pa.int64()).to_pylist(), strict=True)]
    lost = []  # since, until, count: a reject may have waited since the queue was last seen empty
    empty = 0
    for n, row in enumerate(stats.to_pylist()):
        lost += [(times[n], times[n + 1], row["dropped"]), (times[empty], times[n + 1], row["rejected"])]
        empty = empty if row["queue_bytes"] else n + 1
    graph = np.zeros((2 + len(lost) + len(holes),) * 2, dtype=np.int32)
    for n, (since, until, count) in enumerate(lost):
        graph[0, 2 + n] = count
        for m, hole in enumerate(holes):
            earlier = [noticed[k] for k in range(m) if holes[k]["symbol"] == hole["symbol"] and noticed[k] < noticed[m]]
            if noticed[m] > since and max(earlier, default=(-1, 0)) < until:
                graph[2 + n, 2 + len(lost) + m] = 1000
            graph[2 + len(lost) + m, 1] = hole["count"]
    most = maximum_flow(csr_array(graph), 0, 1).flow_value
    assert sum(table["queue"].to_pylist()) + sum(table["parser"].to_pylist()) == most


def test_nothing_missing_and_nothing_counted() -> None:
    """Empty tables are a capture that has not begun; drops without a hole cost nothing that is missing."""
    table = losses(EVENTS.empty_table(), STATS.empty_table())
    assert table.equals(LOSSES.empty_table())
    assert set(balance(table, STATS.empty_table()).values()) == {0}
    stats = _stats([{"time": _at(1), "dropped": 7}])
    assert balance(losses(EVENTS.empty_table(), stats), stats)["dropped_elsewhere"] == 7


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        (_stats([{"time": _at(1)}]).drop_columns(["dropped"]), "the stats table has no column 'dropped'"),
        (_stats([{"time": _at(1), "dropped": -1}]), "column 'dropped' of the stats table is -1"),
        (_stats([{"time": _at(1), "rejected": None}]), "column 'rejected' of the stats table has a null"),
        (_stats([{"time": None}]), "column 'time' of the stats table has a null"),
        ("stats", "stats must be an Arrow table"),
    ],
)
def test_wrong_counters_name_the_column(stats: Any, message: str) -> None:
    """One line says which column is wrong."""
    with pytest.raises(UsageError, match=message):
        losses(EVENTS.empty_table(), stats)
