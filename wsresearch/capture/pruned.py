"""What was removed from a capture on purpose: the file ``pruned.json``; removing is the work of `prune`.

It is one document, replaced as a whole, and holds what `verify` had learnt from the files that went: how many rows,
which ids of each symbol as intervals, what was damaged. So a capture goes on to prove what is missing: what `verify`
says of ids, holes and duplicates is the same before and after. Its size follows the number of holes, not of trades.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from wsresearch.capture.coverage import Ids
from wsresearch.capture.disk import Disk, replace_file
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.ledger import Era, IdLedger, SymbolIds
from wsresearch.capture.regular import open_regular
from wsresearch.errors import CaptureDamaged, CaptureError, CaptureTooNew
from wsresearch.schema import FORMAT_VERSION, TableName

__all__ = ["Pruned", "PrunedIds", "PrunedSymbol", "read_pruned", "symbols_of", "write_pruned"]

_Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Intervals: TypeAlias = tuple[tuple[_Int64, _Int64], ...]
_Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]

_LONGEST: Final = 1 << 26
"""Bytes; two million holes are about that much."""

_NAMED: Final = 5
"""Symbols named one by one in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedIds:
    """The ids of a symbol between two moments at which the venue began to count anew: an `Era` of the ledger.

    Attributes
    ----------
    rows
        Rows with an id; more than there are ids where some came twice.
    highest, newest
        Highest id, and latest trade time in µs since 1970 UTC.
    ids
        The ids as closed intervals.
    """

    rows: _Count
    highest: _Int64
    newest: _Int64
    ids: _Intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedSymbol:
    """What was removed of one symbol: rows, those without an id included, and ids."""

    rows: _Count
    eras: tuple[PrunedIds, ...]

    @property
    def ends(self) -> tuple[int, int] | None:
        """Lowest and highest id; None if no row had one."""
        ids = Ids.union(Ids.spanning(era.ids) for era in self.eras)
        return (int(ids.firsts[0]), int(ids.lasts[-1])) if len(ids) else None

    def as_json(self) -> dict[str, int | None]:
        """Return the totals, without the intervals."""
        first, last = self.ends or (None, None)
        return {"first_id": first, "last_id": last, "rows": self.rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed from a capture by all prunes together.

    Attributes
    ----------
    format_version
        Version of the directory layout.
    at
        When the last prune was, UTC.
    segments
        Numbers of the segments of trades removed, as closed intervals.
    rows, size_bytes
        Rows and bytes of their files.
    first, last
        Receive times of the earliest and the latest row (UTC); None if none could be read.
    symbols
        What was removed of each symbol.
    problems
        A line for each file that was damaged when it was removed.
    """

    format_version: Annotated[int, msgspec.Meta(ge=1)]
    at: _Moment
    segments: _Intervals
    rows: _Count
    size_bytes: _Count
    first: _Moment | None
    last: _Moment | None
    symbols: Mapping[str, PrunedSymbol]
    problems: tuple[str, ...] = ()

    @property
    def numbers(self) -> Ids:
        """Numbers of the segments removed."""
        return Ids.spanning(self.segments)

    @property
    def through(self) -> int:
        """Number of the last segment removed, 0 if there is none."""
        return max((last for _, last in self.segments), default=0)

    def has(self, segment: Segment) -> bool:
        """Whether a segment is among them."""
        return segment.table is TableName.TRADES and segment.number in self.numbers

    def check(self) -> None:
        """Raise ValueError if it contradicts itself: a changed digit must not change what is missing unnoticed."""
        if any(first > last for first, last in self.segments):
            raise ValueError("an interval of segments ends before it begins")
        if sum(known.rows for known in self.symbols.values()) != self.rows:
            raise ValueError(f"its symbols do not have {self.rows} rows together")
        for symbol, known in self.symbols.items():
            counts = [Ids.spanning(era.ids).count for era in known.eras]
            if any(count > era.rows for count, era in zip(counts, known.eras, strict=True)):
                raise ValueError(f"{symbol!r} has more ids than rows")
            if sum(era.rows for era in known.eras) > known.rows:
                raise ValueError(f"{symbol!r} has more rows with an id than rows")

    def ledger(self) -> IdLedger:
        """Return what a ledger knew after the rows that were removed: it goes on with those that are there."""
        ledger = IdLedger()
        for symbol, known in self.symbols.items():
            eras = [Era(highest=era.highest, newest=era.newest) for era in known.eras]
            for era, told in zip(eras, known.eras, strict=True):
                era.builder.take(Ids.spanning(told.ids), rows=told.rows)
            ledger.symbols[symbol] = SymbolIds(rows=known.rows, eras=eras)
        return ledger

    def as_json(self) -> dict[str, Any]:
        """Return what ``wsresearch verify --json`` tells of it: totals, without the intervals."""
        return {
            "at": self.at.isoformat(),
            "segments": self.numbers.count,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "first": None if self.first is None else self.first.isoformat(),
            "last": None if self.last is None else self.last.isoformat(),
            "symbols": {symbol: known.as_json() for symbol, known in self.symbols.items()},
        }

    def __str__(self) -> str:
        """Return one sentence for people."""
        named = [f"{symbol} {known.ends[0]} to {known.ends[1]}" for symbol, known in self.symbols.items() if known.ends]
        more = f" and {len(named) - _NAMED} more symbols" if named[_NAMED:] else ""
        ids = f"; ids {', '.join(named[:_NAMED])}{more}" if named else ""
        until = "" if self.last is None else f", received until {self.last:%Y-%m-%d %H:%M:%S} UTC,"
        count = self.numbers.count
        return (
            f"{self.rows:,} trades of {count:,} segment{'s' * (count != 1)}{until} were removed by `prune`, "
            f"last on {self.at:%Y-%m-%d}{ids}"
        )


def symbols_of(ledger: IdLedger) -> dict[str, PrunedSymbol]:
    """Return what a ledger knows, as it is written down."""
    return {
        symbol: PrunedSymbol(
            rows=known.rows,
            eras=tuple(
                PrunedIds(rows=era.builder.rows, highest=era.highest, newest=era.newest, ids=tuple(era.builder.ids()))
                for era in known.eras
            ),
        )
        for symbol, known in sorted(ledger.symbols.items())
    }


def read_pruned(layout: Layout) -> Pruned | None:
    """Read what was removed; None if nothing was.

    Raises
    ------
    CaptureDamaged
        If the file is not one that `prune` writes.
    CaptureTooNew
        If a later format version wrote it.
    CaptureError
        If it may not be read.
    """
    path = layout.pruned
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            raw = file.read(_LONGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CaptureError(
            f"{str(path)!r} cannot be read ({error.strerror or error}), so nobody can say what was removed on purpose"
        ) from error
    try:
        if len(raw) > _LONGEST:
            raise ValueError(f"more than {_LONGEST} bytes")
        found = msgspec.json.decode(raw, type=Pruned)
        found.check()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CaptureDamaged(
            f"{str(path)!r} is not what `prune` writes ({ascii(' '.join(str(error).split())[:200])[1:-1]}): bring it "
            "back from a copy, or move it away; then what was removed counts as missing"
        ) from error
    if found.format_version > FORMAT_VERSION:
        raise CaptureTooNew(
            f"{str(path)!r} has format version {found.format_version}, this program knows {FORMAT_VERSION}: "
            "use a later version of wsresearch; nothing was touched"
        )
    return found


def write_pruned(layout: Layout, pruned: Pruned, *, disk: Disk) -> None:
    """Put a record in the place of the one before, durably: a reader finds the old or the new, whole.

    Raises
    ------
    CaptureError
        If there are so many holes that no reader would take it.
    OSError
        If the disk refused; then the one before still stands.
    """
    content = msgspec.json.format(msgspec.json.encode(pruned), indent=0) + b"\n"
    if len(content) > _LONGEST:
        raise CaptureError(
            f"{str(layout.pruned)!r} would be {len(content):,} bytes long, so many are the holes: nothing was removed"
        )
    replace_file(layout.pruned, content, temporary=layout.root / f".{layout.pruned.name}.tmp", disk=disk)
