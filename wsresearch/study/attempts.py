"""One row for each try to open a connection; what an outage consists of is in `outages`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isnan
from typing import Any, Final

import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.schema import EventKind
from wsresearch.study.rows import Event, as_table, read_events, seconds_between

__all__ = ["ATTEMPTS", "ENDS_RUN", "attempt_rows", "attempts", "step"]

_TIME: Final = pa.timestamp("ns", tz="UTC")

ATTEMPTS: Final = pa.schema(
    [
        pa.field("run", pa.int32()),
        pa.field("outage", pa.int32()),
        pa.field("attempt", pa.int32()),
        pa.field("started", _TIME),
        pa.field("delay", pa.float64()),
        pa.field("drawn", pa.float64()),
        pa.field("delay_cause", pa.string()),
        pa.field("waited", pa.float64()),
        pa.field("outcome", pa.string()),
        pa.field("cause", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("http_status", pa.int32()),
        pa.field("dns", pa.float64()),
        pa.field("tcp", pa.float64()),
        pa.field("tls", pa.float64()),
        pa.field("upgrade", pa.float64()),
        pa.field("took", pa.float64()),
        pa.field("connection", pa.int32()),
    ]
)

ENDS_RUN: Final = frozenset({EventKind.STOPPED, EventKind.GAVE_UP})

_OUTCOMES: Final[Mapping[str, str]] = {EventKind.OPENED: "opened", EventKind.ATTEMPT_FAILED: "failed"}


def step(row: Event, since: int) -> float:
    """Return how long the step that this row ends took: ``waited``, or else the time since the row before."""
    if row.waited is None or isnan(row.waited):
        return seconds_between(since, row.time)
    if row.waited < 0:
        raise UsageError(f"column 'waited' of event {row.seq} is {row.waited}; no step takes less than 0 s")
    return row.waited


def attempt_rows(rows: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of :data:`ATTEMPTS` in their order."""
    begun: Event | None = None
    backoff: Event | None = None
    why: tuple[float | None, float | None, str | None] = (None, None, None)
    run = None

    def values(end: Event | None, outcome: str | None) -> tuple[Any, ...]:
        assert begun is not None
        took = None if end is None else step(end, begun.time)
        tried = end if end is not None and end.kind in _OUTCOMES else None
        told: tuple[Any, ...] = (None,) * 7
        if tried is not None:
            phases = (tried.dns, tried.tcp, tried.tls, tried.upgrade)
            told = (tried.cause, tried.detail, tried.http_status, *phases)
        connection = tried.connection if tried is not None and outcome == "opened" else None
        waited = None if begun.waited is not None and isnan(begun.waited) else begun.waited
        begin = (begun.run, begun.outage or 0, begun.attempt, begun.time, *why, waited)
        return (*begin, outcome, *told, took, connection)

    for row in rows:
        if row.run != run:
            if begun is not None:
                yield values(None, "cancelled")
            begun = backoff = None
        run = row.run
        if row.kind == EventKind.BACKOFF:
            backoff = row
        elif row.kind == EventKind.CONNECTING:
            if begun is not None:
                yield values(None, "cancelled")
            begun = row
            why = (row.delay, row.drawn, None)
            if backoff is not None:
                delay = backoff.delay if row.delay is None else row.delay
                why = (delay, backoff.drawn if row.drawn is None else row.drawn, backoff.cause)
            backoff = None
        elif begun is not None and (row.kind in _OUTCOMES or row.kind in ENDS_RUN):
            yield values(row, _OUTCOMES.get(row.kind, "cancelled"))
            begun = None
    if begun is not None:
        yield values(None, None)


def attempts(events: Any) -> pa.Table:
    """Return one row for each try to open a connection, those at the start of a run included.

    Parameters
    ----------
    events
        The events table of a capture, in any order.

    Returns
    -------
    pyarrow.Table
        In the order they began; times in UTC, durations in seconds, null where it does not apply:

        =============== =================================================================================
        ``run``         the run
        ``outage``      the outage it was to end, 0 for the start of a run
        ``attempt``     1-based within the outage or the start
        ``started``     when it began
        ``delay``       the delay decided before it
        ``drawn``       what the policy drew, null where it was not asked
        ``delay_cause`` what decided the delay if not the policy: ``retry_after`` or ``budget``
        ``waited``      what really passed since the failure before it
        ``outcome``     ``opened``, ``failed``, ``cancelled`` (its run ended first), or null: the table ends
                        while it is under way
        ``cause``       why it failed
        ``detail``      the same in the words of the peer or the system, made safe
        ``http_status`` of the refused handshake
        ``dns``, ``tcp``, ``tls``, ``upgrade``  its phases; null from the phase on that was not reached
        ``took``        their sum; for a cancelled one the time until its run ended, null if that is not known
        ``connection``  the number of the connection it opened
        =============== =================================================================================

    Raises
    ------
    UsageError
        If a column is missing or of another type, or a duration is negative; the message names the column.
    """
    return as_table(list(attempt_rows(read_events(events))), ATTEMPTS)
