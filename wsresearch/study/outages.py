"""What the events tell about each outage and each attempt; no plot, no file and no statistics.

The seconds in these tables are sums of ``waited``, which the collector took from its monotonic clock, so a
wall clock that stepped during an outage does not change its length. Only where a row has no ``waited``, and
for what was still going on when a run ended, the difference of two ``time`` values is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Any, Final

import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.schema import EventKind
from wsresearch.study.holes import HOLES, holes, holes_in
from wsresearch.study.rows import Event, as_table, int64, read_events, seconds_between

__all__ = ["ATTEMPTS", "HOLES", "OUTAGES", "attempts", "holes", "outages", "report"]

_TIME: Final = pa.timestamp("ns", tz="UTC")

OUTAGES: Final = pa.schema(
    [
        pa.field("outage", pa.int32()),
        pa.field("run", pa.int32()),
        pa.field("cause", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("close_code", pa.int32()),
        pa.field("close_by", pa.string()),
        pa.field("connection", pa.int32()),
        pa.field("next_connection", pa.int32()),
        pa.field("began", _TIME),
        pa.field("noticed", _TIME),
        pa.field("ended", _TIME),
        pa.field("attempts", pa.int32()),
        pa.field("waited", pa.float64()),
        pa.field("delay", pa.float64()),
        pa.field("silence", pa.float64()),
        pa.field("detect", pa.float64()),
        pa.field("backoff", pa.float64()),
        pa.field("connect", pa.float64()),
        pa.field("first_message", pa.float64()),
        pa.field("ids_lost", pa.int64()),
        pa.field("censored", pa.bool_()),
    ]
)

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

_ENDS_RUN: Final = frozenset({EventKind.STOPPED, EventKind.GAVE_UP})

# Which phase a step belongs to, and which phase begins when it ends. A connection that opened and was lost
# again without a market message was, for the data, one more way of not being connected: that is *connect*.
_STEPS: Final[Mapping[str, tuple[str, str]]] = {
    EventKind.CONNECTING: ("backoff", "connect"),
    EventKind.ATTEMPT_FAILED: ("connect", "backoff"),
    EventKind.OPENED: ("connect", "first_message"),
    EventKind.LOST: ("connect", "backoff"),
    EventKind.FIRST_MESSAGE: ("first_message", ""),
}


_WAYS: Final = ("backoff", "connect", "first_message")


def _step(row: Event, since: int) -> float:
    """Return how long the step that this row ends took: ``waited``, or else the time since the row before."""
    if row.waited is None or isnan(row.waited):
        return seconds_between(since, row.time)
    if row.waited < 0:
        raise UsageError(f"column 'waited' of event {row.seq} is {row.waited}; no step takes less than 0 s")
    return row.waited


@dataclass(slots=True)
class _Outage:
    """An outage while its rows are being read."""

    lost: Event
    detect: float
    mark: int
    """Time of the last row that ended a step, in ns."""
    phase: str = "backoff"
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_WAYS, 0.0))
    attempts: int = 0
    delay: float = 0.0
    decided: float = 0.0
    """The delay of the attempt to come: a second decision about the same attempt replaces the first."""

    @classmethod
    def opened_by(cls, row: Event) -> _Outage:
        if row.waited is None or isnan(row.waited) or row.waited < 0:
            raise UsageError(
                f"column 'waited' of event {row.seq} is {row.waited}; a 'lost' event that begins an outage "
                "must say how long ago the last market message was"
            )
        return cls(lost=row, detect=row.waited, mark=row.time)

    def take(self, row: Event) -> None:
        """Read a row of this outage."""
        if row.kind == EventKind.BACKOFF:
            self.decided = row.delay or 0.0
            return
        if row.kind == EventKind.CONNECTING:
            self.attempts += 1
            self.delay += row.delay if row.delay is not None else self.decided
            self.decided = 0.0
        of, then = _STEPS[row.kind]
        self.spent[of] += _step(row, self.mark)
        self.mark, self.phase = row.time, then

    def values(self, ended: Event | None, until: int) -> tuple[Any, ...]:
        """Return the row of :data:`OUTAGES`; without an end, all that was going on until ``until`` counts."""
        spent = dict(self.spent)
        if ended is None:
            spent[self.phase] += seconds_between(self.mark, until)
        lost = self.lost
        return (
            lost.outage,
            lost.run,
            lost.cause,
            lost.detail,
            lost.close_code,
            lost.close_by,
            lost.connection,
            None if ended is None else ended.connection,
            lost.time - round(self.detect * 1e9),
            lost.time,
            None if ended is None else ended.time,
            self.attempts,
            spent["backoff"],
            self.delay + self.decided,
            self.detect + spent["backoff"] + spent["connect"] + spent["first_message"],
            self.detect,
            spent["backoff"],
            spent["connect"],
            spent["first_message"],
            0,
            ended is None,
        )


def _outage_rows(rows: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    current: _Outage | None = None
    run = None
    until = 0
    for row in rows:
        if current is not None and row.run != run:
            yield current.values(None, until)
            current = None
        run, until = row.run, row.time
        new = current is None or row.outage != current.lost.outage
        if row.kind == EventKind.LOST and row.outage and new:
            if current is not None:  # the rows between the two are not in the table
                yield current.values(None, current.mark)
            current = _Outage.opened_by(row)
        elif current is None:
            continue
        elif row.kind in _ENDS_RUN:
            yield current.values(None, until)
            current = None
        elif row.outage == current.lost.outage and (row.kind in _STEPS or row.kind == EventKind.BACKOFF):
            current.take(row)
            if row.kind == EventKind.FIRST_MESSAGE:
                yield current.values(row, until)
                current = None
    if current is not None:
        yield current.values(None, until)


def outages(events: Any) -> pa.Table:
    """Return one row for each outage: from a connection's last message to the first market message after it.

    Parameters
    ----------
    events
        The events table of a capture, in any order. Outage numbers are unique within a capture. An outage
        whose opening ``lost`` event is not in the table (because it was read with ``since=``) is left out,
        for nobody can say when it began.

    Returns
    -------
    pyarrow.Table
        In the order they began; times in UTC, durations in seconds:

        =================== ==============================================================================
        ``outage``          its number, as in the events and holes
        ``run``             the run it happened in
        ``cause``           why the connection was lost
        ``detail``          the same in the words of the peer or the system, made safe
        ``close_code``      WebSocket close code, null if there was none
        ``close_by``        ``peer`` or ``local``
        ``connection``      the connection that was lost
        ``next_connection`` the connection whose first message ended it; null if censored
        ``began``           when the last market message had arrived
        ``noticed``         when the collector took the connection for lost
        ``ended``           when the first market message arrived; null if censored
        ``attempts``        tries to open that were begun
        ``waited``          real waiting before them; the same number as ``backoff``
        ``delay``           the decided waiting, to compare with ``waited``
        ``silence``         how long no market data came; a lower bound if censored
        ``detect``          until the loss was noticed
        ``backoff``         waiting before attempts
        ``connect``         in attempts, failed ones included, and in connections that opened and were lost
                            again before they had delivered a market message
        ``first_message``   between the opening of the last connection and its first market message
        ``ids_lost``        trade ids missing across it and not filled since; of a censored one that is not
                            known before the next run's first message, and such a hole carries no outage
        ``censored``        not over when its run stopped, gave up, failed or was killed, or the table ended
        =================== ==============================================================================

    Raises
    ------
    UsageError
        If a column is missing or of another type, or a duration is negative; the message names the column.

    Notes
    -----
    ``silence = detect + backoff + connect + first_message`` to a microsecond, censored or not. A censored
    outage counts until the last event of its run.
    """
    rows = read_events(events)
    lost_ids: Counter[int] = Counter()
    for row, first, last in holes_in(rows):
        if row.outage:
            lost_ids[row.outage] += last - first + 1
    ids_at = OUTAGES.get_field_index("ids_lost")
    found = [(*values[:ids_at], int64(lost_ids[values[0]]), *values[ids_at + 1 :]) for values in _outage_rows(rows)]
    return as_table(found, OUTAGES)


_OUTCOMES: Final[Mapping[str, str]] = {EventKind.OPENED: "opened", EventKind.ATTEMPT_FAILED: "failed"}


def _attempt_rows(rows: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    begun: Event | None = None
    backoff: Event | None = None
    why: tuple[float | None, float | None, str | None] = (None, None, None)
    run = None

    def values(end: Event | None, outcome: str | None) -> tuple[Any, ...]:
        assert begun is not None
        took = None if end is None else _step(end, begun.time)
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
        elif begun is not None and (row.kind in _OUTCOMES or row.kind in _ENDS_RUN):
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
    return as_table(list(_attempt_rows(read_events(events))), ATTEMPTS)


_REPORTED: Final = (
    "cause",
    "attempts",
    "waited",
    "silence",
    "detect",
    "connect",
    "first_message",
    "ids_lost",
    "censored",
)


def report(events: Any, *, trades: int) -> dict[str, Any]:
    """Return what ``wsresearch report --json`` prints: plain values, durations in seconds to a nanosecond.

    Parameters
    ----------
    events
        The events table of a capture.
    trades
        How many trades the capture holds.
    """
    rows = outages(events).select(list(_REPORTED)).to_pylist()
    return {
        "outages": [
            {key: round(value, 9) if isinstance(value, float) else value for key, value in row.items()} for row in rows
        ],
        "connections": sum(row.kind == EventKind.OPENED for row in read_events(events)),
        "trades": trades,
    }
