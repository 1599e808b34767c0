"""Each message its own packet: what waking up costs, and how late the receive times are.

``python -m benchmarks.trickle [--rate 10000] [--seconds 5] [--rounds 3]``. Printed are CPU seconds per million messages
and the time from handing a message to the kernel until its receive time, which on one machine is one clock.
Variants: ``recv()``; ours on each event loop, without gathering (each packet wakes it up) and as it is (while packets
come close together, reads wait half a millisecond for more); and gathering of one and of five milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import uvloop

from benchmarks.figures import Figure
from benchmarks.load import serving
from wsresearch.collect import connection
from wsresearch.collect.clock import Anchor
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.transport import WebSocketTransport

# Way, event loop, seconds of gathering; None is what the collector does.
VARIANTS: dict[str, tuple[bool, bool, float | None]] = {
    "recv(), asyncio": (False, False, None),
    "recv(), uvloop": (False, True, None),
    "ours, asyncio, not gathering": (True, False, 0.0),
    "ours, uvloop, not gathering": (True, True, 0.0),
    "ours, asyncio": (True, False, None),
    "ours, uvloop": (True, True, None),
    "ours, uvloop, gathering 1 ms": (True, True, 0.001),
    "ours, uvloop, gathering 5 ms": (True, True, 0.005),
}


async def receive(url: str, *, direct: bool) -> tuple[float, list[int]]:
    """Receive until the load says goodbye; return CPU seconds and the receive times."""
    inbox = Inbox(limit=1 << 30, on_arrival=lambda: None)
    net = WebSocketTransport(direct=direct, ping_timeout=60)
    anchor = Anchor(wall_ns=net.wall_ns(), mono=net.now())
    link = await net.connect(url, began=anchor.mono, anchor=anchor, inbox=inbox)
    began = time.process_time()
    await link.lost()
    cpu = time.process_time() - began
    return cpu, inbox.take(1 << 40).recv_ns.tolist()


def run(name: str, url: str, to: str) -> None:
    """Be one variant; say what it cost, and write the receive times to a file."""
    direct, on_uvloop, gather = VARIANTS[name]
    if gather is not None:
        connection._GATHER = gather  # type: ignore[misc]
        connection._DENSE = connection._DENSE if gather else 0.0  # type: ignore[misc]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if on_uvloop else None) as runner:
        cpu, times = runner.run(receive(url, direct=direct))
    np.save(to, np.array(times))
    print(json.dumps({"cpu": cpu}))


def main() -> int:
    """Measure all variants in alternating rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=float, default=10_000.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        run(*options.variant)
        return 0
    results: dict[str, list[tuple[float, Any]]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, told in results.items():
            with serving(rate=options.rate, seconds=options.seconds, each=True, wait=0.2) as load:
                to = load.log.with_name("received.npy")
                command = [sys.executable, "-m", "benchmarks.trickle", "--variant", name, load.url, str(to)]
                said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                load.result()
                late = (np.load(to) - load.sent_ns()) / 1e6
                told.append((said["cpu"] / len(late) * 1e6, np.percentile(late, [50, 99, 100])))
    print(f"{options.rate:,.0f} messages/s, each its own packet, {options.seconds:g} s, {options.rounds} rounds")
    print(f"{'':32} {'CPU s per million':>18} {'sent → receive time, ms: p50':>30} {'p99':>8} {'max':>8}")
    for name, told in results.items():
        late = np.median([each for _, each in told], axis=0)
        print(
            f"{name:32} {statistics.median(cpu for cpu, _ in told):18.2f} {late[0]:30.3f} {late[1]:8.3f} {late[2]:8.3f}"
        )
    late = float(np.median([each[1] for _, each in results["ours, uvloop"]]))
    what = "each message its own packet: sent → receive time p99"
    Figure(what=what, target="1 ms", value=f"{late:.2f} ms", reached=late <= 1.0).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
