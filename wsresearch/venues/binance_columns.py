"""Binance's trades by the column: whole blocks of messages of one shape, as strict as message by message.

Not here: anything but good trades. What has no shape that was met before, and any trade with a value that is not
plainly good, is left to :mod:`~wsresearch.venues.binance_decode`, which has the last word on every message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.schema import TRADES
from wsresearch.venues.binance_wire import stream_name
from wsresearch.venues.columns import Names, decimals, digits, has_leading_zero, truths
from wsresearch.venues.frames import Frames
from wsresearch.venues.shape import Block, Found, Kind, Shape

__all__ = ["WORTHWHILE", "Columnar", "Part", "trades_batch", "within"]

WORTHWHILE = 128
"""Messages from which on a look at all of them at once costs less than one by one; ``benchmarks.rates`` measures."""

_SHAPES: Final = 4
"""Shapes kept; a venue has one for each kind of connection."""

_AT_ONCE: Final = 4096
"""Messages whose positions and words together (1 MB) stay in a core's second cache."""

_TRIES: Final = 2
"""Shapes learned from one block at most, so that a server that changes its spelling all the time costs little."""

_EVENT: Final = {
    "E": Kind.WHOLE, "s": Kind.TEXT, "t": Kind.WHOLE, "p": Kind.DECIMAL, "q": Kind.DECIMAL, "T": Kind.WHOLE,
    "m": Kind.TRUTH,
}  # fmt: skip
_RAW: Final = {key: ((key,), kind) for key, kind in _EVENT.items()}
_COMBINED: Final = {key: (("data", key), kind) for key, kind in _EVENT.items()} | {"stream": (("stream",), Kind.TEXT)}

_MICROSECONDS: Final = pa.timestamp("us", tz="UTC")
_NANOSECONDS: Final = pa.timestamp("ns", tz="UTC")
_SIDES: Final = pa.StringArray.from_buffers(
    2, pa.py_buffer(np.array([0, 3, 7], dtype=np.int32)), pa.py_buffer(b"buysell")
)
"""The taker's side by ``m``: when the buyer was the maker, the taker sold. From bytes for the reason in `checks`."""


def trades_batch(
    *,
    symbol: pa.Array,
    trade_id: NDArray[np.int64],
    price: pa.Array,
    quantity: pa.Array,
    buyer_is_maker: NDArray[np.bool_],
    trade_us: NDArray[np.int64],
    event_us: NDArray[np.int64],
    recv_ns: NDArray[np.int64],
    connection: int,
) -> pa.RecordBatch:
    """Put the columns of the trades table together."""
    return pa.RecordBatch.from_arrays(
        [
            symbol,
            pa.array(trade_id),
            price,
            quantity,
            _SIDES.take(pa.array(buyer_is_maker.view(np.int8))),
            pa.array(trade_us).view(_MICROSECONDS),
            pa.array(event_us).view(_MICROSECONDS),
            pa.array(recv_ns).view(_NANOSECONDS),
            pa.array(np.full(len(trade_id), connection, dtype=np.int32)),
            pa.array(np.zeros(len(trade_id), dtype=np.bool_)),
        ],
        schema=TRADES,
    )


