"""Start, find, signal and stop the background process; what it does while it lives is in :mod:`.here`.

The process that collects has a session of its own and no living parent: a kernel interrupt, restart or shutdown
signals the kernel's process group, some front ends kill the kernel's process tree, and a terminal that closes hangs
up its session. So a launcher starts it and leaves, and from then on the capture directory is all there is between
it and the world: whoever may read the directory can watch, whoever may signal the process can steer.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import psutil

from wsresearch.capture.layout import Layout
from wsresearch.collect import lock
from wsresearch.collect.config import Config
from wsresearch.collect.memory import ARROW_POOL
from wsresearch.collect.status import read_status
from wsresearch.errors import (
    CaptureBusy,
    CaptureError,
    CaptureTooNew,
    CollectorError,
    NotACapture,
    UsageError,
    WsresearchError,
)
from wsresearch.safetext import safe
from wsresearch.schema import TableName

__all__ = [
    "COLLECT",
    "LAUNCH",
    "Started",
    "as_told",
    "running",
    "settled",
    "signal_reconnect",
    "start",
    "start_detached",
    "stop",
]

LAUNCH: Final = "launch"
COLLECT: Final = "collect"
"""What :mod:`wsresearch.collect.here` is told to be."""

_READY_TIMEOUT: Final = 60.0
_POLL: Final = 0.02
_KINDS: Final[Mapping[str, type[WsresearchError]]] = MappingProxyType(
    {kind.__name__: kind for kind in (CaptureBusy, CaptureTooNew, NotACapture, CaptureError, UsageError)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A collector that runs in the background."""

    pid: int
    run: int


def start(config: Config) -> Started:
    """Start a collector in the background by way of a launcher that leaves, and wait until it runs.

    This is for programs that may be signalled or killed as a group, a notebook's kernel above all: the launcher
    is a child, the collector is nobody's.

    Raises
    ------
    UsageError, CaptureError, CollectorError
        As the collector said it.
    """
    document = json.dumps(config.as_json())
    Config.from_json(json.loads(document))  # says what cannot travel: a policy of somebody's own, above all
    done = subprocess.run(
        _command(LAUNCH), input=document, capture_output=True, text=True, check=False, env=_environment()
    )
    try:
        told = json.loads(done.stdout)
    except json.JSONDecodeError:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise CollectorError(f"the launcher ended with exit code {done.returncode} and said: {said}") from None
    return _told(told)


