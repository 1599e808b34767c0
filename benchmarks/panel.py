"""What a panel costs: CPU of a real kernel that shows one, while a collector's rows come in.

``python -m benchmarks.panel [--seconds 30]``. A synthetic capture of an hour with 200 outages, of a day with
5,000, of 30 days with 600 and of an hour with one every other second is made; another process goes on writing to it at
the same pace, and a kernel shows its panel. Printed are the CPU seconds that the kernel used beyond an idle one, per
second; how often the panel looked, which is less than once a second on a machine that is busy with other things, so
that the CPU of a look tells more there; and what twenty runs of the cell leave behind. No network, no collector.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import numpy as np
import pyarrow as pa

from tests.study.eventlog import EventLog, days
from wsresearch.api import make_config
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.seal import seal
from wsresearch.capture.writer import CaptureWriter, Rotation
from wsresearch.collect.lock import held
from wsresearch.schema import EVENTS, STATS, TableName

SECOND = 10**9
ROTATION = 300.0
TRADES = 200
CASES = (
    ("an hour with 200 outages", 200, 3_600.0, 18.0, ("5 min", "1 h")),
    ("a day with 5,000 outages", 5_000, 86_400.0, 17.0, ("1 h", "24 h", "all")),
    ("30 days with 600 outages", 600, 30 * 86_400.0, 18.0, ("1 h", "all")),
    ("an hour with an outage every 2 s", 1_800, 3_600.0, 2.0, ("1 h",)),
)


class NoSync(RealDisk):
    """The real disk without the waiting: these captures are thrown away."""

    __slots__ = ()

    def fdatasync(self, descriptor: int) -> None:
        pass

    def fsync(self, descriptor: int) -> None:
        pass

    def fsync_dir(self, path: Path) -> None:
        pass


def stats(begin: int, end: int, *, connection: int = 1) -> pa.Table:
    """One row a second from ``begin`` to ``end`` (ns)."""
    times = np.arange(begin, end, SECOND)
    counts = {"messages": TRADES, "trades": TRADES, "bytes": 40_000, "rejected": 0, "dropped": 0, "queue_bytes": 0}
    columns: dict[str, Any] = {
        "time": pa.array(times, STATS.field("time").type),
        "run": np.ones(len(times), np.int32),
        "connection": np.full(len(times), connection, np.int32),
        **{name: np.full(len(times), count) for name, count in counts.items()},
        "ping_rtt": np.full(len(times), 0.02),
        "lag": np.random.default_rng(1).exponential(0.05, len(times)),
    }
    return pa.table(columns, schema=STATS)


def build(root: Path, *, outages: int, span: float) -> EventLog:
    """Make a capture that ends now, and return the log that goes on from there."""
    log = days(outages, span=span)
    log.rows.pop()  # it has not stopped
    shift = time.time_ns() - log.now
    log.now += shift
    for row in log.rows:
        row["time"] += shift
    config = make_config("binance:btcusdt", root).kept()
    create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config=config, disk=NoSync())
    rows = {TableName.EVENTS: log.table(), TableName.STATS: stats(log.rows[0]["time"], log.now)}
    finished: list[Any] = []
    with CaptureWriter(root, rotation=Rotation(age=ROTATION), on_finished=finished.append, disk=NoSync()) as writer:
        for begin in range(log.rows[0]["time"], log.now, round(ROTATION * SECOND)):
            for table, every in rows.items():
                times = every["time"].cast(pa.int64()).to_numpy()
                here = np.searchsorted(times, [begin, begin + round(ROTATION * SECOND)])
                for batch in every.slice(here[0], here[1] - here[0]).combine_chunks().to_batches():
                    writer.append(table, batch, now_ns=begin)
    for segment in finished:
        seal(Layout(root), segment)
    return log


def go_on(root: Path, log: EventLog, *, every: float) -> None:
    """Write to the capture in real time, an outage every so many seconds, until this process is ended."""
    with held(root) as lock, CaptureWriter(root, rotation=Rotation(age=ROTATION), disk=NoSync()) as writer:
        lock.note(run=1)
        log.wait(every / 4)
        told, next_row = time.time_ns(), 0
        log.rows.clear()
        while True:
            if next_row == len(log.rows):
                log.lost(0.05, cause="reset", close_by="peer")
                log.try_to_open(every / 10)
                log.failed(0.01)
                log.try_to_open(every / 10)
                log.opened(0.05)
                log.first_message(0.05)
                log.wait(every * 0.75)
            now = time.time_ns()
            due = [row for row in log.rows[next_row:] if row["time"] <= now]
            next_row += len(due)
            if due:
                rows = [{**row, "seq": 10**6 + row["seq"]} for row in due]
                writer.append(TableName.EVENTS, pa.RecordBatch.from_pylist(rows, EVENTS), now_ns=now)
            if now - told >= SECOND:
                batch = stats(told, told + SECOND - 1, connection=log.connection).combine_chunks().to_batches()[0]
                writer.append(TableName.STATS, batch, now_ns=now)
                told += SECOND
            time.sleep(0.05)


SETUP = """
import gc, os, resource, threading, time
import wsresearch as wr
from ipywidgets.widgets.widget import _instances
from wsresearch.notebook import plots
capture = wr.open_capture({root!r})
def cost(seconds):
    began, wall = time.process_time(), time.monotonic()
    time.sleep(seconds)
    return (time.process_time() - began) / (time.monotonic() - wall)
