"""Who lost what is missing: the wire, our own queue, our parser, the venue, or nobody who listened.

**What the counters can tell.** Messages that found no room in the queue (``dropped``) and those that failed a strict
check (``rejected``) are counted each second. They are counted, not named: a dropped message was never looked at, so
nobody knows its id, nor whether it had one. What is known is when. A hole is *open* from the arrival of the row before
it, which the trades tell, to the arrival of the row after it, and what was lost in a second can only lie in a hole that
was open in that second. Without the trades, a hole is open since the one of its symbol before it: more can lie in it.

**The rule.** We blame ourselves first. Every drop, and then every reject, is taken for one trade and charged to a hole
in which its id can lie, the one noticed first; so as many find a place as possibly can. What then is left of a hole is
charged by where it lies:

* across an outage, to the *wire*: no connection delivered it, or it was destroyed on the way;
* across a stop of ours, a kill included, to *stop*: nobody listened;
* inside a connection, to the *venue*: TCP loses nothing inside a connection, so it was not sent;
* ids known to stand for no trade, to the *venue* as well.

So ``queue`` and ``parser`` together are the most that can be our fault, and ``wire``, ``stop`` and ``venue`` together
the least that cannot. A drop or reject that finds no hole cost no id: it was a duplicate, no trade, or came before the
first or after the last stored trade.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

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


class _Lost(NamedTuple):
    """So many messages that somebody lost, all of which arrived after ``since`` and not after ``until``."""

    who: str
    since: _Key
    until: _Key
    messages: int


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


def _lost(stats: Any) -> list[_Lost]:
    """Return what was dropped and rejected in each second, in order."""
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
    order = np.lexsort((time, connection, run))
    keys = [_BEFORE_ALL, *zip(connection[order].tolist(), time[order].tolist(), strict=True)]
    counts = {who: np.asarray(table[name])[order] for who, name in (("queue", "dropped"), ("parser", "rejected"))}
    # A message is dropped on arrival, but rejected after it has waited in the queue: then it came after the moment at
    # which the queue was last seen empty.
    empty = np.maximum.accumulate(np.where(held[order] == 0, np.arange(1, len(order) + 1), 0))
    found = []
    for at in np.flatnonzero((counts["queue"] > 0) | (counts["parser"] > 0)).tolist():
        since = {"queue": keys[at], "parser": keys[int(empty[at - 1]) if at else 0]}
        found += [_Lost(who, since[who], keys[at + 1], int(counts[who][at])) for who in counts if counts[who][at]]
    return found


def _charge(holes: list[_Hole], lost: list[_Lost]) -> None:
    """Charge what was lost to holes in which it can lie, the one noticed first before the others.

    What was lost comes in the order of ``until``, so a hole that was open for one of them by its beginning is so for
    all later ones; by its end it is the less so, the earlier that was. So to take the one noticed first is best.
    """
    begins = sorted(range(len(holes)), key=lambda at: holes[at].since)
    opened: list[tuple[_Key, int]] = []
    next_begin = 0
    for each in lost:
        while next_begin < len(begins) and holes[begins[next_begin]].since < each.until:
            at = begins[next_begin]
            if holes[at].free:
                insort(opened, (holes[at].noticed, at))
            next_begin += 1
        left = each.messages
        first = bisect_right(opened, (each.since, len(holes)))
        used = first
        while left and used < len(opened):
            hole = holes[opened[used][1]]
            taken = min(left, hole.free)
            hole.free -= taken
            left -= taken
            setattr(hole, each.who, getattr(hole, each.who) + taken)
            used += not hole.free
        del opened[first:used]


def _most(holes: list[_Hole], lost: list[_Lost], who: str) -> list[int]:
    """Return for each hole how many of it can have been lost by somebody at most."""
    mine = [each for each in lost if each.who == who]
    until, since = [each.until for each in mine], [each.since for each in mine]
    sums = np.concatenate(([0], np.cumsum([each.messages for each in mine], dtype=np.int64)))
    found = []
    for hole in holes:
        first = bisect_right(until, hole.since)
        last = max(first, bisect_left(since, hole.noticed))
        found.append(min(hole.count, int(sums[last] - sums[first])) if hole.free else 0)
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
    found, lost = _holes(table, trades), _lost(stats)
    most = [_most(found, lost, who) for who in ("queue", "parser")]
    _charge(found, lost)
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
