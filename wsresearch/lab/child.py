"""The exchange as a child process: started, spoken to and stopped by its parent.

Not here: the exchange. The two speak in lines of JSON over the child's stdin and stdout, first the options and the
url, then a request and its answer at a time; nothing listens for commands on the network. When stdin ends, because
the parent stopped or died, the child ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

from wsresearch.errors import FaultPlanError, TapeError, UsageError, WsresearchError
from wsresearch.lab.faults import Fault
from wsresearch.lab.options import Begin, ExchangeOptions, FaultClock
from wsresearch.lab.plan import FaultPlan, Plan, parse_fault
from wsresearch.lab.tape import Tape, source_of
from wsresearch.lab.truth import Truth

if TYPE_CHECKING:
    from wsresearch.lab.exchange import Exchange

__all__ = ["ExchangeProcess", "ExchangeStatus", "serve", "start"]

_START_PATIENCE: Final = 30.0
"""Seconds for the child to print its url; reading a long recording takes a while."""
_ANSWER_PATIENCE: Final = 30.0
"""Seconds for an answer; a fault may wait 5 s for confirmations."""
_STOP_PATIENCE: Final = 5.0
_POLL: Final = 0.02
_ERRORS: Final[Mapping[str, type[WsresearchError]]] = MappingProxyType(
    {kind.__name__: kind for kind in (UsageError, TapeError, FaultPlanError)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeStatus:
    """How far the exchange is: messages produced, WebSockets open, and whether the tape has ended."""

    produced: int
    connections: int
    has_played: bool


def start(
    tape: Tape,
    *,
    faults: Plan = (),
    host: str = "127.0.0.1",
    port: int = 0,
    waits: bool = False,
    begin: Begin = Begin.AT_START,
    fault_clock: FaultClock = FaultClock.REAL,
    ping_interval: float = 20.0,
    lifetime: float | None = None,
    enforce_limits: bool = False,
    weight_limit: int | None = None,
    seed: int = 0,
    futures: bool = False,
) -> ExchangeProcess:
    """Start the exchange as a child process and return when it listens.

    Parameters
    ----------
    tape, faults, host, port, waits, begin, fault_clock, ping_interval, lifetime, enforce_limits, weight_limit, seed, \
