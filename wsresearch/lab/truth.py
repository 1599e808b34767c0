"""The exchange's own account of what happened: every message, every fault, every connection.

Not here: who compares it with a capture. Rows are kept in columns and packed into Arrow batches as they come, about
60 bytes each, so that hours of trading fit in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.lab.disturb import Kind

__all__ = ["CONNECTIONS", "FAULT_ROWS", "SENT", "Truth", "missing_runs"]

_UTC_US: Final = pa.timestamp("us", tz="UTC")
_DECIMAL: Final = pa.decimal128(38, 18)

SENT: Final = pa.schema(
    [
        pa.field("message", pa.int64()),
        pa.field("symbol", pa.string()),
        pa.field("trade_id", pa.int64()),
        pa.field("price", _DECIMAL),
        pa.field("quantity", _DECIMAL),
        pa.field("side", pa.string()),
        pa.field("trade_time", _UTC_US),
        pa.field("sent_ns", pa.int64()),
        pa.field("connection", pa.int32()),
        pa.field("kind", pa.string()),
        pa.field("garbage", pa.string()),
        pa.field("reordered", pa.bool_()),
    ]
)
"""One row for each message and each connection it was written to; `connection` 0 for a message nobody was sent.

`message` numbers the messages from 0 in the order of their sending, `sent_ns` is wall time, `kind` one of
:class:`~wsresearch.lab.disturb.Kind`. Symbol, id, price, quantity, side and time are null for what is no trade; for a
garbled or skipped one they are what it should have been. *Written* means handed to TCP: what an abrupt fault destroys
on the way counts as sent, as it does for a real exchange."""

FAULT_ROWS: Final = pa.schema(
    [
        pa.field("at", pa.float64()),
        pa.field("fault", pa.string()),
        pa.field("parameters", pa.string()),
        pa.field("wall_ns", pa.int64()),
        pa.field("mono_ns", pa.int64()),
        pa.field("connection", pa.int32()),
        pa.field("confirmed", pa.bool_()),
    ]
)
"""One row for each fault and each connection it hit, `connection` 0 if it hit none.

`parameters` is the fault as JSON. `confirmed`: whether the client had confirmed everything written to it before the
fault struck; null where that was not asked (see ``waits`` of the exchange)."""

CONNECTIONS: Final = pa.schema(
    [
        pa.field("connection", pa.int32()),
        pa.field("accepted_ns", pa.int64()),
        pa.field("opened_ns", pa.int64()),
        pa.field("first_ns", pa.int64()),
        pa.field("last_ns", pa.int64()),
        pa.field("ended_ns", pa.int64()),
        pa.field("closed_ns", pa.int64()),
        pa.field("peer_port", pa.int32()),
        pa.field("path", pa.string()),
        pa.field("status", pa.int32()),
        pa.field("messages", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("ended_by", pa.string()),
        pa.field("close_code", pa.int32()),
        pa.field("close_reason", pa.string()),
        pa.field("confirmed", pa.bool_()),
    ]
)
"""One row for each accepted TCP connection, REST requests included.

