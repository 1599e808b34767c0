"""Binance's messages, a block at a time, into one RecordBatch of trades; everything else told apart.

Not here: urls and limits (:mod:`~wsresearch.venues.binance`), writing messages, splitting bytes into them.

A message is a trade if, and only if, the typed parser below takes it and the column checks pass its values. What
it does not take gets a name from :mod:`~wsresearch.venues.binance_name`: a notice, an event of no concern, or the
first reason why it is refused. Long blocks go through :mod:`~wsresearch.venues.binance_columns` first, which reads
a good trade to the same row and leaves everything else to the parser: a block and its messages one by one decode
to the same.

Two freedoms of JSON are granted as every parser of it does: unknown keys are passed over, and of a key that
occurs twice the last value counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.venues.base import (
    MAX_NOTICES,
    MAX_SAMPLE_BYTES,
    MAX_SAMPLES,
    Decoded,
    Decoder,
    IgnoredKind,
    Notice,
    NoticeKind,
    Reject,
    RejectKind,
    Vacant,
)
from wsresearch.venues.binance_columns import Columnar, Part, trades_batch, within
from wsresearch.venues.binance_name import UNREADABLE, Finding, name_message
from wsresearch.venues.binance_wire import Unit, stream_name
from wsresearch.venues.checks import MAX_INT64, is_zero, plausible_times, positive_decimals
from wsresearch.venues.frames import Frames

__all__ = ["BinanceDecoder"]

_MAX_MESSAGE_BYTES: Final = 1 << 20
"""A recorded trade has under 200 bytes; what is longer than this is an attack, not market data."""

_NO_TRADE: Final = "NA"
"""Execution type of a futures placeholder."""

_Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT64)]


class _Trade(msgspec.Struct, gc=False):
    """A trade event with the venue's one-letter keys."""

    e: Literal["trade"]
    E: _Natural
    s: str
    t: _Natural
    p: str
    q: str
    T: _Natural
    m: bool
    X: Any = None


class _RawTrade(_Trade, gc=False):
    """A trade on a raw stream: what has ``data`` is an envelope, so that no message can be read as both."""

    data: None = None


class _Envelope(msgspec.Struct, gc=False):
    """A trade on a combined stream."""

    stream: str
    data: _Trade


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_RAW: Final = msgspec.json.Decoder(_RawTrade)


@dataclass(frozen=True, slots=True)
class _Report:
    """What the messages that are no rows turned out to be, gathered over one block."""

    recv_ns: NDArray[np.int64]
    rejected: Counter[RejectKind] = field(default_factory=Counter)
    samples: list[Reject] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    ignored: Counter[IgnoredKind] = field(default_factory=Counter)
    seen: Counter[NoticeKind] = field(default_factory=Counter)

    def reject(self, index: int, message: bytes, kind: RejectKind) -> None:
        self.rejected[kind] += 1
        if len(self.samples) < MAX_SAMPLES:
            when = int(self.recv_ns[index])
            self.samples.append(Reject(kind=kind, raw=message[:MAX_SAMPLE_BYTES], recv_ns=when))

    def add(self, index: int, message: bytes, finding: Finding) -> None:
        if finding.reject is not None:
            self.reject(index, message, finding.reject)
        elif finding.ignored is not None:
            self.ignored[finding.ignored] += 1
        elif finding.notice is not None:
            self.seen[finding.notice] += 1
            if self.seen[finding.notice] <= MAX_NOTICES:
                when = int(self.recv_ns[index])
                self.notices.append(Notice(kind=finding.notice, detail=finding.detail, recv_ns=when))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The rows of a block; which typed trades they are; why others are none of them; the placeholders' ids."""

    batch: pa.RecordBatch
    good: NDArray[np.bool_]
    refused: dict[int, RejectKind] = field(default_factory=dict)
    vacant: Sequence[Vacant] = ()


