"""Silences between neighbouring messages, whatever their cause; what was done about them is not here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study.clock import Clock
from wsresearch.study.outages import OUTAGES
from wsresearch.study.rows import as_arrow, checked, nanoseconds
from wsresearch.study.silences import Messages, Silences

__all__ = ["GAPS", "by_symbol", "gaps", "messages_of", "of_the_stream", "stretches", "table_of"]

GAPS: Final = pa.schema(
    [
        pa.field("start", pa.timestamp("ns", tz="UTC")),
        pa.field("end", pa.timestamp("ns", tz="UTC")),
        pa.field("seconds", pa.float64()),
        pa.field("connection_before", pa.int32()),
        pa.field("connection_after", pa.int32()),
        pa.field("symbol", pa.string()),
        pa.field("outage", pa.int32()),
        pa.field("symbol_before", pa.string()),
        pa.field("symbol_after", pa.string()),
        pa.field("id_before", pa.int64()),
        pa.field("id_after", pa.int64()),
        pa.field("chance", pa.float64()),
        pa.field("once_in", pa.float64()),
    ]
)

_ENCODED: Final = TRADES.set(0, pa.field("symbol", pa.dictionary(pa.int32(), pa.string())))
"""Trades as they come batch by batch: a symbol's name is not repeated in each row."""

_Ints = NDArray[np.int64]


def _explained_by(start: _Ints, end: _Ints, outages: Any, clock: Clock) -> NDArray[np.int32]:
    """Return for each gap, disjoint and in order, the number of the longest outage in it, 0 for none.

    No market message arrives in an outage, so an outage lies in one gap as a whole. Its middle tells which:
    its ends may miss the gap's by the rounding of a clock.
    """
    table = checked(outages, OUTAGES, ("outage", "began", "silence", "connection"), name="outages")
    silence = table.column("silence").to_numpy()
    table = table.take(pa.array(np.argsort(silence, kind="stable")))  # the longest is written last, and stays
    half = np.nan_to_num(table.column("silence").to_numpy()) * 0.5e9
    began = clock.straight(nanoseconds(table, "began", "outages"), table.column("connection").fill_null(0).to_numpy())
    middle = began + half.astype(np.int64)
    explained = np.zeros(len(start), dtype=np.int32)
    at = np.searchsorted(start, middle, side="right") - 1
    inside = (at >= 0) & (middle <= end[at]) if len(start) else np.zeros(len(at), dtype=bool)
    explained[at[inside]] = table.column("outage").to_numpy()[inside]
    return explained


def table_of(silences: Silences, symbol: str | None, outages: Any | None, clock: Clock) -> pa.Table:
    """Return what was found in a stream as a table of :data:`GAPS`."""
    found = silences.found()
    start, end, length = found.start, found.end, found.length
    outage: Any = pa.nulls(len(start), pa.int32())
    if outages is not None:
        outage = _explained_by(found.straight, found.straight + length, outages, clock)
    columns = [
        start,
        end,
        length / 1e9,
        found.connection_before,
        found.connection_after,
        pa.array([symbol] * len(start), pa.string()),
        outage,
        *found.neighbours,
        pa.array(found.chance, mask=np.isnan(found.chance)),
        pa.array(found.once_in, mask=np.isnan(found.once_in)),
    ]
    return pa.table(
        [
            column.cast(field.type) if isinstance(column, pa.Array) else pa.array(column).cast(field.type)
            for column, field in zip(columns, GAPS, strict=True)
        ],
        schema=GAPS,
    )


def of_the_stream(table: pa.Table) -> pa.Table:
    """Return the rows that a connection delivered."""
    connection = table.column("connection")
    if connection.null_count:
        raise UsageError("column 'connection' of the trades table has a null; 0 stands for backfilled rows")
    delivered = pc.not_equal(connection, 0)
    return table if pc.all(delivered, min_count=0).as_py() else table.filter(delivered)


def messages_of(table: pa.Table, clock: Clock, *, in_order: bool) -> Messages:
    """Return the rows of a stretch of trades that are messages of the stream.

    Parameters
    ----------
    table
        With ``recv_time`` and ``connection``; ``symbol`` and ``trade_id`` where they are known.
    clock
        Undoes the steps of the wall clock.
    in_order
        Whether the rows are in the order received already; if not, they are put in the order of their times.
    """
    table = of_the_stream(table)
    connection = np.asarray(table.column("connection").to_numpy())
    time = nanoseconds(table, "recv_time", "trades")
    straight = clock.straight(time, connection)
    order: _Ints | None = None
    if not in_order and (straight[1:] < straight[:-1]).any():
        order = np.argsort(straight, kind="stable")
    known = table.schema.names
    messages = Messages(
        time=time,
        straight=straight,
        connection=connection,
        symbol=table.column("symbol") if "symbol" in known else None,
        trade_id=table.column("trade_id") if "trade_id" in known else None,
    )
    return messages if order is None else messages.take(order)


