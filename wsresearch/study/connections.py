"""The same events seen from what worked: the connections, and the state of the collector at every moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from wsresearch.reconnect.actions import State
from wsresearch.schema import STATS, EventKind
from wsresearch.study.rows import Event, as_table, checked, read_events, seconds_between

__all__ = ["CONNECTIONS", "KILLED", "STATES", "connections", "last_signs", "states"]

_TIME: Final = pa.timestamp("ns", tz="UTC")

CONNECTIONS: Final = pa.schema(
    [
        pa.field("connection", pa.int32()),
        pa.field("run", pa.int32()),
        pa.field("opened", _TIME),
        pa.field("first_message", _TIME),
        pa.field("ended", _TIME),
        pa.field("life", pa.float64()),
        pa.field("cause", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("close_code", pa.int32()),
        pa.field("close_by", pa.string()),
        pa.field("messages", pa.int64()),
        pa.field("censored", pa.bool_()),
    ]
)

STATES: Final = pa.schema(
    [
        pa.field("run", pa.int32()),
        pa.field("state", pa.string()),
        pa.field("began", _TIME),
        pa.field("ended", _TIME),
        pa.field("connection", pa.int32()),
    ]
)

KILLED: Final = "killed"
"""The state of a capture between the last sign of a run that ended without a word and the next run."""

_ENDS_RUN: Final = frozenset({EventKind.STOPPED, EventKind.GAVE_UP})

_ENTERS: Final[Mapping[str, State]] = {
    EventKind.RUN_STARTED: State.IDLE,
    EventKind.BACKOFF: State.BACKING_OFF,
    EventKind.CONNECTING: State.CONNECTING,
    EventKind.OPENED: State.OPEN,
    EventKind.ATTEMPT_FAILED: State.BACKING_OFF,
    EventKind.LOST: State.BACKING_OFF,
    EventKind.STOPPED: State.STOPPED,
    EventKind.GAVE_UP: State.GAVE_UP,
}


_OVER: Final = frozenset({State.STOPPED, State.GAVE_UP, State.FAILED})


def _read_stats(stats: Any | None) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """Return the last sign of each run in ns, and the messages of each connection."""
    last: defaultdict[int, int] = defaultdict(int)
    messages: Counter[int] = Counter()
    if stats is not None:
        table = checked(stats, STATS, ("time", "run", "connection", "messages"), name="stats")
        table = table.set_column(0, "time", table.column("time").cast(pa.int64()))
        by_run = table.group_by("run").aggregate([("time", "max")])
        last.update(zip(by_run["run"].to_pylist(), by_run["time_max"].to_pylist(), strict=True))
        by_connection = table.group_by("connection").aggregate([("messages", "sum")])
        numbers, counts = (by_connection[name].to_pylist() for name in ("connection", "messages_sum"))
        messages.update({number: count or 0 for number, count in zip(numbers, counts, strict=True)})
    return last, messages


def last_signs(stats: Any | None) -> Mapping[int, int]:
    """Return when each run was last seen alive by its stats, in ns; a run without stats is not in it."""
    return _read_stats(stats)[0]


def connections(events: Any, *, stats: Any | None = None) -> pa.Table:
    """Return one row for each connection that was opened.

    Parameters
    ----------
    events
        The events table of a capture, in any order.
    stats
        The stats table, for ``messages`` and for how long a run that was killed had been alive.

    Returns
    -------
    pyarrow.Table
        In the order they were opened; times in UTC:

        ================= =======================================================================
        ``connection``    its number, as in the trades
        ``run``           the run that opened it
        ``opened``        when its handshake was done
        ``first_message`` when its first market message arrived; null if none did
        ``ended``         when it was taken for lost, or its run stopped; null if that is not known
        ``life``          seconds from ``opened`` to ``ended``, or to the last sign of its run
        ``cause``, ``detail``, ``close_code``, ``close_by``  why it was lost; null if censored
        ``messages``      how many it delivered; null without ``stats``. A row of the stats counts for the connection
                          that is open at its end, so up to a second's messages may stand at the next one; the
                          trades tell exactly
        ``censored``      we ended it, or it is still open: it would have lived longer
        ================= =======================================================================
    """
    seen, messages = _read_stats(stats)
    found: list[tuple[Any, ...]] = []
    opened: Event | None = None
    first: Event | None = None
    sign = 0

    def close(end: Event | None, *, lost: bool) -> None:
        nonlocal opened, first
        if opened is None:
            return
        until = end.time if end is not None else max(sign, seen.get(opened.run, 0))
        why: tuple[Any, ...] = (None,) * 4
        if lost and end is not None:
            why = (end.cause, end.detail, end.close_code, end.close_by)
        count = None if stats is None or opened.connection is None else messages.get(opened.connection, 0)
        times = (opened.time, first and first.time, end and end.time, seconds_between(opened.time, until))
        found.append((opened.connection, opened.run, *times, *why, count, not lost))
        opened = first = None

    for row in read_events(events):
        if opened is not None and row.run != opened.run:
            close(None, lost=False)
        if row.kind == EventKind.OPENED:
            close(None, lost=False)
            opened = row
        elif row.kind == EventKind.FIRST_MESSAGE and opened is not None and first is None:
            first = row
        elif row.kind == EventKind.LOST:
            close(row, lost=True)
        elif row.kind in _ENDS_RUN:
            close(row, lost=False)
        sign = row.time
    close(None, lost=False)
    return as_table(found, CONNECTIONS)


def states(events: Any, *, stats: Any | None = None, until: int | None = None) -> pa.Table:
    """Return what the collector was doing at every moment: one row for each stretch of time in one state.

    Parameters
    ----------
    events
        The events table of a capture, in any order.
    stats
        The stats table. Without it nobody knows how long after its last event a killed run had lived.
    until
        Time in ns until which the last state is known to last; by default the last event or stats row. After the
        end of the last run nothing is known to last.

    Returns
    -------
    pyarrow.Table
        In the order they were entered: ``run``; ``state``, a :class:`~wsresearch.reconnect.actions.State`
        or ``killed`` (between the last sign of a run that ended without a word and the next run); ``began``
        and ``ended``, UTC; ``connection``, null unless open. Stretches of no length are left out, neighbours
        in the same state are joined.
    """
    seen, _ = _read_stats(stats)
    found: list[tuple[int, str, int, int, int | None]] = []
    now: tuple[int, str, int, int | None] | None = None
    sign = 0
    decided = False

    def leave(at: int) -> None:
        if now is None or at <= now[2]:
            return
        run, state, began, connection = now
        if found and found[-1][:2] == (run, state) and found[-1][3] == began:
            began = found.pop()[2]
        found.append((run, state, began, at, connection))

    for row in read_events(events):
        if now is not None and row.run != now[0]:
            if now[1] not in _OVER:
                sign = min(max(sign, seen.get(now[0], 0)), row.time)
                leave(sign)
                now = (now[0], KILLED, sign, None)
            leave(row.time)
            now = None
        sign = row.time
        entered = _ENTERS.get(row.kind)
        # After a failure comes a delay, or else a permanent error: with that one the run has failed.
        if row.kind == EventKind.ERROR and decided:
            entered = State.FAILED
        if entered is not None:
            leave(row.time)
            now = (row.run, entered, row.time, row.connection if entered is State.OPEN else None)
            decided = row.kind in {EventKind.LOST, EventKind.ATTEMPT_FAILED}
    if now is not None and now[1] not in _OVER:
        leave(max(sign, seen.get(now[0], 0), until or 0))
    return as_table(found, STATES)
