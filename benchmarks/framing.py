"""From socket to messages, nothing done with them: our receive path beside the library's, ``picows`` and the floor.

``python -m benchmarks.framing [--rounds 5] [--seconds 2]``. Each client runs in a process of its own against the same
load, one after the other in alternating rounds; medians are printed. `picows` gets an environment of its own and calls
back once per message, ours once per block of messages; the callbacks count. *By recv()* is
our path where the library is none that the direct one knows. The floor is a loop that reads the bytes
and throws them away: no client can be faster, so it also shows that the load is.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.figures import Figure
from benchmarks.load import Load, serving

FLOOR = "read and discard"
DIRECT = "ours, uvloop"
PICOWS = "picows, uvloop"
# Client, whether it runs over TLS, and how many messages a second it may take, to choose a count that lasts.
CLIENTS = {
    FLOOR: (False, 6e6),
    DIRECT: (False, 4e6),
    "ours, asyncio": (False, 4e6),
    PICOWS: (False, 1e6),
    "ours by recv(), uvloop": (False, 1e5),
    "websockets, uvloop": (False, 2e5),
    "websockets, asyncio": (False, 2e5),
    "TLS: " + FLOOR: (True, 1e6),
    "TLS: " + DIRECT: (True, 1e6),
    "TLS: " + PICOWS: (True, 5e5),
}

PICOWS_CLIENT = """
import asyncio, json, ssl, sys, time
import picows, uvloop

url, authority = sys.argv[1], sys.argv[2]
messages = size = 0
began = cpu = 0.0

class Listener(picows.WSListener):
    def on_ws_frame(self, transport, frame):
        global messages, size, began, cpu
        if frame.msg_type == picows.WSMsgType.TEXT:
            if not messages:
                began, cpu = time.perf_counter(), time.process_time()
            messages += 1
            size += frame.payload_size
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.disconnect()

async def main():
    context = ssl.create_default_context(cafile=authority) if authority else None
    transport, _ = await picows.ws_connect(Listener, url, ssl_context=context)
    await transport.wait_disconnected()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
print(json.dumps({"messages": messages, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}))
"""


class Meter:
    """Counts messages from the first one on, in seconds and CPU seconds."""

    def __init__(self) -> None:
        self.messages = 0
        self.began = self.cpu = 0.0

    def count(self, messages: int) -> None:
        if not self.messages:
            self.began, self.cpu = time.perf_counter(), time.process_time()
        self.messages += messages

    def told(self) -> dict[str, Any]:
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        return {"messages": self.messages, "seconds": seconds, "cpu": cpu}


def discard(url: str, authority: str) -> dict[str, Any]:
    """Read everything in a blocking loop and throw it away; the messages are those that the load says it sent."""
    place, meter = urlsplit(url), Meter()
    sock = socket.create_connection((place.hostname, place.port))
    if authority:
        sock = ssl.create_default_context(cafile=authority).wrap_socket(sock, server_hostname="localhost")
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    buffer = bytearray(1 << 18)
    sock.recv_into(buffer)
    meter.count(0)
    meter.began, meter.cpu = time.perf_counter(), time.process_time()
    with sock:
        while (size := sock.recv_into(buffer)) and buffer[size - 4 : size] != b"\x88\x02\x03\xe8":
            pass
        return meter.told()


async def ours(url: str, *, direct: bool) -> dict[str, Any]:
    """Receive through the collector's transport; each block that comes into the queue is counted and let go."""
    from wsresearch.collect.clock import Anchor
    from wsresearch.collect.inbox import Inbox
    from wsresearch.collect.transport import WebSocketTransport

    meter, waiting = Meter(), False
    loop = asyncio.get_running_loop()

    def arrived() -> None:
        nonlocal waiting
        if not waiting:
            waiting = True
            loop.call_soon(take)

    def take() -> None:
        nonlocal waiting
        waiting = False
        if len(inbox):
            block = inbox.take(1 << 30)
            inbox.release(block.footprint)
            meter.count(len(block))

    inbox = Inbox(limit=64 << 20, on_arrival=arrived)
    net = WebSocketTransport(direct=direct, ping_timeout=60)
    anchor = Anchor(wall_ns=net.wall_ns(), mono=net.now())
    link = await net.connect(url, began=anchor.mono, anchor=anchor, inbox=inbox)
    await link.lost()
    take()
    assert not inbox.count().dropped
    return meter.told()


