"""The newest stretch of a capture, cut so that pictures of it tell the truth at its left edge; nothing is read here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.errors import UsageError
from wsresearch.notebook.columns import nanoseconds
from wsresearch.schema import EVENTS, EventKind
from wsresearch.study.gaps import GAPS
from wsresearch.study.rows import Event, as_table

__all__ = ["Recent", "Stretch", "as_of", "clamped", "quiet_gaps"]

_SECONDS: Final = (300.0, 3_600.0, 86_400.0, None)
_HOLES: Final = frozenset({EventKind.HOLE, EventKind.HOLE_FILLED})
_SETTLED: Final = frozenset({EventKind.STOPPED, EventKind.GAVE_UP})


class Stretch(StrEnum):
    """How far back the live pictures look."""

    MINUTES = "5 min"
    HOUR = "1 h"
    DAY = "24 h"
    ALL = "all"

    @classmethod
    def named(cls, name: str) -> Self:
        """Return a stretch by its name.

        Raises
        ------
        UsageError
            If there is none of that name.
        """
        if name not in list(cls):
            raise UsageError(f"stretch is {name!r}; choose from {', '.join(map(repr, map(str, cls)))}")
        return cls(name)

    @property
    def seconds(self) -> float | None:
        """Its length; None for everything that is held."""
        return _SECONDS[list(Stretch).index(self)]

    def since(self, until: int) -> int | None:
        """Return when it begins, if it ends at ``until``; both in ns since 1970."""
        return None if self.seconds is None else until - round(self.seconds * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What the pictures of a stretch are made of; plots take it as they take a capture.

    Attributes
    ----------
    rows
        The events, those before ``since`` reduced to what must be known of the state then.
    counters
        The stats rows held, older ones included.
    since, until
        The stretch in ns since 1970; ``since`` is None where it begins with the first row.
    """

    rows: Sequence[Event]
    counters: pa.Table
    since: int | None = None
    until: int | None = None

    def events(self) -> Any:
        """Return the events as a study reads them."""
        return list(self.rows)

    def stats(self) -> pa.Table:
        """Return the stats rows of the stretch."""
        if self.since is None or not len(self.counters):
            return self.counters
        inside = nanoseconds(self.counters["time"]) >= self.since
        return self.counters.slice(int(np.argmax(inside))) if inside.any() else self.counters.slice(0, 0)

    def table(self) -> pa.Table:
        """Return the events as an Arrow table, with the columns that a study reads."""
        schema = pa.schema([EVENTS.field(name) for name in Event._fields])
        return as_table([tuple(row) for row in self.rows], schema)


def clamped(rows: Sequence[Event], since: int | None) -> list[Event]:
    """Return the rows from a time on, led by those that say what was going on then, as if they were of that time.

    Parameters
    ----------
    rows
        Events in the order they were written.
    since
        ns since 1970; None takes everything.

    Notes
    -----
    An outage under way at ``since`` is led by all of its rows; the sums of its phases are those of ``waited`` and so
    stay what they were. Else one row is enough: the one that began the state.
    """
    if since is None:
        return list(rows)
    at = bisect_left(rows, since, key=lambda row: row.time)
    before = _leading(rows, at)
    return [*(row._replace(time=since) for row in before if row.kind not in _HOLES), *rows[at:]]


def as_of(rows: Sequence[Event], until: int | None) -> list[Event]:
    """Return the rows up to a time at which the collector was still alive.

    An outage that is not over counts until the last row of its run, so that a row of no kind at all, at this time,
    makes it as long as it has been.
    """
    if not rows or until is None or until <= rows[-1].time:
        return list(rows)
    last = rows[-1]
    return [*rows, last._replace(seq=last.seq + 1, time=until, kind="", cause=None, detail=None, waited=None)]


def _leading(rows: Sequence[Event], at: int) -> Sequence[Event]:
    """Return the rows before place ``at`` that tell the state there."""
    for place in reversed(range(at)):
        row = rows[place]
        if row.kind in _SETTLED:
            return rows[place : place + 1]
        if row.kind == EventKind.FIRST_MESSAGE:
            # What followed did not end the connection, else its end would have been met first.
            opened = (before for before in reversed(rows[:place]) if before.kind == EventKind.OPENED)
            return [found] if (found := next(opened, None)) is not None else []
        began = row.kind == EventKind.LOST and row.outage and (not place or rows[place - 1].outage != row.outage)
        if began or row.kind == EventKind.RUN_STARTED:
            return rows[place:at]
    return rows[:at]


def quiet_gaps(stats: pa.Table) -> pa.Table:
    """Return the silences inside connections as the counters of each second tell them.

    Parameters
    ----------
    stats
        Stats rows in order, one a second.

    Returns
    -------
    pyarrow.Table
        Of the schema :data:`wsresearch.study.gaps.GAPS`: stretches of at least one row without a message, between
        rows of the same connection with some. ``seconds`` is right to within a second; exact lengths need every
        trade, see :func:`wsresearch.study.gaps.gaps`.
    """
    told = stats.filter(pc.greater(stats["messages"], 0))
    time, connection = nanoseconds(told["time"]), told["connection"].to_numpy()
    # Where the collector was too busy to write a row each second, there is no row that counts nothing.
    quiet = np.diff(np.flatnonzero(pc.greater(stats["messages"], 0).to_numpy())) > 1
    before = np.flatnonzero(quiet & (connection[1:] == connection[:-1]))
    start, end, of = time[before], time[before + 1], connection[before]
    zeros, names = np.zeros(len(before), dtype=np.int32), pa.nulls(len(before), pa.string())
    columns = [start, end, (end - start) / 1e9, of, of, names, zeros]
    # Which trades came before and after, and how unusual it was, no counter tells.
    columns += [pa.nulls(len(before), field.type) for field in list(GAPS)[len(columns) :]]
    return pa.table([pa.array(column).cast(field.type) for column, field in zip(columns, GAPS, strict=True)], GAPS)
