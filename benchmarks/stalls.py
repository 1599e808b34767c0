"""How long the receive path waits while a segment is sealed beside it, in a thread as in the collector, or elsewhere.

``python -m benchmarks.stalls [--rounds 5] [--messages 1000000]``. An event loop asks to be woken every millisecond
and notes how late it was, as a socket's bytes would be, while a segment of so many trades is sealed over and over. It
is told apart what the machine does to it anyway (*nothing beside it*), what the interpreter lock adds (*a thread*) and
what is left when the sealing is another process's (*a process*): that takes the processor, too, but no lock.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.encodings import trades
from benchmarks.figures import Figure, median
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.seal import seal
from wsresearch.capture.writer import CaptureWriter, Rotation
from wsresearch.schema import TableName

EVERY: Final = 0.001
SEGMENT: Final = Segment(TableName.TRADES, 1)
NOTHING, THREAD, PROCESS = "nothing beside it", "sealing in a thread", "sealing in a process"


def journal(root: Path, rows: int) -> None:
    """Write a capture with one segment that is not sealed."""
    create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config={})
    with CaptureWriter(root, rotation=Rotation(rows=10**9)) as writer:
        for group in trades(rows):
            for batch in group.to_batches(max_chunksize=4096):
                writer.append(TableName.TRADES, batch, now_ns=0)


def seal_copy(root: str) -> None:
    """Seal a copy, so that the same segment can be sealed again."""
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
        shutil.copytree(root, Path(name) / "c")
        assert seal(Layout(Path(name) / "c"), SEGMENT) is not None


async def lateness(work: Callable[[], Any] | None, seconds: float) -> list[float]:
    """Return how late each waking was while some work went on in a thread, or for so many seconds."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as executor:
        done = loop.run_in_executor(executor, work) if work else asyncio.ensure_future(asyncio.sleep(seconds))
        late = []
        while not done.done():
            due = time.perf_counter() + EVERY
            await asyncio.sleep(EVERY)
            late.append(time.perf_counter() - due)
        await done
    return late


def main() -> int:
    """Measure and print, or seal a capture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seal", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seal:
        seal_copy(options.seal)
        return 0
    late: dict[str, list[list[float]]] = {NOTHING: [], THREAD: [], PROCESS: []}
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
        root = Path(name) / "capture"
        journal(root, options.messages)
        command = [sys.executable, "-m", "benchmarks.stalls", "--seal", str(root)]
        works: dict[str, Callable[[], Any] | None] = {
            NOTHING: None,
            THREAD: lambda: seal_copy(str(root)),
            PROCESS: lambda: subprocess.run(command, check=True),
        }
        for _ in range(options.rounds):
            for kind, work in works.items():
                late[kind].append(asyncio.run(lateness(work, 2.0)))
    print(f"waking each millisecond while {options.messages:,} trades are sealed, median of {options.rounds} rounds")
    print(f"{'late by, ms':24} {'half':>8} {'99 %':>8} {'99.9 %':>8} {'most':>8}")
    worst = {}
    for kind, rounds in late.items():
        points = [median(np.percentile(one, point) * 1e3 for one in rounds) for point in (50, 99, 99.9, 100)]
        worst[kind] = points[1]
        print(f"{kind:24} " + " ".join(f"{point:8.2f}" for point in points))
    Figure(
        what="receive path while a segment is sealed beside it, 99 % of wakings late by at most",
        target="5 ms",
        value=f"{worst[THREAD]:.1f} ms ({worst[NOTHING]:.1f} ms with nothing beside it)",
        reached=worst[THREAD] <= 5,
        stopped_by="the processor, if a process instead of the thread is as late; else the interpreter lock",
    ).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