class BinanceDecoder(Decoder):
    """Decodes combined and raw messages of one connection, spot or futures.

    Parameters
    ----------
    symbols
        Upper case; a trade of any other symbol is refused.
    unit
        The unit the connection was opened with. Times are never guessed at: those of another unit fall
        outside the plausible range (see `checks.plausible_times`) and are refused.
    """

    __slots__ = ("_columnar", "_pairs", "_streams", "_times", "_to_us")

    def __init__(self, symbols: Sequence[str], *, unit: Unit = Unit.MILLISECOND) -> None:
        self._streams = {symbol: stream_name(symbol) for symbol in symbols}
        self._pairs = frozenset((stream, symbol) for symbol, stream in self._streams.items())
        self._times = plausible_times(unit.per_second)
        self._to_us = 1_000_000 // unit.per_second
        self._columnar = Columnar(symbols, times=self._times, to_us=self._to_us, is_trade=_is_trade)

    def decode(self, frames: Frames, *, connection: int) -> Decoded:
        """Decode a block; see :meth:`Decoder.decode`."""
        parts = list(self._columnar.read(frames, connection=connection))
        if not parts:
            return self._one_by_one(frames, connection)[0]
        left = np.ones(len(frames), dtype=np.bool_)
        for part in parts:
            left[part.rows] = False
        if not left.any():
            return Decoded(batch=_in_order(parts))
        rest = np.flatnonzero(left)
        others = Frames(frames.payload, frames.starts[rest], frames.ends[rest], frames.recv_ns[rest])
        decoded, kept = self._one_by_one(others, connection)
        return replace(decoded, batch=_in_order([*parts, Part(rows=rest[kept], batch=decoded.batch)]))

    def _one_by_one(self, frames: Frames, connection: int) -> tuple[Decoded, NDArray[np.intp]]:
        """Decode a block by parsing each message; return also which of them are rows."""
        messages = frames.messages()
        barred = _barred(frames, messages)
        readable = messages
        if barred:
            readable = [b"" if i in barred else message for i, message in enumerate(messages)]
        parsed = self._parse(readable)
        rows = [row for row in parsed if row is not None]
        typed = np.flatnonzero([row is not None for row in parsed])
        columns = self._columns(rows, frames.recv_ns[typed], connection)
        refused = {int(typed[row]): kind for row, kind in columns.refused.items()}
        report = _Report(frames.recv_ns)
        if len(rows) < len(parsed) or refused:
            for i, row in enumerate(parsed):
                if i in barred:
                    report.reject(i, messages[i], barred[i])
                elif i in refused:
                    report.reject(i, messages[i], refused[i])
                elif row is None:
                    finding = name_message(messages[i], streams=self._streams, times=self._times)
                    report.add(i, messages[i], finding)
        if columns.vacant:
            report.ignored[IgnoredKind.PLACEHOLDER] += len(columns.vacant)
        decoded = Decoded(
            batch=columns.batch,
            rejected=dict(report.rejected),
            samples=report.samples,
            notices=report.notices,
            ignored=dict(report.ignored),
            vacant=columns.vacant,
        )
        return decoded, typed[columns.good]

    def _parse(self, messages: Sequence[bytes]) -> list[_Envelope | None]:
        """Return each message as a typed trade, None where it is not one."""
        combined = bool(messages) and messages[0].startswith(b'{"stream"')
        first = _ENVELOPE if combined else _RAW
        rows: list[Any] = []
        any_raw = not combined
        pending = iter(messages)
        while len(rows) < len(messages):
            try:
                # extend() keeps what it took before an error, so its length tells which message failed;
                # map() has consumed that one, and the next turn goes on behind it.
                rows.extend(map(first.decode, pending))
            except UNREADABLE:
                row = _other_form(messages[len(rows)], tried=first)
                any_raw = any_raw or isinstance(row, _RawTrade)
                rows.append(row)
        if not any_raw:
            return rows
        named = self._streams.get
        return [_Envelope(stream=named(row.s, ""), data=row) if type(row) is _RawTrade else row for row in rows]

    def _columns(self, rows: Sequence[_Envelope], recv_ns: NDArray[np.int64], connection: int) -> _Columns:
        """Build the table's columns, check them, and drop the rows that fail."""
        trades = [row.data for row in rows]
        streams = [row.stream for row in rows]
        symbols = [trade.s for trade in trades]
        ids = [trade.t for trade in trades]
        # Prices and quantities in one column: the checks cost more by the call than by the row.
        values, value_good = positive_decimals([trade.p for trade in trades] + [trade.q for trade in trades])
        price, quantity = values[: len(trades)], values[len(trades) :]
        price_good, quantity_good = value_good[: len(trades)], value_good[len(trades) :]
        trade_time = np.array([trade.T for trade in trades], dtype=np.int64)
        event_time = np.array([trade.E for trade in trades], dtype=np.int64)
        time_good = within(self._times, trade_time) & within(self._times, event_time)
        symbol_good = self._subscribed(streams, symbols)
        placeholder = _placeholders(trades) & symbol_good & time_good

        batch = trades_batch(
            symbol=pa.array(symbols, pa.string()),
            trade_id=np.array(ids, dtype=np.int64),
            price=price,
            quantity=quantity,
            buyer_is_maker=np.array([trade.m for trade in trades], dtype=np.bool_),
            trade_us=trade_time * self._to_us,
            event_us=event_time * self._to_us,
            recv_ns=recv_ns,
            connection=connection,
        )
        good = symbol_good & price_good & quantity_good & time_good
        if good.all():
            return _Columns(batch=batch, good=good)
        refused: dict[int, RejectKind] = {}
        for row in np.flatnonzero(~good & ~placeholder).tolist():
            # In the order of RejectKind: the first reason is the one that counts.
            if not symbol_good[row]:
                refused[row] = RejectKind.SYMBOL
            elif not price_good[row]:
                refused[row] = RejectKind.PRICE
            elif not quantity_good[row]:
                refused[row] = RejectKind.QUANTITY
            else:
                refused[row] = RejectKind.TIME
        vacant = [Vacant(symbol=symbols[i], trade_id=ids[i]) for i in np.flatnonzero(placeholder).tolist()]
        return _Columns(batch=batch.filter(pa.array(good)), good=good, refused=refused, vacant=vacant)

    def _subscribed(self, streams: Sequence[str], symbols: Sequence[str]) -> NDArray[np.bool_]:
        pairs = self._pairs
        if set(zip(streams, symbols, strict=True)) <= pairs:
            return np.ones(len(symbols), dtype=np.bool_)
        return np.array([pair in pairs for pair in zip(streams, symbols, strict=True)], dtype=np.bool_)


