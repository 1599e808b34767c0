"""Verifying a whole capture: each segment on its own, and whether ids, holes and events tell one story.

Nothing is changed and no lock is needed. How one segment is checked stands in `check`, how ids and events are
compared in `claims`; repairing is the work of `seal.recover`.

What is judged, and what is not
-------------------------------
* Ids missing from the data are a *problem* only if no ``hole`` event tells of them: an honest hole is no fault of
  the capture. A ``hole`` event about ids that are there is a problem, and so is a row whose id was there before.
* A collector may be running. Trades are read before events, so the events about those trades are there to be read,
  but for the last moments: what concerns trades of the last `SETTLE_NS` before the newest is not judged while any
  journal is there.
* A journal that ends in a torn append (killed, power cut) is no problem, nor is a segment that has both its journal
  and its Parquet file: the next start settles both.
* A number missing in the series of segments is none by itself, for a full disk uses numbers up. It shows where rows
  are missing: at the beginning of the series (unless its first segment tells that no file could be made before it), in
  the ids, in the ``seq`` of events, in the seconds of stats.
* A file that may not be read is a problem of its own; what its rows would have added up to is not judged.
* Trades that `prune` removed were checked when they went, and the ids they had are written down. Ids, holes and
  duplicates are those of all that was recorded, removed or not; only `VerifyReport.rows` and the rows of each symbol
  are those that are there. A segment that is missing and not written down as removed is as missing as ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.append import UNUSED_KEY
from wsresearch.capture.check import Findings, journal_rows, sealed_rows
from wsresearch.capture.claims import Claims, SymbolCoverage, judge
from wsresearch.capture.coverage import Ids, IdsBuilder
from wsresearch.capture.identity import read_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.ledger import SETTLE_NS, IdLedger
from wsresearch.capture.leftovers import look_around
from wsresearch.capture.rows import capture_is_there, metadata_of
from wsresearch.capture.scan import Place, Places, doubles, find, places
from wsresearch.errors import CaptureDamaged, CaptureError
from wsresearch.schema import TableName

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wsresearch.capture.layout import Segment
    from wsresearch.capture.pruned import Pruned

__all__ = ["Hole", "SymbolCoverage", "VerifyReport", "verify"]

_LOOKS: Final = 10
_SILENT_NS: Final = 60 * 10**9
"""Stats come once a second; a minute without any in the middle of a run is no hiccup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """Ids of a symbol that are not in the data, inclusive."""

    symbol: str
    first_id: int
    last_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found.

    Attributes
    ----------
    rows
        Trades.
    segments
        Segments of all three tables.
    duplicates
        Trades whose symbol and id were there before.
    symbols
        Which ids of each symbol were recorded, and how many rows are there; also of one that was to be collected and
        of which there never was any.
    holes
        Every missing interval of ids, whether an event tells of it or not.
    pruned
        What was removed on purpose, None if nothing was.
    problems
        One line for everything that is lost, damaged or contradicts itself.
    notes
        One line for everything else worth knowing: what a crash left for the next start to settle, foreign files.
    """

    rows: int
    segments: int
    duplicates: int
    symbols: Mapping[str, SymbolCoverage]
    holes: tuple[Hole, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    pruned: Pruned | None = None

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the document that ``wsresearch verify --json`` prints."""
        return {
            "ok": self.ok,
            "rows": self.rows,
            "segments": self.segments,
            "duplicates": self.duplicates,
            "symbols": {
                symbol: {
                    "first_id": known.first_id,
                    "last_id": known.last_id,
                    "rows": known.rows,
                    "missing": known.missing,
                }
                for symbol, known in self.symbols.items()
            },
            "holes": [
                {"symbol": hole.symbol, "first_id": hole.first_id, "last_id": hole.last_id} for hole in self.holes
            ],
            "problems": list(self.problems),
            "pruned": None if self.pruned is None else self.pruned.as_json(),
        }


