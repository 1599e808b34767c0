"""How long one waits for a large capture: open it and read the last ten minutes; and for ``import wsresearch``.

``python -m benchmarks.opening [--rounds 5] [--segments 8640]``. The capture has a segment for every five minutes, as
a collector makes them, with 11,574 trades in each: 8,640 of them are thirty days and 100 million trades. It is made
first, which takes a minute or two. Every opening is in a new process with nothing in memory but what the system keeps
of the files; what is timed begins before ``import wsresearch``.
"""

from __future__ import annotations

import argparse
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
from wsresearch.capture.append import FORMAT_KEY, SEGMENT_KEY
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.parquet import encode
from wsresearch.schema import FORMAT_VERSION, TableName
from wsresearch.venues.binance_columns import trades_batch
from wsresearch.venues.columns import decimals

ROWS: Final = 11_574
EVERY: Final = timedelta(minutes=5)
BEGAN: Final = datetime(2026, 10, 1, tzinfo=UTC)
READ: Final = """
import time; began = time.perf_counter()
import sys, wsresearch
rows = wsresearch.open_capture(sys.argv[1]).trades(last="10min").num_rows
print(time.perf_counter() - began, rows)
"""
IMPORT: Final = "import time; b = time.perf_counter(); import wsresearch; print(time.perf_counter() - b)"
LOADED: Final = "import sys, wsresearch; print(*(n for n in ('pandas', 'matplotlib') if n in sys.modules))"


def make(root: Path, segments: int) -> None:
    """Write the capture's sealed files, as `seal` would, without its reading back and waiting for the disk."""
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
        segment = Segment(TableName.TRADES, number + 1)
        metadata = {SEGMENT_KEY: str(segment).encode(), FORMAT_KEY: str(FORMAT_VERSION).encode()}
        path = layout.parquet_path(segment, began.date())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(TableName.TRADES, [pa.Table.from_batches([batch])], metadata))


def python(code: str, *arguments: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--segments", type=int, default=8640)
    options = parser.parse_args()
    opened, imported, bare = [], [], []
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
        root = Path(name) / "capture"
        make(root, options.segments)
        for _ in range(options.rounds):
            seconds, rows = python(READ, str(root)).split()
            assert int(rows) > ROWS, f"only {rows} rows in the last ten minutes"
            opened.append(float(seconds))
            imported.append(float(python(IMPORT)))
            bare.append(float(python(IMPORT.replace("wsresearch", "sys"))))
    trades = options.segments * ROWS
    print(f"a capture of {trades:,} trades in {options.segments:,} segments, median of {options.rounds} rounds")
    print(f"  import, open and read the last ten minutes {median(opened):8.3f} s")
    print(f"  import wsresearch                          {median(imported) * 1e3:8.0f} ms")
    loaded = python(LOADED).strip()
    Figure(
        what=f"opening a capture of {trades / 1e6:.0f} million trades and reading the last ten minutes",
        target="1 s",
        value=f"{median(opened):.2f} s",
        reached=median(opened) <= 1 and trades >= 99e6,
        stopped_by="this was the short version" if trades < 99e6 else "each footer of the last day is read",
    ).say()
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
