"""What is to be seen of a capture at this moment, told by what is new since the last look; nothing is shown here."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from wsresearch.capture.identity import Identity, read_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.rows import capture_is_there
from wsresearch.collect.lock import holder_of
from wsresearch.collect.status import COUNTED, ENTERS, Status, read_status, status_after
from wsresearch.errors import CaptureDamaged, CaptureError
from wsresearch.notebook.columns import nanoseconds
from wsresearch.notebook.inventory import Inventory
from wsresearch.notebook.recent import Recent, Stretch, as_of, clamped
from wsresearch.notebook.strand import Strand
from wsresearch.reconnect.actions import State
from wsresearch.safetext import MAX_MESSAGE, safe
from wsresearch.schema import STATS, EventKind, TableName
from wsresearch.study.outages import outages
from wsresearch.study.rows import Event, plain_rows, read_events

__all__ = ["MOST_EVENTS", "Live", "Seen"]

MOST_EVENTS: Final = 60_000
"""Held at most: a day with 5,000 outages has 40,000."""

_MOST_STATS: Final = 100_000
_HISTORY: Final = 12
_INVENTORY: Final = 10.0
_INVENTORY_SHARE: Final = 0.01
"""A directory is listed every ten seconds, or so seldom that it takes a hundredth of the time."""

_RATE_ROWS: Final = 5

_TELLING: Final = frozenset(
    {EventKind.RUN_STARTED, EventKind.OPENED, EventKind.LOST, EventKind.STOPPED, EventKind.GAVE_UP}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A capture at one moment.

    Attributes
    ----------
    status
        None if the capture cannot be read; ``problems`` says why.
    identity
        What it is of, and how its collector was last configured.
    outages
        How many there have been in the whole capture.
    history
        The newest of them, the newest first: rows of :data:`wsresearch.study.OUTAGES`, times in ns.
    rate, lag
        Trades a second over the last seconds, and the newest lag in seconds; None where unknown.
    last_words
        ``detail`` of the newest event that ended a run or told of an error.
    events, fetched
        Numbers that change whenever there are other events, and whenever older rows were read.
    first, until
        Times of the first and the newest row that the pictures show (ns since 1970).
    loading
        Whether older rows of the stretch are still to be read.
    problems
        What could not be read, in words, safe to show.
    """

    status: Status | None
    identity: Identity | None
    outages: int = 0
    history: tuple[Mapping[str, Any], ...] = ()
    rate: float | None = None
    lag: float | None = None
    last_words: str = ""
    events: int = 0
    fetched: int = 0
    first: int | None = None
    until: int | None = None
    loading: bool = False
    problems: tuple[str, ...] = ()