idle = cost(5)
"""
SHOW = "panel = capture.panel(stretch={stretch!r})\npanel"
MEASURE = """
panel.wait_for(lambda panel: panel.seen is not None and not panel.seen.loading, 600)
time.sleep(3)
looks, look = [], panel._look
panel._look = lambda **how: looks.append(0) or look(**how)
used = cost({seconds})
print('JSON', [idle, used, len(looks) / {seconds}])
panel.close()
"""
# The kernel keeps a pipe for each thread that has shown something, and closes those of ended threads every 10 s.
LEAKS = """
time.sleep(11)
gc.collect()
with panel._looking:  # a look under way has files open for a moment
    print('JSON', [threading.active_count(), len(_instances), len(os.listdir('/proc/self/fd'))])
"""


def told(cell: Any) -> Any:
    """What a cell printed."""
    text = "".join(output.get("text", "") for output in cell.outputs)
    return json.loads(text.split("JSON", 1)[1])


def run(cells: Sequence[str]) -> Any:
    """Execute cells in a kernel of their own and return what each printed."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    return [told(cell) for cell in notebook.cells if any("JSON" in out.get("text", "") for out in cell.outputs)]


def measure_case(name: str, root: Path, stretches: Sequence[str], *, seconds: float) -> None:
    """Print what the panel of one capture costs, and once what running its cell again and again leaves behind."""
    for stretch in stretches:
        measure = MEASURE.format(seconds=seconds)
        [[idle, used, looks]] = run([SETUP.format(root=str(root)), SHOW.format(stretch=stretch), measure])
        each = 1e3 * (used - idle) / looks
        print(f"{name:36} {stretch:>7} {used - idle:8.1%} {looks:8.2f} {each:9.0f} ms   ({idle:.1%})", flush=True)
    if name == CASES[0][0]:
        # In nbclient a cell that is run again is one with the same text.
        again = [cell for _ in range(20) for cell in (SHOW.format(stretch="1 h"), "time.sleep(0.2)")]
        counts = run([SETUP.format(root=str(root)), SHOW.format(stretch="1 h"), LEAKS, *again, LEAKS])
        for when, (threads, models, files) in zip(("after 1 run", "after 21"), counts, strict=True):
            print(f"{when:>36}: {threads} threads, {models} widget models, {files} open files", flush=True)


def main() -> int:
    """Measure every case and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--write", nargs=3, metavar=("ROOT", "OUTAGES", "EVERY"), help=argparse.SUPPRESS)
    parser.add_argument("--span", type=float, default=3_600.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        root, outages, every = arguments.write
        log = build(Path(root), outages=int(outages), span=arguments.span)
        print("ready", flush=True)
        go_on(Path(root), log, every=float(every))
    print(
        f"{'CPU of a panel, of one core':36} {'shown':>7} {'panel':>8} {'looks/s':>8} {'each look':>12}   (idle kernel)"
    )
    for name, outages, span, every, stretches in CASES:
        if arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "capture"
            command = [sys.executable, "-m", "benchmarks.panel", "--write", str(root), str(outages), str(every)]
            with subprocess.Popen([*command, "--span", str(span)], stdout=subprocess.PIPE, text=True) as writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                try:
                    measure_case(name, root, stretches, seconds=arguments.seconds)
                finally:
                    writer.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
