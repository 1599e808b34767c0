"""What earlier runs of a capture left behind that the next one must know; repairing files is not here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.coverage import Ids
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.collect.clock import Anchor
from wsresearch.collect.newest import newest_rows, noted
from wsresearch.collect.recorder import MARKS_KEY, NUMBERS_KEY
from wsresearch.collect.sequence import Ledger, Where
from wsresearch.reconnect.causes import Cause
from wsresearch.schema import EventKind, TableName

__all__ = ["RECALLED", "Past", "ledger_of", "past_of"]

RECALLED: Final = 100_000
"""Newest rows whose ids are known one by one after a start: a venue that sends again what it sent before the break
sends what is stored, and the segment in which a crash came may hold a handful of rows."""

_COUNTERS = ("run", "connection", "outage", "seq")
_ID_COLUMNS = ("symbol", "trade_id", "trade_time", "recv_time")
# A late row may fill a hole that was told some time before the segment it stands in.
_TOLD_BEFORE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Where the counters of a capture stand.

    Attributes
    ----------
    run, connection, outage, seq
        The last used numbers; 0 if there are none.
    marks
        Highest id of each symbol in all segments before ``recent_trades``, as :attr:`Ledger.marks` gives it.
    recent_trades
        Columns symbol, trade_id, trade_time and recv_time of the newest trades segments, :data:`RECALLED` rows or more
        where there are as many.
    attempts
        Times (ns since 1970 UTC) of the attempts within the budget's window: the budget outlives the process.
    told
        The rows about ids (holes, holes that were filled, new counts) that can be about ``recent_trades``, or about
        what came after them.
    """

    run: int
    connection: int
    outage: int
    seq: int
    marks: dict[str, int]
    recent_trades: pa.Table
    attempts: list[int]
    told: pa.Table

    def attempts_by(self, anchor: Anchor) -> list[float]:
        """Return the attempts on this process's monotonic scale, in seconds.

        The wall clock places them there: one that was set can only make them look older or younger, never lift the
        bound for what this process does itself.
        """
        return [min(anchor.monotonic(at_ns), anchor.mono) for at_ns in self.attempts]

    @property
    def numbers(self) -> dict[str, int]:
        """The four counters by name."""
        return {name: getattr(self, name) for name in _COUNTERS}


def past_of(root: Path, *, now_ns: int, window: float) -> Past:
    """Read what the next run must know, from the newest segments only: a week's capture opens as fast as a new one.

    Parameters
    ----------
    root
        The capture directory, after recovery: everything is sealed.
    now_ns
        The wall clock, ns since 1970 UTC.
    window
        Seconds of the attempt budget.
    """
    layout = Layout(root)
    last_events, events = newest_rows(layout, TableName.EVENTS, _COUNTERS)
    before = noted(layout, last_events, NUMBERS_KEY)
    # A row outside an outage carries outage 0, so a segment's rows alone would forget the last one.
    numbers = {name: max(before.get(name, 0), pc.max(events[name]).as_py() or 0) for name in _COUNTERS}
    first_trades, trades = newest_rows(layout, TableName.TRADES, _ID_COLUMNS, at_least=RECALLED)
    reader = Reader(root)
    recent = reader.events(since=datetime.fromtimestamp(now_ns / 1e9, tz=UTC) - timedelta(seconds=window))
    tried = recent.filter(pc.equal(recent["kind"], EventKind.CONNECTING))
    about = recent
    if trades.num_rows:
        began = pc.min(trades["recv_time"]).cast(pa.timestamp("us", tz="UTC"), safe=False).as_py()
        about = reader.events(since=began - _TOLD_BEFORE)
    of_ids = pa.array([EventKind.HOLE, EventKind.HOLE_FILLED])
    return Past(
        **numbers,
        marks=noted(layout, first_trades, MARKS_KEY),
        recent_trades=trades,
        attempts=tried["time"].cast(pa.int64()).to_pylist(),
        told=about.filter(pc.or_kleene(pc.is_in(about["kind"], of_ids), pc.equal(about["cause"], Cause.IDS_RESTARTED))),
    )


def ledger_of(past: Past) -> tuple[Ledger, list[dict[str, Any]]]:
    """Return the ids that are stored, and the event rows that a crash kept from being written.

    Trades and events are two journals. A kill between the two appends leaves a row whose hole nobody told of, or
    a late row whose hole still stands: what the last rows say is compared with what was told, and told now.
    """
    ledger = Ledger(past.marks)
    told: list[dict[str, Any]] = []
    for row in past.told.to_pylist():
        if row["kind"] == EventKind.ERROR:  # the venue began to count anew: what was said of these ids is over
            told = [earlier for earlier in told if earlier["symbol"] != row["symbol"]]
        else:
            told.append(row)
    for row in told:  # ids spent without a trade are in no table of trades; the last of them no trade has followed yet
        if row["cause"] == Where.VACANT:
            ledger.excuse(row["symbol"], row["first_id"], row["last_id"])
    ledger.recall(past.recent_trades)
    rows: list[dict[str, Any]] = []
    for symbol in sorted(past.recent_trades["symbol"].unique().to_pylist()):
        spans = {
            kind: Ids.spanning(
                (t["first_id"], t["last_id"]) for t in told if t["symbol"] == symbol and t["kind"] == kind
            )
            for kind in (EventKind.HOLE, EventKind.HOLE_FILLED)
        }
        holes = spans[EventKind.HOLE] - spans[EventKind.HOLE_FILLED]
        untold = {
            EventKind.HOLE: Ids.spanning(ledger.missing(symbol)) - holes - spans[EventKind.HOLE_FILLED],
            EventKind.HOLE_FILLED: holes & Ids.spanning(ledger.seen(symbol)),
        }
        rows += [
            {"kind": kind, "symbol": symbol, "first_id": first, "last_id": last, "cause": Where.STOP.value}
            for kind, ids in untold.items()
            for first, last in ids
        ]
    return ledger, rows