async def library(url: str) -> dict[str, Any]:
    """Receive with the library's own loop, as one would write it."""
    import websockets

    meter = Meter()
    async with websockets.connect(url, compression=None) as websocket:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await websocket.recv(decode=False)
                meter.count(1)
    return meter.told()


def client(name: str, url: str, authority: str) -> dict[str, Any]:
    """Run one client in this process."""
    if authority:
        os.environ["SSL_CERT_FILE"] = authority
    if FLOOR in name:
        return discard(url, authority)
    import uvloop

    from wsresearch.collect.memory import keep_freed_memory

    keep_freed_memory()  # as the collector's process does
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if "uvloop" in name else None) as runner:
        if "websockets" in name:
            return runner.run(library(url))
        return runner.run(ours(url, direct="recv" not in name))


def picows_python(folder: Path) -> Path | None:
    """Make an environment with picows; None, and a line that says so, where it does not install."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    quiet = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*quiet, "picows", "uvloop"], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"picows is left out, it does not install: {(done.stderr.strip() or '?').splitlines()[-1]}")
        return None
    return folder / "bin/python"


def measured(name: str, load: Load, picows: Path | None) -> dict[str, Any]:
    """Run one client in a process of its own."""
    url, authority = load.url.replace("127.0.0.1", "localhost"), str(load.authority or "")
    if "picows" in name:
        command = [str(picows), "-c", PICOWS_CLIENT, url, authority]
    else:
        command = [sys.executable, "-m", "benchmarks.framing", "--client", name, url, authority]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    sent = load.result()["sent"]
    told["messages"] = told["messages"] or sent
    assert told["messages"] == sent, f"{name} received {told['messages']} of {sent} messages"
    return told


def compare(names: list[str], *, rounds: int, seconds: float, say: Callable[[str], None] = print) -> None:
    """Measure all, in alternating rounds, and print medians."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="wsresearch-picows-") as folder:
        picows = picows_python(Path(folder))
        if picows is None:
            results = {name: [] for name in names if "picows" not in name}
        for _ in range(rounds):
            for name, told in results.items():
                tls, rate = CLIENTS[name]
                with serving(count=int(rate * seconds), tls=tls) as load:
                    told.append(measured(name, load, picows))
    cpu = {
        name: statistics.median(one["cpu"] / one["messages"] * 1e6 for one in told) for name, told in results.items()
    }
    rate = {name: statistics.median(one["messages"] / one["seconds"] for one in told) for name, told in results.items()}
    say(f"{'median of ' + str(rounds) + ' rounds':24} {'CPU s per million':>18} {'messages/s':>14}   against ours")
    for name in results:
        beside = ("TLS: " if name.startswith("TLS") else "") + DIRECT
        say(f"{name:24} {cpu[name]:18.3f} {rate[name]:14,.0f} {cpu[name] / cpu[beside]:10.2f} × the CPU")
    say(f"over TLS ours takes {cpu['TLS: ' + DIRECT] / cpu[DIRECT]:.2f} × the CPU of plain")
    reached, what = (
        rate[FLOOR] > max(rate[name] for name in results if name != FLOOR),
        "the load outruns the fastest client",
    )
    Figure(what=what, target="faster", value=f"{rate[FLOOR] / rate[DIRECT]:.1f} ×", reached=reached).say()
    if PICOWS in cpu:
        ahead = cpu[PICOWS] / cpu[DIRECT]
        Figure(what="framing against picows, CPU", target="2 ×", value=f"{ahead:.2f} ×", reached=ahead >= 2).say()


def main() -> int:
    """Measure and print, or be one of the clients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each client runs in a round")
    parser.add_argument("--client", nargs=3, metavar=("NAME", "URL", "AUTHORITY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(json.dumps(client(*options.client)))
        return 0
    compare(list(CLIENTS), rounds=options.rounds, seconds=options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