futures
        As in :class:`~wsresearch.lab.exchange.Exchange`.

    Raises
    ------
    UsageError
        For a value that is out of range, or a port that cannot be used.
    WsresearchError
        When the process does not come up.
    """
    return ExchangeProcess(
        ExchangeOptions(
            source=source_of(tape),
            faults=FaultPlan.parse(faults),
            host=host,
            port=port,
            waits=waits,
            begin=begin,
            fault_clock=fault_clock,
            ping_interval=ping_interval,
            lifetime=lifetime,
            enforce_limits=enforce_limits,
            weight_limit=weight_limit,
            seed=seed,
            futures=futures,
        )
    )


class ExchangeProcess:
    """A running exchange in a process of its own; a context manager that stops it.

    Attributes
    ----------
    url
        Where it listens, such as ``ws://127.0.0.1:43211``.
    pid
        Of the child.

    Raises
    ------
    UsageError, WsresearchError
        When it cannot be started.
    """

    def __init__(self, options: ExchangeOptions) -> None:
        self._lock = threading.Lock()
        self._unread = b""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        package_root = str(Path(__file__).resolve().parents[2])
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wsresearch.lab.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.pid = self._process.pid
        try:
            self._write(options.to_json() + b"\n")
            self.url: str = self._answer(_START_PATIENCE)["url"]
        except BaseException:
            self.stop()
            raise

    def inject(self, fault: Fault | Mapping[str, object]) -> None:
        """Do `fault` now, whatever its ``at``.

        Raises
        ------
        FaultPlanError
            When it is no fault.
        """
        self._ask({"do": "inject", "fault": parse_fault(fault).to_json()})

    def status(self) -> ExchangeStatus:
        """Return how far the exchange is."""
        return ExchangeStatus(**self._ask({"do": "status"}))

    def truth(self) -> Truth:
        """Return what should be there, as it stands now."""
        with tempfile.TemporaryDirectory(prefix="wsresearch-truth-") as folder:
            self._ask({"do": "truth", "folder": folder})
            return Truth.load(folder)

    def played(self, timeout: float) -> bool:
        """Wait for the end of the tape, at most `timeout` seconds; return whether it has come."""
        deadline = time.monotonic() + timeout
        while not (done := self.status().has_played) and time.monotonic() < deadline:
            time.sleep(_POLL)
        return done

    def settled(self, patience: float = 5.0) -> bool:
        """Return whether every client confirmed, within `patience` seconds, that it has read all it was sent."""
        return bool(self._ask({"do": "settled", "patience": patience})["settled"])

    def stop(self) -> None:
        """End the process; without effect when it has ended."""
        process = self._process
        with self._lock, contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()  # the end of its stdin is the child's signal to leave
        for end in (process.terminate, process.kill):
            try:
                process.wait(_STOP_PATIENCE)
                break
            except subprocess.TimeoutExpired:
                end()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ExchangeProcess {self.url} pid {self.pid}>"

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        with self._lock:
            self._write(json.dumps(request).encode() + b"\n")
            return self._answer(_ANSWER_PATIENCE)

    def _write(self, line: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            raise WsresearchError(f"the exchange process (pid {self.pid}) was stopped; start another")
        try:
            stdin.write(line)
        except BrokenPipeError:
            raise self._died() from None

    def _answer(self, patience: float) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + patience
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise WsresearchError(f"the exchange process (pid {self.pid}) did not answer in {patience:g} s")
                data = os.read(stdout.fileno(), 65_536)
                if not data:
                    raise self._died()
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _ERRORS.get(answer["kind"], WsresearchError)(answer["error"])
        return answer

    def _died(self) -> WsresearchError:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return WsresearchError(f"the exchange process (pid {self.pid}) has ended with exit code {code}{last}")


def serve(options: ExchangeOptions, *, control: bool = False) -> int:
    """Run the exchange in this process until SIGTERM, or SIGINT in a terminal, or, under control, the end of stdin.

    The first line on stdout is ``{"url": …}``.

    Parameters
    ----------
    options
        What the exchange is told.
    control
        Whether requests come over stdin. SIGINT is then ignored: it is meant for the parent, whose terminal or kernel
        sends it to the whole process group.

    Returns
    -------
    int
        The exit code, 0.

    Raises
    ------
    UsageError
        For a tape that cannot be read or a port that cannot be used; nothing was printed.
    """
    asyncio.run(_serve(options, control=control))
    return 0


async def _serve(options: ExchangeOptions, *, control: bool) -> None:
    from wsresearch.lab.exchange import Exchange

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if control else stop.set)
    async with Exchange.of(options) as exchange:
        gc.freeze()  # as the collector's process does: a pause of this process would look like one of the network
        _say({"url": exchange.url})
        waiting: set[asyncio.Task[object]] = {loop.create_task(stop.wait())}
        if control:
            waiting.add(loop.create_task(_obey(exchange)))
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()


async def _obey(exchange: Exchange) -> None:
    """Answer the requests on stdin until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    while line := await reader.readline():
        try:
            _say(await _done(exchange, json.loads(line)))
        except WsresearchError as error:
            _say({"error": str(error), "kind": type(error).__name__})


async def _done(exchange: Exchange, request: Mapping[str, Any]) -> dict[str, object]:
    if exchange.failure is not None:
        raise exchange.failure
    match request:
        case {"do": "inject", "fault": fault}:
            await exchange.inject(fault)
            return {}
        case {"do": "truth", "folder": folder}:
            exchange.truth.save(folder)
            return {}
        case {"do": "status"}:
            return {
                "produced": exchange.produced,
                "connections": exchange.connections,
                "has_played": exchange.has_played,
            }
        case {"do": "settled", "patience": patience}:
            return {"settled": await exchange.settled(patience)}
    raise UsageError(f"{request!r} is no request to an exchange; use inject, truth, status or settled")


def _say(document: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _main() -> int:
    try:
        # Unbuffered, so that what follows the first line is still in the pipe for whoever reads on.
        with open(0, "rb", buffering=0, closefd=False) as stdin:
            line = stdin.readline()
        return serve(ExchangeOptions.from_json(line), control=True)
    except WsresearchError as error:
        _say({"error": str(error), "kind": type(error).__name__})
        return 2


if __name__ == "__main__":
    sys.exit(_main())
