"""The rows that tell of the connection: events as they happen, stats once a second; deciding is not here."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from wsresearch.collect.inbox import Inbox
from wsresearch.collect.intake import Tally
from wsresearch.collect.recorder import Recorder
from wsresearch.collect.status import ENTERS, MARKER, Status, cause_after
from wsresearch.reconnect.actions import State
from wsresearch.reconnect.causes import Cause
from wsresearch.reconnect.lifecycle import Lifecycle
from wsresearch.safetext import safe
from wsresearch.schema import EVENTS, EventKind

__all__ = ["Chronicle"]

_log = logging.getLogger(__name__)

_BLANK: Final[dict[str, Any]] = dict.fromkeys(EVENTS.names)

# INFO is one line per attempt or outage; nothing per message.
_LOGGED: Final = frozenset(EventKind) - {EventKind.HOLE, EventKind.HOLE_FILLED, EventKind.BACKOFF}


class Chronicle:
    """Writes event and stats rows, and keeps the sums that a status tells.

    Parameters
    ----------
    recorder
        Takes the rows.
    run
        Number of the run.
    seq
        Number of the last event row before it.

    Attributes
    ----------
    totals
        What the run has counted so far.
    cause
        Why the last connection or attempt ended, None once that is mended.
    stopped_by
        Why the run was stopped, in words; None until then.
    disk_fails
        Whether nothing can be written at the moment.
    """

    def __init__(self, recorder: Recorder, *, run: int, seq: int) -> None:
        self.totals = dict.fromkeys(("messages", "trades", "bytes", "rejected", "dropped", "holes"), 0)
        self.cause: str | None = None
        self.stopped_by: str | None = None
        self.disk_fails = False
        self._recorder = recorder
        self._run = run
        self._seq = seq
        self._entered: dict[str, Any] | None = None

    def event(self, kind: EventKind, at_ns: int, **columns: Any) -> None:
        """Write an event row; it is flushed at once, or when the recorder lets go, and never dropped."""
        self._recorder.in_turn(self._write, kind, at_ns, columns)

    def _write(self, kind: EventKind, at_ns: int, columns: dict[str, Any]) -> None:
        self._seq += 1
        row = _BLANK | columns | {"seq": self._seq, "time": at_ns, "run": self._run, "kind": kind}
        if row["detail"] is not None:
            row["detail"] = safe(row["detail"])
        if kind is EventKind.HOLE:
            self.totals["holes"] += 1
        self.cause = cause_after(self.cause, kind, row["cause"])
        if kind is EventKind.STOPPED:
            self.stopped_by = row["detail"]
        if kind in ENTERS:
            self._entered = {name: row[name] for name in MARKER}
        standing = {"holes": self.totals["holes"], "cause": self.cause, "entered": self._entered}
        self._recorder.event(row, now_ns=at_ns, standing=standing)
        if kind in _LOGGED:
            told = (f"{name}={_plain(value)}" for name, value in columns.items() if value is not None)
            _log.info("%s %s", kind, " ".join(told))

    def status(self, cycle: Lifecycle, *, now: float) -> Status:
        """Return what a reader of the directory would be told at the monotonic second ``now``."""
        self._recorder.let_go()
        waiting = cycle.state is State.BACKING_OFF
        attempt = {State.BACKING_OFF: cycle.attempt + 1, State.CONNECTING: cycle.attempt}
        since = None if self._entered is None else datetime.fromtimestamp(self._entered["time"] / 1e9, tz=UTC)
        return Status(
            state=cycle.state,
            pid=os.getpid(),
            run=self._run,
            connection=cycle.numbers.connection,
            attempt=attempt.get(cycle.state, 0),
            next_delay=max(0.0, (cycle.deadline or now) - now) if waiting else None,
            **self.totals,
            since=since,
            cause=Cause.DISK if self.disk_fails else self.cause,
            stopped_by=self.stopped_by,
        )

    def second(
        self,
        now_ns: int,
        inbox: Inbox,
        tally: Tally,
        *,
        note: Callable[..., None],
        connection: int,
        ping_rtt: float | None,
    ) -> None:
        """Write what the last second brought, with an ``error`` row for what was lost in it."""
        counted = inbox.count()
        rejected = tally.rejected.total()
        row: dict[str, Any] = {
            "time": now_ns,
            "run": self._run,
            "connection": connection,
            "messages": counted.messages,
            "trades": tally.trades,
            "bytes": counted.bytes,
            "rejected": rejected,
            "dropped": counted.dropped,
            "queue_bytes": inbox.held_bytes,
            "ping_rtt": ping_rtt,
            "lag": tally.lag,
        }
        for name in self.totals.keys() & row.keys():
            self.totals[name] += row[name]
        if rejected:
            kinds = json.dumps(dict(sorted(tally.rejected.items())))
            note(EventKind.ERROR, now_ns, cause=Cause.REJECTED, detail=kinds)
        for cause, more in tally.untold.items():
            note(EventKind.ERROR, now_ns, cause=cause, detail=f"at least {more} more such messages in this second")
        if counted.dropped:
            lost = f"{counted.dropped} messages ({counted.dropped_bytes} bytes) found no room in the queue"
            note(EventKind.ERROR, now_ns, cause=Cause.OVERFLOW, detail=lost)
        self._recorder.stats(row, now_ns=now_ns)
        self._recorder.every_second(now_ns=now_ns)


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
