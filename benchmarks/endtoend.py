"""From socket to sealed Parquet: a whole collector process beside the plain loop that one would write instead.

``python -m benchmarks.endtoend [--rounds 5] [--messages 1000000]``. One client at a time, in a process of its own,
takes a flood of trades of ten symbols; clients alternate. *Ours* is the process that ``wsresearch collect`` starts,
with everything in it: strict decoding, duplicates and holes, statistics, journal, sealing with its read-back. *Plain*
is ``async for message in websockets.connect(…)`` with the same decoder, ledger, journal and seal behind it, fed with
2,048 messages at a time. CPU is that of the client's process from the moment it is ready until it has ended, all
threads, what the kernel does for its sockets and files included. What is loaded once (pyarrow imports pandas with its
first array, a third of a second) is loaded before. Every row must be on the disk, or it fails.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks import framing
from benchmarks.figures import Figure, median, peak_bytes
from benchmarks.load import Load, serving
from wsresearch.api import open_capture
from wsresearch.collect.memory import ARROW_POOL

OURS: Final = "ours"
PLAIN: Final = "plain websockets loop"
OURS_TLS: Final = "ours over TLS"
SHARES: Final = {OURS: 1.0, PLAIN: 0.15, OURS_TLS: 1.0}
"""Part of the messages that a client gets, so that the slow ones do not take all the time."""

_QUEUE_BYTES: Final = 1 << 30
"""The flood never waits and the collector reads eagerly: by default it would drop what lasts longer than a burst."""

_AT_ONCE: Final = 2_048
_PATIENCE: Final = 300.0
"""Seconds for a client to receive what was sent; a machine with other work may need many."""


def collect(url: str, symbols: str, folder: Path) -> None:
    """Be the collector's process until told to stop."""
    from wsresearch.api import make_config
    from wsresearch.collect.here import collect_here

    config = dataclasses.replace(make_config(f"binance:{symbols}", folder, url=url), queue_bytes=_QUEUE_BYTES)
    began = 0.0

    def ready(_: object) -> None:
        nonlocal began
        began = time.process_time()
        print("ready", flush=True)

    collect_here(config, ready=ready)
    tell(began)


def loop(url: str, symbols: str, folder: Path) -> None:
    """Receive with the library's own loop, one message at a time, and store as the collector does."""
    import websockets

    from wsresearch.capture.identity import create_identity
    from wsresearch.capture.layout import Layout
    from wsresearch.capture.seal import seal
    from wsresearch.capture.writer import CaptureWriter
    from wsresearch.collect.sequence import Ledger
    from wsresearch.schema import TableName
    from wsresearch.venues import Frames, venue_named

    names = [name.upper() for name in symbols.split(",")]
    layout = Layout(folder)
    create_identity(layout, venue="binance", symbols=names, config={})
    decoder, ledger = venue_named("binance").decoder(names), Ledger()
    began = time.process_time()

    async def main() -> None:
        messages: list[bytes] = []
        times: list[int] = []
        with CaptureWriter(folder, on_finished=lambda segment: seal(layout, segment)) as writer:

            def store() -> None:
                decoded = decoder.decode(Frames.of(messages, times), connection=1)
                admitted = ledger.admit(decoded.batch, connection=1)
                writer.append(TableName.TRADES, admitted.batch, now_ns=times[-1])
                messages.clear()
                times.clear()

            async with websockets.connect(url, compression=None) as websocket:
                print("ready", flush=True)
                while True:
                    try:
                        messages.append(await websocket.recv(decode=False))
                    except websockets.ConnectionClosedOK:
                        break
                    times.append(time.time_ns())
                    if len(messages) == _AT_ONCE:
                        store()
            if messages:
                store()

    asyncio.run(main())
    tell(began)


def tell(began: float) -> None:
    """Print what this process has cost."""
    print(json.dumps({"cpu": time.process_time() - began, "peak_bytes": peak_bytes()}), flush=True)


