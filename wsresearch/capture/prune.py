"""Gives disk space back: the oldest sealed trades of a capture are removed; events and stats never are.

Events, stats and `pruned.json` together go on to prove what is missing: `verify` says the same of ids, holes and
duplicates before and after. Quarantine is not touched.

What goes
---------
A run of segments from the beginning of the series: each is sealed, has neither journal nor index any more, and all its
rows were received before the moment given. The first that is not ends the run, so what is left has no hole of ours. The
newest `KEPT` stay in any case: the next start learns from them which ids are known. A damaged file goes as well, if the
date of its folder is over at that moment, and that it was damaged is written down for good.

In which order
--------------
1. Every file is read and checked once more; which ids it has is added to the record.
2. The record is replaced, durably. *From now on* readers leave out what it names (see `scan`).
3. The files are removed, the oldest first, each as soon as nobody holds it; then their folders are made durable.

So after a crash a file is there, or written down, or both; in the last case the next prune removes it, and nothing of
ours reads it until then. Written down afterwards, a crash would leave trades missing that nobody removed on purpose.

Beside whom
-----------
A *collector* may run: it only ever adds segments to the end. *Sealing* and *recovery* touch segments with a journal or
an index only, and once those have gone they never come back, for numbers are used once; files are listed before
journals and indexes here, so that a segment with a file and none of those was retired before. *Another prune* is kept
out by a lock on the folder of the trades. *Readers* that began before 2. hold the oldest file they listed: that one and
all that is newer is waited for, and left to the next prune if that takes long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.check import Findings, sealed_rows
from wsresearch.capture.coverage import Ids
from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.hold import unheld
from wsresearch.capture.layout import Layout
from wsresearch.capture.ledger import IdLedger
from wsresearch.capture.pruned import Pruned, PrunedSymbol, symbols_of, write_pruned
from wsresearch.capture.reader import Reader
from wsresearch.capture.scan import Place, Places, listed
from wsresearch.capture.sealed import read_footer
from wsresearch.capture.window import Instant, Span, instant, span
from wsresearch.errors import CaptureBusy, CaptureDamaged, UsageError
from wsresearch.schema import FORMAT_VERSION, TIME_COLUMN, TableName

if TYPE_CHECKING:
    from wsresearch.capture.layout import Segment

__all__ = ["KEPT", "Pruning", "prune"]

KEPT: Final = 16
"""Newest sealed segments that stay: a start goes back as far as `wsresearch.collect.newest.FURTHEST`."""

_PAUSE: Final = 0.02
"""Seconds between two looks at whether a file is held; most reads are over by then."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NS_DAY: Final = 86_400 * 10**9
_TABLE: Final = TableName.TRADES


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What a prune removed, or would remove.

    Attributes
    ----------
    done
        Whether it was done; if not, nothing was changed.
    before
        Segments with rows of this moment (UTC) or later stay; None if there is no row to count back from.
    segments, rows, size_bytes
        Segments that go, and their rows and bytes.
    first, last
        Receive times of the earliest and the latest of the rows (UTC); None if there are none.
    symbols
        Rows and ids of each symbol.
    problems
        A line for each file that was damaged.
    leftovers
        Files that an earlier prune wrote down and did not come to remove; they go too.
    removed, freed_bytes
        Files that have gone, and their bytes.
    held
        The first file that could not be removed because somebody still reads it, None if all went.
    stopped
        Why no more goes although it is old enough; None if all that is old enough goes.
    """

    done: bool
    before: datetime | None
    segments: int = 0
    rows: int = 0
    size_bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None
    symbols: Mapping[str, PrunedSymbol]
    problems: tuple[str, ...] = ()
    leftovers: int = 0
    removed: int = 0
    freed_bytes: int = 0
    held: Path | None = None
    stopped: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the document that ``wsresearch prune --json`` prints."""
        told = {name: getattr(self, name) for name in ("done", "segments", "rows")}
        moments = {name: getattr(self, name) for name in ("before", "first", "last")}
        return {
            **told,
            "bytes": self.size_bytes,
            **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
            "symbols": {symbol: known.as_json() for symbol, known in self.symbols.items()},
            "problems": list(self.problems),
            "leftovers": self.leftovers,
            "removed": self.removed,
            "freed_bytes": self.freed_bytes,
            "held": None if self.held is None else os.fspath(self.held),
            "stopped": self.stopped,
        }


