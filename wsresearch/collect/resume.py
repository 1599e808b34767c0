"""What earlier runs of a capture left behind that the next one must know; repairing files is not here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.scan import places
from wsresearch.collect.recorder import MARKS_KEY, NUMBERS_KEY
from wsresearch.schema import SCHEMAS, EventKind, TableName

__all__ = ["Past", "past_of"]

_COUNTERS = ("run", "connection", "outage", "seq")
_ID_COLUMNS = ("symbol", "trade_id", "trade_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Where the counters of a capture stand.

    Attributes
    ----------
    run, connection, outage, seq
        The last used numbers; 0 if there are none.
    marks
        Highest id of each symbol in all segments but the last.
    last_trades
        Columns symbol, trade_id and trade_time of the last trades segment.
    attempts
        Times (ns since 1970 UTC) of the attempts within the budget's window: the budget outlives the process.
    """

    run: int
    connection: int
    outage: int
    seq: int
    marks: dict[str, int]
    last_trades: pa.Table
    attempts: list[int]

    @property
    def numbers(self) -> dict[str, int]:
        """The four counters by name."""
        return {name: getattr(self, name) for name in _COUNTERS}


def past_of(root: Path, *, now_ns: int, window: float) -> Past:
    """Read what the next run must know, from the newest segments only: a week's capture opens as fast as a new one.

    Parameters
    ----------
    root
        The capture directory, after recovery: everything is sealed.
    now_ns
        The wall clock, ns since 1970 UTC.
    window
        Seconds of the attempt budget.
    """
    events = _newest(root, TableName.EVENTS, _COUNTERS)
    numbers = dict.fromkeys(_COUNTERS, 0) | _told(events, NUMBERS_KEY)
    for name in _COUNTERS:
        # A row outside an outage carries outage 0, so a segment's rows alone would forget the last one.
        numbers[name] = max(numbers[name], pc.max(events[name]).as_py() or 0)
    trades = _newest(root, TableName.TRADES, _ID_COLUMNS)
    since = datetime.fromtimestamp(now_ns / 1e9, tz=UTC) - timedelta(seconds=window)
    recent = Reader(root).events(since=since)
    tried = recent.filter(pc.equal(recent["kind"], EventKind.CONNECTING))
    return Past(
        **numbers,
        marks=_told(trades, MARKS_KEY),
        last_trades=trades,
        attempts=tried["time"].cast(pa.int64()).to_pylist(),
    )


def _newest(root: Path, table: TableName, columns: Sequence[str]) -> pa.Table:
    """Return columns of a table's last sealed segment, with the metadata that its writer gave it."""
    sealed = [place.parquet for place in places(Layout(root), table) if place.parquet is not None]
    if not sealed:
        return SCHEMAS[table].empty_table().select(list(columns))
    return pq.ParquetFile(sealed[-1], page_checksum_verification=True).read(columns=list(columns))


def _told(table: pa.Table, key: bytes) -> dict[str, int]:
    told: dict[str, int] = json.loads((table.schema.metadata or {}).get(key, b"{}"))
    return told