def start_detached(config: Config, *, patience: float = _READY_TIMEOUT) -> Started:
    """Start the collector in a session of its own and wait until it runs; whoever calls this should then leave.

    Parameters
    ----------
    config
        What to do.
    patience
        Seconds to wait; starting takes one, repairing what a crash left may take more.

    Raises
    ------
    UsageError, CaptureError, CollectorError
        As the collector said it.
    """
    child = subprocess.Popen(
        _command(COLLECT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the child replaces it by its log as soon as there is a directory for it
        text=True,
        start_new_session=True,
        cwd="/",  # a background process must not keep a file system busy
        env=_environment(),
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        with contextlib.suppress(BrokenPipeError):  # it ended before it read: the empty answer says so
            child.stdin.write(json.dumps({**config.as_json(), "out": str(config.out.resolve())}))
            child.stdin.close()
        ready, _, _ = select.select([child.stdout], [], [], patience)
        line = child.stdout.readline() if ready else None
    if line is None:
        child.returncode = 0  # it is not ours to wait for any more
        raise CollectorError(
            f"pid {child.pid} has not begun to collect after {patience:g} s; it may be repairing what a crash left: "
            f"see 'wsresearch status {config.out}', or end it with 'kill {child.pid}'"
        )
    if not line:
        raise CollectorError(
            f"the collector ended with exit code {child.wait()} before it could say why; "
            f"run 'wsresearch collect {config.stream} --out {config.out}' in the foreground to see it"
        )
    child.returncode = 0
    return _told(json.loads(line))


def _command(what: str) -> list[str]:
    # -P: a file in the current directory that is named like a module of ours or of Python's must not be run.
    return [sys.executable, "-P", "-m", "wsresearch.collect.here", what]


def _environment() -> dict[str, str]:
    """Return this process's environment, in which the package is found even where it is not installed.

    A collector's memory is asked for as :mod:`.memory` has it.
    """
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**dict([ARROW_POOL]), **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def running(root: Path) -> psutil.Process | None:
    """Return the collector that holds a capture's lock, None if there is none on this machine."""
    holder = lock.holder_of(root)
    return None if holder is None else holder.process()


def settled(root: Path, *, patience: float = _READY_TIMEOUT) -> psutil.Process | None:
    """Return the collector of a capture as :func:`running` does; one that still repairs is waited for.

    Only then has it written down what it was asked to do.
    """
    deadline = time.monotonic() + patience
    while (holder := lock.holder_of(root)) is not None and (found := holder.process()) is not None:
        if holder.run or time.monotonic() > deadline:
            return found
        time.sleep(_POLL)
    return None


def signal_reconnect(root: Path) -> int:
    """Cut the backoff short or drop the connection, by SIGUSR1; return the pid.

    Raises
    ------
    CollectorError
        If no collector runs.
    """
    process = running(root)
    if process is None or not _sent(process, signal.SIGUSR1):
        raise CollectorError(f"no collector is running on {str(root)!r}; start one with 'wsresearch collect'")
    return process.pid


def stop(root: Path, *, timeout: float = 60.0) -> bool:
    """Stop a capture's collector, by SIGTERM, and wait until everything is sealed.

    Parameters
    ----------
    root
        The capture directory.
    timeout
        Seconds to wait. The collector leaves within two; a large segment that it had no time to seal is sealed after
        it has gone.

    Returns
    -------
    bool
        Whether one was running.

    Raises
    ------
    CollectorError
        If it is still there after the timeout, is another user's, or runs on another machine; or if it has stopped
        and something could not be sealed.
    """
    holder = lock.holder_of(root)
    if holder is not None and not holder.is_here and read_status(root).pid is not None:
        raise CollectorError(f"the collector of {str(root)!r} runs on {holder.host}: stop it there")
    process = running(root)
    if process is None or not _sent(process, signal.SIGTERM):
        return False
    deadline = time.monotonic() + timeout
    while _lives(process):
        if time.monotonic() > deadline:
            raise CollectorError(
                f"pid {process.pid} has not ended after {timeout:g} s; its disk may not answer: see 'wsresearch status "
                f"{root}', or end it with 'kill -9 {process.pid}' (nothing that is in the journals is lost)"
            )
        time.sleep(_POLL)
    _seal_what_is_left(root, patience=max(1.0, deadline - time.monotonic()))
    return True


def _seal_what_is_left(root: Path, *, patience: float) -> None:
    """Seal what a collector had no time for, as it leaves within two seconds; nobody waits for it any more but us.

    In a process of its own: whoever holds the lock is taken for a collector, and may be sent a signal.
    """
    layout = Layout(root)
    if not any(layout.journals(table) for table in TableName) or running(root) is not None:
        return
    command = [sys.executable, "-P", "-m", "wsresearch", "recover", os.fspath(root.resolve())]
    try:
        done = subprocess.run(
            command, cwd="/", env=_environment(), capture_output=True, text=True, timeout=patience, check=False
        )
        why = safe(" ".join((done.stdout + done.stderr).split()), limit=400)
    except subprocess.TimeoutExpired:
        done, why = None, f"not done after {patience:.0f} s"
    if (done is None or done.returncode) and running(root) is None:
        raise CollectorError(
            f"the collector of {str(root)!r} has stopped, but not all it recorded is sealed ({why}): the rows are read "
            f"from their journals; make room or mend the disk, then 'wsresearch recover {root}'"
        )


def _lives(process: psutil.Process) -> bool:
    """Whether a process has not ended; in a container without an init nobody may ever look at an orphan that has."""
    with contextlib.suppress(psutil.Error):
        process.wait(0)  # if it was our own child it is gone now
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _sent(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal; say whether there was somebody to receive it."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        raise CollectorError(
            f"pid {process.pid} is another user's: {number.name} may not be sent; ask whoever started it"
        ) from None
    return True


def _told(document: dict[str, Any]) -> Started:
    """Turn what a collector said of its start into a value or the exception it met."""
    if "error" in document:
        raise _KINDS.get(document["kind"], CollectorError)(document["error"])
    return Started(pid=document["pid"], run=document["run"])


def as_told(exc: Exception) -> dict[str, Any]:
    """Return what :func:`_told` turns into the same exception."""
    kind = next((name for name, kind in _KINDS.items() if isinstance(exc, kind)), CollectorError.__name__)
    defect = "" if isinstance(exc, WsresearchError) else f"a defect of this program: {type(exc).__name__}: "
    return {"error": f"{defect}{exc}", "kind": kind}