def within(bounds: range, times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which times lie in a range."""
    return (times >= bounds.start) & (times < bounds.stop)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Good trades of a block: which of its messages they are, rising, and their rows."""

    rows: NDArray[np.intp]
    batch: pa.RecordBatch


class Columnar:
    """Reads the trades of one connection by the column.

    Remembers the shapes it met. They decide how fast a block is read and never what comes out.

    Parameters
    ----------
    symbols
        Upper case. Those of more than 16 bytes are left to others.
    times
        Plausible times in the connection's unit.
    to_us
        Microseconds in this unit.
    is_trade
        Whether a message is a trade by its structure, whatever its values.
    """

    __slots__ = ("_combined", "_is_trade", "_names", "_raw", "_shapes", "_times", "_to_us")

    def __init__(self, symbols: Sequence[str], *, times: range, to_us: int, is_trade: Callable[[bytes], bool]) -> None:
        self._names = pa.array(symbols, pa.string())
        texts = [(symbol.encode(), stream_name(symbol).encode()) for symbol in symbols]
        self._raw = Names([(symbol,) for symbol, _ in texts], words=(2,))
        self._combined = Names(texts, words=(2, 3))
        self._times = times
        self._to_us = to_us
        self._is_trade = is_trade
        self._shapes: list[Shape] = []

    def read(self, frames: Frames, *, connection: int) -> Iterator[Part]:
        """Yield the good trades that can be read; no message is in two parts."""
        for at in range(0, len(frames), _AT_ONCE):
            part = frames[at : at + _AT_ONCE]
            if len(part) >= WORTHWHILE:
                yield from self._read(part, at, connection)

    def _read(self, frames: Frames, at: int, connection: int) -> Iterator[Part]:
        block = Block(frames)
        unknown = np.arange(len(frames))
        met = [*self._shapes]
        tries = _TRIES
        while len(unknown) >= WORTHWHILE:
            if met:
                shape = met.pop(0)
            elif tries and (learned := self._learn(frames, unknown)) is not None:
                shape = learned
                tries -= 1
            else:
                return
            found = shape.find(block, unknown)
            if not len(found.rows):
                continue
            if len(found.rows) >= WORTHWHILE:
                self._shapes = [shape, *(known for known in self._shapes if known is not shape)][:_SHAPES]
            is_left = np.ones(len(frames), dtype=np.bool_)
            is_left[found.rows] = False
            unknown = unknown[is_left[unknown]]
            rows, batch = self._trades(shape, found, block, frames.recv_ns, connection)
            yield Part(rows=rows + at, batch=batch)

    def _learn(self, frames: Frames, rows: NDArray[np.intp]) -> Shape | None:
        """Learn a shape from one of several messages."""
        for row in (rows[0], rows[len(rows) // 2], rows[-1]):
            example = frames[int(row)]
            if self._is_trade(example):
                return Shape.of(example, _COMBINED) or Shape.of(example, _RAW)
        return None

    def _trades(
        self, shape: Shape, found: Found, block: Block, recv_ns: NDArray[np.int64], connection: int
    ) -> tuple[NDArray[np.intp], pa.RecordBatch]:
        """Read the values of messages of one shape; keep the rows that are good beyond doubt."""
        memory, ends, lengths = block.words, found.ends, found.lengths
        places = shape.places
        numeric = [*shape.whole, *places["p"], *places["q"]]
        numbers, readable = digits(memory, ends[numeric], lengths[numeric])
        whole = len(shape.whole)
        good = readable.all(axis=0) & ~has_leading_zero(numbers[:whole], lengths[numeric[:whole]]).any(axis=0)
        row_of = {place: row for row, place in enumerate(numeric)}
        trade_id, trade_time, event_time = (numbers[row_of[places[key][0]]].view(np.int64) for key in "tTE")
        good &= within(self._times, trade_time) & within(self._times, event_time)
        pairs = [places[key] for key in "pq"]
        above = numbers[[row_of[pair[0]] for pair in pairs]]
        below = numbers[[row_of[pair[-1]] for pair in pairs]]
        below_lengths = lengths[[pair[-1] for pair in pairs]]
        for row, pair in enumerate(pairs):
            if len(pair) == 1:  # without a point
                below[row] = below_lengths[row] = 0
        good &= ((above | below) > 0).all(axis=0)
        buyer_is_maker, readable = truths(memory, ends[places["m"][0]], lengths[places["m"][0]])
        good &= readable
        texts = [places[key][0] for key in ("s", "stream") if key in places]
        symbol, known = (self._raw if len(texts) == 1 else self._combined).numbers(memory, ends[texts], lengths[texts])
        good &= known

        rows = found.rows
        if not good.all():
            rows, symbol, buyer_is_maker = rows[good], symbol[good], buyer_is_maker[good]
            trade_id, trade_time, event_time = trade_id[good], trade_time[good], event_time[good]
            above, below, below_lengths = above[:, good], below[:, good], below_lengths[:, good]
        price, quantity = decimals(above, below, below_lengths)
        batch = trades_batch(
            symbol=self._names.take(pa.array(symbol)),
            trade_id=trade_id,
            price=price,
            quantity=quantity,
            buyer_is_maker=buyer_is_maker,
            trade_us=trade_time * self._to_us,
            event_us=event_time * self._to_us,
            recv_ns=recv_ns[rows],
            connection=connection,
        )
        return rows, batch