def prune(
    root: str | os.PathLike[str],
    *,
    keep: Span | None = None,
    before: Instant | None = None,
    yes: bool = False,
    progress: Callable[[str], None] = lambda text: None,
    patience: float = 60.0,
    now: datetime | None = None,
    disk: Disk = REAL_DISK,
) -> Pruning:
    """Remove the oldest sealed trades of a capture; a collector may be running. See the head of this module.

    Parameters
    ----------
    root
        The capture directory.
    keep
        How much stays, such as ``"7d"``: counted back from the newest row of the whole capture, as ``last`` of
        `Reader.trades` is, so that an old capture is not emptied by the calendar.
    before
        Or the moment from which on all stays, such as ``"2026-11-20"`` (UTC).
    yes
        Do it. Without, nothing is changed, and what would go is told.
    progress
        Called with what is being done, in words.
    patience
        Seconds to wait for readers that hold a file.
    now
        The moment to write down; the wall clock by default.
    disk
        What changes the disk.

    Returns
    -------
    Pruning
        What went, or would go. All of it may be done again: what is gone is gone, and nothing counts twice.

    Raises
    ------
    UsageError
        If not exactly one of ``keep`` and ``before`` is given, or is no length of time, or no moment.
    CaptureBusy
        If another prune is under way.
    NotACapture, CaptureTooNew, CaptureDamaged, CaptureError
        As `Reader`; or the file system knows no locks. Nothing was changed.
    OSError
        If the disk refused. Doing it again goes on from there.
    """
    reader = Reader(root)
    layout = Layout(reader.root)
    if (keep is None) == (before is None):
        raise UsageError(f"keep is {keep!r} and before is {before!r}: give one of them, such as keep='7d'")
    limit = instant(before, "before", back="keep='7d'") if before is not None else None
    if keep is not None:
        limit = reader.last_window(span(keep, "keep")).since
    if not yes or not layout.table_dir(_TABLE).is_dir():  # without that folder nothing is sealed
        return replace(_survey(layout, listed(layout, _TABLE), limit, progress)[0], done=yes)
    with unheld(layout.table_dir(_TABLE)) as alone:
        if not alone:
            raise CaptureBusy(f"{os.fspath(layout.root)!r} is being pruned by another process: wait until it is done")
        found = listed(layout, _TABLE)
        told, record = _survey(layout, found, limit, progress)
        going = found.leftovers
        if record is not None:
            write_pruned(layout, replace(record, at=now or datetime.now(UTC)), disk=disk)
            going = listed(layout, _TABLE).leftovers
        removed, freed, held = _remove(layout, going, progress, time.monotonic() + patience, disk)
    return replace(told, done=True, removed=removed, freed_bytes=freed, held=held)


# -- what goes --------------------------------------------------------------------------------------------------------


def _survey(
    layout: Layout, found: Places, limit: int | None, progress: Callable[[str], None]
) -> tuple[Pruning, Pruned | None]:
    """Read what is to go; tell what it is, and return the record that has it too, None if nothing goes."""
    going, stopped = _run(layout, found, limit)
    old = found.pruned
    ledger, fresh = IdLedger() if old is None else old.ledger(), IdLedger()
    problems: list[tuple[Segment, str]] = []
    size_bytes = 0
    ends: list[int] = []
    for number, place in enumerate(going, 1):
        assert place.parquet is not None
        findings = Findings()
        for rows in sealed_rows(place.parquet, place.segment, findings):
            ledger.add(rows, settled=True)
            fresh.add(rows, settled=True)
            times = pc.min_max(rows[TIME_COLUMN[_TABLE]].cast(pa.int64()))
            ends += [times[end].as_py() for end in ("min", "max") if times[end].is_valid]
            ends = [min(ends), max(ends)] if ends else []
        size_bytes += place.parquet.stat().st_size
        if findings.problems:
            problems.append((place.segment, findings.problems[0].partition(": bring it back")[0]))
        progress(f"read {number:,} of {len(going):,} segments")
    rows_there = sum(known.rows for known in fresh.symbols.values())
    told = Pruning(
        done=False,
        before=_moment(limit),
        segments=len(going),
        rows=rows_there,
        size_bytes=size_bytes,
        first=_moment(min(ends, default=None)),
        last=_moment(max(ends, default=None)),
        symbols=symbols_of(fresh),
        problems=tuple(f"{segment} is damaged ({why}): bring it back from a copy first" for segment, why in problems),
        leftovers=len(found.leftovers),
        stopped=stopped,
    )
    if not going:
        return told, None
    numbers = Ids.spanning((place.segment.number,) * 2 for place in going)
    record = Pruned(
        format_version=FORMAT_VERSION,
        at=_EPOCH,
        segments=tuple(numbers if old is None else Ids.union([old.numbers, numbers])),
        rows=rows_there + (0 if old is None else old.rows),
        size_bytes=size_bytes + (0 if old is None else old.size_bytes),
        first=min((each for each in (told.first, old and old.first) if each), default=None),
        last=max((each for each in (told.last, old and old.last) if each), default=None),
        symbols=symbols_of(ledger),
        problems=(
            *(() if old is None else old.problems),
            *(f"{segment} was damaged when `prune` removed it ({why})" for segment, why in problems),
        ),
    )
    return told, record


