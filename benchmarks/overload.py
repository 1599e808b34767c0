"""Ten times more than can be carried, plain and over TLS: is memory bounded, every drop counted, the connection alive?

``python -m benchmarks.overload [--seconds 60 | --minutes 10]``. The load sends as fast as the client reads, and could
send at least ten times what decoding and storing carry. Afterwards, of each symbol: trades sent = stored + ids in
holes + those dropped behind the last one stored, and the last two together = messages dropped; one connection, the
queue never above its limit, and memory never above what it was before the load + the queue + 64 MB. Plain and TLS
alternate.

A minute leaves a quarter of a gigabyte, ten minutes two to three; ``--out`` says where, and it is removed afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psutil
import pyarrow.compute as pc
from tqdm import tqdm

from benchmarks.collecting import Collecting
from benchmarks.figures import Figure
from benchmarks.lap import FIRST_LAP, PER_SYMBOL
from benchmarks.load import Load, serving
from wsresearch.capture.reader import Reader
from wsresearch.study import holes

QUEUE = 64 << 20
SLACK = 64_000_000
"""Bytes of memory beyond those of an idle collector and of its full queue."""
TIMES = 10
DISK = 10_000_000
"""Bytes a second for which there must be room; measured were 4 MB, journals that wait for their seal included."""


def measure(seconds: float, folder: Path, *, tls: bool) -> tuple[float, bool]:
    """Print what came of it; return stored rows per second of sending, and whether all was as it should be."""
    with serving(seconds=2.0, then="stay", tls=tls) as load:
        could = offered(load)
    with (
        serving(seconds=seconds, then="stay", wait=3.0, tls=tls) as load,
        Collecting(load, folder / "c", queue_bytes=QUEUE) as collector,
    ):
        time.sleep(2.0)  # connected, and nothing was sent yet
        base = psutil.Process(collector.process.pid).memory_info().rss
        disk = _watched(folder, seconds)
        told = load.result()
        time.sleep(1.0)  # what is on its way
    reader = Reader(collector.out)
    stats, events = reader.stats(), reader.events()
    total = {name: pc.sum(stats[name]).as_py() or 0 for name in ("messages", "dropped")}
    found = holes(events)
    missing: Counter[str] = Counter()
    for symbol, count in zip(found["symbol"].to_pylist(), found["count"].to_pylist(), strict=True):
        missing[symbol] += count
    stored, behind, whole = _accounts(collector.out, told["counts"], missing)
    opened = pc.sum(pc.equal(events["kind"], "opened")).as_py()
    peak, cpu = collector.used["peak_kib"] * 1024, collector.used["cpu"] / stored * 1e6
    rate, bound = stored / told["seconds"], base + QUEUE + SLACK
    checks = {
        # Over TLS it is ciphers that limit what a load and its client do on two cores.
        f"the load could send {TIMES} times what is stored": tls or could >= TIMES * rate,
        "every message was received": total["messages"] == told["sent"],
        "sent = stored + dropped": told["sent"] == stored + total["dropped"],
        "of each symbol, sent = stored + in holes + behind the last one stored": whole,
        "dropped = in holes + behind the last one stored": total["dropped"] == missing.total() + behind,
        "one connection": opened == 1,
        "the queue within its limit": pc.max(stats["queue_bytes"]).as_py() <= QUEUE,
        "memory within that of an idle collector + the queue + 64 MB": peak <= bound,
    }
    name = "TLS" if tls else "plain"
    print(
        f"{name:6} {told['seconds']:.0f} s: could send {could:,.0f}/s, sent {told['sent']:,}, stored {stored:,} "
        f"({rate:,.0f}/s), dropped {total['dropped']:,} = {missing.total():,} ids in {found.num_rows:,} holes "
        f"+ {behind:,} behind the last one stored; offered {could / rate:.1f} and read {told['sent'] / stored:.1f} "
        f"times what was stored\n"
        f"       memory {base / 1e6:,.0f} MB before, {peak / 1e6:,.0f} MB at most, {bound / 1e6:,.0f} MB allowed; "
        f"{disk / 1e6:,.0f} MB on disk at most; {cpu:.2f} CPU s per million stored"
    )
    wrong = [what for what, so in checks.items() if not so]
    Figure(
        what=f"overload{', TLS' if tls else ''}: memory at most, drops counted, alive",
        target=f"{bound / 1e6:,.0f} MB",
        value=f"{peak / 1e6:,.0f} MB",
        reached=not wrong,
        stopped_by="; ".join(f"not so: {what}" for what in wrong),
    ).say()
    return rate, not wrong


def offered(load: Load) -> float:
    """Return how many messages a second the load sends to somebody who reads and does nothing else."""
    place = urlsplit(load.url)
    with socket.create_connection((place.hostname, place.port)) as raw, contextlib.ExitStack() as stack:
        sock: socket.socket = raw
        if load.authority is not None:
            context = ssl.create_default_context(cafile=load.authority)
            sock = stack.enter_context(context.wrap_socket(raw, server_hostname=place.hostname))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        sock.settimeout(1.0)  # after the last message the load stays, and says nothing
        room = bytearray(1 << 18)
        with contextlib.suppress(TimeoutError):
            while sock.recv_into(room):
                pass
        told = load.result()
    return float(told["sent"] / told["seconds"])


def _watched(folder: Path, seconds: float) -> int:
    """Wait for the end of the load; return the most bytes that lay in a folder meanwhile."""
    most = 0
    until = time.monotonic() + seconds + 1.0
    with tqdm(total=round(seconds), unit="s", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            bar.update(min(1, bar.total - bar.n))
            most = max(most, _size(folder))
    return most


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # sealed meanwhile
            size += path.stat().st_size
    return size


def _accounts(root: Path, sent: Mapping[str, int], missing: Counter[str]) -> tuple[int, int, bool]:
    """Hold what is stored against what was sent.

    Returns
    -------
    tuple
        Rows stored, trades sent after the last one stored of their symbol, and whether each symbol's add up.
    """
    query = f"select symbol, min(trade_id), max(trade_id), count(*) from '{root}/trades/**/*.parquet' group by symbol"
    stored = behind = 0
    whole = True
    found = {symbol: told for symbol, *told in duckdb.sql(query).fetchall()}
    for symbol, count in sent.items():
        first, last, rows = found[symbol]
        mine = FIRST_LAP * PER_SYMBOL + count - 1 - last
        whole &= first == FIRST_LAP * PER_SYMBOL and mine >= 0
        whole &= count == rows + missing[symbol] + mine
        stored, behind = stored + rows, behind + mine
    return stored, behind, whole and set(found) == set(sent)


def main() -> int:
    """Measure and print; exit code 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60.0, help="of load, plain and again over TLS (60)")
    length.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--tls", action="store_true", help="only over TLS")
    parser.add_argument("--out", type=Path, help="where what is collected lies meanwhile (the folder for such things)")
    asked = parser.parse_args()
    seconds = asked.seconds if asked.minutes is None else asked.minutes * 60
    out = asked.out or Path(tempfile.gettempdir())
    if not out.is_dir() or not seconds >= 1:
        parser.error(f"{seconds:g} s in {out}: give a second at least, and a folder that is there")
    free, needed = shutil.disk_usage(out).free, seconds * DISK
    if free < needed:
        parser.error(
            f"{out} has {free / 1e9:.1f} GB free, up to {needed / 1e9:.1f} GB may be written: give another --out"
        )
    rates, well = {}, True
    for tls in (True,) if asked.tls else (False, True):
        with tempfile.TemporaryDirectory(prefix="wsresearch-overload-", dir=out) as name:
            rates[tls], fine = measure(seconds, Path(name), tls=tls)
            well &= fine
    if not asked.tls:
        print(f"over TLS {rates[True] / rates[False]:.2f} of what plain stores in a second")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
