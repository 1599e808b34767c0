"""How fast a lost connection is replaced: from its last message to the first of the next one, with delay 0.

``python -m benchmarks.recovery [--times 100]``. A server sends one trade to each connection and resets it. A collector
with the policy ``constant(delay=0)`` stands beside a bare loop over ``websockets.connect`` and ``recv``. The server has
the clock: from its reset to the first trade sent on the next connection. Alternating rounds, medians.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks.figures import Figure
from tests.collect.rawserver import Peer, RawServer, frame
from wsresearch.api import make_config
from wsresearch.collect.collector import Collector
from wsresearch.venues.binance_wire import trade_message

ROUNDS = 3


async def silences(client: Callable[[str], Awaitable[None]], times: int) -> list[float]:
    """Return milliseconds between each reset and the first message to the connection after it."""
    took: list[float] = []
    ended = 0.0
    enough = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal ended
        await peer.asked()
        number = len(took) + 1
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
        await peer.said(peer.answer() + frame(1, said))
        if ended:
            took.append((time.perf_counter() - ended) * 1e3)
        await asyncio.sleep(0.01)
        if len(took) >= times:
            enough.set()
            await peer.forever()
        peer.reset()
        ended = time.perf_counter()

    async with RawServer(script) as server:
        running = asyncio.ensure_future(client(server.url))
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not enough.is_set():
            running.result()
            raise RuntimeError("the client has ended before it was asked to")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return took


async def bare(url: str) -> None:
    """The shortest loop that reconnects."""
    while True:
        with contextlib.suppress(WebSocketException, OSError):
            async with connect(url + "/ws/btcusdt@trade", compression=None, proxy=None, close_timeout=0.1) as websocket:
                while True:
                    await websocket.recv(decode=False)


async def collector(url: str) -> None:
    """The collector, with everything it writes down."""
    with tempfile.TemporaryDirectory(prefix="wsresearch-recovery-") as name:
        config = make_config(
            "binance:btcusdt",
            Path(name) / "c",
            url=url,
            policy="constant(delay=0)",
            reset="message",
            budget="100000/300",
        )
        async with Collector(config) as collecting:
            await collecting.run()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    clients = {
        "bare loop, asyncio": (bare, None),
        "bare loop, uvloop": (bare, uvloop),
        "collector, uvloop": (collector, uvloop),
    }
    took: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(ROUNDS):
        for name, (client, loop) in clients.items():
            with asyncio.Runner(loop_factory=loop and loop.new_event_loop) as runner:
                took[name] += runner.run(silences(client, options.times // ROUNDS + 1))
    for name, each in took.items():
        cuts = statistics.quantiles(each, n=100)
        print(f"{name:22} reset → first message of the next connection: p50 {cuts[49]:6.2f} ms, p99 {cuts[98]:6.2f} ms")
    middle = {name: statistics.median(each) for name, each in took.items()}
    why = "the rest of the queue is decoded and five event rows are made first, beside a thread that writes them"
    for name in ("bare loop, asyncio", "bare loop, uvloop"):
        ratio = middle["collector, uvloop"] / middle[name]
        what = f"recovery with delay 0, p50, against the {name}"
        Figure(what=what, target="2 ×", value=f"{ratio:.2f} ×", reached=ratio <= 2, stopped_by=why).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
