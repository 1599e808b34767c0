"""What a capture is doing, told from its directory alone; nothing is changed and no collector is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.identity import read_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.scan import Place
from wsresearch.collect.lock import Holder, holder_of
from wsresearch.collect.newest import newest_rows, noted
from wsresearch.collect.recorder import NUMBERS_KEY, TOTALS_KEY
from wsresearch.markup import Markup, element, foreign
from wsresearch.reconnect.actions import State
from wsresearch.reconnect.causes import Cause, in_words
from wsresearch.safetext import safe
from wsresearch.schema import EventKind, TableName

__all__ = ["COUNTED", "ENTERS", "MARKER", "Status", "cause_after", "read_status", "status_after"]

ENTERS: Final[Mapping[str, State]] = {
    EventKind.RUN_STARTED: State.IDLE,
    EventKind.CONNECTING: State.CONNECTING,
    EventKind.OPENED: State.OPEN,
    EventKind.BACKOFF: State.BACKING_OFF,
    EventKind.STOPPED: State.STOPPED,
    EventKind.GAVE_UP: State.GAVE_UP,
}
"""The events that begin a state."""

MARKER: Final = ("time", "run", "connection", "attempt", "kind", "delay")
"""The columns of such an event that a status tells of."""

_TELLING: Final = frozenset(
    {EventKind.LOST, EventKind.ATTEMPT_FAILED, EventKind.STALLED, EventKind.GAVE_UP, EventKind.STOPPED}
)
_MENDING: Final = frozenset({EventKind.FIRST_MESSAGE, EventKind.RUN_STARTED})
# An error with another cause than these is the last word of a run that failed for good.
_PASSING: Final = frozenset(
    {
        Cause.REJECTED,
        Cause.OVERFLOW,
        Cause.IDS_RESTARTED,
        Cause.VENUE_ERROR,
        Cause.UNKNOWN,
        Cause.DAMAGED,
        Cause.DISK,
    }
)
COUNTED: Final = ("messages", "trades", "bytes", "rejected", "dropped")
"""The columns of the stats that a status sums up over a run."""

_ENDED: Final = frozenset({State.STOPPED, State.GAVE_UP, State.FAILED})
# A stats row is written every second; five without one is no coincidence.
_QUIET_AFTER: Final = 5.0
# Event rows looked at in one go: mostly the newest few tell the state.
_AT_ONCE: Final = 100
_COLUMNS: Final = ["time", "run", "connection", "attempt", "kind", "cause", "detail", "delay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a capture is doing.

    Attributes
    ----------
    state
        ``idle, connecting, open, backing_off, stopped, gave_up`` or ``failed``.
    pid
        Of the collector, None if none is running.
    run, connection, attempt
        Numbers of the last run, its last connection, and the attempt under way or coming (0 while open).
    next_delay
        Seconds until the next attempt, None unless backing off.
    messages, trades, bytes, rejected, dropped, holes
        Counted since the run began.
    since
        When the state began, UTC.
    cause
        ``disk`` while writing fails; why the last connection or attempt ended, if that has not been mended yet; else
        what is wrong, or None.
    stopped_by
        What stopped the run, as it noted it, such as that its duration is over; None while it has not been stopped.
    """

    state: State
    pid: int | None = None
    run: int = 0
    connection: int = 0
    attempt: int = 0
    next_delay: float | None = None
    messages: int = 0
    trades: int = 0
    bytes: int = 0
    rejected: int = 0
    dropped: int = 0
    holes: int = 0
    since: datetime | None = None
    cause: str | None = None
    stopped_by: str | None = None

    @property
    def exit_code(self) -> int:
        """Of ``wsresearch status``: 0 running, 1 stopped cleanly or never started, 3 failed or gave up."""
        if self.state in {State.GAVE_UP, State.FAILED}:
            return 3
        return 1 if self.pid is None else 0

    def as_json(self) -> dict[str, Any]:
        """Return the document of ``wsresearch status --json``."""
        told = {**asdict(self), "since": None if self.since is None else self.since.isoformat()}
        del told["stopped_by"]  # programs read the cause; these are words
        return told

    @property
    def in_words(self) -> str | None:
        """Return the cause as a sentence for people, None if there is none."""
        if self.stopped_by and self.cause == Cause.STOP:
            return safe(self.stopped_by)
        return None if self.cause is None else _words(self.cause)

    def _repr_html_(self) -> Markup:
        """Return the same as a small table, every text from elsewhere escaped."""
        state = self.state.replace("_", " ")
        if self.next_delay is not None:
            state += f", attempt {self.attempt} in {self.next_delay:.1f} s"
        facts: dict[str, str | None] = {
            "state": element("b", state),
            "since": None if self.since is None else f"{self.since:%Y-%m-%d %H:%M:%S} UTC",
            "cause": None if (words := self.in_words) is None else foreign(words),
            "pid": None if self.pid is None else str(self.pid),
            **{name: f"{getattr(self, name):,}" for name in ("run", "connection")},
            **{f"{name} in run {self.run}": f"{getattr(self, name):,}" for name in (*COUNTED, "holes")},
        }
        rows = (
            element("tr", element("th", name, style="text-align:left"), element("td", fact, style="text-align:left"))
            for name, fact in facts.items()
            if fact is not None
        )
        return element("table", element("tbody", *rows))

    def __str__(self) -> str:
        """Return one line for people."""
        parts = [self.state.replace("_", " ")]
        if self.next_delay is not None:
            parts[0] += f", attempt {self.attempt} in {self.next_delay:.1f} s"
        elif self.state is State.CONNECTING:
            parts[0] += f", attempt {self.attempt}"
        counted = [f"{self.trades:,} trade{'' if self.trades == 1 else 's'}"]
        counted += [f"{self.holes:,} hole{'' if self.holes == 1 else 's'}"]
        counted += [f"{value:,} {name}" for name in ("rejected", "dropped") if (value := getattr(self, name))]
        # A capture may have more runs, and more trades than these.
        parts += [f"connection {self.connection}", f"run {self.run}: {', '.join(counted)}"]
        if (words := self.in_words) is not None:
            parts.append(words)
        return " · ".join(parts)


