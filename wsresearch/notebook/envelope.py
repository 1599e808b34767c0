"""Rows of the stats table as steps of a rate, thinned without losing a spike; nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.notebook.columns import nanoseconds
from wsresearch.schema import STATS
from wsresearch.study.rows import checked

__all__ = ["Envelope", "Seconds", "envelope", "read_seconds"]

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

_SECOND: Final = 10**9
_LEAST: Final = 10**8
"""Of a shorter time no rate can be told: a clock stood still, or stepped back."""

_HALF: Final = 10**9 // 2
"""A row of less than half a second, as the last of a run may be, is told together with the one before it: five trades
that come within 10 ms are no 500 a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """The rows of the stats in the order of their time; each tells of the time from ``start`` to ``end`` (ns).

    ``lag`` is NaN where no message with a venue's time arrived.
    """

    start: _Ints
    end: _Ints
    trades: _Ints
    rejected: _Ints
    dropped: _Ints
    lag: _Floats

    def __len__(self) -> int:
        return len(self.end)

    @property
    def rate(self) -> _Floats:
        """Return trades per second."""
        return np.asarray(self.trades / (np.maximum(self.end - self.start, _LEAST) / _SECOND))


def read_seconds(stats: Any) -> Seconds:
    """Read a stats table.

    A row tells what came since the row before it in the same run, or within a second if it is the first of its run.
    Rows of less than half a second are joined to the one before.

    Parameters
    ----------
    stats
        The stats table of a capture, in any order.

    Raises
    ------
    UsageError
        If a column is missing or of another type; the message names the column.
    """
    columns = ("time", "run", "trades", "rejected", "dropped", "lag")
    table = checked(stats, STATS, columns, name="stats")
    end = nanoseconds(table["time"])
    if (end[1:] < end[:-1]).any():
        order = np.argsort(end, kind="stable")
        table, end = table.take(pa.array(order)), end[order]
    run = table["run"].to_numpy()
    start = end - _SECOND
    follows = run[1:] == run[:-1]
    start[1:][follows] = end[:-1][follows]
    # Two runs do not overlap: the first row of a run began after the last of the run before it.
    start[1:] = np.maximum(start[1:], end[:-1])
    counts = {name: table[name].fill_null(0).to_numpy() for name in ("trades", "rejected", "dropped")}
    lag = np.asarray(table["lag"].to_numpy(), dtype=np.float64)
    return _without_splinters(Seconds(start=start, end=end, lag=lag, **counts), follows)


def _without_splinters(seconds: Seconds, follows: NDArray[np.bool_]) -> Seconds:
    """Join each row of less than half a second to the row before it in its run; nothing is lost, lag is the highest."""
    splinter = np.append(False, follows & ((seconds.end - seconds.start)[1:] < _HALF))[: len(seconds)]
    if not splinter.any():
        return seconds
    first = np.flatnonzero(~splinter)
    counts = {name: np.add.reduceat(getattr(seconds, name), first) for name in ("trades", "rejected", "dropped")}
    end = np.maximum.reduceat(seconds.end, first)
    return Seconds(start=seconds.start[first], end=end, lag=np.fmax.reduceat(seconds.lag, first), **counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A series in pieces of time: the least, the mean and the highest value of each, NaN where there is none."""

    start: _Ints
    end: _Ints
    low: _Floats
    mean: _Floats
    high: _Floats

    @property
    def exact(self) -> bool:
        """Return whether each piece is a single row."""
        return self.low is self.high

    def __len__(self) -> int:
        return len(self.end)


def envelope(seconds: Seconds, values: _Floats, *, most: int) -> Envelope:
    """Return a series in at most so many pieces; as it is, if it has no more rows than that.

    Parameters
    ----------
    seconds
        When each value was taken.
    values
        One for each row, NaN for none.
    most
        Pieces. They are equal stretches of time, and a row belongs to the one in which it ends.

    Notes
    -----
    The highest ``high`` is the highest value and the least ``low`` the least, so no spike is lost, however short.
    The mean is one of rows, not of time; the rows are seconds.
    """
    if len(seconds) <= most:
        return Envelope(start=seconds.start, end=seconds.end, low=values, mean=values, high=values)
    edges = np.linspace(seconds.start[0], seconds.end[-1], most + 1)
    piece = np.clip(np.searchsorted(edges, seconds.end, side="left") - 1, 0, most - 1)
    first = np.flatnonzero(np.diff(piece, prepend=-1))
    known = ~np.isnan(values)
    count = np.add.reduceat(known.astype(np.int64), first)
    total = np.add.reduceat(np.where(known, values, 0.0), first)
    mean = np.divide(total, count, out=np.full(len(first), np.nan), where=count > 0)
    return Envelope(
        start=np.minimum.reduceat(seconds.start, first),
        end=np.maximum.reduceat(seconds.end, first),
        low=np.fmin.reduceat(values, first),
        mean=mean,
        high=np.fmax.reduceat(values, first),
    )
