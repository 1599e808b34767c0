"""What the recorded attempts say about the server: when it was seen down, when up, and how it answered in between.

Any question of the form *what would another policy have met* rests on this table. It holds no policy and no
randomness (:mod:`~wsresearch.study.replay`).

Nobody watches a server between two attempts. All that is known of the moment it came back is an interval: after the
last attempt that was in vain had begun, and not after the one that brought data had. Both ends are columns here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from wsresearch.reconnect.causes import Cause
from wsresearch.schema import EventKind
from wsresearch.study.attempts import ENDS_RUN, step
from wsresearch.study.holes import holes_in
from wsresearch.study.rows import Event, as_table, read_events, seconds_between

__all__ = ["ANSWER", "SERVER_DOWN", "server_down"]

ANSWER: Final = pa.struct(
    [
        pa.field("at", pa.float64()),
        pa.field("took", pa.float64()),
        pa.field("lived", pa.float64()),
        pa.field("cause", pa.string()),
        pa.field("close_code", pa.int32()),
        pa.field("http_status", pa.int32()),
        pa.field("told", pa.float64()),
    ]
)

SERVER_DOWN: Final = pa.schema(
    [
        pa.field("outage", pa.int32()),
        pa.field("run", pa.int32()),
        pa.field("cause", pa.string()),
        pa.field("close_code", pa.int32()),
        pa.field("began", pa.float64()),
        pa.field("alive", pa.float64()),
        pa.field("detect", pa.float64()),
        pa.field("up_early", pa.float64()),
        pa.field("up_late", pa.float64()),
        pa.field("watched", pa.float64()),
        pa.field("slip", pa.float64()),
        pa.field("connect", pa.float64()),
        pa.field("first_message", pa.float64()),
        pa.field("trade_rate", pa.float64()),
        pa.field("answers", pa.list_(ANSWER)),
    ]
)


@dataclass(slots=True)
class _Down:
    """An outage while its rows are being read; ``at`` is seconds since it was noticed."""

    lost: Event
    began: float
    alive: float
    detect: float
    mark: int
    at: float = 0.0
    slip: float = 0.0
    begun: float | None = None
    opened: float | None = None
    delay: float | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)
    refused: bool = False
    """The last row was a failure: the delay that follows may be what the server asked for."""

    def take(self, row: Event) -> None:
        if row.kind == EventKind.BACKOFF:
            self.delay = row.delay
            if self.refused and row.cause == Cause.RETRY_AFTER:
                # What was drawn was waited after it.
                self.answers[-1]["told"] = None if row.delay is None else max(0.0, row.delay - (row.drawn or 0.0))
            self.refused = False
            return
        took = step(row, self.mark)
        self.at += took
        self.mark = row.time
        if row.kind == EventKind.CONNECTING:
            decided = row.delay if row.delay is not None else self.delay
            self.slip += 0.0 if decided is None else max(0.0, took - decided)
            self.begun, self.opened, self.delay = self.at, None, None
        elif row.kind == EventKind.OPENED:
            self.opened = took
        elif row.kind in {EventKind.ATTEMPT_FAILED, EventKind.LOST} and self.begun is not None:
            lived = None if self.opened is None else took
            self.answers.append(
                {
                    "at": self.begun,
                    "took": took if self.opened is None else self.opened,
                    "lived": lived,
                    "cause": row.cause,
                    "close_code": row.close_code,
                    "http_status": row.http_status,
                    "told": None,
                }
            )
            self.begun = self.opened = None
            self.refused = True

    def values(self, ended: Event | None, until: int, trades: int | None) -> tuple[Any, ...]:
        """Return the row of :data:`SERVER_DOWN`."""
        first = None
        if ended is not None:
            first = step(ended, self.mark)
            self.at += first
        watched = self.at + (0.0 if ended is not None else seconds_between(self.mark, until))
        silence = self.detect + watched
        return (
            self.lost.outage,
            self.lost.run,
            self.lost.cause,
            self.lost.close_code,
            self.began,
            self.alive,
            self.detect,
            self.answers[-1]["at"] if self.answers else 0.0,
            self.begun if ended is not None else None,
            watched,
            self.slip,
            self.opened if ended is not None else None,
            first,
            trades / silence if trades is not None and ended is not None and silence > 0 else None,
            self.answers,
        )


def server_down(events: Any, *, numbered: bool = True) -> pa.Table:
    """Return what is known of the server in each outage.

    Parameters
    ----------
    events
        The events table of a capture, in any order.
    numbered
        Whether the venue numbers its trades. Without numbers nobody knows what was missed: ``trade_rate`` is null
        then, not 0.

    Returns
    -------
    pyarrow.Table
        In the order they began; durations in seconds. Such a table may be made by hand as well, see
        :func:`wsresearch.study.replay`; columns marked * are needed then.

        ================= ============================================================================
        ``outage``        its number
        ``run``           the run it happened in
        ``cause``, ``close_code``  how the connection was lost
        ``began`` *       when the last market message had arrived, in seconds since the first event
        ``alive``         how long the lost connection had lived then
        ``detect``        until the loss was noticed; the next times count from there
        ``up_early``      the server came back after this: an attempt begun then was in vain; 0 if none was
        ``up_late`` *     and not after this: the attempt begun then brought data; null if none did
        ``watched``       until when anything is known
        ``slip``          by how much the timers of its attempts were late, together
        ``connect``       what the attempt that brought data took; null if none did
        ``first_message`` from its opening to the first market message; null if none came
        ``trade_rate``    trades missed per second of silence, filled or not; null if that is not known
        ``answers``       the attempts in vain: ``at``, when each began; ``took``, until it failed or opened;
                          ``lived``, how long it then was open without market data, null if it never was;
                          ``cause, close_code, http_status``; ``told``, for how long the server asked us to
                          stay away, null where that was no more than the policy waited anyway
        ================= ============================================================================

    Raises
    ------
    UsageError
        If a column is missing or of another type, or a duration is negative; the message names the column.

    Notes
    -----
    Times within an outage are sums of what the monotonic clock measured, and a connection's times follow one clock
    from its attempt on. So a wall clock that was set changes nothing but the distance between two runs, and that is
    never taken for negative.
    """
    rows = read_events(events)
    missed: Counter[int] = Counter()
    for row, first_id, last_id in holes_in([row for row in rows if row.kind == EventKind.HOLE]):
        missed[row.outage or 0] += last_id - first_id + 1
    found: list[tuple[Any, ...]] = []
    current: _Down | None = None
    opened: float | None = None
    zero = rows[0].time if rows else 0
    run, until, shift, end = None, 0, 0.0, 0.0

    def close(ended: Event | None) -> None:
        nonlocal current, end
        if current is not None:
            found.append(current.values(ended, until, missed[current.lost.outage or 0] if numbered else None))
            end = current.began + current.detect + found[-1][_WATCHED]
            current = None

    for row in rows:
        now = (row.time - zero) / 1e9
        if row.run != run:
            close(None)
            shift = max(0.0, end - now)
            opened = None
        run, until = row.run, row.time
        if row.kind == EventKind.OPENED and current is None:
            opened = now + shift
        if row.kind == EventKind.LOST and row.outage and (current is None or row.outage != current.lost.outage):
            close(None)
            detect = step(row, row.time)
            shift = max(shift, end + detect - now)
            began = now + shift - detect
            alive = 0.0 if opened is None else max(0.0, began - opened)
            current = _Down(lost=row, began=began, alive=alive, detect=detect, mark=row.time)
        elif current is None:
            continue
        elif row.kind in ENDS_RUN:
            close(None)
        elif row.outage == current.lost.outage:
            if row.kind == EventKind.FIRST_MESSAGE:
                before = current.at
                close(row)
                # A clock that was set shows at the next attempt, so within an outage; here it is taken out again.
                shift = end - now
                opened = end - (found[-1][_WATCHED] - before)
            elif row.kind in _STEPS:
                current.take(row)
    close(None)
    return as_table(found, SERVER_DOWN)


_WATCHED: Final = SERVER_DOWN.get_field_index("watched")
_STEPS: Final = frozenset(
    {EventKind.BACKOFF, EventKind.CONNECTING, EventKind.ATTEMPT_FAILED, EventKind.OPENED, EventKind.LOST}
)
