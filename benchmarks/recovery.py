"""How fast a lost connection is replaced: from its end to the first message of the next one, with delay 0.

``python -m benchmarks.recovery [--times 100]``. A server sends a trade with its answer to the upgrade, then trades
evenly for 0.1 s, then resets the connection. It has the clock: from a reset to the moment at which the kernel has the
first trade of the next connection. The clients take turns, each a process of its own:

- the collector as ``collect`` starts it, on uvloop, with its log and its journal, and the policy ``constant(delay=0)``;
- the shortest loop over ``websockets.connect`` and ``recv``, on uvloop as the collector is, and on asyncio;
- a blocking socket, which shows what of this is kernel and server.

Once with one trade, so that nothing waits in the queue at the end: that figure has the target. Once with a trade every
5 ms, of which those since the last flush have to be decoded before the rules may decide; the loops decode nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks.figures import Figure
from tests.collect.rawserver import Peer, RawServer, frame
from wsresearch.api import collect
from wsresearch.venues.binance_wire import trade_message

ROUNDS: Final = 3
LIVES: Final = 0.1
"""Seconds from the first trade of a connection to its reset: twice the flush."""
FEEDS: Final = (1, 20)
"""Trades in that time. The first comes with the answer to the upgrade."""
PATH: Final = "/ws/btcusdt@trade"
COLLECTOR: Final = "collector, uvloop"
BARE: Final = "bare loop, uvloop"
CLIENTS: Final = (COLLECTOR, BARE, "bare loop, asyncio", "raw socket")


async def silences(client: str, times: int, feed: int) -> list[float]:
    """Return milliseconds between each reset and the first message to the connection after it."""
    took: list[float] = []
    ended = 0.0
    enough = asyncio.Event()
    numbers = itertools.count(1)

    async def script(peer: Peer) -> None:
        nonlocal ended
        await peer.asked()
        await peer.said(peer.answer() + _trade(next(numbers)))
        if ended:
            took.append((time.perf_counter() - ended) * 1e3)
        if len(took) >= times:
            enough.set()
            await peer.forever()
            return
        for _ in range(feed - 1):
            await asyncio.sleep(LIVES / feed)
            await peer.said(_trade(next(numbers)))
        await asyncio.sleep(LIVES / feed)
        peer.reset()
        ended = time.perf_counter()

    async with RawServer(script) as server:
        with tempfile.TemporaryDirectory(prefix="wsresearch-recovery-") as name:
            # In threads, because the server has to answer meanwhile.
            stop = await asyncio.to_thread(_start, client, server.url, Path(name) / "c")
            try:
                await asyncio.wait_for(enough.wait(), 10 + 10 * LIVES * times)
            finally:
                await asyncio.to_thread(stop)
    return took


def _trade(number: int) -> bytes:
    now = time.time_ns() // 10**6
    said = trade_message(
        symbol="BTCUSDT",
        trade_id=number,
        price="1",
        quantity="1",
        trade_time=now,
        event_time=now,
        buyer_is_maker=False,
        combined=True,
    )
    return frame(1, said)


def _start(client: str, url: str, out: Path) -> Callable[[], object]:
    """Start a client in a process of its own; return what ends it."""
    if client == COLLECTOR:
        rules = {"policy": "constant(delay=0)", "reset": "message", "budget": "100000/300"}
        return collect("binance:btcusdt", out, url=url, **rules).stop
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.recovery", "--client", client, "--url", url])

    def stop() -> None:
        process.kill()
        process.wait()

    return stop


async def bare(url: str) -> None:
    """The shortest loop that reconnects."""
    while True:
        with contextlib.suppress(WebSocketException, OSError):
            async with connect(url + PATH, compression=None, proxy=None, close_timeout=0.1) as websocket:
                while True:
                    await websocket.recv(decode=False)


def raw(url: str) -> None:
    """No library: connect, ask, read until the end."""
    place = urlsplit(url)
    asking = (
        f"GET {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    while True:
        with contextlib.suppress(OSError), socket.create_connection((place.hostname, place.port)) as sock:
            sock.sendall(asking)
            while sock.recv(1 << 16):
                pass


def _be(client: str, url: str) -> None:
    if client == "raw socket":
        raw(url)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if client == BARE else None) as runner:
        runner.run(bare(url))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client is not None:
        _be(options.client, options.url)
    for feed in FEEDS:
        took: dict[str, list[float]] = {name: [] for name in CLIENTS}
        for _ in range(ROUNDS):
            for name in CLIENTS:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    took[name] += runner.run(silences(name, options.times // ROUNDS + 1, feed))
        told = "one trade to each connection" if feed == 1 else f"a trade every {LIVES / feed * 1e3:g} ms"
        print(f"{told}: reset → first message of the next connection, {len(took[BARE])} times")
        middle = {name: statistics.median(each) for name, each in took.items()}
        for name, each in took.items():
            against = f", the collector {middle[COLLECTOR] / middle[name]:.2f} × of it" if name != COLLECTOR else ""
            print(
                f"  {name:20} p50 {middle[name]:6.2f} ms, p99 {statistics.quantiles(each, n=100)[98]:6.2f} ms{against}"
            )
        if feed == 1:
            ratio, floor = middle[COLLECTOR] / middle[BARE], middle["raw socket"]
            parts = {"kernel, server and processes": floor, "the library": middle[BARE] - floor}
            parts["rules, phases and tasks"] = middle[COLLECTOR] - middle[BARE]
            why = ", ".join(f"{part} {each:.2f} ms" for part, each in parts.items())
            what = f"recovery with delay 0, p50, against the {BARE}"
            Figure(what=what, target="2 ×", value=f"{ratio:.2f} ×", reached=ratio <= 2, stopped_by=why).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
