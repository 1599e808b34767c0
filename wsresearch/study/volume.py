"""How much was traded under the ids that are missing: an estimate from the trades around them, with its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study.rows import as_arrow, checked

__all__ = ["lost_volumes"]

_AROUND: Final = 500
"""Ids looked at on each side of what is missing: enough for a mean of heavy-tailed quantities that is right to about a
tenth, few enough to be of the same minutes."""

_INT64: Final = np.iinfo(np.int64)


@dataclass(slots=True)
class _Around:
    """The quantities of the trades next to some missing ids of one symbol: how many, their sum, the sum of squares."""

    first: int
    last: int
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def take(self, ids: NDArray[np.int64], quantity: NDArray[np.float64]) -> None:
        low, high = max(self.first - _AROUND, _INT64.min), min(self.last + _AROUND, _INT64.max)
        near = quantity[((ids >= low) & (ids < self.first)) | ((ids > self.last) & (ids <= high))]
        self.count += len(near)
        self.total += float(near.sum())
        self.squares += float(near @ near)

    def volume(self, missing: int) -> tuple[float | None, float | None]:
        if self.count < 2:
            return None, None
        mean = self.total / self.count
        variance = max(0.0, self.squares - self.count * mean**2) / (self.count - 1)
        return missing * mean, sqrt(variance * missing * (1 + missing / self.count))


def lost_volumes(missing: Sequence[Mapping[str, Any]], trades: Any) -> list[tuple[float, float] | tuple[None, None]]:
    """Estimate the quantity traded under missing ids.

    How many trades are missing is known exactly, only their sizes are not. So the estimate is their number times the
    mean quantity of the trades with the 500 ids before and the 500 after them, rather than a rate of quantity times
    the length of the silence: that would guess the number as well, and a break is seldom a time like any other.

    Parameters
    ----------
    missing
        With ``symbol``, ``first_id``, ``last_id`` and ``count`` each.
    trades
        The trades table in any order, or a ``pyarrow.RecordBatchReader`` of it, which is gone through once; ``symbol``,
        ``trade_id`` and ``quantity`` are needed.

    Returns
    -------
    list
        For each the estimate and its standard error, in units of the symbol's quantity; None and None where fewer
        than two trades are near.

    Notes
    -----
    The missing trades are taken for draws from the same law as their neighbours: the estimate is then the best
    linear unbiased predictor of a total from a sample (Royall 1970, Biometrika 57, 377), with the variance
    ``s² n (1 + n / m)`` for ``n`` missing and ``m`` seen. Trades that caused the break, or were larger because of what
    caused it, are not like their neighbours: then the estimate is too low, and no error tells of it.
    """
    around = [_Around(each["first_id"], each["last_id"]) for each in missing]
    symbols: dict[str, list[_Around]] = {}
    for each, near in zip(missing, around, strict=True):
        symbols.setdefault(each["symbol"], []).append(near)
    pieces = iter(trades) if isinstance(trades, pa.RecordBatchReader) else [as_arrow(trades, name="trades")]
    for piece in pieces:
        table = piece if isinstance(piece, pa.Table) else pa.Table.from_batches([piece])
        table = checked(table, TRADES, ("symbol", "trade_id", "quantity"), name="trades")
        for symbol, places in symbols.items():
            mine = table.filter(pc.and_(pc.equal(table["symbol"], symbol), pc.is_valid(table["trade_id"])))
            if mine["quantity"].null_count:
                raise UsageError("column 'quantity' of the trades table has a null; every trade has one")
            ids = np.asarray(mine["trade_id"].to_numpy())
            if not len(ids):
                continue
            low, high = int(ids.min()), int(ids.max())
            quantity = mine["quantity"].cast(pa.float64()).to_numpy()
            for place in places:
                if place.first - _AROUND <= high and place.last + _AROUND >= low:
                    place.take(ids, quantity)
    return [near.volume(each["count"]) for each, near in zip(missing, around, strict=True)]  # type: ignore[misc]
