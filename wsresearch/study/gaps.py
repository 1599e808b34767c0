"""Silences between neighbouring messages, whatever their cause; what was done about them is not here."""

from __future__ import annotations

from math import isnan
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study.outages import OUTAGES
from wsresearch.study.rows import checked

__all__ = ["GAPS", "gaps"]

GAPS: Final = pa.schema(
    [
        pa.field("start", pa.timestamp("ns", tz="UTC")),
        pa.field("end", pa.timestamp("ns", tz="UTC")),
        pa.field("seconds", pa.float64()),
        pa.field("connection_before", pa.int32()),
        pa.field("connection_after", pa.int32()),
        pa.field("symbol", pa.string()),
        pa.field("outage", pa.int32()),
    ]
)

_Ints = NDArray[np.int64]


def _nanoseconds(table: pa.Table, column: str, name: str) -> _Ints:
    values = table.column(column)
    if values.null_count:
        raise UsageError(f"column {column!r} of the {name} table has a null; it cannot be put in order")
    return np.asarray(values.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _explained_by(start: _Ints, end: _Ints, outages: Any) -> NDArray[np.int32]:
    """Return for each gap, disjoint and in order, the number of the longest outage in it, 0 for none.

    No market message arrives in an outage, so an outage lies in one gap as a whole. Its middle tells which:
    its ends may miss the gap's by the rounding of a clock.
    """
    table = checked(outages, OUTAGES, ("outage", "began", "silence"), name="outages")
    silence = table.column("silence").to_numpy()
    table = table.take(pa.array(np.argsort(silence, kind="stable")))  # the longest is written last, and stays
    half = np.nan_to_num(table.column("silence").to_numpy()) * 0.5e9
    middle = _nanoseconds(table, "began", "outages") + half.astype(np.int64)
    explained = np.zeros(len(start), dtype=np.int32)
    at = np.searchsorted(start, middle, side="right") - 1
    inside = (at >= 0) & (middle <= end[at]) if len(start) else np.zeros(len(at), dtype=bool)
    explained[at[inside]] = table.column("outage").to_numpy()[inside]
    return explained


def _silences(
    time: _Ints, connection: NDArray[np.int32], symbol: str | None, *, longer_than: float, outages: Any | None
) -> pa.Table:
    if (time[1:] < time[:-1]).any():
        order = np.argsort(time, kind="stable")
        time, connection = time[order], connection[order]
    # Compared in whole ns: 1.0 s is no gap longer than 1.0 s, however the float of it was rounded.
    before = np.flatnonzero(np.diff(time) > round(longer_than * 1e9))
    start, end = time[before], time[before + 1]
    outage = None if outages is None else _explained_by(start, end, outages)
    columns = [
        start,
        end,
        (end - start) / 1e9,
        connection[before],
        connection[before + 1],
        pa.array([symbol] * len(before), pa.string()),
        pa.nulls(len(before), pa.int32()) if outage is None else outage,
    ]
    return pa.table(
        [
            column.cast(field.type) if isinstance(column, pa.Array) else pa.array(column).cast(field.type)
            for column, field in zip(columns, GAPS, strict=True)
        ],
        schema=GAPS,
    )


def gaps(trades: Any, *, longer_than: float = 1.0, per_symbol: bool = False, outages: Any | None = None) -> pa.Table:
    """Return the silences between neighbouring messages in the order of their receive times.

    Rows that were fetched over REST (connection 0) are no messages of the stream and fill no silence.
    Between two connections the wall clock may have stepped; a row is placed where its receive time says.

    Parameters
    ----------
    trades
        The trades table of a capture, in any order; ``recv_time``, ``connection`` and, with ``per_symbol``,
        ``symbol`` are needed.
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
        ``connection_before``, ``connection_after``  which connections delivered them
        ``symbol``            null for the whole stream
        ``outage``            the outage in it (the longest, if several), 0 for an ordinary gap, null
                              where no ``outages`` were given
        ===================== =========================================================================

    Raises
    ------
    UsageError
        If ``longer_than`` is negative or not a number, or a column is missing, of another type or null.
    """
    if isnan(longer_than) or longer_than < 0:
        raise UsageError(f"longer_than is {longer_than}; give seconds, 0 or more")
    columns = ("recv_time", "connection", *(("symbol",) if per_symbol else ()))
    table = checked(trades, TRADES, columns, name="trades")
    if table.column("connection").null_count:
        raise UsageError("column 'connection' of the trades table has a null; 0 stands for backfilled rows")
    table = table.filter(pc.not_equal(table.column("connection"), 0))
    time = _nanoseconds(table, "recv_time", "trades")
    connection = table.column("connection").to_numpy()
    if not per_symbol:
        return _silences(time, connection, None, longer_than=longer_than, outages=outages)
    symbols = pc.dictionary_encode(table.column("symbol")).combine_chunks()
    if symbols.null_count:
        raise UsageError("column 'symbol' of the trades table has a null; per_symbol needs each row's symbol")
    names, codes = symbols.dictionary.to_pylist(), symbols.indices.to_numpy()
    grouped = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[grouped], np.arange(len(names) + 1))
    parts = []
    for code in sorted(range(len(names)), key=names.__getitem__):
        of = grouped[bounds[code] : bounds[code + 1]]
        parts.append(_silences(time[of], connection[of], names[code], longer_than=longer_than, outages=outages))
    return pa.concat_tables([GAPS.empty_table(), *parts])
