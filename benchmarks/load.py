"""The load: a process of its own that sends prebuilt trades of Binance's combined form, in a flood or at a given rate.

``python -m benchmarks.load --help``, or ``with serving(...) as load`` from another script. It does as little as a
sender can: the bytes of a whole lap of trades lie ready with their frame headers, and between laps only the digits
that change are written. It is no exchange: no faults, no subscriptions to speak of; that is ``wsresearch.lab``.

Every trade of every connection has an id of its own per symbol, rising by one, and times that go on by a second a lap.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import ctypes
import hashlib
import json
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lap import Lap

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
CHUNK = 1 << 18
TICK = 0.001
"""Seconds between two looks at what is due, where not each message is a packet of its own."""


class Client:
    """A connection that plays laps; reads what comes back between two writes, so that a ping gets its answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.gone = False
        self._heard = bytearray()
        self._closing = False

    def shake(self) -> bool:
        """Answer the upgrade; False when something else was asked for."""
        while b"\r\n\r\n" not in self._heard:
            heard = self.sock.recv(1 << 14)
            if not heard:
                return False
            self._heard += heard
        head, _, rest = bytes(self._heard).partition(b"\r\n\r\n")
        self._heard = bytearray(rest)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if b"sec-websocket-key" not in fields:
            self.sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return False
        key = next(
            line.split(b": ", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        return True

    def listen(self, seconds: float = 0.0) -> None:
        """Answer what the client has sent, waiting at most so long for something to come."""
        while not self.gone:
            pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
            if not pending and not select.select([self.sock], [], [], seconds)[0]:
                return
            heard = self.sock.recv(1 << 14)
            self.gone = not heard
            self._heard += heard
            self._answer()
            seconds = 0.0

    def _answer(self) -> None:
        while len(self._heard) >= 6:
            length, head = self._heard[1] & 0x7F, 6
            if length == 126:
                length, head = int.from_bytes(self._heard[2:4]), 8
            if len(self._heard) < head + length:
                return
            opcode, mask = self._heard[0] & 0x0F, self._heard[head - 4 : head]
            said = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self._heard[head : head + length]))
            del self._heard[: head + length]
            if opcode == 9:
                self.sock.sendall(bytes([0x8A, len(said)]) + said)
            elif opcode == 8:
                self.gone = True
                if not self._closing:
                    self.sock.sendall(bytes([0x88, len(said)]) + said)
            elif opcode == 1 and said.startswith(b"{"):
                reply = json.dumps({"result": None, "id": json.loads(said).get("id")}).encode()
                self.sock.sendall(bytes([0x81, len(reply)]) + reply)

    def flood(self, lap: Lap, count: int, deadline: float) -> int:
        """Send as fast as the client takes it; return how many."""
        wire, sent = memoryview(lap.wire), 0
        cuts = np.searchsorted(lap.bounds, np.arange(CHUNK, len(wire) + CHUNK, CHUNK)).tolist()
        while not self.gone and sent < count and time.monotonic() < deadline:
            first = 0
            for last in cuts:
                until = min(last, len(lap), first + count - sent)
                self.sock.sendall(wire[lap.bounds[first] : lap.bounds[until]])
                sent += until - first
                first = until
                self.listen()
                if self.gone or sent >= count or time.monotonic() >= deadline:
                    break
            lap.next()
        return sent

    def pace(self, lap: Lap, rate: float, count: int, deadline: float, log: NDArray[np.int64], *, each: bool) -> int:
        """Send at a rate, writing down when (wall clock, ns) each message was handed to the kernel; return how many."""
        wire, bounds, lap_of = memoryview(lap.wire), lap.bounds.tolist(), len(lap)
        began, sent, listened = time.monotonic(), 0, 0.0
        while not self.gone and sent < count:
            now = time.monotonic()
            if now >= deadline:
                break
            due = min(int((now - began) * rate) + 1, count)
            while sent < due:
                at = sent % lap_of
                if at == 0 and sent:
                    lap.next()
                until = at + (1 if each else min(due - sent, lap_of - at))
                log[sent : sent + until - at] = time.time_ns()
                self.sock.sendall(wire[bounds[at] : bounds[until]])
                sent += until - at
            if now - listened > 0.01:
                listened = now
                self.listen()
            pause = began + sent / rate - time.monotonic() if each else TICK
            if pause > 0:
                time.sleep(pause)
        return sent

    def farewell(self) -> None:
        """Say that this was all, and wait for the answer."""
        self._closing = True
        self.sock.sendall(b"\x88\x02\x03\xe8")
        until = time.monotonic() + 5
        while not self.gone and time.monotonic() < until:
            self.listen(0.1)


