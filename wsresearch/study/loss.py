"""Who lost what is missing: the wire, our own queue, our parser, the venue, or nobody who listened.

**What the counters can tell.** Messages that found no room in the queue (``dropped``) and those that failed a strict
check (``rejected``) are counted each second. They are counted, not named: a dropped message was never looked at, so
nobody knows its id, nor whether it had one. What is known is when. A hole is *open* from the arrival of the row before
it, which the trades tell, to the arrival of the row after it, and what was lost in a second can only lie in a hole that
was open in that second. Without the trades, a hole is open since the one of its symbol before it: more can lie in it.

**The rule.** We blame ourselves first. Every drop, and then every reject, is taken for one trade and charged to a hole
in which its id can lie, the one noticed first; as many find a place as possibly can (holes are open for an interval
of seconds, so to serve the one that closes first is optimal: Glover 1967, Naval Research Logistics 14, 313). What then
is left of a hole is charged by where it lies:

* across an outage, to the *wire*: no connection delivered it, or it was destroyed on the way;
* across a stop of ours, a kill included, to *stop*: nobody listened;
* inside a connection, to the *venue*: TCP loses nothing inside a connection, so it was not sent;
* ids known to stand for no trade, to the *venue* as well.

So ``queue`` and ``parser`` together are the most that can be our fault, and ``wire``, ``stop`` and ``venue`` the least
that is theirs. A drop or reject that finds no hole cost no id: it was a duplicate, no trade, or came before the first
or after the last stored trade.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

import numpy as np
import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.schema import STATS
from wsresearch.study.gaps import by_symbol, of_the_stream, stretches
from wsresearch.study.holes import HOLES, HoleState, holes
from wsresearch.study.rows import as_table, checked, nanoseconds

__all__ = ["LOSSES", "balance", "losses"]

LOSSES: Final = pa.schema(
    [
        *(HOLES.field(name) for name in ("symbol", "first_id", "last_id", "count", "time", "outage", "where")),
        *(HOLES.field(name) for name in ("connection", "state")),
        *(pa.field(name, pa.int64()) for name in ("wire", "queue", "parser", "venue", "stop")),
        *(pa.field(name, pa.int64()) for name in ("queue_most", "parser_most")),
    ]
)

_Key = tuple[int, int]
"""When something was, as ``(connection, ns)``: wall time may step from one connection to the next, numbers do not."""

_BEFORE_ALL: Final[_Key] = (-1, 0)


@dataclass(slots=True, kw_only=True)
class _Hole:
    """A hole, and what is charged to whom of it."""

    count: int
    since: _Key
    noticed: _Key
    free: int
    queue: int = 0
    parser: int = 0


@dataclass(slots=True, kw_only=True)
class _Second:
    """A second in which something was lost. Its messages arrived after ``since``."""

    since: _Key
    until: _Key
    lost: dict[str, int] = field(default_factory=dict)


def _rows_before(table: pa.Table, trades: Any) -> dict[tuple[str, int], list[_Key]]:
    """Return when connections delivered the row before each hole, by symbol and first missing id."""
    firsts: dict[str, set[int]] = {}
    for symbol, first in zip(table["symbol"].to_pylist(), table["first_id"].to_pylist(), strict=True):
        firsts.setdefault(symbol, set()).add(first)
    wanted = {symbol: np.array(sorted(several)) for symbol, several in firsts.items()}
    found: dict[tuple[str, int], list[_Key]] = {}
    for stretch in stretches(trades, ("symbol", "trade_id")):
        rows = of_the_stream(stretch)
        time, connection = nanoseconds(rows, "recv_time", "trades"), np.asarray(rows["connection"])
        after = np.asarray(rows["trade_id"].fill_null(0)) + 1
        for symbol, positions in by_symbol(rows["symbol"]):
            if symbol not in wanted:
                continue
            mine = after if positions is None else after[positions]
            ids = wanted[symbol]
            at = np.flatnonzero(ids[np.searchsorted(ids, mine).clip(max=len(ids) - 1)] == mine)
            for row in at if positions is None else positions[at]:
                found.setdefault((symbol, int(after[row])), []).append((int(connection[row]), int(time[row])))
    return found


def _holes(table: pa.Table, trades: Any | None) -> list[_Hole]:
    """Return the holes as the assignment sees them, open since the hole or the row of their symbol before them."""
    before = {} if trades is None else _rows_before(table, trades)
    found: list[_Hole] = []
    noticed: dict[str, tuple[_Key, _Key]] = {}
    time = nanoseconds(table, "time", "holes").tolist()
    columns = (table[name].to_pylist() for name in ("symbol", "first_id", "count", "connection", "state"))
    for at, symbol, first, count, connection, state in zip(time, *columns, strict=True):
        key = (connection or 0, at)
        since, last = noticed.get(symbol, (_BEFORE_ALL, _BEFORE_ALL))
        if key != last:
            since = last  # the parts of one hole are open since the same moment
        noticed[symbol] = (since, key)
        rows = [row for row in before.get((symbol, first), ()) if row < key]
        since = max((since, *rows))
        found.append(_Hole(count=count, since=since, noticed=key, free=count if state == HoleState.UNKNOWN else 0))
    return found


def _seconds(stats: Any) -> list[_Second]:
    """Return the seconds with losses, in order."""
    columns = ("time", "run", "connection", "dropped", "rejected", "queue_bytes")
    table = checked(stats, STATS, columns, name="stats")
    for name in ("run", "connection", "dropped", "rejected"):
        column = table[name]
        if column.null_count:
            raise UsageError(f"column {name!r} of the stats table has a null; every second has one")
        if name in {"dropped", "rejected"} and len(column) and np.asarray(column).min() < 0:
            least = np.asarray(column).min()
            raise UsageError(f"column {name!r} of the stats table is {least}; nothing counts below 0")
    time, run = nanoseconds(table, "time", "stats"), np.asarray(table["run"])
    connection, held = np.asarray(table["connection"]), np.asarray(table["queue_bytes"].fill_null(0))
    dropped, rejected = np.asarray(table["dropped"]), np.asarray(table["rejected"])
    order = np.lexsort((time, connection, run))
    keys = list(zip(connection[order].tolist(), time[order].tolist(), strict=True))
    # What is rejected in a second may have waited in the queue: it came after the queue was last seen empty.
    empty = np.maximum.accumulate(np.where(held[order] == 0, np.arange(len(order)), -1))
    found = []
    for at in np.flatnonzero((dropped[order] > 0) | (rejected[order] > 0)).tolist():
        since = int(empty[at - 1]) if at else -1
        row = order[at]
        lost = {"queue": int(dropped[row]), "parser": int(rejected[row])}
        found.append(_Second(since=keys[since] if since >= 0 else _BEFORE_ALL, until=keys[at], lost=lost))
    return found


def _charge(holes: list[_Hole], seconds: list[_Second]) -> None:
    """Charge drops and rejects to holes, the one noticed first before the others."""
    begins = sorted(range(len(holes)), key=lambda at: holes[at].since)
    opened: list[tuple[_Key, int]] = []
    next_begin = 0
    for second in seconds:
        while next_begin < len(begins) and holes[begins[next_begin]].since < second.until:
            at = begins[next_begin]
            heappush(opened, (holes[at].noticed, at))
            next_begin += 1
        for who, count in second.lost.items():
            left = count
            while left and opened:
                hole = holes[opened[0][1]]
                if not hole.free or hole.noticed <= second.since:
                    heappop(opened)
                    continue
                taken = min(left, hole.free)
                hole.free -= taken
                left -= taken
                setattr(hole, who, getattr(hole, who) + taken)


def _most(holes: list[_Hole], seconds: list[_Second], who: str) -> list[int]:
    """Return for each hole how many of it can have been lost by somebody at most."""
    until, since = [second.until for second in seconds], [second.since for second in seconds]
    sums = np.concatenate(([0], np.cumsum([second.lost[who] for second in seconds], dtype=np.int64)))
    found = []
    for hole in holes:
        first = bisect_right(until, hole.since)
        last = max(first, bisect_left(since, hole.noticed))
        found.append(min(hole.count, int(sums[last] - sums[first])) if hole.free or hole.queue or hole.parser else 0)
    return found


def losses(events: Any, stats: Any, *, trades: Any | None = None) -> pa.Table:
    """Assign every missing id to who lost it; see the head of this module for the rule and what it is worth.

    Parameters
    ----------
    events, stats
        The tables of a capture, in any order.
    trades
        The trades table, or a ``pyarrow.RecordBatchReader`` of it, which is gone through once: tells when the row
        before each hole had come. ``symbol``, ``trade_id``, ``recv_time`` and ``connection`` are needed.

    Returns
    -------
    pyarrow.Table
        One row for each hole that was not filled, in the order they were noticed:

        =================== ==============================================================================
        ``symbol``, ``first_id``, ``last_id``, ``count``, ``time``, ``outage``, ``where``, ``connection``,
        ``state``           as in :func:`wsresearch.study.holes.holes`
        ``wire``, ``queue``, ``parser``, ``venue``, ``stop``  how many of its ids each lost; together ``count``
        ``queue_most``, ``parser_most``  how many were dropped, and rejected, while it was open: no more than that
                            can be theirs, whatever else they were charged to
        =================== ==============================================================================

    Raises
    ------
    UsageError
        If a column is missing, of another type, null where it never is, or a count is negative.
    """
    table = holes(events, settled=True)
    found, seconds = _holes(table, trades), _seconds(stats)
    _charge(found, seconds)
    most = [_most(found, seconds, who) for who in ("queue", "parser")]
    rows = []
    names = [name for name in LOSSES.names if name in HOLES.names]
    columns = [table[name] if name != "time" else table[name].cast(pa.int64()) for name in names]
    values = zip(*(column.to_pylist() for column in columns), strict=True)
    for told, hole, *bounds in zip(values, found, *most, strict=True):
        where, state = told[names.index("where")], told[names.index("state")]
        if state == HoleState.FILLED:
            continue
        rest = hole.count - hole.queue - hole.parser
        blame = {"connection": "venue", "stop": "stop"}.get(where, "wire")
        if state == HoleState.ABSENT:
            blame = "venue"
        left = {who: rest if who == blame else 0 for who in ("wire", "venue", "stop")}
        rows.append((*told, left["wire"], hole.queue, hole.parser, left["venue"], left["stop"], *bounds))
    return as_table(rows, LOSSES)


def balance(lost: pa.Table, stats: Any) -> dict[str, int]:
    """Add up a table of :func:`losses` beside the counters.

    Parameters
    ----------
    lost
        What :func:`losses` returned.
    stats
        The stats table it was made with.

    Returns
    -------
    dict
        ``missing`` = ``wire`` + ``queue`` + ``parser`` + ``venue`` + ``stop``; ``dropped`` = ``queue`` +
        ``dropped_elsewhere``, ``rejected`` = ``parser`` + ``rejected_elsewhere``: those cost no id that is missing.
    """
    table = checked(lost, LOSSES, tuple(LOSSES.names), name="losses")
    counted = checked(stats, STATS, ("dropped", "rejected"), name="stats")
    sums = {name: sum(table[name].to_pylist()) for name in ("count", "wire", "queue", "parser", "venue", "stop")}
    dropped, rejected = (sum(value or 0 for value in counted[name].to_pylist()) for name in ("dropped", "rejected"))
    return {
        "missing": sums.pop("count"),
        **sums,
        "dropped": dropped,
        "dropped_elsewhere": dropped - sums["queue"],
        "rejected": rejected,
        "rejected_elsewhere": rejected - sums["parser"],
    }
