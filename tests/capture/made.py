"""Rows made for tests, and what a reader would see of a capture; no fault is made here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wsresearch.capture.append import SegmentWriter
from wsresearch.capture.journal import read_segment
from wsresearch.capture.layout import Layout, Segment
from wsresearch.schema import EVENTS, STATS, TRADES, TableName

NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * 10**9
MIDNIGHT = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp()) * 10**9
SECOND = 10**9


def trades(ids: Sequence[int], *, times: Sequence[int] | int = NOON) -> pa.RecordBatch:
    """A batch of trades with these ids, received at these times."""
    count = len(ids)
    received = [times] * count if isinstance(times, int) else list(times)
    return pa.record_batch(
        [
            pa.array(["BTCUSDT" if number % 3 else "ETHUSDT" for number in ids]),
            pa.array(ids, pa.int64()),
            pa.array([Decimal(61837) + Decimal(number % 7) / 100 for number in ids], pa.decimal128(38, 18)),
            pa.array([Decimal(number % 11 + 1) / 10**8 for number in ids], pa.decimal128(38, 18)),
            pa.array(["buy" if number % 2 else "sell" for number in ids]),
            pa.array([time // 1000 for time in received], pa.timestamp("us", tz="UTC")),
            pa.array([None if number % 5 == 0 else time // 1000 for number, time in zip(ids, received, strict=True)])
            .cast(pa.int64())
            .cast(pa.timestamp("us", tz="UTC")),
            pa.array(received, pa.timestamp("ns", tz="UTC")),
            pa.array([1] * count, pa.int32()),
            pa.array([False] * count),
        ],
        schema=TRADES,
    )


def stats(messages: Sequence[int], *, lag: Sequence[float | None] | None = None) -> pa.RecordBatch:
    """Stats rows that can be told apart by `messages`."""
    rows = [
        {"time": NOON + number, "run": 1, "messages": number, "lag": None if lag is None else lag[place]}
        for place, number in enumerate(messages)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=STATS)


def events(numbers: Sequence[int], *, detail: str = "", time: int = NOON) -> pa.RecordBatch:
    """Event rows with these sequence numbers."""
    rows = [{"seq": number, "time": time, "run": 1, "kind": "error", "detail": detail} for number in numbers]
    return pa.RecordBatch.from_pylist(rows, schema=EVENTS)


def journal(root: Path, segment: Segment, batches: Sequence[pa.RecordBatch], *, finish: bool = True) -> Layout:
    """Write a journal by itself."""
    layout = Layout(root)
    layout.journal_dir.mkdir(exist_ok=True)
    writer = SegmentWriter(layout, segment, carried={b"marks": b"{}"})
    for batch in batches:
        writer.append(batch)
    writer.finish() if finish else writer._close()
    return layout


def segments(layout: Layout, table: TableName) -> dict[Segment, pa.Table]:
    """The rows that a reader sees of each segment; a segment in both forms must be the same in both."""
    found: dict[Segment, pa.Table] = {}
    for segment in layout.journals(table):
        prefix = read_segment(layout, segment)
        if prefix.batches:
            found[segment] = pa.Table.from_batches(prefix.batches)
    for path in layout.parquets(table):
        parsed = Segment.parse(path.name)
        assert parsed is not None
        rows = pq.ParquetFile(path, page_checksum_verification=True).read().replace_schema_metadata(None)
        assert found.setdefault(parsed[0], rows).equals(rows)
    return dict(sorted(found.items()))


def ids(layout: Layout) -> list[int]:
    """The trade ids of a capture in the order of its rows."""
    return [number for rows in segments(layout, TableName.TRADES).values() for number in rows["trade_id"].to_pylist()]