def cause_after(cause: str | None, kind: str, told: str | None) -> str | None:
    """Return the ``cause`` of a status after an event row: set by what ends something, cleared by recovery."""
    if kind in _MENDING:
        return None
    return told if kind in _TELLING else cause


def read_status(root: Path, *, now: datetime | None = None) -> Status:
    """Tell what a capture is doing.

    Parameters
    ----------
    root
        The capture directory.
    now
        The wall clock, for the countdown and for noticing a collector that has gone quiet.

    Raises
    ------
    NotACapture, CaptureTooNew, CaptureDamaged
        If the directory cannot be read.
    """
    layout = Layout(root)
    read_identity(layout)
    holder = holder_of(root)
    newest, rows = newest_rows(layout, TableName.EVENTS, _COLUMNS)
    run = rows["run"][-1].as_py() if len(rows) else 0
    before = _noted(layout, newest, NUMBERS_KEY, run)
    holes = rows.filter(pc.equal(rows["kind"], EventKind.HOLE))["run"].to_pylist().count(run)
    totals, written = _totals(layout, run)
    return status_after(
        _newest_first(rows),
        before=before,
        holder=holder,
        totals=totals,
        holes=before.get("holes", 0) + holes,
        written=written,
        now=now or datetime.now(UTC),
    )


