"""Who collects into a capture: the OS lock and the note inside it; starting or stopping a process is not here."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from wsresearch.capture.layout import Layout
from wsresearch.capture.regular import open_regular
from wsresearch.errors import CaptureBusy, CaptureError

__all__ = ["Holder", "held", "holder_of"]

# psutil derives a start time from clock ticks; two readings of one process differ by no more than one tick.
_SAME_START = 0.05
# Bytes; the note is padded to this, so that a shorter one leaves nothing of a longer one behind, and so that no later
# one needs room on a disk that is full.
_NOTE_BYTES = 1024
_LONGEST_TROUBLE = 200
# Seconds for the threads of a killed process to go, each when the kernel call it is in returns.
_LAST_THREAD = 2.0
_PROC = Path("/proc")
_START_TICKS = 19
"""Field of a process's ``stat`` behind its name: the start in clock ticks since the machine booted, proc(5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process in the note of a lock.

    Attributes
    ----------
    pid, started
        Process id, and its start in seconds since 1970: a recycled pid has another start.
    host
        Name of the machine, for people.
    run
        Number of the run, 0 while the run is still being prepared.
    ticks
        Its start in clock ticks since the machine booted; 0 where the system does not tell. Seconds since 1970 change
        for a process that runs when somebody sets the clock.
    system
        Which boot of which machine, and which namespace, the pid is of; empty where the system does not tell. A machine
        may be given another name while a collector runs.
    trouble
        What the disk answers, as long as writing to the capture fails.
    """

    pid: int
    started: float
    host: str
    run: int = 0
    ticks: int = 0
    system: str = ""
    trouble: str = ""

    @classmethod
    def me(cls, *, run: int = 0, trouble: str = "") -> Holder:
        """Return this process."""
        return cls(
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            host=socket.gethostname(),
            run=run,
            ticks=_ticks(os.getpid()),
            system=_system(),
            trouble=trouble,
        )

    @property
    def is_here(self) -> bool:
        """Whether it ran on this machine, so that its pid means something here."""
        if self.system and _system():
            return self.system == _system()
        return self.host == socket.gethostname()

    def process(self) -> psutil.Process | None:
        """Return the live process, None if it is gone (or its pid now belongs to another)."""
        if not self.is_here:
            return None
        try:
            process = psutil.Process(self.pid)
            ticks = _ticks(self.pid)
            same = ticks == self.ticks if ticks and self.ticks else self._started_with(process)
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def _started_with(self, process: psutil.Process) -> bool:
        return bool(abs(process.create_time() - self.started) < _SAME_START)


def _ticks(pid: int) -> int:
    """Return when a process was started, in ticks of a clock that nobody sets; 0 if that cannot be known."""
    try:
        return int((_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[_START_TICKS])
    except (OSError, ValueError, IndexError):
        return 0


@functools.cache
def _system() -> str:
    """Return what tells this table of processes from all others; empty if that cannot be known."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def holder_of(root: Path) -> Holder | None:
    """Read the note in a capture's lock; None if there is none or it cannot be read as one.

    The holder may be dead: a lock file stays, only the OS lock goes with its process.

    Raises
    ------
    CaptureError
        If the lock may not be read.
    """
    path = Layout(root).lock
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            told = json.loads(file.read(_NOTE_BYTES))
        return Holder(
            pid=int(told["pid"]),
            started=float(told["started"]),
            host=str(told["host"]),
            run=int(told["run"]),
            ticks=int(told.get("ticks", 0)),
            system=str(told.get("system", "")),
            trouble=str(told.get("trouble", "")),
        )
    except FileNotFoundError:
        if _is_foreign(path):
            raise CaptureError(f"{str(path)!r} is no regular file, so nobody can say who collects: remove it") from None
        return None
    except NotADirectoryError:
        return None
    except (ValueError, TypeError, KeyError):
        return None
    except OSError as exc:
        raise CaptureError(f"{str(path)!r} cannot be read ({exc.strerror}), so nobody can say who collects") from exc


def _is_foreign(path: Path) -> bool:
    """Whether something that no collector makes bears the name of the lock: a link, a pipe, a folder."""
    return os.path.lexists(path) and (path.is_symlink() or not path.is_file())


def _acquire(lock: FileLock, root: Path) -> None:
    """Take the OS lock, at once or never, but for a holder that was killed: its last thread may go a moment later."""
    until = time.monotonic() + _LAST_THREAD
    while True:
        try:
            lock.acquire()
        except Timeout:
            holder = holder_of(root)
            if holder is None or not holder.is_here or holder.process() is not None or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


class Held:
    """The lock while it is ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = 0

    def note(self, *, run: int, trouble: str = "") -> None:
        """Write down who holds the lock, for which run, and what keeps it from writing anything else."""
        self._run = run
        short = trouble.encode("ascii", "replace").decode()[:_LONGEST_TROUBLE]
        self._write(json.dumps(asdict(Holder.me(run=run, trouble=short))))

    def trouble(self, what: str) -> None:
        """Write down what keeps the run from writing, empty when it can; if not even that can be written, do not."""
        with contextlib.suppress(OSError):  # the journal's own failure is what is told, as soon as anything can be
            self.note(run=self._run, trouble=what)

    def clear(self) -> None:
        """Write down that nobody holds it: the process that did may live on for other things."""
        self._write("{}")

    def _write(self, text: str) -> None:
        # In place, and padded rather than truncated: a reader never finds the file empty or half a note.
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, text.encode().ljust(_NOTE_BYTES), 0)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def held(root: Path) -> Iterator[Held]:
    """Hold the lock of a capture for the length of a ``with`` block.

    Raises
    ------
    CaptureBusy
        At once, if another process holds it.
    CaptureError
        If the file system does not let us.
    """
    path = Layout(root).lock
    if _is_foreign(path):
        raise CaptureError(f"{str(path)!r} is no regular file, so it cannot be locked: remove it and try again")
    # Taken in the thread that repairs, given back in the one that collects.
    lock = FileLock(path, mode=0o600, blocking=False, thread_local=False)
    try:
        _acquire(lock, root)
    except Timeout:
        holder = holder_of(root)
        who = f"pid {holder.pid} on {holder.host}" if holder else "another process"
        raise CaptureBusy(
            f"{str(root)!r} is already being collected by {who}; stop it with 'wsresearch stop {root}' "
            "or choose another directory"
        ) from None
    except OSError as exc:
        raise CaptureError(f"{str(path)!r} cannot be locked ({exc.strerror or exc}): choose another directory") from exc
    ours = Held(path)
    try:
        try:
            ours.note(run=0)
        except OSError as exc:
            why = exc.strerror or exc
            raise CaptureError(f"{str(path)!r} cannot be written ({why}): make room, or choose another disk") from exc
        yield ours
    finally:
        try:
            # Removed with the directory while we collected into it, or on a failing disk: what counts is the OS lock.
            with contextlib.suppress(OSError):
                ours.clear()
        finally:
            lock.release()
