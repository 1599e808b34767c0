"""From sent to received, and from sent to visible in another process, at several paces.

``python -m benchmarks.latency [--seconds 60] [--rates 1000 10000 50000]``. The load writes down when it handed each
message to the kernel; a collector of its own process stores them, flushing every 50 ms; this process follows the
journal, looking every millisecond. All on one machine, so there is one clock, and three processes share its cores.
Every message must arrive: rows are matched with messages by their order.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.collecting import Collecting
from benchmarks.figures import Figure
from benchmarks.load import serving
from wsresearch.capture.reader import Reader

LOOK = 0.001
HARDEST = 50_000.0
GOAL = "goal at 50,000/s: received p99 under 5 ms, visible p99 at most 120 ms"


def measure(rate: float, seconds: float, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return milliseconds from sent to received and to visible, and the collector's CPU seconds per million."""
    count = int(rate * seconds)
    seen: list[tuple[int, int]] = []
    with serving(rate=rate, count=count, then="stay", wait=1.0) as load, Collecting(load, folder / "c") as collector:
        with Reader(collector.out).follow(max_rows=1000) as follow:
            give_up = time.monotonic() + seconds + 30
            while follow.counts.added < count and time.monotonic() < give_up:
                if follow.poll():
                    seen.append((time.time_ns(), follow.counts.added))
                time.sleep(LOOK)
            assert follow.counts.added == count, f"{follow.counts.added} of {count} messages became visible"
        load.result()
        sent = load.sent_ns()
    received = Reader(collector.out).trades(columns=["recv_time"])["recv_time"].cast(pa.int64()).to_numpy()
    when, rows = np.array(seen).T
    visible = when[np.searchsorted(rows, np.arange(count), side="right")]
    return (received - sent) / 1e6, (visible - sent) / 1e6, collector.used["cpu"] / count * 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[1_000.0, 10_000.0, 50_000.0])
    options = parser.parse_args()
    print(f"{options.seconds:g} s at each pace; milliseconds. {GOAL}")
    print(f"{'messages/s':>12} {'received: p50':>14} {'p99':>8} {'max':>8} {'visible: p50':>14} {'p99':>8} {'max':>8}")
    for rate in options.rates:
        with tempfile.TemporaryDirectory(prefix="wsresearch-latency-") as name:
            *latencies, cpu = measure(rate, options.seconds, Path(name))
        figures = [np.percentile(each, [50, 99, 100]) for each in latencies]
        cells = "".join(f"{a:15.2f} {b:8.2f} {c:8.2f}" for a, b, c in figures)
        print(f"{rate:12,.0f}{cells}   collector: {cpu:.1f} CPU s per million, starting and sealing included")
        if rate == HARDEST:
            for what, (_, p99, _), most in zip(("received", "visible"), figures, (5.0, 120.0), strict=True):
                told = f"sent → {what} p99 at 50,000 messages/s"
                Figure(what=told, target=f"{most:g} ms", value=f"{p99:.1f} ms", reached=p99 <= most).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