def status_after(
    rows: Iterable[Mapping[str, Any]],
    *,
    holder: Holder | None,
    totals: Mapping[str, int],
    holes: int,
    written: datetime | None,
    now: datetime,
    before: Mapping[str, Any] | None = None,
) -> Status:
    """Conclude from the newest events what a capture is doing; for whoever has followed it so far.

    Parameters
    ----------
    rows
        Events, newest first, with the columns ``time`` (a ``datetime``), ``run, connection, attempt, kind, cause,
        detail, delay``. No more are taken than it needs: back to the one that began the present state, and to the one
        that says why the last connection ended or that this is mended.
    holder
        Who holds the lock.
    totals, holes
        Sums of the columns :data:`COUNTED`, and the number of holes, over the run of the newest row.
    written
        Time of the newest stats row.
    now
        The wall clock.
    before
        What was noted of how the run stood before the oldest of the rows, if they do not reach back far enough:
        ``entered``, a row that began a state, and ``cause``.
    """
    before = before or {}
    taken, marker = _needed(rows)
    if not taken:
        return Status(state=State.IDLE, pid=holder.pid if holder and holder.process() else None)
    newest = taken[0]
    if holder is not None and holder.run != newest["run"] and holder.process() is not None:
        # It repairs what an earlier run left, or has not yet written that it runs.
        return Status(state=State.IDLE, pid=holder.pid, run=holder.run or newest["run"])
    marker = marker or before.get("entered") or {**taken[-1], "kind": EventKind.RUN_STARTED}
    alive = _alive(holder, newest, written, now)
    state = ENTERS[marker["kind"]]
    cause = before.get("cause")
    for row in reversed(taken):
        cause = cause_after(cause, row["kind"], row["cause"])
    quiet = (now - max(written or newest["time"], newest["time"])).total_seconds()
    if not alive and state not in _ENDED:
        state = State.FAILED
        cause = _last_word(taken) or "the collector left without a last word: it was killed, or its disk failed"
    elif alive and state not in _ENDED and holder is not None and holder.trouble:
        cause = Cause.DISK
    elif alive and state not in _ENDED and quiet > _QUIET_AFTER:
        cause = f"the collector has written nothing for {quiet:.0f} s"
    next_delay = None
    if state is State.BACKING_OFF and marker["delay"] is not None:
        next_delay = max(0.0, marker["delay"] - (now - marker["time"]).total_seconds())
    return Status(
        state=state,
        pid=holder.pid if alive and holder else None,
        run=newest["run"],
        connection=newest["connection"],
        attempt=(marker["attempt"] or 0) if state in {State.BACKING_OFF, State.CONNECTING} else 0,
        next_delay=next_delay,
        **totals,
        holes=holes,
        since=marker["time"],
        cause=cause,
        stopped_by=marker.get("detail") if state is State.STOPPED else None,
    )


def _needed(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Mapping[str, Any] | None]:
    """Take as many rows as tell state and cause; return them and the one that began the state."""
    taken: list[Mapping[str, Any]] = []
    marker, told = None, False
    for row in rows:
        taken.append(row)
        if marker is None and row["kind"] in ENTERS:
            marker = row
        told = told or row["kind"] in _TELLING or row["kind"] in _MENDING
        if marker is not None and told:
            break
    return taken, marker


def _last_word(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the cause of a failure for good, if the newest rows tell of one."""
    ended = (row for row in rows if row["kind"] != EventKind.ERROR or row["cause"] not in _PASSING)
    last = next(ended, None)
    return last["cause"] if last is not None and last["kind"] == EventKind.ERROR else None


def _alive(holder: Holder | None, newest: Mapping[str, Any], written: datetime | None, now: datetime) -> bool:
    """Whether the collector lives; one on another machine is judged by what it writes."""
    if holder is None or holder.run != newest["run"]:
        return False
    if holder.is_here:
        return holder.process() is not None
    return bool((now - max(written or newest["time"], newest["time"])).total_seconds() < _QUIET_AFTER)


def _newest_first(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows of a table of events backwards, a few at a time."""
    for end in range(len(rows), 0, -_AT_ONCE):
        some = rows.slice(max(0, end - _AT_ONCE), min(end, _AT_ONCE))
        # Times of events are whole nanoseconds; a datetime holds microseconds, which is enough for a countdown.
        micro = some.set_column(0, "time", pc.cast(some["time"], pa.timestamp("us", tz="UTC"), safe=False))
        yield from reversed(micro.to_pylist())


def _totals(layout: Layout, run: int) -> tuple[dict[str, int], datetime | None]:
    """Return the sums of a run's stats, and the time of the newest row."""
    place, rows = newest_rows(layout, TableName.STATS, ["time", "run", *COUNTED])
    newest = pc.max(rows["time"].cast(pa.timestamp("us", tz="UTC"), safe=False)).as_py()
    mine = rows.filter(pc.equal(rows["run"], run))
    before = _noted(layout, place, TOTALS_KEY, run)
    return {name: before.get(name, 0) + (pc.sum(mine[name]).as_py() or 0) for name in COUNTED}, newest


def _noted(layout: Layout, place: Place | None, key: bytes, run: int) -> dict[str, Any]:
    """Return what the writer of a segment noted, if it was of this run."""
    told = noted(layout, place, key)
    if entered := told.get("entered"):
        entered["time"] = datetime.fromtimestamp(entered["time"] / 1e9, tz=UTC)
    return told if told.get("run") == run else {}


def _words(cause: str) -> str:
    # In a capture from elsewhere a cause may be any text.
    return in_words(Cause(cause)) if cause in set(Cause) else safe(cause)
