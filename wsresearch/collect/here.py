"""Collecting in this very process: signals, exit code, log; finding and steering another process is not here.

Run as a module it is the launcher (``launch``), which starts the background process and leaves, or that process
itself (``collect``). Both read a configuration from stdin and say on stdout, in one line of JSON, how it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import io
import json
import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from wsresearch.collect.collector import Collector
from wsresearch.collect.config import Config
from wsresearch.collect.memory import keep_freed_memory
from wsresearch.collect.process import COLLECT, LAUNCH, as_told, start_detached
from wsresearch.errors import WsresearchError
from wsresearch.safetext import safe

__all__ = ["collect_here"]

_LOG_NAME: Final = "collector.log"
_LOG_BYTES: Final = 4 << 20
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SWITCH: Final = 0.001
# What a run's end means to a shell; 4, it gave up, comes from the lifecycle.
_ROWS_LOST: Final = 3


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
        Exit code: 0 stopped, 3 permanent failure or rows that could not be written, 4 gave up.

    Raises
    ------
    UsageError, CaptureError
        If it cannot begin.
    """

    async def main() -> int:
        collector = Collector(config)
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, collector.stop, f"a stop was asked for by {signal.Signals(number).name}")
        # Whoever finds our pid in the lock may send it from then on, and unhandled it would end us.
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        async with collector:
            loop.add_signal_handler(signal.SIGUSR1, collector.reconnect)
            if ready is not None:
                ready(collector)
            # What is loaded by now stays: the garbage collector need not walk over all objects of pyarrow and pandas
            # again and again, tens of milliseconds at a time, in which nothing is received.
            gc.freeze()
            watching = asyncio.create_task(_watch(collector, watch)) if watch else None
            try:
                exit_code = await collector.run()
            finally:
                if watching is not None:
                    watching.cancel()
        return exit_code or (_ROWS_LOST if collector.unwritten_rows else 0)

    keep_freed_memory()
    # How long the receiving thread may have to wait for the one that seals; the default is 5 ms.
    sys.setswitchinterval(_SWITCH)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes uvloop's event loop, which spends a fifth less on each packet; None where there is none."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _watch(collector: Collector, watch: Callable[[Collector], None]) -> None:
    while True:
        watch(collector)
        await asyncio.sleep(0.25)


def _launch() -> int:
    """Read a configuration from stdin, start a collector with it, say so on stdout and leave."""
    try:
        started = start_detached(Config.from_json(json.loads(sys.stdin.read())))
    except WsresearchError as exc:
        print(json.dumps(as_told(exc)))
        return 2
    print(json.dumps({"pid": started.pid, "run": started.run}))
    return 0


def _collect() -> int:
    """Read a configuration from stdin, say on stdout whether it runs, then collect."""
    os.umask(0o077)  # for the files that libraries make, such as a log that was rotated
    told = False

    def tell(document: dict[str, Any]) -> None:
        nonlocal told
        told = True
        with contextlib.suppress(BrokenPipeError):  # the launcher was killed: nobody wants to know
            print(json.dumps(document), flush=True)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())

    def ready(collector: Collector) -> None:
        _log_to(collector.config.out / _LOG_NAME)
        tell({"pid": os.getpid(), "run": collector.run_number})

    try:
        return collect_here(Config.from_json(json.loads(sys.stdin.read())), ready=ready)
    except Exception as exc:
        # Before it runs, the launcher is told in one line; after that the log beside the capture has the traceback.
        if told:
            raise
        tell(as_told(exc))
        return 2


class _Log(logging.handlers.RotatingFileHandler):
    """A log of bounded size, 0600, which stderr follows from one file to the next, and which says where it has gaps."""

    _missing = 0
    _why = ""

    def emit(self, record: logging.LogRecord) -> None:
        missing, self._missing = self._missing, 0
        if missing:
            text = f"the log could not be written ({self._why}): up to {missing} lines are missing before this one"
            told = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": safe(text)}
            super().emit(logging.makeLogRecord(told))
            self._missing = missing if self._missing else 0
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        exc = sys.exc_info()[1]
        if isinstance(exc, OSError):  # of the disk, which takes nothing from stderr either: that is this very file
            self._missing += 1
            self._why = exc.strerror or str(exc)
        else:
            super().handleError(record)

    def _open(self) -> io.TextIOWrapper:
        stream = open(self.baseFilename, "a", encoding="utf-8", opener=_opened)  # noqa: SIM115 - it stays open
        os.dup2(stream.fileno(), sys.stderr.fileno())
        return stream


def _opened(path: str, flags: int) -> int:
    # O_NONBLOCK: a pipe of that name, which nobody reads, is an error and not a wait for ever.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def _log_to(path: Path) -> None:
    """Log to a file beside the capture, of bounded size; whatever still goes to stderr lands there too."""
    handler = _Log(path, maxBytes=_LOG_BYTES, backupCount=1)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    # The libraries' own loggers print request lines and headers at DEBUG: never below INFO, whatever asks for it.
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    faulthandler.enable()


if __name__ == "__main__":
    sys.exit({LAUNCH: _launch, COLLECT: _collect}[sys.argv[1]]())