def _in_order(parts: Sequence[Part]) -> pa.RecordBatch:
    """Put the rows of several parts into the order of their messages."""
    if len(parts) == 1:
        return parts[0].batch
    batch = pa.concat_batches([part.batch for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    return batch if (np.diff(rows) > 0).all() else batch.take(pa.array(np.argsort(rows)))


def _is_trade(message: bytes) -> bool:
    return _is_utf8(message) and (_other_form(message, tried=_ENVELOPE) or _other_form(message, tried=_RAW)) is not None


def _barred(frames: Frames, messages: Sequence[bytes]) -> dict[int, RejectKind]:
    """Return the messages that are not to be parsed at all, with the reason."""
    barred: dict[int, RejectKind] = {}
    if len(messages) and int((frames.ends - frames.starts).max()) > _MAX_MESSAGE_BYTES:
        barred = {i: RejectKind.SIZE for i, m in enumerate(messages) if len(m) > _MAX_MESSAGE_BYTES}
    # The typed parser skips unknown values without looking at their bytes. One pass over all messages settles
    # it for all: one that begins or ends inside a character is no JSON anyway.
    together = b"".join(messages)
    if not (together.isascii() or _is_utf8(together)):
        barred |= {i: RejectKind.JSON for i, m in enumerate(messages) if i not in barred and not _is_utf8(m)}
    return barred


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _other_form(message: bytes, *, tried: object) -> _Envelope | _RawTrade | None:
    """Parse a message of the form that its neighbours do not have; None if it is no trade in either."""
    try:
        return _RAW.decode(message) if tried is _ENVELOPE else _ENVELOPE.decode(message)
    except UNREADABLE:
        return None


def _placeholders(trades: Sequence[_Trade]) -> NDArray[np.bool_]:
    """Mark the messages that spend an id on no trade: execution type NA, price and quantity zero."""
    if _NO_TRADE not in [trade.X for trade in trades]:
        return np.zeros(len(trades), dtype=np.bool_)
    return np.array([t.X == _NO_TRADE and is_zero(t.p) and is_zero(t.q) for t in trades], dtype=np.bool_)