`connection` counts the opened WebSockets from 1 and is 0 for everything else, such as a refused attempt, whose
`status` is what it was answered (null: nothing). Times are wall clock, null while they have not come: `opened_ns` when
the upgrade was answered, `first_ns` and `last_ns` when the first and the last message of the tape were handed to TCP,
`ended_ns` when the first Close frame, FIN or RST of either side was sent or came, `closed_ns` when TCP was gone.
`messages` are those of the tape, `bytes` all that was handed to TCP. `ended_by` is ``client``, ``stop``, ``lifetime``,
``limit``, ``pong``, ``slow`` (it did not read), or the kind of a fault; `close_code` and `close_reason` are those of
the Close frame the client sent, null without one. `confirmed`: whether the client had read everything sent to it when
it was last asked; null if never (see ``waits`` of the exchange). An attempt while the port is closed leaves no trace
here."""

_TRADE_COLUMNS: Final = (
    "symbol",
    "trade_id",
    "price",
    "quantity",
    "side",
    "trade_time",
    "sent_ns",
    "connection",
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Truth:
    """What should be there, as it stood at one moment.

    Attributes
    ----------
    sent, faults, connections
        Tables of the schemas :data:`SENT`, :data:`FAULT_ROWS` and :data:`CONNECTIONS`.
    """

    sent: pa.Table
    faults: pa.Table
    connections: pa.Table

    def expected(self) -> pa.Table:
        """Return the trades that were sent well-formed to at least one connection, each once, in order of sending.

        A collector stores at most these. It stores exactly these when no fault destroyed bytes on the way.

        Returns
        -------
        pyarrow.Table
            Columns symbol, trade_id, price, quantity, side, trade_time, sent_ns, connection (the first it went to).
        """
        return self._trades(pc.and_(pc.equal(self.sent["kind"], Kind.SENT), pc.greater(self.sent["connection"], 0)))

    def produced(self) -> pa.Table:
        """Return every trade that exists at the venue, each once, in order of sending, whether or not it arrived.

        It is what REST answers from. Columns as in :meth:`expected`, `connection` 0 where nobody was sent it.
        """
        return self._trades(pc.is_in(self.sent["kind"], pa.array([Kind.SENT, Kind.GARBLED])))

    def holes(self, stored: pa.Table) -> pa.Table:
        """Return the holes that a collector which stored exactly `stored` should have recorded.

        Ids that were skipped count as missing, since a client cannot tell them from lost ones; ids before the first
        and after the last stored one of a symbol do not.

        Parameters
        ----------
        stored
            A table with the columns symbol and trade_id.

        Returns
        -------
        pyarrow.Table
            Columns symbol, first_id, last_id (inclusive), ordered by both.
        """
        real = self.sent.filter(pc.is_valid(self.sent["trade_id"]))
        symbols: list[str] = []
        runs: list[NDArray[np.int64]] = []
        for symbol in sorted(pc.unique(real["symbol"]).to_pylist()):
            ids = np.unique(_ids(real, symbol))
            found = missing_runs(ids, _ids(stored, symbol))
            symbols += [symbol] * len(found)
            runs.append(found)
        edges = np.concatenate(runs) if runs else np.empty((0, 2), np.int64)
        return pa.table(
            {
                "symbol": pa.array(symbols, pa.string()),
                "first_id": pa.array(edges[:, 0], pa.int64()),
                "last_id": pa.array(edges[:, 1], pa.int64()),
            }
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the three tables as Arrow IPC files into `folder`, which must exist."""
        for name, table in self._tables().items():
            with pa.ipc.new_file(str(Path(folder) / f"{name}.arrow"), table.schema) as writer:
                writer.write_table(table)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        UsageError
            When `folder` holds no truth.
        """
        tables = {}
        for name in ("sent", "faults", "connections"):
            path = Path(folder) / f"{name}.arrow"
            try:
                tables[name] = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
            except (OSError, pa.ArrowInvalid) as error:
                raise UsageError(f"{path} holds no truth of an exchange: {error}") from error
        return cls(**tables)

    def _tables(self) -> Mapping[str, pa.Table]:
        return {"sent": self.sent, "faults": self.faults, "connections": self.connections}

    def _trades(self, mask: pa.ChunkedArray) -> pa.Table:
        rows = self.sent.filter(mask)
        keys = pa.table({"symbol": rows["symbol"], "trade_id": rows["trade_id"], "place": np.arange(len(rows))})
        first = keys.group_by(["symbol", "trade_id"]).aggregate([("place", "min")])["place_min"]
        return rows.take(pa.array(np.sort(first.to_numpy()), pa.int64())).select(list(_TRADE_COLUMNS))


def _ids(table: pa.Table, symbol: str) -> NDArray[np.int64]:
    ids = table["trade_id"].filter(pc.equal(table["symbol"], symbol)).to_numpy()
    return np.asarray(ids, dtype=np.int64)


def missing_runs(ids: NDArray[np.int64], stored: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the runs of `ids` (sorted, unique) that lie between the ends of `stored` and are not in it.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        First and last id of each run, inclusive.
    """
    if not len(stored):
        return np.empty((0, 2), np.int64)
    inside = ids[(ids >= stored.min()) & (ids <= stored.max())]
    missing = ~np.isin(inside, stored)
    edges = np.diff(np.concatenate(([False], missing, [False])).astype(np.int8))
    return np.stack((inside[np.flatnonzero(edges == 1)], inside[np.flatnonzero(edges == -1) - 1]), axis=1)