def measured(name: str, load: Load, folder: Path) -> dict[str, Any]:
    """Run a client, let it finish, look at what it left on the disk."""
    command = [sys.executable, "-m", "benchmarks.endtoend", "--client", "plain" if name == PLAIN else "collect"]
    environment = dict([ARROW_POOL]) | os.environ
    if load.authority:
        environment["SSL_CERT_FILE"] = str(load.authority)
    process = subprocess.Popen(
        [*command, load.url.replace("127.0.0.1", "localhost"), ",".join(load.symbols).lower(), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", f"{name} did not begin"
    sent = load.result()
    if name != PLAIN:
        _wait_for(sent["sent"], folder)
        process.send_signal(signal.SIGTERM)
    told: dict[str, Any] = json.loads(process.stdout.readline())
    process.wait(60)
    return told | _on_disk(folder, sent["sent"], name) | {"sent": sent}


def _wait_for(messages: int, folder: Path) -> None:
    """Wait until the collector says once a second that it has received so many."""
    capture, deadline = open_capture(folder), time.monotonic() + _PATIENCE
    while (seen := capture.status.messages) < messages:
        if time.monotonic() > deadline:
            raise TimeoutError(f"received {seen} of {messages} messages in {_PATIENCE:g} s")
        time.sleep(0.5)


def _on_disk(folder: Path, sent: int, name: str) -> dict[str, Any]:
    from wsresearch.capture.reader import Reader

    reader = Reader(folder)
    assert not list((folder / "journal").glob("trades*")), f"{name} left a journal that is not sealed"
    size = sum(path.stat().st_size for path in (folder / "trades").rglob("*.parquet"))
    rows = reader.trades(columns=["trade_id"]).num_rows
    assert rows == sent, f"{name} stored {rows} of {sent} messages"
    return {"rows": rows, "bytes": size}


def main() -> int:
    """Measure and print, or be one of the clients."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--client", nargs=4, metavar=("KIND", "URL", "SYMBOLS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        kind, url, symbols, folder = options.client
        pa.array([0])
        (loop if kind == "plain" else collect)(url, symbols, Path(folder))
        return 0
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in SHARES}
    alone: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        for name, told in results.items():
            count = int(options.messages * SHARES[name])
            stays = "close" if name == PLAIN else "stay"
            with (
                serving(count=count, tls=name == OURS_TLS, then=stays, wait=0.3) as load,
                tempfile.TemporaryDirectory(prefix="wsresearch-") as folder,
            ):
                told.append(measured(name, load, Path(folder) / "capture"))
        with serving(count=options.messages) as load:
            alone.append(framing.measured(framing.DIRECT, load, None))
    print(f"{options.messages:,} messages of 10 symbols, median of {options.rounds} alternating rounds")
    print(f"{'':24} {'CPU s per million':>18} {'messages/s of a core':>20} {'most memory':>12} {'bytes a trade':>14}")
    cost = {name: median(one["cpu"] / one["rows"] * 1e6 for one in told) for name, told in results.items()}
    for name, told in results.items():
        rate = median(one["rows"] / one["cpu"] for one in told)
        memory = median(one["peak_bytes"] for one in told) / 1e6
        size = median(one["bytes"] / one["rows"] for one in told)
        print(f"{name:24} {cost[name]:18.2f} {rate:20,.0f} {memory:9,.0f} MB {size:14.2f}")
    load_cost = median(one["sent"]["cpu"] / one["rows"] * 1e6 for one in results[OURS])
    print(f"the load itself took {load_cost:.2f} CPU seconds per million beside ours")
    framed = median(one["cpu"] / one["messages"] * 1e6 for one in alone)
    print(f"reading and splitting alone takes {framed:.3f} CPU seconds per million, in the same rounds")
    ratio = cost[PLAIN] / cost[OURS]
    Figure(
        what="end to end, messages per second of one core, against a plain websockets loop with the same sink",
        target="10 ×",
        value=f"{ratio:.1f} ×",
        reached=ratio >= 10,
        stopped_by="what both share, from decoding to sealing, is most of what ours costs",
    ).say()
    Figure(
        what="end to end, CPU seconds per million messages, or in terms of reading and splitting alone",
        target="1.2 or 6 ×",
        value=f"{cost[OURS]:.2f} or {cost[OURS] / framed:.1f} ×",
        reached=cost[OURS] <= max(1.2, 6 * framed),
        stopped_by="see the stations; a machine that others use at the same time makes all of them slower",
    ).say()
    ratio = cost[OURS] / cost[OURS_TLS]
    Figure(what="end to end over TLS, of plain", target="0.8", value=f"{ratio:.2f}", reached=ratio >= 0.8).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
