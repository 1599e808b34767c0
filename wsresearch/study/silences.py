"""The silences of one stream, found while its messages go by: memory follows what is found; no table is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

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
    """The longest ordinary silences in ns, at least `keep` of them if there are so many."""
    keep: int = 0
    _last: Messages | None = None
    _recent: _Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _found: list[Found] = field(default_factory=list)

    def push(self, messages: Messages) -> None:
        """Take in the next messages.

        Raises
        ------
        UsageError
            If the receive times of a connection go back.
        """
        if not len(messages):
            return
        joined = messages if self._last is None else _joined(self._last, messages)
        self._last = messages.take(np.array([len(messages) - 1]))
        length = np.diff(joined.straight)
        same = joined.connection[1:] == joined.connection[:-1]
        if len(length) and length.min() < 0:
            back = np.flatnonzero(same & (length < 0))
            if len(back):
                number = joined.connection[back[0]]
                raise UsageError(
                    f"column 'recv_time' of the trades goes back by {-length[back[0]] / 1e9:g} s within connection "
                    f"{number}; batches must come in the order received: give a table instead, it is put in order"
                )
        inside = length if same.all() else length[same]
        # Compared in whole ns: 1.0 s is no gap longer than 1.0 s, however the float of it was rounded.
        hits = np.flatnonzero(length > round(self.longer_than * 1e9))
        if len(hits):
            earlier = hits if len(inside) == len(length) else np.cumsum(same)[hits] - same[hits]
            self._found.append(self._judged(joined, length, hits, earlier, inside))
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

    def _judged(self, joined: Messages, length: _Ints, hits: _Ints, earlier: _Ints, inside: _Ints) -> Found:
        before, after = joined.take(hits), joined.take(hits + 1)
        past = np.concatenate((self._recent, inside))
        reach = len(self._recent) + earlier
        chance, once_in = np.full(len(hits), np.nan), np.full(len(hits), np.nan)
        for some, sample in _samples(past, reach):
            chance[some] = chances(sample, length[hits[some]] / 1e9)
            once_in[some] = sample.mean(axis=1) / chance[some]
        symbols, ids = zip(_neighbours(before), _neighbours(after), strict=True)
        return Found(
            start=before.time,
            end=after.time,
            straight=before.straight,
            length=length[hits],
            connection_before=before.connection,
            connection_after=after.connection,
            neighbours=(symbols[0], symbols[1], ids[0], ids[1]),
            chance=chance,
            once_in=once_in,
        )


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


def _joined(last: Messages, messages: Messages) -> Messages:
    """Return messages with the one before them, so that a silence between two pieces is one as any other."""
    time = np.concatenate((last.time, messages.time))
    stepped = messages.straight is not messages.time or last.straight is not last.time
    return Messages(
        time=time,
        straight=np.concatenate((last.straight, messages.straight)) if stepped else time,
        connection=np.concatenate((last.connection, messages.connection)),
        symbol=_chained(last.symbol, messages.symbol),
        trade_id=_chained(last.trade_id, messages.trade_id),
    )


def _chained(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return None
    return pa.chunked_array([*_chunks(one), *_chunks(other)])


def _chunks(column: Any) -> list[Any]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _neighbours(side: Messages) -> tuple[Any, Any]:
    """Return symbols and ids as Arrow arrays in one piece, nulls where they are not known."""
    kinds = ((side.symbol, pa.string()), (side.trade_id, pa.int64()))
    return tuple(
        pa.nulls(len(side), kind) if column is None else pa.concat_arrays([pa.array([], kind), *_chunks(column)])
        for column, kind in kinds
    )
