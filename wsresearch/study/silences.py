"""The silences of one stream, found while its messages go by: memory follows what is found; no table is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.study.law import LEAST, RECENT, chances

__all__ = ["Found", "Messages", "Silences"]

_AT_ONCE: Final = 256
"""Silences judged together: each brings its `RECENT` predecessors along, 4 MB in all."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class _Last(NamedTuple):
    """A message that others follow: times in ns."""

    time: int
    straight: int
    connection: int
    symbol: str | None
    trade_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Neighbouring messages of a stream, columns of one length.

    Attributes
    ----------
    time
        Receive times in ns.
    straight
        The same on a clock that never stepped.
    connection
        Which one delivered each.
    symbol, trade_id
        Arrow arrays; None where they are not known.
    """

    time: _Ints
    straight: _Ints
    connection: NDArray[np.int32]
    symbol: Any
    trade_id: Any

    def __len__(self) -> int:
        return len(self.time)

    def last(self) -> _Last:
        """Return the last of them."""
        return _Last(
            int(self.time[-1]),
            int(self.straight[-1]),
            int(self.connection[-1]),
            None if self.symbol is None else self.symbol[len(self) - 1].as_py(),
            None if self.trade_id is None else self.trade_id[len(self) - 1].as_py(),
        )

    def take(self, rows: _Ints) -> Messages:
        """Return some of them, in the order asked for."""
        at = pa.array(rows)
        time = self.time[rows]
        return Messages(
            time=time,
            straight=time if self.straight is self.time else self.straight[rows],
            connection=self.connection[rows],
            symbol=None if self.symbol is None else self.symbol.take(at),
            trade_id=None if self.trade_id is None else self.trade_id.take(at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Silences in the order they began, columns of one length.

    ``length`` and ``straight`` (their beginning on a straight clock) are ns, ``once_in`` is seconds; ``neighbours``
    are symbols before and after, ids before and after; NaN in ``chance`` and ``once_in`` where no law is known.
    """

    start: _Ints
    end: _Ints
    straight: _Ints
    length: _Ints
    connection_before: NDArray[np.int32]
    connection_after: NDArray[np.int32]
    neighbours: tuple[Any, Any, Any, Any]
    chance: _Floats
    once_in: _Floats


