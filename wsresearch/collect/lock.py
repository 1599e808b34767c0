"""Who collects into a capture: the OS lock and the note inside it; starting or stopping a process is not here."""

from __future__ import annotations

import contextlib
import json
import os
import socket
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
# Bytes; the note is padded to this, so that a shorter one leaves nothing of a longer one behind.
_NOTE_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process in the note of a lock.

    Attributes
    ----------
    pid, started
        Process id, and its start in seconds since 1970: a recycled pid has another start.
    host
        Machine whose process table the pid belongs to.
    run
        Number of the run, 0 while the run is still being prepared.
    """

    pid: int
    started: float
    host: str
    run: int = 0

    @classmethod
    def me(cls, *, run: int = 0) -> Holder:
        """Return this process."""
        return cls(pid=os.getpid(), started=psutil.Process().create_time(), host=socket.gethostname(), run=run)

    @property
    def is_here(self) -> bool:
        """Whether it ran on this machine, so that its pid means something here."""
        return self.host == socket.gethostname()

    def process(self) -> psutil.Process | None:
        """Return the live process, None if it is gone (or its pid now belongs to another)."""
        if not self.is_here:
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


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
            pid=int(told["pid"]), started=float(told["started"]), host=str(told["host"]), run=int(told["run"])
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


class Held:
    """The lock while it is ours."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, *, run: int) -> None:
        """Write down who holds the lock and for which run."""
        self._write(json.dumps(asdict(Holder.me(run=run))))

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
        lock.acquire()
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
        ours.note(run=0)
        yield ours
    finally:
        try:
            with contextlib.suppress(FileNotFoundError):  # the directory was removed while we collected into it
                ours.clear()
        finally:
            lock.release()