def serve(options: argparse.Namespace) -> None:
    """Play for each connection in turn until ended."""
    # Sleeps are lengthened by up to 50 µs unless one asks for better (29 is PR_SET_TIMERSLACK), and whoever started
    # us may be killed (1 is PR_SET_PDEATHSIG).
    prctl = ctypes.CDLL(None).prctl
    prctl(29, 1, 0, 0, 0)
    prctl(1, signal.SIGTERM, 0, 0, 0)
    lap = Lap()
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    listener = socket.create_server(("127.0.0.1", options.port))
    say(url=f"{'wss' if context else 'ws'}://127.0.0.1:{listener.getsockname()[1]}", symbols=lap.symbols)
    count = options.count or 1 << 62
    seconds = options.seconds or float("inf")
    log = np.empty(0, np.int64)
    if options.rate:
        log = np.empty(min(count, int(options.rate * min(seconds, 3600.0)) + 100_000), np.int64)
    while True:
        raw, _ = listener.accept()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent, began, cpu = 0, time.monotonic(), time.process_time()
        with (
            contextlib.suppress(OSError),
            raw if context is None else context.wrap_socket(raw, server_side=True) as sock,
        ):
            client = Client(sock)
            if not client.shake():
                continue
            time.sleep(options.wait)
            client.listen()
            began, cpu = time.monotonic(), time.process_time()
            deadline = began + seconds
            try:
                if options.rate:
                    sent = client.pace(lap, options.rate, min(count, len(log)), deadline, log, each=options.each)
                else:
                    sent = client.flood(lap, count, deadline)
            finally:
                took, used = time.monotonic() - began, time.process_time() - cpu
                if options.log:
                    np.save(options.log, log[:sent])
                say(sent=sent, counts=lap.counts(sent), seconds=took, cpu=used)
            if options.then == "close":
                client.farewell()
            while not client.gone:
                client.listen(1.0)
        lap.next()


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


@dataclass(slots=True)
class Load:
    """A running load.

    Attributes
    ----------
    url
        Where it listens, without a path; any path is answered.
    symbols
        What it trades.
    process
        Its process.
    log
        Once a paced connection has ended: when each of its messages was sent, ns of the wall clock (a ``.npy`` file).
    authority
        The certificate that a TLS client must trust, None without TLS.
    """

    url: str
    symbols: tuple[str, ...]
    process: subprocess.Popen[str]
    log: Path
    authority: Path | None

    def result(self) -> dict[str, Any]:
        """Wait for the end of a connection: how many were sent, of each symbol too, and the seconds and CPU."""
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def sent_ns(self) -> NDArray[np.int64]:
        """When each message of the last paced connection was sent."""
        log: NDArray[np.int64] = np.load(self.log)
        return log


@contextlib.contextmanager
def serving(
    *,
    rate: float = 0.0,
    count: int = 0,
    seconds: float = 0.0,
    each: bool = False,
    tls: bool = False,
    then: str = "close",
    wait: float = 0.0,
) -> Iterator[Load]:
    """Run a load in a process of its own.

    Parameters
    ----------
    rate
        Messages a second; 0 is as fast as the client takes them.
    count, seconds
        How many, or for how long, on each connection; 0 is no limit.
    each
        Each message is a packet of its own.
    tls
        Speak TLS with a certificate made for this; needs the ``openssl`` command.
    then
        ``close`` says goodbye after the last message, ``stay`` keeps the connection.
    wait
        Seconds between the upgrade and the first message.
    """
    with tempfile.TemporaryDirectory(prefix="wsresearch-load-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.load", "--rate", str(rate), "--count", str(count)]
        command += ["--seconds", str(seconds), "--then", then, "--wait", str(wait), "--log", str(folder / "log.npy")]
        command += ["--each"] if each else []
        if tls:
            certificate(folder)
            command += ["--certificate", str(folder / "server.pem"), "--key", str(folder / "server.key")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            authority = folder / "server.pem" if tls else None
            yield Load(told["url"], tuple(told["symbols"]), process, folder / "log.npy", authority)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def certificate(folder: Path) -> None:
    """Make a certificate for this machine that is its own authority."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout server.key -out server.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def main() -> int:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description="Sends prebuilt trades to each WebSocket client, one after the other.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: as fast as they are taken")
    parser.add_argument("--count", type=int, default=0, help="messages on each connection; 0: no limit")
    parser.add_argument("--seconds", type=float, default=0.0, help="seconds of sending on each connection; 0: no limit")
    parser.add_argument("--each", action="store_true", help="each message is a packet of its own (with --rate)")
    parser.add_argument("--then", choices=["close", "stay"], default="close", help="after the last message")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds before the first message")
    parser.add_argument("--log", default="", help="where to write when each message was sent (with --rate)")
    parser.add_argument("--certificate", default="")
    parser.add_argument("--key", default="")
    with contextlib.suppress(KeyboardInterrupt):
        serve(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
