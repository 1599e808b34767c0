"""Which trade ids have been seen, which are missing, which came twice; writing rows or events is not here.

The seen ids of a symbol are kept as intervals, so exact de-duplication over millions of ids costs a few numbers.
Three rules keep one strange row from doing harm:

* an id is a duplicate only if that very id was seen, never because it is below the highest one;
* a leap of more than :data:`LEAP` ids is believed once a second row continues there, so an absurd but valid id
  (2**62, say) is stored and neither becomes the new end of the sequence nor a hole of 2**62 trades;
* a known id, or one below the rest that was never missing, whose trade time is later than any before it is no
  duplicate and no late row: the venue has begun to count anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["LEAP", "Admitted", "IdSet", "Ledger", "Span", "Where"]

LEAP: Final = 1_000_000
"""Ids that may be missing in one hole without further proof; a longer leap needs a second row to confirm it."""

MAX_INTERVALS: Final = 4096
"""Intervals remembered for a symbol; beyond that the lowest ids are forgotten (and could come in twice)."""


class Where(StrEnum):
    """Where a hole lies: inside one connection, across an outage, or across a stop or crash of ours.

    ``vacant`` is said of ids that are no hole at all: the venue spent them without a trade.
    """

    CONNECTION = "connection"
    OUTAGE = "outage"
    STOP = "stop"
    VACANT = "vacant"


class IdSet:
    """A set of integers held as disjoint, sorted, closed intervals."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in intervals:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __len__(self) -> int:
        return len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """Add ``first..last``, joining whatever it touches."""
        low = bisect_right(self._lasts, first - 2)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]
        if len(self._firsts) > MAX_INTERVALS:
            del self._firsts[0], self._lasts[0]

    def remove(self, number: int) -> bool:
        """Take one number out; say whether it was in."""
        at = bisect_right(self._firsts, number) - 1
        if at < 0 or number > self._lasts[at]:
            return False
        first, last = self._firsts[at], self._lasts[at]
        parts = [(a, b) for a, b in ((first, number - 1), (number + 1, last)) if a <= b]
        self._firsts[at : at + 1] = [a for a, _ in parts]
        self._lasts[at : at + 1] = [b for _, b in parts]
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Ids ``first..last`` of a symbol, inclusive.

    ``row`` is the batch's row whose arrival showed it; ``since`` the
    connection that had delivered the row before it.
    """

    symbol: str
    first: int
    last: int
    row: int
    where: Where
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What a batch turned out to be.

    Attributes
    ----------
    batch
        The rows that are new, in order.
    duplicates
        Rows left out because they were stored before.
    holes, filled
        Ids that turned out missing, and ids of earlier holes that arrived after all.
    restarts
        Symbols whose ids began anew: no hole can be told across that point.
    """

    batch: pa.RecordBatch
    duplicates: int
    holes: list[Span]
    filled: list[Span]
    restarts: list[str]


@dataclass(slots=True, kw_only=True)
class _Symbol:
    """What is known of one symbol."""

    name: str
    seen: IdSet = field(default_factory=IdSet)
    high: int | None = None
    newest: int | None = None
    connection: int = 0
    before_this_run: bool = False
    suspect: tuple[int, int] | None = None
    missing: IdSet = field(default_factory=IdSet)
    excused: IdSet = field(default_factory=IdSet)


