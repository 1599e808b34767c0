"""Gaps and missing ids of a whole capture in one pass over its trades; memory follows what is found, not what passes.

Ids are taken as they are in the table: what the venue did not number, or counted anew, only the events can tell (see
`holes`). Here stands what the rows themselves say, to be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.study.clock import Clock
from wsresearch.study.gaps import by_symbol, messages_of, stretches, table_of
from wsresearch.study.rows import as_table, int64
from wsresearch.study.silences import Silences

__all__ = ["MISSING", "SYMBOLS", "Sweep", "sweep"]

MISSING: Final = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("first_id", pa.int64()),
        pa.field("last_id", pa.int64()),
        pa.field("count", pa.int64()),
    ]
)

SYMBOLS: Final = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("first_id", pa.int64()),
        pa.field("last_id", pa.int64()),
        pa.field("missing", pa.int64()),
        pa.field("repeated", pa.int64()),
    ]
)

LONGEST: Final = 10_000
"""Ordinary silences kept by length: more than any idle timeout worth considering would take for a stall."""

_PENDING: Final = 1 << 16
"""Runs of ids collected before they are joined."""

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep:
    """What one pass over the trades found.

    Attributes
    ----------
    gaps
        As :func:`wsresearch.study.gaps.gaps` returns them for the whole stream.
    missing
        Intervals of ids between the lowest and the highest of a symbol that are not there, by symbol and id:
        ``symbol``, ``first_id``, ``last_id`` (inclusive), ``count``. A symbol with a row without id has none, for
        nothing is known to be missing of it.
    symbols
        Of each symbol ``rows``, ``first_id``, ``last_id``, ``missing`` ids and ``repeated`` rows whose id was there
        before; all but ``rows`` are null where a row has no id: that is "not defined", not 0.
    longest
        ``int64[n]``: the longest silences inside connections in ns, rising, 10,000 at most.
    ordinary
        How many silences inside connections there were.
    watched
        Their sum in seconds: how long connections delivered.
    """

    gaps: pa.Table
    missing: pa.Table
    symbols: pa.Table
    longest: _Ints
    ordinary: int
    watched: float


def _joined(first: _Ints, last: _Ints) -> tuple[_Ints, _Ints]:
    """Join closed intervals that overlap or touch, in rising order."""
    order = np.argsort(first, kind="stable")
    first, reach = first[order], np.maximum.accumulate(last[order])
    # Only where the one is larger than the other is it safe to subtract: ids may be at the ends of int64.
    apart = first[1:] > reach[:-1]
    apart[apart] = first[1:][apart] - 1 != reach[:-1][apart]
    begins = np.concatenate(([True], apart))[: len(first)]
    ends = np.concatenate((apart, [True]))[: len(first)]
    return first[begins], reach[ends]


@dataclass(slots=True)
class _Numbers:
    """The ids of one symbol as runs of neighbours; what comes in line only makes the last run longer."""

    rows: int = 0
    defined: bool = True
    first: _Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    last: _Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    waiting: list[tuple[_Ints, _Ints]] = field(default_factory=list)
    _count: int = 0

    def push(self, ids: _Ints) -> None:
        # The second half is for a highest id that the lowest follows: their difference overflows to 1.
        broken = np.flatnonzero((ids[1:] - ids[:-1] != 1) | (ids[1:] < ids[:-1]))
        first = ids[np.concatenate(([0], broken + 1))]
        last = ids[np.concatenate((broken, [len(ids) - 1]))]
        if self.waiting and int(self.waiting[-1][1][-1]) + 1 == first[0]:
            before = self.waiting[-1]
            before[1][-1] = last[0]
            first, last = first[1:], last[1:]
        if len(first):
            self.waiting.append((first, last))
            self._count += len(first)
        if self._count > _PENDING:
            self.join()

    def join(self) -> None:
        parts = [(self.first, self.last), *self.waiting]
        self.first, self.last = _joined(*(np.concatenate(side) for side in zip(*parts, strict=True)))
        self.waiting, self._count = [], 0

    def told(self, symbol: str) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
        """Return the row of `SYMBOLS`, and those of `MISSING`."""
        self.join()
        if not self.defined or not len(self.first):
            return (symbol, self.rows, None, None, None, None), []
        first, last = self.first.tolist(), self.last.tolist()
        holes = [(symbol, a + 1, b - 1, int64(b - a - 1)) for a, b in zip(last, first[1:], strict=False)]
        there = sum(b - a + 1 for a, b in zip(first, last, strict=True))
        missing = last[-1] - first[0] + 1 - there
        return (symbol, self.rows, first[0], last[-1], int64(missing), self.rows - there), holes


def _push_ids(table: pa.Table, numbers: dict[str, _Numbers]) -> None:
    ids = table.column("trade_id")
    valid = None if not ids.null_count else np.asarray(ids.is_valid())
    array = np.asarray(ids.fill_null(0) if ids.null_count else ids)
    for symbol, rows in by_symbol(table.column("symbol")):
        known = numbers.setdefault(symbol, _Numbers())
        mine = array if rows is None else array[rows]
        known.rows += len(mine)
        if valid is not None and not (valid if rows is None else valid[rows]).all():
            known.defined = False
        if known.defined:
            known.push(mine)


def sweep(trades: Any, *, longer_than: float = 1.0, outages: Any | None = None) -> Sweep:
    """Find the gaps of the stream and the missing ids of each symbol in one pass.

    Parameters
    ----------
    trades
        A ``pyarrow.RecordBatchReader`` of the trades in the order received, such as ``capture.batches()``: memory
        holds one batch and what was found. Or a table, in any order. ``symbol``, ``trade_id``, ``recv_time`` and
        ``connection`` are needed.
    longer_than, outages
        As for :func:`wsresearch.study.gaps.gaps`.

    Raises
    ------
    UsageError
        As :func:`wsresearch.study.gaps.gaps`, and if a symbol is null.
    """
    clock = Clock.of(outages)
    silences = Silences(longer_than=longer_than, keep=LONGEST)
    numbers: dict[str, _Numbers] = {}
    in_order = isinstance(trades, pa.RecordBatchReader)
    for table in stretches(trades, ("symbol", "trade_id")):
        silences.push(messages_of(table, clock, in_order=in_order))
        _push_ids(table, numbers)
    told = [numbers[symbol].told(symbol) for symbol in sorted(numbers)]
    return Sweep(
        gaps=table_of(silences, None, outages, clock),
        missing=as_table([hole for _, holes in told for hole in holes], MISSING),
        symbols=as_table([row for row, _ in told], SYMBOLS),
        longest=np.sort(silences.longest),
        ordinary=silences.ordinary,
        watched=silences.watched_ns / 1e9,
    )
