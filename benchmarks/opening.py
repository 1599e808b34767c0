"""How long one waits for a large capture: open it and read the last ten minutes; and for ``import wsresearch``.

``python -m benchmarks.opening [--rounds 5] [--segments 8640] [--keep DIRECTORY]``. The capture is one that a collector
is just writing: trades and stats have a segment for every five minutes, events one for every hour, all sealed but the
newest of the trades, which is a journal of a batch every 50 ms. A segment has 11,574 trades: 8,640 of them are thirty
days and 100 million trades. It is made first, which takes a minute or two and two gigabytes.

Every opening is in a new process. What is timed begins before ``import wsresearch`` and ends with the rows as a
table; loading the libraries (pyarrow, numpy; pandas is not needed) is part of it, and told apart. *Warm*: what the
system keeps of the files is in memory. *Cold*: the system was told to forget the content of every file of the capture,
though not their names, nor the libraries.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from benchmarks.figures import Figure, median
from wsresearch.capture.append import FORMAT_KEY, SEGMENT_KEY, SegmentWriter
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.parquet import encode
from wsresearch.capture.scan import places
from wsresearch.schema import EVENTS, FORMAT_VERSION, STATS, EventKind, TableName
from wsresearch.venues.binance_columns import trades_batch
from wsresearch.venues.columns import decimals

ROWS: Final = 11_574
EVERY: Final = timedelta(minutes=5)
FLUSH: Final = timedelta(milliseconds=50)
AN_HOUR: Final = 12
"""Segments of trades for one of events."""
BEGAN: Final = datetime(2026, 10, 1, tzinfo=UTC)
READ: Final = """
import time; began = time.perf_counter()
import sys, wsresearch
capture = wsresearch.open_capture
loaded = time.perf_counter()
rows = capture(sys.argv[1]).trades(last="10min").num_rows
print(time.perf_counter() - began, time.perf_counter() - loaded, time.process_time(), rows)
"""
IMPORT: Final = "import time; b = time.perf_counter(); import wsresearch; print(time.perf_counter() - b)"
LOADED: Final = "import sys, wsresearch; print(*(n for n in ('pandas', 'matplotlib') if n in sys.modules))"


def make(root: Path, segments: int) -> None:
    """Write the capture as a collector leaves it, without `seal`'s reading back and waiting for the disk."""
    layout = Layout(root)
    create_identity(layout, venue="binance", symbols=["BTCUSDT"], config={})
    rng = np.random.default_rng(1)
    cents = (6_000_000 + rng.integers(-50, 50, ROWS).cumsum()).astype(np.uint64)
    parts = np.stack([cents // 100, rng.integers(0, 10, ROWS).astype(np.uint64)])
    price, quantity = decimals(parts, np.stack([cents % 100, cents % 1000 + 1]), np.full((2, ROWS), [[2], [5]]))
    symbol = pa.array(["BTCUSDT"]).take(pa.array(np.zeros(ROWS, dtype=np.int8)))
    gaps = np.sort(rng.integers(0, EVERY // timedelta(microseconds=1), ROWS))
    maker = rng.random(ROWS) < 0.5
    for number in tqdm(range(segments), desc="making a capture", unit="segment", disable=not sys.stderr.isatty()):
        began = BEGAN + number * EVERY
        us = int(began.timestamp() * 1e6) + gaps
        batch = trades_batch(
            symbol=symbol,
            trade_id=np.arange(number * ROWS, (number + 1) * ROWS),
            price=price,
            quantity=quantity,
            buyer_is_maker=maker,
            trade_us=us - 3000,
            event_us=us - 2000,
            recv_ns=us * 1000,
            connection=1,
        )
        seconds = [began + timedelta(seconds=second) for second in range(int(EVERY.total_seconds()))]
        sealed(layout, Segment(TableName.STATS, number + 1), rows_at(seconds, STATS, messages=ROWS // len(seconds)))
        if number % AN_HOUR == 0:
            opened = rows_at([began], EVENTS, seq=number // AN_HOUR, kind=EventKind.OPENED)
            sealed(layout, Segment(TableName.EVENTS, number // AN_HOUR + 1), opened)
        if number < segments - 1:
            sealed(layout, Segment(TableName.TRADES, number + 1), batch)
        else:
            layout.journal_dir.mkdir()
            journal = SegmentWriter(layout, Segment(TableName.TRADES, number + 1), carried={})
            ends = np.searchsorted(gaps, np.arange(0, gaps[-1], FLUSH // timedelta(microseconds=1))[1:])
            for begin, end in zip([0, *ends], [*ends, ROWS], strict=True):
                if end > begin:
                    journal.append(batch.slice(begin, end - begin))
            journal.sync()


def rows_at(times: list[datetime], schema: pa.Schema, **same: object) -> pa.RecordBatch:
    """Return a row for each time, which are alike but for that."""
    return pa.RecordBatch.from_pylist([{"time": time, "run": 1, "connection": 1, **same} for time in times], schema)


def sealed(layout: Layout, segment: Segment, batch: pa.RecordBatch) -> None:
    """Write a sealed file."""
    metadata = {SEGMENT_KEY: str(segment).encode(), FORMAT_KEY: str(FORMAT_VERSION).encode()}
    time = batch.column("recv_time" if segment.table is TableName.TRADES else "time")[0]
    path = layout.parquet_path(segment, datetime.fromtimestamp(time.value / 1e9, tz=UTC).date())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(encode(segment.table, [pa.Table.from_batches([batch])], metadata)))


def forget(root: Path) -> None:
    """Ask the system to keep nothing of the files in memory."""
    for path in root.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def python(code: str, *arguments: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout


def opening(root: Path) -> tuple[float, ...]:
    """Return the seconds from before the import to the rows, those after all was loaded, and the processor's in all."""
    *seconds, rows = python(READ, str(root)).split()
    assert int(rows) > ROWS, f"only {rows} rows in the last ten minutes"
    return tuple(map(float, seconds))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--segments", type=int, default=8640)
    parser.add_argument(
        "--keep", type=Path, metavar="DIRECTORY", help="make the capture here, or use it if it is there"
    )
    options = parser.parse_args()
    warm, cold, imported, bare = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
        root = options.keep or Path(name) / "capture"
        if not root.exists():
            make(root, options.segments)
        segments = len(places(Layout(root), TableName.TRADES))
        os.sync()  # what is not on the disk yet cannot be forgotten
        opening(root)
        for _ in range(options.rounds):
            warm.append(opening(root))
            forget(root)
            cold.append(opening(root))
            imported.append(float(python(IMPORT)))
            bare.append(float(python(IMPORT.replace("wsresearch", "sys"))))
    trades = segments * ROWS
    print(f"a capture of {trades:,} trades in {segments:,} segments, median of {options.rounds} rounds")
    print(f"  {'the last ten minutes, its files':<34}{'import, open, read':>20}{'open and read':>16}{'processor':>12}")
    told = {"not in memory": cold, "in memory": warm}
    medians = {what: [median(column) for column in zip(*rounds, strict=True)] for what, rounds in told.items()}
    for what, (whole, reading, processor) in medians.items():
        print(f"  {what:<34}{whole:>18.3f} s{reading:>14.3f} s{processor:>10.3f} s")
    print(f"  import wsresearch {median(imported) * 1e3:.0f} ms, bare Python {median(bare) * 1e3:.0f} ms")
    whole, _, processor = max(medians.values())
    stops = ["this was the short version"] if trades < 99e6 else []
    if whole > 1:
        stops.append(
            f"the process computes for {processor:.2f} s, libraries to load included; "
            "the rest is waiting for the disk and for others who compute on this machine"
        )
    Figure(
        what=f"opening a capture of {trades / 1e6:.0f} million trades and reading the last ten minutes, "
        "import included",
        target="1 s",
        value=f"{whole:.2f} s",
        reached=not stops,
        stopped_by="; ".join(stops),
    ).say()
    loaded = python(LOADED).strip()
    more = (median(imported) - median(bare)) * 1e3
    Figure(
        what="import wsresearch, more than bare Python" + (f", loads {loaded}" if loaded else ""),
        target="100 ms, no pandas, no matplotlib",
        value=f"{more:.0f} ms",
        reached=more <= 100 and not loaded,
    ).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