class Ledger:
    """The ids of every symbol of a capture.

    Parameters
    ----------
    marks
        Highest id of each symbol at the end of the runs before, as :attr:`marks` gave it.
    """

    def __init__(self, marks: Mapping[str, int] | None = None) -> None:
        self._symbols: dict[str, _Symbol] = {}
        for symbol, high in (marks or {}).items():
            self._symbols[symbol] = _Symbol(name=symbol, seen=IdSet([(high, high)]), high=high, before_this_run=True)

    @property
    def marks(self) -> dict[str, int]:
        """Highest believed id of each symbol."""
        return {symbol: known.high for symbol, known in self._symbols.items() if known.high is not None}

    def seen(self, symbol: str) -> list[tuple[int, int]]:
        """Intervals of the ids of a symbol that are remembered as stored."""
        return list(self._of(symbol).seen)

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        """Intervals of the ids of a symbol that are believed to exist and were not stored."""
        return list(self._of(symbol).missing)

    def recall(self, trades: pa.Table) -> None:
        """Take in rows that an earlier run stored (columns symbol, trade_id, trade_time), oldest first."""
        for batch in trades.to_batches():
            self.admit(batch, connection=0)
        for known in self._symbols.values():
            known.before_this_run = True

    def excuse(self, symbol: str, number: int) -> None:
        """Note an id that the venue spent without a trade: its absence is no hole."""
        self._of(symbol).excused.add(number, number)

    def admit(self, batch: pa.RecordBatch, *, connection: int) -> Admitted:
        """Sort the rows of a batch into new ones and duplicates, and say what is missing.

        Parameters
        ----------
        batch
            Rows of the trades schema, as received. Rows with a null id pass: such a venue has no sequence.
        connection
            The connection that delivered them.
        """
        outcome = _Outcome(rows=batch.num_rows, connection=connection)
        ids = batch.column("trade_id")
        numbers = np.asarray(pc.fill_null(ids, -1)) if ids.null_count else np.asarray(ids)
        times = np.asarray(batch.column("trade_time").cast(pa.int64()))
        for symbol, rows in _rows_by_symbol(batch.column("symbol")):
            known = self._of(symbol)
            if ids.null_count:
                rows = rows[np.asarray(ids.is_valid())[rows]]  # noqa: PLW2901
            if len(rows):
                self._admit_symbol(known, rows, numbers[rows], times[rows], outcome)
        holes = outcome.new_holes()
        for hole in holes:
            self._of(hole.symbol).missing.add(hole.first, hole.last)
        kept = batch if outcome.keep.all() else batch.filter(pa.array(outcome.keep))
        return Admitted(
            batch=kept,
            duplicates=batch.num_rows - kept.num_rows,
            holes=holes,
            filled=outcome.filled,
            restarts=outcome.restarts,
        )

    def _of(self, symbol: str) -> _Symbol:
        return self._symbols.setdefault(symbol, _Symbol(name=symbol))

    def _admit_symbol(
        self,
        known: _Symbol,
        rows: NDArray[np.int64],
        numbers: NDArray[np.int64],
        times: NDArray[np.int64],
        outcome: _Outcome,
    ) -> None:
        in_line = known.high is not None and int(numbers[0]) == known.high + 1 and bool((np.diff(numbers) == 1).all())
        # What comes in line needs no look at the set: its ids lie above `high`, where only a suspect can be.
        if in_line and (known.suspect is None or int(numbers[-1]) < known.suspect[0]):
            known.seen.add(int(numbers[0]), int(numbers[-1]))
            known.high = int(numbers[-1])
            newest = int(times.max())
            known.newest = newest if known.newest is None else max(known.newest, newest)
        else:
            for row, number, time in zip(rows.tolist(), numbers.tolist(), times.tolist(), strict=True):
                outcome.keep[row] = self._admit_row(known, row, number, time, outcome)
        known.connection = outcome.connection
        known.before_this_run = False

    def _admit_row(self, known: _Symbol, row: int, number: int, time: int, outcome: _Outcome) -> bool:
        newer = known.newest is not None and time > known.newest
        known.newest = time if known.newest is None else max(known.newest, time)
        if number in known.seen:
            if not newer:
                return False
            self._begin_anew(known, outcome)
        high = known.high
        if high is None or number == high + 1:
            known.high = number
        elif number > high:
            self._leap(known, row, number, outcome)
        elif not outcome.fill(known, number, row) and newer:
            # Below the rest, never told missing, and traded after everything else: the venue counts anew.
            self._begin_anew(known, outcome)
            known.high = number
        known.seen.add(number, number)
        known.connection = outcome.connection
        known.before_this_run = False
        return True

    def _leap(self, known: _Symbol, row: int, number: int, outcome: _Outcome) -> None:
        high = known.high
        assert high is not None
        if number - high - 1 > LEAP:
            suspect = known.suspect
            if suspect is None or not suspect[1] < number <= suspect[1] + LEAP:
                known.suspect = (number, number)
                return
            outcome.miss(_span(known, high + 1, suspect[0] - 1, row, outcome.connection), known.excused)
            high = suspect[1]
            known.suspect = None
        if number > high + 1:
            outcome.miss(_span(known, high + 1, number - 1, row, outcome.connection), known.excused)
        known.high = number

    @staticmethod
    def _begin_anew(known: _Symbol, outcome: _Outcome) -> None:
        known.seen, known.missing, known.high, known.suspect = IdSet(), IdSet(), None, None
        outcome.restarts.append(known.name)


class _Outcome:
    """What one batch brings, while it is being looked at."""

    def __init__(self, *, rows: int, connection: int) -> None:
        self.connection = connection
        self.keep: NDArray[np.bool_] = np.ones(rows, dtype=bool)
        self.filled: list[Span] = []
        self.restarts: list[str] = []
        self._holes: list[tuple[Span, IdSet]] = []

    def miss(self, span: Span, excused: IdSet) -> None:
        rest = IdSet([(span.first, span.last)])
        for first, last in excused:
            for number in range(max(first, span.first), min(last, span.last) + 1):
                rest.remove(number)
        self._holes.append((span, rest))

    def fill(self, known: _Symbol, number: int, row: int) -> bool:
        """Take a late id out of the hole it belongs to; False if it belongs to none."""
        for hole, rest in self._holes:
            # Its hole was found in this very batch: it was only out of order, and the hole never was.
            if hole.symbol == known.name and rest.remove(number):
                return True
        if known.missing.remove(number):
            self.filled.append(_span(known, number, number, row, self.connection))
            return True
        return False

    def new_holes(self) -> list[Span]:
        return [
            Span(symbol=hole.symbol, first=first, last=last, row=hole.row, where=hole.where, since=hole.since)
            for hole, rest in self._holes
            for first, last in rest
        ]


def _span(known: _Symbol, first: int, last: int, row: int, connection: int) -> Span:
    if known.before_this_run:
        where = Where.STOP
    else:
        where = Where.CONNECTION if known.connection == connection else Where.OUTAGE
    return Span(symbol=known.name, first=first, last=last, row=row, where=where, since=known.connection)


def _rows_by_symbol(symbols: pa.Array) -> Iterable[tuple[str, NDArray[np.int64]]]:
    """Yield each symbol with the positions of its rows, in order."""
    encoded = symbols.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = np.asarray(encoded.indices)
    if len(names) == 1:
        yield names[0], np.arange(len(codes))
        return
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for code, name in enumerate(names):
        yield name, order[bounds[code] : bounds[code + 1]]
