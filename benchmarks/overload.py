"""Ten times more than can be carried, plain and over TLS: is memory bounded, every drop counted, the connection alive?

``python -m benchmarks.overload [--seconds 60]``. The load sends as fast as the client reads, which is many times what
decoding and storing carry. Afterwards: messages sent = rows stored + messages dropped, drops = ids in holes, one
connection, and the queue never above its limit. The peak of memory is printed beside it. Plain and TLS alternate.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.compute as pc

from benchmarks.collecting import Collecting
from benchmarks.figures import Figure
from benchmarks.load import serving
from wsresearch.capture.reader import Reader
from wsresearch.study import holes

QUEUE = 64 << 20


def measure(seconds: float, folder: Path, *, tls: bool) -> float:
    """Print one line; return stored rows per second of sending."""
    with (
        serving(seconds=seconds, then="stay", wait=0.5, tls=tls) as load,
        Collecting(load, folder / "c", queue_bytes=QUEUE) as collector,
    ):
        told = load.result()
        time.sleep(1.0)  # what is on its way
    reader = Reader(collector.out)
    stats, events = reader.stats(), reader.events()
    total = {name: pc.sum(stats[name]).as_py() or 0 for name in ("messages", "trades", "dropped")}
    missing = pc.sum(holes(events)["count"]).as_py() or 0
    stored = reader.totals().trades
    opened = pc.sum(pc.equal(events["kind"], "opened")).as_py()
    checks = {
        "every message was received": total["messages"] == told["sent"],
        "sent = stored + dropped": told["sent"] == stored + total["dropped"],
        # A run of drops at the very end shows as a hole only when another id follows.
        "no more ids in holes than drops": missing <= total["dropped"],
        "one connection": opened == 1,
        "the queue within its limit": pc.max(stats["queue_bytes"]).as_py() <= QUEUE,
    }
    rate = stored / told["seconds"]
    mib, cpu = collector.used["peak_kib"] / 1024, collector.used["cpu"] / stored * 1e6
    print(
        f"{'TLS' if tls else 'plain':6} sent {told['sent']:,} in {told['seconds']:.1f} s, stored {rate:,.0f}/s; ",
        end="",
    )
    print(
        f"dropped {total['dropped']:,}, {missing:,} ids in holes; peak memory {mib:,.0f} MiB, queue {QUEUE >> 20}; ",
        end="",
    )
    print(f"{cpu:.2f} CPU s per million stored")
    fine = all(checks.values())
    what = f"overload{', TLS' if tls else ''}: bounded, drops counted, alive"
    Figure(what=what, target="all", value=f"{mib:,.0f} MiB at most", reached=fine).say()
    for what, so in checks.items():
        if not so:
            print(f"       NOT SO: {what}")
    return rate


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    rates = {}
    for tls in (False, True):
        with tempfile.TemporaryDirectory(prefix="wsresearch-overload-") as name:
            rates[tls] = measure(options.seconds, Path(name), tls=tls)
    print(f"over TLS {rates[True] / rates[False]:.2f} of what plain stores in a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