def verify(root: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Check every segment of a capture, the coverage of ids, duplicates and seals; see the head of this module.

    Parameters
    ----------
    root
        The capture directory; a collector may be writing to it.
    progress
        Called after each segment with how many are done and how many there are.

    Raises
    ------
    NotACapture, CaptureTooNew, CaptureError
        As `Reader`. Damage raises nothing, it is what the report is about.
    """
    layout = Layout(Path(root))
    asked = read_identity(layout).symbols
    walk = _Walk(layout, progress)
    claims, seqs, seconds = Claims(), _Seqs(), _Seconds()
    stored = walk.found(TableName.TRADES)
    pruned = stored.pruned
    ledger = IdLedger() if pruned is None else pruned.ledger()
    for place, rows in walk.rows_of(stored):
        ledger.add(rows, settled=place.parquet is not None)
    for place, rows in walk.rows_of(walk.found(TableName.EVENTS)):
        claims.add(rows)
        seqs.add(rows, settled=place.parquet is not None)
    for place, rows in walk.rows_of(walk.found(TableName.STATS)):
        seconds.add(rows, place.segment)
    capture_is_there(layout)
    settled = not walk.journals
    # What the segments add up to can be held against itself only if all of them were read.
    sums = Findings() if walk.findings.unread else walk.findings
    if walk.findings.unread:
        walk.findings.notes.append(
            f"whether anything is missing was not judged: {len(walk.findings.unread)} of the files cannot be read"
        )
    symbols, holes, duplicates = judge(ledger, claims, sums, settled=settled)
    for symbol in asked:
        if symbol not in symbols and not walk.findings.unread:
            symbols[symbol] = SymbolCoverage(first_id=None, last_id=None, rows=0, missing=0)
            ask = ": is the symbol right?" if claims.opened else ", for no connection was ever opened"
            walk.findings.notes.append(f"{symbol}: no trade, ever{ask}")
    trades = sum(known.rows for known in ledger.symbols.values())
    seqs.judge(sums, settled=settled)
    seconds.judge(
        sums,
        trades=trades,
        ended=claims.ended,
        until=None if settled else (ledger.newest or 0) - SETTLE_NS,
    )
    gone = set()
    if pruned is not None:
        walk.findings.notes.append(str(pruned))
        walk.findings.problems.extend(pruned.problems)
        if left := stored.leftovers:
            walk.findings.notes.append(
                f"{len(left)} of the segments that were removed are still there, the first is {left[0][1].name}: "
                "run `wsresearch prune` again; nothing of ours reads them"
            )
        gone = {segment for segment, _, _ in layout.quarantined() if pruned.has(segment)}
        for symbol, removed in pruned.symbols.items():
            symbols[symbol] = replace(symbols[symbol], rows=symbols[symbol].rows - removed.rows)
        trades -= pruned.rows
    look_around(layout, walk.present | gone, walk.findings)
    return VerifyReport(
        rows=trades,
        segments=len(walk.present),
        duplicates=duplicates,
        symbols=symbols,
        holes=tuple(Hole(symbol=symbol, first_id=first, last_id=last) for symbol, first, last in holes),
        problems=tuple(walk.findings.problems),
        notes=tuple(walk.findings.notes),
        pruned=pruned,
    )


class _Walk:
    """Goes through the segments of a capture, checking each."""

    def __init__(self, layout: Layout, progress: Callable[[int, int], None] | None) -> None:
        self.findings = Findings()
        self.present: set[Segment] = set()
        self.journals = 0
        self._layout = layout
        self._progress = progress
        self._expected = sum(len(_listed(layout, table)) for table in TableName)

    def found(self, table: TableName) -> Places:
        """List the segments of a table, and say what is wrong with the list."""
        for one, other in doubles(self._layout, table):
            self.findings.problems.append(
                f"{one.parent.name} and {other.parent.name} both hold {one.name}: "
                f"move the one that does not belong there out of the capture; {table} were not checked further"
            )
        found = _listed(self._layout, table)
        first = next(iter(found), None)
        through = 0 if found.pruned is None else found.pruned.through
        if first is not None and first.segment.number > 1 + through + _unused_before(self._layout, first):
            self.findings.problems.append(
                f"{table}: the segments before {first.segment} are missing: bring them back from a copy"
            )
        return found

    def rows_of(self, found: Places) -> Iterator[tuple[Place, pa.Table]]:
        """Yield the rows of a table piece by piece, with the place where each piece was read."""
        for place in found:
            yield from self._rows_at(place)
            if self._progress is not None:
                self._progress(len(self.present), max(len(self.present), self._expected))

    def _rows_at(self, place: Place) -> Iterator[tuple[Place, pa.Table]]:
        now: Place | None = place
        for _ in range(_LOOKS):
            if now is None:
                return  # a journal without a row, removed by a recovery meanwhile
            try:
                if now.parquet is None:
                    pieces = journal_rows(self._layout, now.segment, self.findings)
                else:
                    pieces = sealed_rows(now.parquet, now.segment, self.findings)
                for rows in pieces:
                    yield now, rows
            except FileNotFoundError:
                now = self._again(place)
                continue
            self.present.add(now.segment)
            self.journals += now.journal
            if now.journal and now.parquet is not None:
                self.findings.notes.append(
                    f"{now.segment}: is sealed and still has its journal; the next start settles it"
                )
            return
        self.findings.problems.append(f"{place.segment}: could not be opened {_LOOKS} times: is something moving it?")

    def _again(self, place: Place) -> Place | None:
        try:
            return find(self._layout, place.segment)
        except CaptureDamaged as error:
            self.findings.problems.append(str(error))
            return None


def _unused_before(layout: Layout, place: Place) -> int:
    """Return how many numbers before a segment are told to have been used up without a row."""
    try:
        return int(metadata_of(layout, place).get(UNUSED_KEY, b"0"))
    except (CaptureError, OSError, ValueError, pa.ArrowException):
        return 0  # what is wrong with the segment is told when its rows are read


def _listed(layout: Layout, table: TableName) -> Places:
    try:
        return places(layout, table)
    except CaptureDamaged:
        if not doubles(layout, table):
            raise
        return Places(layout, table, journals=(), sealed=())  # `doubles` says which


class _Seqs:
    """The numbers of the events, which rise by one."""

    def __init__(self) -> None:
        self._builder = IdsBuilder()
        self._newest = 0
        self._open: list[pa.Table] = []

    def add(self, events: pa.Table, *, settled: bool) -> None:
        known = events.filter(events["seq"].is_valid())
        self._builder.add(known["seq"].to_numpy())
        if known.num_rows:
            self._newest = max(self._newest, pc.max(known["time"].cast(pa.int64())).as_py())
        if not settled:
            self._open.append(known.select(["seq", "time"]))

    def judge(self, findings: Findings, *, settled: bool) -> None:
        seqs = self._builder.ids()
        if not len(seqs):
            return
        if self._builder.rows > seqs.count:
            findings.problems.append(f"events: {self._builder.rows - seqs.count} rows have a seq that was there before")
        young = Ids.spanning([])
        if not settled:
            young = Ids.union(
                Ids.of(rows["seq"].to_numpy()[rows["time"].cast(pa.int64()).to_numpy() > self._newest - SETTLE_NS])
                for rows in self._open
            )
        gaps = list(seqs.gaps())
        first = int(seqs.firsts[0])
        for begin, end in ([(1, first - 1)] if first > 1 else []) + gaps:
            if end + 1 not in young:
                findings.problems.append(f"events: rows with seq {begin} to {end} are missing")


class _Seconds:
    """The stats, one row a second: are minutes missing, and do they count more trades than there are?"""

    def __init__(self) -> None:
        self._before: tuple[Segment, int, int] | None = None
        self._silences: list[str] = []
        self._trades: list[pa.Table] = []

    def add(self, stats: pa.Table, segment: Segment) -> None:
        if not stats.num_rows:
            return
        times = stats["time"].cast(pa.int64())
        first, last = times[0].as_py(), times[-1].as_py()
        runs = stats["run"]
        if self._before is not None:
            before, end, run = self._before
            if segment.number > before.number + 1 and run == runs[0].as_py() and first - end > _SILENT_NS:
                self._silences.append(
                    f"stats: nothing for {(first - end) // 10**9} s of run {run} between {before} and {segment}"
                )
        self._before = (segment, last, runs[-1].as_py())
        self._trades.append(stats.select(["time", "run", "trades", "dropped"]))

    def judge(self, findings: Findings, *, trades: int, ended: Collection[int], until: int | None) -> None:
        findings.problems.extend(self._silences)
        if not self._trades:
            return
        stats = pa.concat_tables(self._trades)
        times = stats["time"].cast(pa.int64())
        if until is not None:
            stats = stats.filter(pc.less_equal(times, until))
        counted = pc.sum(stats["trades"]).as_py() or 0
        dropped = pc.sum(stats["dropped"]).as_py() or 0
        # A power cut may take the trades of a run's last moments and leave the seconds that counted them.
        broken_off = [run for run in stats["run"].unique().to_pylist() if run not in ended]
        spared = sum(
            sum(count or 0 for count in stats.filter(pc.equal(stats["run"], run))["trades"].to_pylist()[-2:])
            for run in broken_off
        )
        if counted - dropped - spared > trades:
            findings.problems.append(
                f"stats count {counted} trades ({dropped} dropped) where only {trades} are stored: "
                "a segment of trades is missing"
            )
