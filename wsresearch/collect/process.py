"""Start, find, signal and stop the background process; what it does while it lives is the collector's business.

The process that collects has a session of its own and no living parent: a kernel interrupt, restart or shutdown
signals the kernel's process group, some front ends kill the kernel's process tree, and a terminal that closes hangs
up its session. So a launcher starts it and leaves, and from then on the capture directory is all there is between
it and the world: whoever may read the directory can watch, whoever may signal the process can steer.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from wsresearch.capture.layout import Layout
from wsresearch.collect import lock
from wsresearch.collect.collector import Collector
from wsresearch.collect.config import Config
from wsresearch.errors import CaptureBusy, CaptureError, CollectorError, UsageError, WsresearchError

__all__ = ["Started", "collect_here", "running", "signal_reconnect", "start", "start_detached", "stop"]

_LOG_NAME: Final = "collector.log"
_LOG_BYTES: Final = 4 << 20
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_READY_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A collector that runs in the background."""

    pid: int
    run: int


def collect_here(
    config: Config,
    *,
    ready: Callable[[Collector], None] | None = None,
    watch: Callable[[Collector], None] | None = None,
) -> int:
    """Collect in this process until it ends; SIGTERM, SIGINT and SIGHUP stop it, SIGUSR1 reconnects.

    Parameters
    ----------
    config
        What to do.
    ready
        Called once the capture is ours and its run has a number.
    watch
        Called a few times a second while the run lasts, to show progress.

    Returns
    -------
    int
        Exit code: 0 stopped, 3 permanent failure, 4 gave up.

    Raises
    ------
    UsageError, CaptureError
        If it cannot begin.
    """

    async def main() -> int:
        collector = Collector(config)
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, collector.stop, f"signal {signal.Signals(number).name}")
        async with collector:
            loop.add_signal_handler(signal.SIGUSR1, collector.reconnect)
            if ready is not None:
                ready(collector)
            watching = asyncio.create_task(_watch(collector, watch)) if watch else None
            try:
                return await collector.run()
            finally:
                if watching is not None:
                    watching.cancel()

    return asyncio.run(main())


async def _watch(collector: Collector, watch: Callable[[Collector], None]) -> None:
    while True:
        watch(collector)
        await asyncio.sleep(0.25)


def start(config: Config) -> Started:
    """Start a collector in the background by way of a launcher that leaves, and wait until it runs.

    This is for programs that may be signalled or killed as a group, a notebook's kernel above all: the launcher
    is a child, the collector is nobody's.

    Raises
    ------
    UsageError, CaptureError, CollectorError
        As the collector said it.
    """
    command = [sys.executable, "-m", "wsresearch", "collect", "--config", "-", "--detach", "--json"]
    done = subprocess.run(command, input=json.dumps(config.as_json()), capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except json.JSONDecodeError:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise CollectorError(f"the launcher ended with exit code {done.returncode} and said: {said}") from None
    return _told(told)


def start_detached(config: Config) -> Started:
    """Start the collector in a session of its own and wait until it runs; whoever calls this should then leave.

    Raises
    ------
    UsageError, CaptureError, CollectorError
        As the collector said it.
    """
    command = [sys.executable, "-m", "wsresearch.collect.process", str(config.out)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the child replaces it by its log as soon as there is a directory for it
        text=True,
        start_new_session=True,
        cwd="/",  # a background process must not keep a file system busy
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        child.stdin.write(json.dumps({**config.as_json(), "out": str(config.out.resolve())}))
        child.stdin.close()
        line = child.stdout.readline()
    if not line:
        raise CollectorError(
            f"the collector ended with exit code {child.wait()} before it could say why; "
            f"run 'wsresearch collect {config.stream} --out {config.out}' in the foreground to see it"
        )
    child.returncode = 0  # it is not ours to wait for any more
    return _told(json.loads(line))


def running(root: Path) -> psutil.Process | None:
    """Return the collector that holds a capture's lock, None if there is none on this machine."""
    holder = lock.holder_of(root)
    return None if holder is None else holder.process()


def signal_reconnect(root: Path) -> int:
    """Cut the backoff short or drop the connection, by SIGUSR1; return the pid.

    Raises
    ------
    CollectorError
        If no collector runs.
    """
    process = _must_run(root)
    process.send_signal(signal.SIGUSR1)
    return process.pid


def stop(root: Path, *, timeout: float = 60.0) -> bool:
    """Stop a capture's collector, by SIGTERM, and wait until everything is sealed.

    Parameters
    ----------
    root
        The capture directory.
    timeout
        Seconds to wait; two are usual, sealing a large segment may take longer.

    Returns
    -------
    bool
        Whether one was running.

    Raises
    ------
    CollectorError
        If it is still there after the timeout.
    """
    process = running(root)
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(timeout)
        except psutil.TimeoutExpired:
            raise CollectorError(
                f"pid {process.pid} has not ended after {timeout:g} s; it may be sealing a large segment: "
                f"see 'wsresearch status {root}', or end it with 'kill -9 {process.pid}' (nothing sealed is lost)"
            ) from None
    return True


def _must_run(root: Path) -> psutil.Process:
    process = running(root)
    if process is None:
        raise CollectorError(f"no collector is running on {str(root)!r}; start one with 'wsresearch collect'")
    return process


def _told(document: dict[str, Any]) -> Started:
    """Turn what a collector said of its start into a value or the exception it met."""
    if "error" in document:
        kinds: dict[str, type[WsresearchError]] = {
            kind.__name__: kind for kind in (UsageError, CaptureBusy, CaptureError, CollectorError)
        }
        raise kinds.get(document["kind"], CollectorError)(document["error"])
    return Started(pid=document["pid"], run=document["run"])


# -- the background process itself ----------------------------------------------------------------------------------


def _child() -> int:
    """Read a configuration from stdin, say on stdout whether it runs, then collect."""
    config = Config.from_json(json.loads(sys.stdin.read()))
    told = False

    def tell(document: dict[str, Any]) -> None:
        nonlocal told
        told = True
        with contextlib.suppress(BrokenPipeError):  # the launcher was killed: nobody wants to know
            print(json.dumps(document), flush=True)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())

    def ready(collector: Collector) -> None:
        _log_to(Layout(config.out).root / _LOG_NAME)
        tell({"pid": os.getpid(), "run": collector.run_number})

    try:
        return collect_here(config, ready=ready)
    except Exception as exc:
        # Before it runs, the launcher is told in one line; after that the log beside the capture has the traceback.
        if told:
            raise
        known = (CaptureBusy, UsageError, CaptureError)
        kind = next((kind.__name__ for kind in known if isinstance(exc, kind)), CollectorError.__name__)
        defect = "" if isinstance(exc, WsresearchError) else f"a defect of this program: {type(exc).__name__}: "
        tell({"error": f"{defect}{exc}", "kind": kind})
        return 2


def _log_to(path: Path) -> None:
    """Log to a file beside the capture, 0600, of bounded size; whatever still goes to stderr lands there too."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, 0o600))
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    # The libraries' own loggers print request lines and headers at DEBUG: never below INFO, whatever asks for it.
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    assert handler.stream is not None
    os.dup2(handler.stream.fileno(), sys.stderr.fileno())
    faulthandler.enable()


if __name__ == "__main__":
    sys.exit(_child())