class Live:
    """Keeps up with a capture; one thread at a time.

    Parameters
    ----------
    root
        The capture directory. It need not be readable: what is wrong is told by every look.
    stretch
        How far back the pictures look; may be changed at any time.
    """

    def __init__(self, root: Path, *, stretch: Stretch = Stretch.HOUR) -> None:
        self.stretch = stretch
        self._layout = Layout(root)
        self._events: Strand | None = None
        self._stats: Strand | None = None
        self._identity: Identity | None = None
        self._rows: list[Event] = []
        self._version = 0
        self._fetches = 0
        self._outages = 0
        self._history: tuple[Mapping[str, Any], ...] = ()
        self._sums: dict[str, int] = {}
        self._run = 0
        self._written: int | None = None
        self._newest: pa.Table | None = None
        self._lost: list[str] = []
        self._missing: tuple[str, ...] = ()
        self._inventory = Inventory(self._layout)
        self._inventory_at = 0.0

    def look(self, *, now: datetime | None = None, patience: float = 0.1) -> Seen:
        """Take in what is new and tell what there is to be seen.

        Parameters
        ----------
        now
            The wall clock, for the countdown and for noticing a collector that has gone quiet.
        patience
            Seconds in which older rows may be read.
        """
        problems: list[str] = []
        self._try(problems, self._take_new)
        self._try(problems, lambda: self._fetch_older(time.monotonic() + patience))
        self._try(problems, self._take_inventory)
        status = self._try(problems, lambda: self._status(now or datetime.now(UTC)))
        rate, lag = self._rate_and_lag()
        return Seen(
            status=status,
            identity=self._identity,
            outages=self._outages,
            history=self._history,
            rate=rate,
            lag=lag,
            last_words=self._last_words(),
            events=self._version,
            fetched=self._fetches,
            first=self._first,
            until=self._until,
            loading=not (self._events_reach and self._stats_reach),
            problems=tuple(dict.fromkeys([*problems, *self._lost, *self._missing])),
        )

    def recent(self) -> Recent:
        """Return what the pictures of the stretch are made of, as of the last look."""
        counters = STATS.empty_table() if self._stats is None else self._stats.rows
        rows = as_of(clamped(self._rows, self._since), self._until)
        return Recent(rows=rows, counters=counters, since=self._since, until=self._until)

    def close(self) -> None:
        """Close the files; what was seen stays."""
        for strand in (self._events, self._stats):
            if strand is not None:
                strand.close()
        self._events = self._stats = None

    # -- reading --------------------------------------------------------------------------------------------------

    def _try(self, problems: list[str], step: Callable[[], Any]) -> Any:
        """Take a step; what keeps it from reading is a thing to show, and no reason to stop."""
        try:
            return step()
        except (CaptureError, OSError) as error:
            problems.append(safe(str(error), limit=MAX_MESSAGE))
            return None

    def _take_new(self) -> None:
        if self._identity is None:
            self._identity = read_identity(self._layout)
        if self._events is None:
            self._events = Strand(self._layout, TableName.EVENTS, most_rows=MOST_EVENTS)
        if self._stats is None:
            self._stats = Strand(self._layout, TableName.STATS, most_rows=_MOST_STATS)
        first = not self._run
        self._take_events(read_events(self._events.poll()))
        self._take_stats(self._stats.poll())
        if first:
            self._begin_counting(self._stats)

    def _begin_counting(self, stats: Strand) -> None:
        """Take the sums of the run so far from where they are noted, at a moment when no row was added to them."""
        while True:
            status = read_status(self._layout.root)
            new = stats.poll()
            self._take_stats(new)
            if not len(new):
                break
        self._run = status.run
        self._sums = {name: getattr(status, name) for name in (*COUNTED, "holes")}

    def _take_events(self, new: list[Event]) -> None:
        if not new:
            return
        for row in new:
            self._count(row.run, {"holes": int(row.kind == EventKind.HOLE)})
        if any(row.kind == EventKind.RUN_STARTED for row in new):
            self._identity = read_identity(self._layout)
        self._rows.extend(new)
        del self._rows[: max(0, len(self._rows) - MOST_EVENTS)]
        self._changed()

    def _take_stats(self, new: pa.Table) -> None:
        if not len(new):
            return
        self._written = max(self._written or 0, int(nanoseconds(new["time"]).max()))
        for row in new.select(["run", *COUNTED]).to_pylist():
            self._count(row.pop("run"), row)
        newest = new if self._newest is None else pa.concat_tables([self._newest, new])
        self._newest = newest.slice(max(0, len(newest) - _RATE_ROWS)).combine_chunks()

    def _count(self, run: int, counts: Mapping[str, int | None]) -> None:
        if not self._run:
            return  # all that is there already is in the sums that counting begins with
        if run > self._run:
            self._run, self._sums = run, dict.fromkeys((*COUNTED, "holes"), 0)
        if run == self._run:
            for name, count in counts.items():
                self._sums[name] += count or 0

    @property
    def _since(self) -> int | None:
        return None if self._until is None else self.stretch.since(self._until)

    @property
    def _first(self) -> int | None:
        """The time at which the pictures begin."""
        first = self._rows[0].time if self._rows else None
        return first if self._since is None or first is None else max(first, self._since)

    @property
    def _until(self) -> int | None:
        """The time that the newest row tells."""
        times = [*([self._rows[-1].time] if self._rows else []), *([self._written] if self._written else [])]
        return max(times, default=None)

    @property
    def _events_reach(self) -> bool:
        """Whether the events held tell the whole stretch, the state it begins with, and enough for the history."""
        strand, since = self._events, self._since
        if strand is None or strand.has_all:
            return True
        if not strand.reaches(since) or len(self._history) < _HISTORY:
            return False
        before = bisect_left(self._rows, since, key=lambda row: row.time)
        return any(self._rows[place].kind in _TELLING for place in reversed(range(before)))

    @property
    def _stats_reach(self) -> bool:
        return self._stats is None or self._stats.reaches(self._since)

    def _fetch_older(self, deadline: float) -> None:
        while self._events is not None and not self._events_reach and time.monotonic() < deadline:
            if len(older := self._fetched(self._events)):
                self._rows[:0] = read_events(older)
                self._changed()
        while self._stats is not None and not self._stats_reach and time.monotonic() < deadline:
            self._fetched(self._stats)

    def _fetched(self, strand: Strand) -> pa.Table:
        self._fetches += 1
        try:
            return strand.fetch()
        except CaptureDamaged as error:
            self._lost.append(safe(str(error), limit=MAX_MESSAGE))
            return strand.rows.slice(0, 0)

    def _take_inventory(self) -> None:
        """Notice segments that are not there: what they held is missing from the pictures."""
        began = time.monotonic()
        if began < self._inventory_at:
            return
        self._missing = self._inventory.take()
        took = time.monotonic() - began
        self._inventory_at = began + max(_INVENTORY, took / _INVENTORY_SHARE)

    # -- concluding -----------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Conclude anew from the events held."""
        self._version += 1
        self._outages = max((row.outage or 0 for row in self._rows), default=0)
        begin, seen = 0, 0
        for place in reversed(range(len(self._rows))):
            if _begins_outage(self._rows, place):
                begin, seen = place, seen + 1
                if seen == _HISTORY:
                    break
        found = plain_rows(outages(self._rows[begin:]))
        self._history = tuple(reversed(found[-_HISTORY:]))

    def _status(self, now: datetime) -> Status:
        capture_is_there(self._layout)
        holder = holder_of(self._layout.root)
        if not any(row.kind in ENTERS for row in reversed(self._rows)):
            return Status(state=State.IDLE, pid=holder.pid if holder and holder.process() else None)
        # As far back as it takes: the cause of a backoff stands before the row that began it.
        rows = ({**row._asdict(), "time": _moment(row.time)} for row in reversed(self._rows))
        mine = self._rows[-1].run == self._run
        sums = dict(self._sums) if mine else dict.fromkeys((*COUNTED, "holes"), 0)
        written = None if self._written is None else _moment(self._written)
        holes = sums.pop("holes")
        return status_after(rows, holder=holder, totals=sums, holes=holes, written=written, now=now)

    def _last_words(self) -> str:
        """Return what the newest event that explains something says, if nothing has happened since."""
        for row in reversed(self._rows):
            if row.kind in {EventKind.ERROR, EventKind.GAVE_UP}:
                return safe(row.detail or "", limit=MAX_MESSAGE)
            if row.kind in ENTERS or row.kind == EventKind.FIRST_MESSAGE:
                break
        return ""

    def _rate_and_lag(self) -> tuple[float | None, float | None]:
        if self._newest is None:
            return None, None
        lags = [lag for lag in self._newest["lag"].to_pylist() if lag is not None]
        return sum(self._newest["trades"].to_pylist()) / len(self._newest), lags[-1] if lags else None


def _begins_outage(rows: list[Event], place: int) -> bool:
    row = rows[place]
    return bool(row.kind == EventKind.LOST and row.outage and (not place or rows[place - 1].outage != row.outage))


def _moment(time_ns: int) -> datetime:
    seconds, rest = divmod(time_ns, 10**9)
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest // 1000)
