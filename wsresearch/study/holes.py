"""Which trade ids went missing, and what became of them; why the connection broke is not here."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.reconnect.causes import Cause
from wsresearch.schema import EventKind
from wsresearch.study.rows import Event, as_table, int64, read_events

__all__ = ["HOLES", "HoleState", "holes", "holes_in"]

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
        pa.field("state", pa.string()),
        pa.field("settled", pa.timestamp("ns", tz="UTC")),
    ]
)


class HoleState(StrEnum):
    """What is known of ids that went missing: nothing yet, that they stand for no trade, or that they came late."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    FILLED = "filled"


_ABSENT: Final = frozenset({"vacant"})
"""Causes of a ``hole_filled`` event that say: the venue spent these ids without a trade. Any other brought trades."""


def _state(settled: Event | None) -> HoleState:
    if settled is None:
        return HoleState.UNKNOWN
    return HoleState.ABSENT if settled.cause in _ABSENT else HoleState.FILLED


class _Part(NamedTuple):
    """Ids that share a story: the row that told them missing, and the row that settled it, None while none has."""

    first: int
    last: int
    told: Event
    settled: Event | None


class _Missing:
    """The ids of one symbol that were ever told missing, in one count of the venue: disjoint, rising."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self._first: list[int] = []
        self._last: list[int] = []

    def _replace(self, first: int, last: int, parts: Iterable[_Part]) -> None:
        """Put parts in the place of what overlaps ``first..last``; what sticks out of it on either side is kept."""
        where = self._touched(first, last)
        outside = [
            part._replace(first=a, last=b)
            for part in self.parts[where]
            for a, b in ((part.first, min(part.last, first - 1)), (max(part.first, last + 1), part.last))
            if a <= b
        ]
        now = sorted([*outside, *parts], key=lambda part: part.first)
        self.parts[where] = now
        self._first[where] = [part.first for part in now]
        self._last[where] = [part.last for part in now]

    def _touched(self, first: int, last: int) -> slice:
        return slice(bisect_left(self._last, first), bisect_right(self._first, last))

    def add(self, row: Event, first: int, last: int) -> None:
        """Mark ids as missing; an id that is missing already stays with the row that said so first."""
        parts, next_id = [], first
        for part in self.parts[self._touched(first, last)]:
            if part.settled is None:
                if next_id < part.first:
                    parts.append(_Part(next_id, part.first - 1, row, None))
                parts.append(part._replace(first=max(part.first, first), last=min(part.last, last)))
                next_id = part.last + 1
        if next_id <= last:
            parts.append(_Part(next_id, last, row, None))
        self._replace(first, last, parts)

    def settle(self, row: Event, first: int, last: int) -> None:
        """Mark ids as filled or absent; what is left of a hole on either side stays a hole."""
        parts = [
            part._replace(first=max(part.first, first), last=min(part.last, last), settled=part.settled or row)
            for part in self.parts[self._touched(first, last)]
        ]
        self._replace(first, last, parts)

    def joined(self) -> list[_Part]:
        """Return the parts; neighbours of one hole and in one state are one, settled when the later of them was."""
        found: list[_Part] = []
        for part in self.parts:
            before = found[-1] if found else None
            alike = before is not None and before.told is part.told and _state(before.settled) is _state(part.settled)
            if before is None or not alike or before.last + 1 != part.first:
                found.append(part)
                continue
            later = max((before.settled, part.settled), key=lambda row: (row.run, row.seq) if row else (0, 0))
            found[-1] = before._replace(last=part.last, settled=later)
        return found


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


def _told(rows: list[Event]) -> list[_Part]:
    """Return every part that was ever told missing, in the order it was noticed."""
    counts: dict[str, list[_Missing]] = {}
    for row in rows:
        if row.kind == EventKind.HOLE:
            symbol, first, last = _interval(row)
            counts.setdefault(symbol, [_Missing()])[-1].add(row, first, last)
        elif row.kind == EventKind.HOLE_FILLED:
            symbol, first, last = _interval(row)
            if symbol in counts:
                counts[symbol][-1].settle(row, first, last)
        elif row.kind == EventKind.ERROR and row.cause == Cause.IDS_RESTARTED and row.symbol in counts:
            counts[row.symbol].append(_Missing())  # the same numbers are other trades from here on
    parts = [part for several in counts.values() for missing in several for part in missing.joined()]
    return sorted(parts, key=lambda part: (part.told.run, part.told.seq, part.first))


def holes_in(rows: list[Event]) -> list[tuple[Event, int, int]]:
    """Return what is still missing as ``(hole row, first id, last id)``, in the order it was noticed."""
    return [(part.told, part.first, part.last) for part in _told(rows) if part.settled is None]


def holes(events: Any, *, settled: bool = False) -> pa.Table:
    """Return every interval of trade ids that is missing at the end of the table, one row each.

    A ``hole_filled`` event takes its ids away again; a filled middle leaves two holes. An id that two events
    call missing counts once and belongs to the first of them, unless the venue began to count anew between them.

    Parameters
    ----------
    events
        The events table of a capture, in any order.
    settled
        Return the holes too of which it is known what became of them: a row for each part that shares a state.

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
        ``where``      ``outage``, ``connection`` (inside one) or ``stop`` (across a stop of ours, a kill included)
        ``connection`` the connection that delivered the message after it
        ``state``      a :class:`HoleState`: ``unknown``, ``absent`` or ``filled``; without ``settled`` the first
        ``settled``    when it became known; null while it is not
        ============== ==================================================================

    Raises
    ------
    UsageError
        If a column is missing, or a hole names no symbol or no ids.
    """
    found = []
    for part in _told(read_events(events)):
        if part.settled is None or settled:
            row = part.told
            ids = (row.symbol, part.first, part.last, int64(part.last - part.first + 1))
            then = None if part.settled is None else part.settled.time
            found.append((*ids, row.time, row.outage or 0, row.cause, row.connection, _state(part.settled), then))
    return as_table(found, HOLES)
