"""Which trade ids have been seen, which are missing, which came twice; writing rows or events is not here.

Four rules keep one strange row from doing harm:

* an id is a duplicate only if that very id was seen, never because it is below the highest one;
* a leap of more than :data:`LEAP` ids is believed once the next new row continues there, so an absurd but valid id
  (2**62, say) is stored and neither becomes the new end of the sequence nor a hole of 2**62 trades;
* a known id whose trade time is later than any before it is another trade, and stored; so is an id below all others
  with such a time. If the next new row continues *there*, the venue has begun to count anew;
* a trade time far ahead of the time of receipt says nothing about order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.collect.idset import IdSet

__all__ = ["LEAP", "Admitted", "IdSet", "Ledger", "Restart", "Span", "Where"]

LEAP: Final = 1_000_000
"""Ids that may be missing in one hole without further proof; a longer leap needs a second row to confirm it."""

_AHEAD_US: Final = 86_400 * 10**6
"""Microseconds that a trade may be ahead of its receipt: clocks are wrong by hours, hardly by more than a day."""

_NEVER: Final = -(2**63)
"""Stands for a trade time that says nothing."""


class Where(StrEnum):
    """Where a hole lies: inside one connection, across an outage, or across a stop or crash of ours.

    ``vacant`` is said of ids that are no hole at all: the venue spent them without a trade.
    """

    CONNECTION = "connection"
    OUTAGE = "outage"
    STOP = "stop"
    VACANT = "vacant"


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
class Restart:
    """A symbol whose ids began anew; the batch's ``row`` is the one that proved it."""

    symbol: str
    row: int


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
        Where ids began anew: no hole can be told across that point.
    marks
        What :attr:`Ledger.marks` says now of each symbol for which it may say something new.
    """

    batch: pa.RecordBatch
    duplicates: int
    holes: list[Span]
    filled: list[Span]
    restarts: list[Restart]
    marks: dict[str, int]


@dataclass(slots=True, kw_only=True)
class _Symbol:
    """What is known of one symbol.

    ``high`` is the highest id believed, ``newest`` the latest trade time; ``leapt`` and ``anew`` are ids that wait for
    a second row to be believed. ``complete`` says that ``seen`` goes back to the first row there ever was.
    """

    name: str
    seen: IdSet = field(default_factory=IdSet)
    high: int | None = None
    newest: int = _NEVER
    connection: int = 0
    before_this_run: bool = False
    complete: bool = True
    leapt: int | None = None
    anew: int | None = None
    missing: IdSet = field(default_factory=IdSet)
    excused: IdSet = field(default_factory=IdSet)

    @property
    def mark(self) -> int | None:
        """The id behind which the next trade leaves no hole."""
        if self.high is None:
            return None
        behind = self.excused.within(self.high + 1, self.high + 1 + LEAP)
        return behind[0][1] if behind and behind[0][0] == self.high + 1 else self.high

    def goes_on(self, first: int, last: int, *, newest: int, connection: int) -> bool:
        """Take in ``first..last`` if they come in line, as nearly all do; else change nothing.

        What comes in line needs no look at its rows, unless one of those ids came before and was not believed.
        """
        if self.high is None or first != self.high + 1 or self.seen.within(first, last):
            return False
        self.seen.add(first, last)
        self.high, self.newest = last, max(self.newest, newest)
        self.leapt = self.anew = None
        self.connection, self.before_this_run = connection, False
        return True


class Ledger:
    """The ids of every symbol of a capture.

    Parameters
    ----------
    marks
        Highest id of each symbol at the end of the runs before, as :attr:`marks` gave it.
    """

    def __init__(self, marks: Mapping[str, int] | None = None) -> None:
        self._symbols: dict[str, _Symbol] = {}
        self._excused: set[str] = set()
        for symbol, high in (marks or {}).items():
            seen = IdSet([(high, high)])
            self._symbols[symbol] = _Symbol(name=symbol, seen=seen, high=high, before_this_run=True, complete=False)

    @property
    def marks(self) -> dict[str, int]:
        """Highest believed id of each symbol; those spent without a trade right behind it go with it."""
        return self._marks(self._symbols)

    def seen(self, symbol: str) -> list[tuple[int, int]]:
        """Intervals of the ids of a symbol that are remembered as stored."""
        return list(self._of(symbol).seen)

    def missing(self, symbol: str) -> list[tuple[int, int]]:
        """Intervals of the ids of a symbol that are believed to exist and were not stored."""
        return list(self._of(symbol).missing)

    def recall(self, trades: pa.Table) -> None:
        """Take in rows that an earlier run stored (columns symbol, trade_id, trade_time, recv_time), oldest first."""
        for batch in trades.to_batches():
            self.admit(batch, connection=0)
        for known in self._symbols.values():
            known.before_this_run = True

    def excuse(self, symbol: str, first: int, last: int) -> None:
        """Note ids ``first..last`` that the venue spent without a trade: their absence is no hole."""
        self._of(symbol).excused.add(first, last)
        self._excused.add(symbol)

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
        times = np.asarray(pc.fill_null(batch.column("trade_time").view(pa.int64()), _NEVER))
        received = np.asarray(batch.column("recv_time").view(pa.int64())) // 1000
        times = np.where(times <= received + _AHEAD_US, times, _NEVER)
        rows = np.flatnonzero(np.asarray(ids.is_valid())) if ids.null_count else np.arange(len(ids))
        named = batch.column("symbol")
        encoded = (named.take(pa.array(rows)) if ids.null_count else named).dictionary_encode()
        symbols = [self._of(name) for name in encoded.dictionary.to_pylist()]
        # Symbol by symbol, in order within each; few symbols fit 16 bits, which NumPy sorts in linear time.
        codes = np.asarray(encoded.indices)
        order = np.argsort(codes.astype(np.int16) if len(codes) < 2**15 else codes, kind="stable")
        rows, codes = rows[order], codes[order]
        numbers, times = numbers[rows], times[rows]
        for run in _runs(codes, numbers, times):
            known = symbols[run.symbol]
            if not known.goes_on(run.first, run.last, newest=run.newest, connection=connection):
                self._admit_run(known, run.first, rows[run.begin : run.end], times[run.begin : run.end], outcome)
        for known in symbols:
            known.connection, known.before_this_run = connection, False
        for hole in outcome.open_holes():
            self._of(hole.symbol).missing.add(hole.first, hole.last)
        kept = batch if outcome.keep.all() else batch.filter(pa.array(outcome.keep))
        return Admitted(
            batch=kept,
            duplicates=batch.num_rows - kept.num_rows,
            holes=outcome.holes(),
            filled=outcome.filled,
            restarts=outcome.restarts,
            # Ids that were spent without a trade move a mark although no row of their symbol comes.
            marks=self._marks({known.name for known in symbols} | self._excused),
        )

    def _marks(self, names: Iterable[str]) -> dict[str, int]:
        known = map(self._symbols.__getitem__, names)
        return {each.name: each.mark for each in known if each.mark is not None}

    def _of(self, symbol: str) -> _Symbol:
        if symbol not in self._symbols:
            self._symbols[symbol] = _Symbol(name=symbol)
        return self._symbols[symbol]

    def _admit_run(
        self, known: _Symbol, first: int, rows: NDArray[np.int64], times: NDArray[np.int64], outcome: _Outcome
    ) -> None:
        """Take ids that rise by one from ``first`` row by row, until the rest comes in line."""
        last = first + len(rows) - 1
        for i, row in enumerate(rows.tolist()):
            outcome.keep[row] = self._admit_row(known, row, first + i, int(times[i]), outcome)
            rest = times[i + 1 :]
            if len(rest) and known.goes_on(first + i + 1, last, newest=int(rest.max()), connection=outcome.connection):
                return

    def _admit_row(self, known: _Symbol, row: int, number: int, time: int, outcome: _Outcome) -> bool:
        newest, high, anew = known.newest, known.high, known.anew
        newer = _NEVER < newest < time
        known.newest = max(newest, time)
        if high is None:
            known.high = number
        elif anew is not None and anew < number <= min(high, anew + LEAP) and time >= newest:
            outcome.restart(known, row)
            known.seen, known.missing, known.high, known.complete = IdSet([(anew, anew)]), IdSet(), anew, True
            self._advance(known, anew, number, row, outcome)
        elif number in known.seen:
            known.anew = number if newer else anew
            return newer
        elif number > high:
            self._advance(known, high, number, row, outcome)
        elif not outcome.fill(known, number, row):
            known.anew = number if newer else anew
            lowest = known.seen.lowest
            # A late row from before the first one: the ids between the two existed as well.
            if not newer and lowest is not None and 0 < lowest - number - 1 <= LEAP and known.complete:
                outcome.miss(known, number + 1, lowest - 1, row)
        known.seen.add(number, number)
        known.complete = known.complete and not known.seen.forgetful
        known.connection = outcome.connection
        known.before_this_run = False
        return True

    @staticmethod
    def _advance(known: _Symbol, high: int, number: int, row: int, outcome: _Outcome) -> None:
        """Believe in an id above ``high``, or keep it in mind if it is too far away."""
        if number - high - 1 > LEAP and not (known.leapt is not None and known.leapt < number <= known.leapt + LEAP):
            known.leapt = number
            return
        if number > high + 1:
            outcome.miss(known, high + 1, number - 1, row)
        known.high = number
        known.leapt = known.anew = None


class _Outcome:
    """What one batch brings, while it is being looked at."""

    def __init__(self, *, rows: int, connection: int) -> None:
        self.connection = connection
        self.keep: NDArray[np.bool_] = np.ones(rows, dtype=bool)
        self.filled: list[Span] = []
        self.restarts: list[Restart] = []
        self._holes: list[tuple[Span, IdSet]] = []
        self._past: list[Span] = []

    def restart(self, known: _Symbol, row: int) -> None:
        """Note that a symbol's ids began anew: what was missing before stays so."""
        self._past += [hole for hole in self.open_holes() if hole.symbol == known.name]
        self._holes = [(hole, rest) for hole, rest in self._holes if hole.symbol != known.name]
        self.restarts.append(Restart(symbol=known.name, row=row))

    def miss(self, known: _Symbol, first: int, last: int, row: int) -> None:
        """Note that ``first..last`` did not come, but for what is stored or was no trade."""
        rest = IdSet([(first, last)])
        for a, b in (*known.seen.within(first, last), *known.excused.within(first, last)):
            rest.discard(a, b)
        self._holes.append((_span(known, first, last, row, self.connection), rest))

    def fill(self, known: _Symbol, number: int, row: int) -> bool:
        """Take a late id out of the hole it belongs to; False if it belongs to none."""
        for hole, rest in self._holes:
            # Its hole was found in this very batch: it was only out of order, and the hole never was.
            if hole.symbol == known.name and rest.remove(number):
                return True
        if not known.missing.remove(number):
            return False
        before = self.filled[-1] if self.filled else None
        if before is not None and before.symbol == known.name and before.last + 1 == number:
            self.filled[-1] = replace(before, last=number)
        else:
            self.filled.append(_span(known, number, number, row, self.connection))
        return True

    def holes(self) -> list[Span]:
        """Return what turned out to be missing."""
        return [*self._past, *self.open_holes()]

    def open_holes(self) -> list[Span]:
        """Return what is missing of the counts that the symbols are in now."""
        return [replace(hole, first=first, last=last) for hole, rest in self._holes for first, last in rest]


def _span(known: _Symbol, first: int, last: int, row: int, connection: int) -> Span:
    if known.before_this_run:
        where = Where.STOP
    else:
        where = Where.CONNECTION if known.connection == connection else Where.OUTAGE
    return Span(symbol=known.name, first=first, last=last, row=row, where=where, since=known.connection)


class _Run(NamedTuple):
    """Rows ``begin..end - 1`` of one symbol, whose ids rise by one from ``first`` to ``last``."""

    symbol: int
    first: int
    last: int
    newest: int
    begin: int
    end: int


def _runs(codes: NDArray[np.int32], numbers: NDArray[np.int64], times: NDArray[np.int64]) -> Iterator[_Run]:
    """Cut sorted rows into runs."""
    if not len(codes):
        return
    breaks = (np.diff(numbers) != 1) | (np.diff(codes) != 0)
    begins = np.append(0, np.flatnonzero(breaks) + 1)
    ends = np.append(begins[1:], len(codes))
    columns = (codes[begins], numbers[begins], numbers[ends - 1], np.maximum.reduceat(times, begins), begins, ends)
    yield from map(_Run, *(column.tolist() for column in columns))
