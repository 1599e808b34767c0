"""Which trade ids of each symbol a capture holds, read in the order received; events are told apart in `verify`.

Memory follows the number of holes, not of trades.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.coverage import Ids, IdsBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["LEAP", "SETTLE_NS", "Era", "IdLedger", "SymbolIds"]

SETTLE_NS: Final = 10 * 10**9
"""While journals grow, trades and events are read one after the other and the last moments need not agree yet:
what was received within this much before the newest trade is left out of account."""

LEAP: Final = 1_000_000
"""A collector believes a longer leap of the ids only when a second row continues there (2**62 may be a slip)."""

_BEGINNING: Final = -(2**63)


@dataclass(slots=True)
class Era:
    """The ids of a symbol between two moments at which the venue began to count anew; mostly there is one."""

    builder: IdsBuilder = field(default_factory=IdsBuilder)
    highest: int = _BEGINNING
    newest: int = _BEGINNING

    @property
    def duplicates(self) -> int:
        """Rows whose id was there before."""
        return self.builder.rows - self.builder.ids().count


@dataclass(slots=True)
class SymbolIds:
    """What is known of one symbol: rows, rows without an id, and its ids."""

    rows: int = 0
    eras: list[Era] = field(default_factory=lambda: [Era()])
    recent: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    """Ids and receive times of rows that may be too young to judge."""


class IdLedger:
    """Takes in a capture's trades piece by piece.

    Attributes
    ----------
    symbols
        What is known of each symbol.
    newest
        Highest receive time in ns since 1970 UTC, None before the first row.
    """

    def __init__(self) -> None:
        self.symbols: dict[str, SymbolIds] = {}
        self.newest: int | None = None

    def add(self, trades: pa.Table, *, settled: bool) -> None:
        """Take in rows in the order received.

        Parameters
        ----------
        trades
            Columns symbol, trade_id, trade_time and recv_time.
        settled
            Whether they are from a sealed file; a journal may be growing.
        """
        if not trades.num_rows:
            return
        times = trades["recv_time"].cast(pa.int64())
        newest = pc.max(times).as_py()
        self.newest = newest if self.newest is None else max(self.newest, newest)
        for symbol, rows in _by_symbol(trades["symbol"]):
            known = self.symbols.setdefault(symbol, SymbolIds())
            known.rows += rows.size
            mine = trades.take(pa.array(rows)) if rows.size < trades.num_rows else trades
            mine = mine.filter(mine["trade_id"].is_valid())
            ids = mine["trade_id"].to_numpy()
            traded = mine["trade_time"].cast(pa.int64()).fill_null(_BEGINNING).to_numpy()
            _add(known, ids, traded)
            if not settled:
                received = mine["recv_time"].cast(pa.int64()).to_numpy()
                young = received > newest - SETTLE_NS
                known.recent.append((ids[young], received[young]))

    def recent(self, symbol: str) -> Ids:
        """Return the ids of a symbol that are too young to judge."""
        young = self.symbols[symbol].recent
        return Ids.union(Ids.of(ids[received > (self.newest or 0) - SETTLE_NS]) for ids, received in young)


def _add(known: SymbolIds, ids: NDArray[np.int64], traded: NDArray[np.int64]) -> None:
    """Take in ids with their trade times, beginning a new era where the venue counts anew.

    That is where an id comes again, or comes from below all others, with a trade later than any before it: a
    repeated row has a trade time that is known, and a late one an id that was missing.
    """
    while ids.size:
        era = known.eras[-1]
        highest = np.maximum.accumulate(np.concatenate([[era.highest], ids]))
        newest = np.maximum.accumulate(np.concatenate([[era.newest], traded]))
        cut = ids.size
        for at in np.flatnonzero((ids <= highest[:-1]) & (traded > newest[:-1])).tolist():
            seen = Ids.union([era.builder.ids(), Ids.of(ids[:at])])
            if len(seen) and (int(ids[at]) in seen or ids[at] < seen.firsts[0]):
                cut = at
                break
        era.builder.add(ids[:cut])
        era.highest, era.newest = int(highest[cut]), int(newest[cut])
        ids, traded = ids[cut:], traded[cut:]
        if ids.size:
            known.eras.append(Era())


def _by_symbol(symbols: pa.ChunkedArray) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield each symbol with the positions of its rows, in order."""
    encoded = symbols.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = ["" if name is None else name for name in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    if len(names) == 1 and not encoded.null_count:
        yield names[0], np.arange(codes.size)
        return
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    if bounds[0]:
        yield "", order[: bounds[0]]
    for code, name in enumerate(names):
        yield name, order[bounds[code] : bounds[code + 1]]