def _run(layout: Layout, found: Places, limit: int | None) -> tuple[list[Place], str | None]:
    """Return the segments that go, and why those after them do not although they are old enough."""
    unretired = {segment.number for segment in (*layout.journals(_TABLE), *layout.indexes(_TABLE))}
    retired = [place.segment.number for place in found if place.parquet and place.segment.number not in unretired]
    kept = set(retired[-KEPT:])
    going: list[Place] = []
    for place in found:
        if limit is None or place.parquet is None or place.date is None:
            return going, f"{place.segment} is not sealed yet" if limit is not None else None
        if _newest(place.parquet, place.segment, place.date) >= limit:
            return going, None
        if place.segment.number in unretired:
            return going, f"{place.segment} still has its journal; the next start settles it"
        if place.segment.number in kept:
            return going, f"the newest {KEPT} sealed segments stay: the next start learns from them which ids are known"
        going.append(place)
    return going, None


def _newest(path: Path, segment: Segment, date: Date) -> int:
    """Return the time of the newest row of a sealed file; if it does not say, the end of its folder's day."""
    try:
        last = read_footer(path, segment).last
    except CaptureDamaged:
        last = None
    return (date - _EPOCH.date()).days * _NS_DAY + _NS_DAY - 1 if last is None else last


def _moment(ns: int | None) -> datetime | None:
    return None if ns is None else _EPOCH + timedelta(microseconds=ns // 1000)


# -- removing it ------------------------------------------------------------------------------------------------------


def _remove(
    layout: Layout, going: list[tuple[int, Path]], progress: Callable[[str], None], deadline: float, disk: Disk
) -> tuple[int, int, Path | None]:
    """Remove files that are written down; return how many, their bytes, and the first that somebody holds."""
    removed, freed = 0, 0
    if not going:
        return removed, freed, None
    disk.fsync_dir(layout.root)  # whoever wrote it down may have been cut off right then
    if layout.journal_dir.is_dir() and not _unheld(layout.journal_dir, progress, deadline):
        return removed, freed, layout.journal_dir
    held = None
    for _, path in going:
        try:
            size_bytes = path.stat().st_size
            if not _unheld(path, progress, deadline, then=partial(disk.unlink, path)):
                held = path
                break
        except FileNotFoundError:
            continue  # somebody else removed it meanwhile, as it should be
        removed, freed = removed + 1, freed + size_bytes
        progress(f"removed {removed:,} of {len(going):,} files")
    for folder in dict.fromkeys(path.parent for _, path in going):
        disk.fsync_dir(folder)
    return removed, freed, held


def _unheld(
    path: Path, progress: Callable[[str], None], deadline: float, *, then: Callable[[], None] = lambda: None
) -> bool:
    """Wait until nobody holds a file or folder, then do something while nobody can; False if that takes too long."""
    while True:
        with unheld(path) as free:
            if free:
                then()
                return True
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        progress(f"waiting for a reader of {path.name} (at most {left:.0f} s)")
        time.sleep(min(left, _PAUSE))