def by_symbol(symbols: pa.ChunkedArray) -> Iterator[tuple[str, _Ints | None]]:
    """Yield each symbol with the positions of its rows, rising; None for all of them."""
    if not len(symbols):
        return
    if symbols.null_count:
        raise UsageError("column 'symbol' of the trades table has a null; each row's symbol is needed")
    if pa.types.is_dictionary(symbols.type):
        encoded = symbols.unify_dictionaries().combine_chunks()
    else:
        encoded = pc.dictionary_encode(symbols).combine_chunks()
    names = encoded.dictionary.to_pylist()
    if len(names) == 1:
        yield names[0], None
        return
    # Sixteen bits are sorted by counting, which is several times as fast.
    codes = encoded.indices.to_numpy().astype(np.uint16 if len(names) < 1 << 16 else np.int32)
    grouped = np.argsort(codes, kind="stable")
    bounds = np.cumsum(np.bincount(codes, minlength=len(names)))
    for code, name in enumerate(names):
        rows = grouped[bounds[code - 1] if code else 0 : bounds[code]]
        if len(rows):  # a dictionary may name what is not there
            yield name, rows


def stretches(trades: Any, needed: tuple[str, ...] = ()) -> Iterator[pa.Table]:
    """Yield the trades as tables with the columns that are needed, and those that neighbours are told by."""
    if isinstance(trades, pa.RecordBatchReader):
        pieces: Iterator[pa.Table] = (pa.Table.from_batches([batch]) for batch in trades)
    else:
        pieces = iter([as_arrow(trades, name="trades")])
    columns = ("recv_time", "connection", *needed)
    for piece in pieces:
        names = piece.schema.names
        also = [name for name in ("symbol", "trade_id") if name in names and name not in needed]
        encoded = names.count("symbol") == 1 and piece.schema.field("symbol").type == _ENCODED.field("symbol").type
        yield checked(piece, _ENCODED if encoded else TRADES, (*columns, *also), name="trades")


def gaps(trades: Any, *, longer_than: float = 1.0, per_symbol: bool = False, outages: Any | None = None) -> pa.Table:
    """Return the silences between neighbouring messages, which two those were, and how unusual each silence is.

    Rows that were fetched over REST (connection 0) are no messages of the stream and fill no silence.
    Where ``outages`` are given, a wall clock that stepped across one of them is seen and undone: ``seconds`` is then
    what really passed, and not the difference of ``start`` and ``end``. Otherwise, and across a stop, a row is placed
    where its receive time says.

    Parameters
    ----------
    trades
        The trades table of a capture, in any order; ``recv_time``, ``connection`` and, with ``per_symbol``,
        ``symbol`` are needed; of ``symbol`` and ``trade_id`` the neighbours are told where they are there. Or a
        ``pyarrow.RecordBatchReader`` of it in the order received, which is gone through once, batch by batch:
        memory then follows the number of gaps.
    longer_than
        Seconds; only longer silences are returned. 0 returns each that is not zero.
    per_symbol
        Look at each symbol's messages alone instead of the whole stream.
    outages
        The table of :func:`wsresearch.study.outages.outages`: tells which gaps an outage explains.

    Returns
    -------
    pyarrow.Table
        By ``start`` (with ``per_symbol`` by symbol, then by ``start``):

        ===================== =========================================================================
        ``start``, ``end``    receive times of the two messages, UTC
        ``seconds``           between them
        ``connection_before``, ``connection_after``  which connections delivered them; where they differ and
                              ``outage`` is 0, a stop of ours lies between, or a planned change of connection
        ``symbol``            null for the whole stream
        ``outage``            the outage in it (the longest, if several), 0 for an ordinary gap, null
                              where no ``outages`` were given
        ``symbol_before``, ``symbol_after``, ``id_before``, ``id_after``  which trades the two messages were;
                              null where the table does not say
        ``chance``            that a silence of this stream is at least as long, by the law of the
                              :data:`~wsresearch.study.law.RECENT` silences inside connections that came just
                              before it, see :func:`wsresearch.study.law.chances`; null after fewer than
                              :data:`~wsresearch.study.law.LEAST`
        ``once_in``           seconds in which one such silence is to be expected, at the recent rate of messages
        ===================== =========================================================================

    Raises
    ------
    UsageError
        If ``longer_than`` is negative or not a number; if a column is missing, of another type or null; if in batches
        the receive times of one connection go back.

    Notes
    -----
    Trades come in bursts, so neighbouring silences are alike and not exchangeable: right after a burst a pause looks
    more unusual than it is. Read ``chance`` as a ranking, and as a probability to within an order of magnitude.
    """
    in_order = isinstance(trades, pa.RecordBatchReader)
    clock = Clock.of(outages)
    streams: dict[str | None, Silences] = {}
    for table in stretches(trades, ("symbol",) if per_symbol else ()):
        parts: Iterator[tuple[str | None, _Ints | None]] = iter([(None, None)])
        if per_symbol:
            table = of_the_stream(table)  # noqa: PLW2901
            parts = iter(by_symbol(table.column("symbol")))
        for symbol, rows in parts:
            stream = streams.setdefault(symbol, Silences(longer_than=longer_than))
            own = table if rows is None else table.take(pa.array(rows))
            stream.push(messages_of(own, clock, in_order=in_order))
    found = [
        table_of(streams[symbol], symbol, outages, clock) for symbol in sorted(streams, key=lambda name: name or "")
    ]
    return pa.concat_tables([GAPS.empty_table(), *found])