@dataclass(slots=True, kw_only=True)
class Silences:
    """Finds the silences of a stream that are longer than so many seconds.

    An *ordinary* silence lies inside a connection. Only those make up the law that silences are judged by: how long a
    change of connection takes says nothing about the market.
    """

    longer_than: float
    watched_ns: int = 0
    """Sum of the ordinary silences: how long connections delivered."""
    ordinary: int = 0
    """Number of the ordinary silences."""
    longest: _Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """The `keep` longest ordinary silences in ns, in any order."""
    keep: int = 0
    _last: _Last | None = None
    _recent: _Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _found: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        if isnan(self.longer_than) or self.longer_than < 0:
            raise UsageError(f"longer_than is {self.longer_than}; give seconds, 0 or more")

    def push(self, messages: Messages) -> None:
        """Take in the next messages.

        Raises
        ------
        UsageError
            If the receive times of a connection go back.
        """
        if not len(messages):
            return
        last = self._last
        straight = np.concatenate(([last.straight], messages.straight)) if last else messages.straight
        connection = np.concatenate(([last.connection], messages.connection)) if last else messages.connection
        length = np.diff(straight)
        same = connection[1:] == connection[:-1]
        if len(length) and length.min() < 0:
            back = np.flatnonzero(same & (length < 0))
            if len(back):
                number = connection[back[0]]
                raise UsageError(
                    f"column 'recv_time' of the trades goes back by {-length[back[0]] / 1e9:g} s within connection "
                    f"{number}; batches must come in the order received: give a table instead, it is put in order"
                )
        inside = length if same.all() else length[same]
        # Compared in whole ns: 1.0 s is no gap longer than 1.0 s, however the float of it was rounded.
        hits = np.flatnonzero(length > round(self.longer_than * 1e9))
        if len(hits):
            earlier = hits if len(inside) == len(length) else np.cumsum(same)[hits] - same[hits]
            chance, once_in = self._judged(length[hits], earlier, inside)
            time = np.concatenate(([last.time], messages.time)) if last else messages.time
            symbols = last and last.symbol, messages.symbol
            ids = last and last.trade_id, messages.trade_id
            found = Found(
                start=time[hits],
                end=time[hits + 1],
                straight=straight[hits],
                length=length[hits],
                connection_before=connection[hits],
                connection_after=connection[hits + 1],
                neighbours=(
                    _values(*symbols, hits, pa.string(), follows=last is not None),
                    _values(*symbols, hits + 1, pa.string(), follows=last is not None),
                    _values(*ids, hits, pa.int64(), follows=last is not None),
                    _values(*ids, hits + 1, pa.int64(), follows=last is not None),
                ),
                chance=chance,
                once_in=once_in,
            )
            self._found.append(found)
        self._last = messages.last()
        self._count(inside)

    def found(self) -> Found:
        """Return the silences so far."""
        empty = np.empty(0, dtype=np.int64)
        nothing = Found(
            start=empty,
            end=empty,
            straight=empty,
            length=empty,
            connection_before=empty.astype(np.int32),
            connection_after=empty.astype(np.int32),
            neighbours=(pa.nulls(0, pa.string()),) * 2 + (pa.nulls(0, pa.int64()),) * 2,
            chance=empty.astype(np.float64),
            once_in=empty.astype(np.float64),
        )
        parts = [nothing, *self._found]
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Found.__slots__
            if name != "neighbours"
        }
        neighbours = tuple(
            pa.concat_arrays(several) for several in zip(*(part.neighbours for part in parts), strict=True)
        )
        return replace(nothing, **arrays, neighbours=neighbours)

    def _count(self, inside: _Ints) -> None:
        self.watched_ns += int(inside.sum())
        self.ordinary += len(inside)
        self._recent = inside[-RECENT:] if len(inside) >= RECENT else np.concatenate((self._recent, inside))[-RECENT:]
        if self.keep:
            floor = self.longest.min() if len(self.longest) >= self.keep else -1
            self.longest = np.concatenate((self.longest, inside[inside > floor]))
            if len(self.longest) > self.keep:
                self.longest = np.partition(self.longest, -self.keep)[-self.keep :]

    def _judged(self, length: _Ints, earlier: _Ints, inside: _Ints) -> tuple[_Floats, _Floats]:
        """Return chances, and seconds in which one such silence comes; ``earlier``: how many ``inside`` before each."""
        past = np.concatenate((self._recent, inside))
        reach = len(self._recent) + earlier
        chance, once_in = np.full(len(length), np.nan), np.full(len(length), np.nan)
        for some, sample in _samples(past, reach):
            chance[some] = chances(sample, length[some] / 1e9)
            once_in[some] = sample.mean(axis=1) / chance[some]
        return chance, once_in


def _samples(past: _Ints, reach: _Ints) -> Iterator[tuple[_Ints, _Floats]]:
    """Yield positions in ``reach`` and, row by row, the values of ``past`` before each, in s, as many as count."""
    short = np.flatnonzero((reach >= LEAST) & (reach < RECENT))
    for at in short:
        yield short[short == at], past[None, : reach[at]] / 1e9
    if len(past) < RECENT:
        return
    windows = np.lib.stride_tricks.sliding_window_view(past, RECENT)
    full = np.flatnonzero(reach >= RECENT)
    for begin in range(0, len(full), _AT_ONCE):
        some = full[begin : begin + _AT_ONCE]
        yield some, windows[reach[some] - RECENT] / 1e9


def _values(before: Any, column: Any, rows: _Ints, kind: Any, *, follows: bool) -> Any:
    """Return values of a column as an array, nulls where it is not known; row 0 is ``before`` if it follows one."""
    if column is None:
        return pa.nulls(len(rows), kind)
    shift = int(follows)
    taken = column.take(pa.array(np.maximum(rows - shift, 0))).cast(kind)
    whole = taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken
    if shift and rows[0] == 0:
        return pa.concat_arrays([pa.array([before], kind), whole[1:]])
    return whole
