"""What a capture is doing, told from its directory alone; nothing is changed and no collector is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wsresearch.capture.guard import check_guard
from wsresearch.capture.identity import read_identity
from wsresearch.capture.journal import read_segment
from wsresearch.capture.layout import Layout
from wsresearch.capture.rows import segment_rows
from wsresearch.capture.scan import Place, find, places
from wsresearch.collect.lock import Holder, holder_of
from wsresearch.collect.recorder import NUMBERS_KEY, TOTALS_KEY
from wsresearch.reconnect.actions import State
from wsresearch.reconnect.causes import Cause, in_words
from wsresearch.schema import EventKind, TableName

__all__ = ["Status", "cause_after", "read_status"]

_STATE_AFTER: Final[Mapping[str, State]] = {
    EventKind.RUN_STARTED: State.IDLE,
    EventKind.CONNECTING: State.CONNECTING,
    EventKind.OPENED: State.OPEN,
    EventKind.BACKOFF: State.BACKING_OFF,
    EventKind.STOPPED: State.STOPPED,
    EventKind.GAVE_UP: State.GAVE_UP,
}
_TELLING: Final = frozenset(
    {EventKind.LOST, EventKind.ATTEMPT_FAILED, EventKind.STALLED, EventKind.GAVE_UP, EventKind.STOPPED}
)
_COUNTED: Final = ("messages", "trades", "bytes", "rejected", "dropped")
_ENDED: Final = frozenset({State.STOPPED, State.GAVE_UP, State.FAILED})
# A stats row is written every second; five without one is no coincidence.
_QUIET_AFTER: Final = 5.0


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
        Why the last connection or attempt ended, if that has not been mended yet; else what is wrong, or None.
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

    @property
    def exit_code(self) -> int:
        """Of ``wsresearch status``: 0 running, 1 stopped cleanly or never started, 3 failed or gave up."""
        if self.state in {State.GAVE_UP, State.FAILED}:
            return 3
        return 1 if self.pid is None else 0

    def as_json(self) -> dict[str, Any]:
        """Return the document of ``wsresearch status --json``."""
        return {**asdict(self), "since": None if self.since is None else self.since.isoformat()}

    def __str__(self) -> str:
        """Return one line for people."""
        parts = [self.state.replace("_", " ")]
        if self.next_delay is not None:
            parts[0] += f", attempt {self.attempt} in {self.next_delay:.1f} s"
        elif self.state is State.CONNECTING:
            parts[0] += f", attempt {self.attempt}"
        parts += [f"connection {self.connection}", f"{self.trades:,} trades", f"{self.holes} holes"]
        parts += [f"{value:,} {name}" for name in ("rejected", "dropped") if (value := getattr(self, name))]
        if self.cause is not None:
            parts.append(_words(self.cause))
        return " · ".join(parts)


def cause_after(cause: str | None, kind: str, told: str | None) -> str | None:
    """Return the ``cause`` of a status after an event row: set by what ends something, cleared by recovery."""
    if kind in {EventKind.FIRST_MESSAGE, EventKind.RUN_STARTED}:
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
    now = now or datetime.now(UTC)
    holder = holder_of(root)
    rows = list(_since_state(layout))
    if not rows:
        return Status(state=State.IDLE, pid=holder.pid if holder and holder.process() else None)
    marker, newest = rows[-1], rows[0]
    totals, written = _totals(layout, newest["run"])
    alive = _alive(holder, newest, written, now)
    state = _STATE_AFTER[marker["kind"]]
    cause = None
    for row in reversed(rows):
        cause = cause_after(cause, row["kind"], row["cause"])
    if not alive and state not in _ENDED:
        # No last word: either a permanent failure, whose row stands last, or the process was killed.
        state = State.FAILED
        last_word = newest["kind"] == EventKind.ERROR and newest["run"] == marker["run"]
        cause = newest["cause"] if last_word else "the collector was killed: it left without a last word"
    elif alive and (quiet := (now - max(written or newest["time"], newest["time"])).total_seconds()) > _QUIET_AFTER:
        cause = f"the collector has written nothing for {quiet:.0f} s"
    next_delay = None
    if state is State.BACKING_OFF:
        next_delay = max(0.0, marker["delay"] - (now - marker["time"]).total_seconds())
    return Status(
        state=state,
        pid=holder.pid if alive and holder else None,
        run=newest["run"],
        connection=newest["connection"],
        attempt=(marker["attempt"] or 0) if state in {State.BACKING_OFF, State.CONNECTING} else 0,
        next_delay=next_delay,
        **totals,
        holes=_holes(layout, newest["run"]),
        since=marker["time"],
        cause=cause,
    )


def _alive(holder: Holder | None, newest: Mapping[str, Any], written: datetime | None, now: datetime) -> bool:
    """Whether the collector lives; one on another machine is judged by what it writes."""
    if holder is None or holder.run != newest["run"]:
        return holder is not None and holder.run == 0 and holder.process() is not None
    if holder.is_here:
        return holder.process() is not None
    return (now - (written or newest["time"])).total_seconds() < _QUIET_AFTER


def _since_state(layout: Layout) -> Iterator[dict[str, Any]]:
    """Yield event rows backwards, up to the one that began the present state and the cause of what it is."""
    columns = ["seq", "time", "run", "connection", "attempt", "kind", "cause", "delay"]
    for place in reversed(places(layout, TableName.EVENTS)):
        # Times of events are whole nanoseconds; a datetime holds microseconds, which is enough for a countdown.
        table = segment_rows(layout, place, columns=columns)
        micro = table.set_column(1, "time", pc.cast(table["time"], pa.timestamp("us", tz="UTC"), safe=False))
        for row in reversed(micro.to_pylist()):
            yield row
            if row["kind"] in _STATE_AFTER:
                return


def _totals(layout: Layout, run: int) -> tuple[dict[str, int], datetime | None]:
    """Return the sums of a run's stats, and the time of the newest row."""
    found = places(layout, TableName.STATS)
    if not found:
        return dict.fromkeys(_COUNTED, 0), None
    rows = segment_rows(layout, found[-1], columns=["time", "run", *_COUNTED])
    newest = pc.max(rows["time"].cast(pa.timestamp("us", tz="UTC"), safe=False)).as_py()
    mine = rows.filter(pc.equal(rows["run"], run))
    before = _metadata(layout, found[-1], TOTALS_KEY)
    base = before if before.get("run") == run else {}
    return {name: base.get(name, 0) + (pc.sum(mine[name]).as_py() or 0) for name in _COUNTED}, newest


def _holes(layout: Layout, run: int) -> int:
    found = places(layout, TableName.EVENTS)
    rows = segment_rows(layout, found[-1], columns=["run", "kind"])
    mine = rows.filter(pc.and_(pc.equal(rows["run"], run), pc.equal(rows["kind"], EventKind.HOLE)))
    before = _metadata(layout, found[-1], NUMBERS_KEY)
    return int(mine.num_rows) + (before.get("holes", 0) if before.get("run") == run else 0)


def _metadata(layout: Layout, place: Place | None, key: bytes) -> dict[str, int]:
    """Read what a segment's writer noted in its schema, wherever the segment is now."""
    while place is not None:
        try:
            if place.parquet is not None:
                check_guard(place.parquet)
                told = pq.read_schema(place.parquet).metadata
            else:
                told = read_segment(layout, place.segment).schema_metadata
        except FileNotFoundError:
            place = find(layout, place.segment)
        else:
            noted: dict[str, int] = json.loads((told or {}).get(key, b"{}"))
            return noted
    return {}


def _words(cause: str) -> str:
    return in_words(Cause(cause)) if cause in set(Cause) else cause
