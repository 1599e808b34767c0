"""What passed in each run before its first market message; from then on it is outages, which stand in `outages`.

An outage begins with the last message of a connection. So a run that never received one has no outage, however long
it tried: that time is here, and with the outages it makes up all the time a collector ran without data.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import pyarrow as pa

from wsresearch.schema import EventKind
from wsresearch.study.attempts import ENDS_RUN, step
from wsresearch.study.connections import last_signs
from wsresearch.study.rows import Event, as_table, read_events, seconds_between

__all__ = ["STARTS", "starts"]

_TIME: Final = pa.timestamp("ns", tz="UTC")

STARTS: Final = pa.schema(
    [
        pa.field("run", pa.int32()),
        pa.field("began", _TIME),
        pa.field("first_message", _TIME),
        pa.field("silence", pa.float64()),
        pa.field("attempts", pa.int32()),
        pa.field("attempts_failed", pa.int32()),
        pa.field("attempts_opened", pa.int32()),
        pa.field("cause", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("ended", pa.string()),
        pa.field("lived", pa.float64()),
    ]
)

_STEPS: Final = frozenset(
    {
        EventKind.CONNECTING,
        EventKind.ATTEMPT_FAILED,
        EventKind.OPENED,
        EventKind.LOST,
        EventKind.FIRST_MESSAGE,
    }
)
"""Rows that end a step, and say how long it took."""

_FIRST, _SILENCE = (STARTS.names.index(name) - 1 for name in ("first_message", "silence"))
_FAILURES: Final = frozenset({EventKind.ATTEMPT_FAILED, EventKind.LOST})
_TRYING: Final = frozenset({EventKind.RUN_STARTED, EventKind.BACKOFF, *_STEPS})


def starts(events: Any, *, stats: Any | None = None, until: int | None = None) -> pa.Table:
    """Return one row for each run: how long it had to wait for its first market message, and why.

    Parameters
    ----------
    events
        The events table of a capture, in any order. Of a run whose beginning is not in the table the time counts from
        its first row, if it had received nothing by then; if it had, ``silence`` is 0.
    stats
        The stats table. Without it nobody knows how long after its last event a run lived that did not end in order.
    until
        Time in ns until which the last run is known to have lived, if it has not ended.

    Returns
    -------
    pyarrow.Table
        By run; times in UTC, durations in seconds:

        =================== ==============================================================================
        ``run``             the run
        ``began``           when it began
        ``first_message``   when its first market message arrived; null if none did
        ``silence``         from the one to the other, or for as long as it lived: without data, and in no outage
        ``attempts``        tries to open in that time; ``attempts_failed`` and ``attempts_opened`` of them ended so
        ``cause``, ``detail``  why the last of them failed, or its connection was lost; null if none was
        ``ended``           how the run ended: ``stopped``, ``gave_up``, ``failed`` (for good), ``killed`` (another run
                            came after it); null if that is not known, or it goes on
        ``lived``           how long it lived
        =================== ==============================================================================

    Raises
    ------
    UsageError
        If a column is missing or of another type, or a duration is negative; the message names the column.
    """
    rows = read_events(events)
    signs = last_signs(stats)
    runs = [(run, list(of_run)) for run, of_run in groupby(rows, key=lambda row: row.run)]
    found = []
    for run, mine in runs:
        last = run == runs[-1][0]
        ended = _ended(mine) or (None if last else "killed")
        sign = mine[-1].time
        if ended in {None, "killed"}:
            sign = max(sign, signs.get(run, 0), (until or 0) if last else 0)
        start = _start(mine, sign)
        lived = seconds_between(mine[0].time, sign)
        if start[_FIRST] is None:  # all of it, by the same clock
            lived = start[_SILENCE]
        found.append((run, *start, ended, lived))
    return as_table(found, STARTS)


def _start(rows: list[Event], sign: int) -> tuple[Any, ...]:
    """Return the columns from ``began`` to ``detail`` of a run that lived until ``sign``, in ns."""
    began = mark = rows[0].time
    silence, first = 0.0, None
    counts = dict.fromkeys((EventKind.CONNECTING, EventKind.ATTEMPT_FAILED, EventKind.OPENED), 0)
    why: tuple[str | None, str | None] = (None, None)
    for row in _before_the_first(rows):
        if row.kind in counts:
            counts[EventKind(row.kind)] += 1
        if row.kind == EventKind.BACKOFF and mark == began:
            silence += seconds_between(mark, row.time)  # the first wait counts from here
            mark = row.time
        if row.kind in _FAILURES:
            why = (row.cause, row.detail)
        if row.kind in _STEPS:
            # What a row before the first of the table began was not all seen.
            silence += step(row, mark) if row is not rows[0] else 0.0
            mark = row.time
        if row.kind == EventKind.FIRST_MESSAGE:
            first = row.time
    if first is None and _is_waiting(rows[0]):
        silence += seconds_between(mark, sign)
    elif first is None:
        first = began  # earlier, but not in the table
    return (began, first, silence, *counts.values(), *why)


def _is_waiting(first: Event) -> bool:
    """Whether a run, by the first of its rows, had received nothing yet."""
    return first.kind in _TRYING and not first.outage


def _before_the_first(rows: list[Event]) -> Iterator[Event]:
    """Yield rows of a run up to its first message, that one included."""
    if not _is_waiting(rows[0]):
        return
    for row in rows:
        yield row
        if row.kind == EventKind.FIRST_MESSAGE:
            return


def _ended(rows: list[Event]) -> str | None:
    """Return how a run ended, if its last rows tell."""
    if rows[-1].kind in ENDS_RUN:
        return rows[-1].kind
    decided = len(rows) > 1 and rows[-2].kind in _FAILURES
    return "failed" if decided and rows[-1].kind == EventKind.ERROR else None
