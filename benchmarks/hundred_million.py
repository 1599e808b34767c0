"""Gaps and missing ids of 100 million trades in one pass, beside a DuckDB query that finds the same.

``python -m benchmarks.hundred_million [--rows 100000000]`` makes a capture of sealed segments with our own schema and
encoding (a gigabyte in a temporary directory), then measures each way in a process of its own, the rounds
alternating, and prints medians and the highest memory. Every way must find exactly the gaps and holes that were made.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from benchmarks.figures import peak_bytes
from wsresearch.api import Capture
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.parquet import encode, regroup
from wsresearch.progress import ProgressLine
from wsresearch.schema import TRADES, TableName
from wsresearch.study import sweep

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SHARES: Final = (0.6, 0.3, 0.1)
A_DAY: Final = 86_400 * 10**9
START_NS: Final = 1_795_000_000 * 10**9
A_SEGMENT: Final = 1_000_000
"""Rows of a segment, as a collector rotates by default."""
MEAN_NS: Final = 4_000_000
"""Between two trades on average: a hundred million are five days."""
RARELY: Final = 20_000
"""Rows from one silence, and from one hole, to the next, on average."""
LEAST_SPEED: Final = 0.5
MOST_BYTES: Final = 2 * 10**9


def make(root: Path, rows: int, *, seed: int = 1, segment: int = A_SEGMENT) -> dict[str, int]:
    """Write a capture of so many trades; return how many gaps over 1 s, holes and missing ids are in it."""
    draw = np.random.default_rng(seed)
    layout = Layout(root)
    create_identity(layout, venue="binance", symbols=list(SYMBOLS), config={})
    prices = pa.array([Decimal(6_000_000 + n) / 100 for n in range(5_000)], pa.decimal128(38, 18))
    sizes = pa.array([Decimal(n * n + 1) / 100_000 for n in range(1_000)], pa.decimal128(38, 18))
    names, sides = pa.array(SYMBOLS), pa.array(["buy", "sell"])
    next_id = np.full(len(SYMBOLS), 1_000_000, dtype=np.int64)
    seen = np.zeros(len(SYMBOLS), dtype=bool)
    now, connection, number, date_before = START_NS, 1, 0, None
    truth = {"gaps": 0, "holes": 0, "missing": 0}
    made = 0
    bar = tqdm(total=rows, unit=" trades", unit_scale=True, desc="making", disable=not sys.stderr.isatty())
    while made < rows:
        count = min(segment, rows - made)
        step = draw.exponential(MEAN_NS, count).astype(np.int64)
        silent = np.flatnonzero(draw.random(count) < 1 / RARELY)
        step[silent] += draw.integers(2 * 10**9, 10 * 10**9, len(silent))
        received = now + np.cumsum(step)
        # A segment never crosses midnight: the next one begins there.
        midnight = (int(received[0]) // A_DAY + 1) * A_DAY
        count = int(np.searchsorted(received, midnight))
        received, step = received[:count], step[:count]
        truth["gaps"] += int((step > 10**9).sum()) - (1 if made == 0 and step[0] > 10**9 else 0)
        codes = draw.choice(len(SYMBOLS), count, p=SHARES)
        ids = np.empty(count, dtype=np.int64)
        for code in range(len(SYMBOLS)):
            mine = np.flatnonzero(codes == code)
            skipped = np.where(draw.random(len(mine)) < 1 / RARELY, draw.integers(1, 50, len(mine)), 0)
            if len(mine) and not seen[code]:
                seen[code], skipped[0] = True, 0
            ids[mine] = next_id[code] + np.arange(len(mine)) + np.cumsum(skipped)
            next_id[code] += len(mine) + int(skipped.sum())
            truth["holes"] += int((skipped > 0).sum())
            truth["missing"] += int(skipped.sum())
        matched = pa.array(received // 1000).cast(pa.timestamp("us", tz="UTC"))
        batch = pa.record_batch(
            [
                names.take(pa.array(codes)),
                pa.array(ids),
                prices.take(pa.array(draw.integers(0, len(prices), count))),
                sizes.take(pa.array(draw.integers(0, len(sizes), count))),
                sides.take(pa.array(draw.integers(0, 2, count))),
                matched,
                matched,
                pa.array(received).cast(pa.timestamp("ns", tz="UTC")),
                pa.array(np.full(count, connection, dtype=np.int32)),
                pa.array(np.zeros(count, dtype=bool)),
            ],
            schema=TRADES,
        )
        number += 1
        date = datetime.fromtimestamp(int(received[0]) // 10**9, tz=UTC).date()
        path = layout.parquet_path(Segment(TableName.TRADES, number), date)
        if date != date_before:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(encode(TableName.TRADES, regroup([batch], TableName.TRADES), {})))
        now, date_before = int(received[-1]), date
        connection += number % 7 == 0
        made += count
        bar.update(count)
    bar.close()
    return truth


# -- the ways: each finds the silences over 1 s, and the intervals of ids that are not there -------------------------


def ours(root: Path) -> dict[str, int]:
    """`study.sweep` over `Capture.batches`."""
    capture = Capture(root)
    swept = sweep(capture.batches(columns=["symbol", "trade_id", "recv_time", "connection"]))
    missing = sum(swept.missing["count"].to_pylist())
    return {"gaps": swept.gaps.num_rows, "holes": swept.missing.num_rows, "missing": missing}


def _duckdb(root: Path, gaps: str, holes: str) -> dict[str, int]:
    import duckdb

    with tempfile.TemporaryDirectory(dir=root.parent) as spill, duckdb.connect() as base:
        base.execute(f"SET temp_directory = '{spill}'")
        times = "epoch_ns(recv_time) AS time"
        base.execute(f"CREATE VIEW t AS SELECT symbol, trade_id, {times} FROM '{root}/trades/**/*.parquet'")
        # Both are fetched, not only counted: what is asked for is the silences and the intervals.
        silences = base.execute(f"SELECT before, time FROM ({gaps}) WHERE time - before > 1000000000").fetchnumpy()
        between = "symbol, before + 1 AS first, trade_id - 1 AS last"
        intervals = base.execute(f"SELECT {between} FROM ({holes}) WHERE trade_id - before > 1").fetchnumpy()
    lost = int((intervals["last"] - intervals["first"] + 1).sum())
    return {"gaps": len(silences["before"]), "holes": len(intervals["first"]), "missing": lost}


def duckdb_ordered(root: Path) -> dict[str, int]:
    """Window functions that say which order they mean, right for rows in any order."""
    return _duckdb(
        root,
        "SELECT time, lag(time) OVER (ORDER BY time) AS before FROM t",
        "SELECT symbol, trade_id, lag(trade_id) OVER (PARTITION BY symbol ORDER BY trade_id) AS before FROM t",
    )


def duckdb_as_stored(root: Path) -> dict[str, int]:
    """Window functions without an order, which DuckDB streams: they rely on the order stored, as we do."""
    per_symbol = " UNION ALL ".join(
        f"SELECT symbol, trade_id, lag(trade_id) OVER () AS before FROM t WHERE symbol = '{name}'" for name in SYMBOLS
    )
    return _duckdb(root, "SELECT time, lag(time) OVER () AS before FROM t", per_symbol)


WAYS: Final[dict[str, Callable[[Path], dict[str, int]]]] = {
    "ours": ours,
    "duckdb, as stored": duckdb_as_stored,
    "duckdb, ordered": duckdb_ordered,
}

SLOW: Final = frozenset({"duckdb, ordered"})
"""Measured in the first round only: it sorts a hundred million rows twice."""


def measured(way: str, root: Path) -> dict[str, Any]:
    """Run one way in a process of its own: what it found, its seconds, CPU seconds and highest memory."""
    command = [sys.executable, "-m", "benchmarks.hundred_million", "--way", way, "--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise RuntimeError(f"{way} failed: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _in_this_process(way: str, root: Path) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    found = WAYS[way](root)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"found": found, "seconds": seconds, "cpu": cpu, "memory": peak_bytes()}))


def compare(root: Path, truth: dict[str, int], *, rows: int, rounds: int, ways: list[str]) -> bool:
    """Measure the ways in turn, print the table; return whether all agree with the truth and ours is fast enough."""
    told: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    line = ProgressLine()
    for number in range(rounds):
        for way in ways if number == 0 else [way for way in ways if way not in SLOW]:
            line.show(f"round {number + 1} of {rounds}: {way}")
            told[way].append(measured(way, root))
    line.close()
    print(f"\n{'way':20} {'seconds':>8} {'CPU s':>8} {'trades/s':>12} {'peak memory':>12}  gaps, holes, missing ids")
    speed, well = {}, True
    for way, several in told.items():
        seconds = statistics.median(one["seconds"] for one in several)
        cpu = statistics.median(one["cpu"] for one in several)
        memory = max(one["memory"] for one in several)
        speed[way] = rows / seconds
        agrees = all(one["found"] == truth for one in several)
        well &= agrees and (way != "ours" or memory < MOST_BYTES)
        found = ", ".join(f"{value:,}" for value in several[0]["found"].values())
        print(
            f"{way:20} {seconds:8.1f} {cpu:8.1f} {rows / seconds:12,.0f} {memory / 1e6:9,.0f} MB  {found}"
            f"  {'as made' if agrees else f'NOT AS MADE: {truth}'}"
        )
    for way in [way for way in ways if way != "ours"]:
        ratio = speed["ours"] / speed[way]
        well &= ratio >= LEAST_SPEED
        print(f"ours is {ratio:.2f} times as fast as {way}; at least {LEAST_SPEED} is asked for")
    return well


def main() -> int:
    """Make, measure, print; exit code 1 if a way disagrees or ours is too slow or too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="Ours first, then what to beat.")
    parser.add_argument("--directory", type=Path, help="Where the trades go for the time of the run.")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        _in_this_process(asked.way, asked.root)
        return 0
    with tempfile.TemporaryDirectory(prefix="wsresearch-", dir=asked.directory) as name:
        root = Path(name) / "capture"
        truth = make(root, asked.rows)
        size = sum(path.stat().st_size for path in root.rglob("*.parquet"))
        print(f"{asked.rows:,} trades of {len(SYMBOLS)} symbols, {size / asked.rows:.1f} bytes each")
        return 0 if compare(root, truth, rows=asked.rows, rounds=asked.rounds, ways=asked.ways) else 1


if __name__ == "__main__":
    sys.exit(main())
