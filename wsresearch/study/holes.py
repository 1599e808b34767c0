"""Which trade ids are still missing; why the connection broke, and whether REST has them, is not here."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.schema import EventKind
from wsresearch.study.rows import Event, as_table, int64, read_events

__all__ = ["HOLES", "holes", "holes_in"]

HOLES: Final = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("first_id", pa.int64()),
        pa.field("last_id", pa.int64()),
        pa.field("count", pa.int64()),
        pa.field("time", pa.timestamp("ns", tz="UTC")),
        pa.field("outage", pa.int32()),
        pa.field("where", pa.string()),
        pa.field("connection", pa.int32()),
    ]
)


@dataclass(slots=True)
class _Missing:
    """The missing ids of one symbol: disjoint inclusive intervals, rising, each with the row it is from."""

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    row: list[Event] = field(default_factory=list)

    def _touched(self, first: int, last: int) -> slice:
        return slice(bisect_left(self.last, first), bisect_right(self.first, last))

    def _replace(self, where: slice, parts: list[tuple[int, int, Event]]) -> None:
        self.first[where] = [part[0] for part in parts]
        self.last[where] = [part[1] for part in parts]
        self.row[where] = [part[2] for part in parts]

    def add(self, row: Event, first: int, last: int) -> None:
        """Mark ids as missing; an id that is missing already stays with the row that said so first."""
        where = self._touched(first, last)
        known = list(zip(self.first[where], self.last[where], self.row[where], strict=True))
        parts, next_id = [], first
        for part in known:
            if next_id < part[0]:
                parts.append((next_id, part[0] - 1, row))
            parts.append(part)
            next_id = part[1] + 1
        if next_id <= last:
            parts.append((next_id, last, row))
        self._replace(where, parts)

    def remove(self, first: int, last: int) -> None:
        """Mark ids as arrived; what is left of a hole on either side stays a hole."""
        where = self._touched(first, last)
        parts = []
        for begin, end, row in zip(self.first[where], self.last[where], self.row[where], strict=True):
            if begin < first:
                parts.append((begin, first - 1, row))
            if end > last:
                parts.append((last + 1, end, row))
        self._replace(where, parts)


def _interval(row: Event) -> tuple[str, int, int]:
    for column, value in (("symbol", row.symbol), ("first_id", row.first_id), ("last_id", row.last_id)):
        if value is None:
            raise UsageError(f"column {column!r} of event {row.seq} is null, but its kind is {row.kind!r}")
    assert row.symbol is not None
    assert row.first_id is not None
    assert row.last_id is not None
    if row.last_id < row.first_id:
        raise UsageError(f"column 'last_id' of event {row.seq} is {row.last_id}, first_id is {row.first_id}")
    return row.symbol, row.first_id, row.last_id


def holes_in(rows: list[Event]) -> list[tuple[Event, int, int]]:
    """Return what is still missing as ``(hole row, first id, last id)``, in the order it was noticed."""
    symbols: dict[str, _Missing] = {}
    for row in rows:
        if row.kind == EventKind.HOLE:
            symbol, first, last = _interval(row)
            symbols.setdefault(symbol, _Missing()).add(row, first, last)
        elif row.kind == EventKind.HOLE_FILLED:
            symbol, first, last = _interval(row)
            if symbol in symbols:
                symbols[symbol].remove(first, last)
    missing = [
        (row, first, last)
        for of in symbols.values()
        for first, last, row in zip(of.first, of.last, of.row, strict=True)
    ]
    return sorted(missing, key=lambda hole: (hole[0].run, hole[0].seq, hole[1]))


def holes(events: Any) -> pa.Table:
    """Return every interval of trade ids that is missing at the end of the table, one row each.

    A ``hole_filled`` event takes its ids away again; a filled middle leaves two holes. An id that two events
    call missing counts once and belongs to the first of them.

    Parameters
    ----------
    events
        The events table of a capture, in any order.

    Returns
    -------
    pyarrow.Table
        In the order the holes were noticed:

        ============== ==================================================================
        ``symbol``     as the venue writes it
        ``first_id``   first missing id
        ``last_id``    last missing id, inclusive
        ``count``      ``last_id - first_id + 1``
        ``time``       when the hole was noticed: receive time of the message after it
        ``outage``     the outage it lies across, 0 for none
        ``where``      ``outage``, ``connection`` (inside one) or ``stop`` (across a stop of ours)
        ``connection`` the connection that delivered the message after it
        ============== ==================================================================

    Raises
    ------
    UsageError
        If a column is missing, or a hole names no symbol or no ids.
    """
    found = []
    for row, first, last in holes_in(read_events(events)):
        ids = (row.symbol, first, last, int64(last - first + 1))
        found.append((*ids, row.time, row.outage or 0, row.cause, row.connection))
    return as_table(found, HOLES)
