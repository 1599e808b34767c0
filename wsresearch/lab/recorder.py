"""Keeps the truth while the exchange runs.

Not here: its tables and what can be asked of them (:mod:`~wsresearch.lab.truth`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.lab.disturb import Item, Kind
from wsresearch.lab.truth import CONNECTIONS, FAULT_ROWS, SENT, Truth

__all__ = ["ConnectionRecord", "FaultRecord", "Recorder"]

_PACK_ROWS: Final = 2_048
"""Packing this many rows takes 0.7 ms [measured], a small part of a tick of the exchange."""

_MESSAGE: Final = pa.schema([field for field in SENT if field.name not in ("message", "connection")])
_NO_TRADE: Final = (None, None, None, None, None, None)


@dataclass(slots=True, kw_only=True)
class ConnectionRecord:
    """The row of one TCP connection, filled in as it lives; columns as in the schema of connections."""

    connection: int = 0
    accepted_ns: int
    opened_ns: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    ended_ns: int | None = None
    closed_ns: int | None = None
    peer_port: int
    path: str | None = None
    status: int | None = None
    messages: int = 0
    bytes: int = 0
    ended_by: str | None = None
    close_code: int | None = None
    close_reason: str | None = None
    confirmed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """The row of one fault on one connection; columns as in the schema of faults."""

    at: float
    fault: str
    parameters: str
    wall_ns: int
    mono_ns: int
    connection: int
    confirmed: bool | None


class Recorder:
    """Collects the rows of the truth; cheap to add to, and asked for a :class:`Truth` when somebody wants it.

    Attributes
    ----------
    rows
        How many messages have been produced.
    """

    def __init__(self) -> None:
        # Arrow imports pandas, which takes 0.1 s and more, at the first array of a process. The first to be packed here
        # would be in the middle of playing, and what was due then would be written that much after its time stamp.
        pa.array([0])
        self.rows = 0
        self._open: list[tuple[Any, ...]] = []
        self._packed: list[pa.RecordBatch] = []
        self._delivered_rows = array("q")
        self._delivered_to = array("i")
        self._faults: list[FaultRecord] = []
        self._connections: list[ConnectionRecord] = []

    def produced(self, items: Sequence[Item], now_ns: int) -> int:
        """Add `items`, sent at `now_ns`; return the number of the first of them."""
        first = self.rows
        for item in items:
            message, kind = item.message, item.kind
            if message.is_trade and kind is not Kind.GARBAGE:
                side = "sell" if message.buyer_is_maker else "buy"
                trade: tuple[Any, ...] = (
                    message.symbol,
                    message.trade_id,
                    message.price,
                    message.quantity,
                    side,
                    message.matched_us(now_ns),
                )
            else:
                trade = _NO_TRADE
            self._open.append((*trade, now_ns, kind, item.garbage, item.reordered))
        self.rows += len(items)
        if len(self._open) >= _PACK_ROWS:
            self._pack()
        return first

    def delivered(self, connection: int, rows: Iterable[int]) -> None:
        """Add that the messages numbered `rows` were written to `connection`."""
        before = len(self._delivered_rows)
        self._delivered_rows.extend(rows)
        self._delivered_to.extend([connection] * (len(self._delivered_rows) - before))

    def injected(self, record: FaultRecord) -> None:
        """Add a fault that struck."""
        self._faults.append(record)

    def accepted(self, record: ConnectionRecord) -> None:
        """Add a connection; the record may still change."""
        self._connections.append(record)

    def trades(self, symbol: str) -> pa.Table:
        """Return the trades of `symbol` that exist at the venue, each once, by rising id: what REST answers from."""
        self._pack()
        table = pa.Table.from_batches(self._packed, _MESSAGE)
        real = pc.is_in(table["kind"], pa.array([Kind.SENT, Kind.GARBLED]))
        table = table.filter(pc.and_(real, pc.equal(table["symbol"], symbol)))
        ids, places = np.unique(table["trade_id"].to_numpy(), return_index=True)
        return table.take(pa.array(places)) if len(ids) else table

    def snapshot(self) -> Truth:
        """Return the truth as it stands; it takes about 0.1 s for a million messages, so ask once."""
        self._pack()
        messages = pa.Table.from_batches(self._packed, _MESSAGE)
        rows = np.array(self._delivered_rows, dtype=np.int64)
        to = np.array(self._delivered_to, dtype=np.int32)
        unsent = np.setdiff1d(np.arange(self.rows), rows)
        rows = np.concatenate((rows, unsent))
        to = np.concatenate((to, np.zeros(len(unsent), np.int32)))
        order = np.lexsort((to, rows))
        rows, to = rows[order], to[order]
        sent = messages.take(pa.array(rows)).append_column("message", pa.array(rows, pa.int64()))
        sent = sent.append_column("connection", pa.array(to, pa.int32()))
        return Truth(
            sent=sent.select(SENT.names).cast(SENT),
            faults=_table(self._faults, FaultRecord, FAULT_ROWS),
            connections=_table(self._connections, ConnectionRecord, CONNECTIONS),
        )

    def _pack(self) -> None:
        if not self._open:
            return
        columns = []
        for field, values in zip(_MESSAGE, zip(*self._open, strict=True), strict=True):
            if pa.types.is_decimal(field.type):
                columns.append(pa.array(values, pa.string()).cast(field.type))
            elif pa.types.is_timestamp(field.type):
                columns.append(pa.array(values, pa.int64()).cast(field.type))
            else:
                columns.append(pa.array(values, field.type))
        self._packed.append(pa.RecordBatch.from_arrays(columns, schema=_MESSAGE))
        self._open.clear()


def _table(records: Sequence[object], kind: type, schema: pa.Schema) -> pa.Table:
    names = [field.name for field in fields(kind)]
    return pa.table({name: [getattr(record, name) for record in records] for name in names}, schema=schema)
