"""Threads on virtual time: a job runs at once, and what it waits for is waited for by the loop's clock."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

__all__ = ["Lockstep", "VirtualEvent", "take_time"]

_HERE = threading.local()


class Lockstep(Executor):
    """One thread whose jobs run while the loop stands still; only :func:`take_time` lets it go on, on virtual time."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._news: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._go = threading.Semaphore(0)
        self._clock: asyncio.TimerHandle | None = None
        self._busy = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a job when those before it have ended."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # later jobs may come from another thread, while it stands still
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        if not self._busy:
            self._next()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing lives between two jobs."""
        assert not self._busy
        assert not self._waiting

    def _next(self) -> None:
        while self._waiting and not self._busy:
            self._busy = True
            threading.Thread(target=self._work, args=self._waiting.popleft()).start()
            self._listen()

    def _work(self, future: Future[Any], job: Callable[[], Any]) -> None:
        _HERE.lockstep = self
        try:
            result = job()
        except Exception as exc:  # noqa: BLE001 - handed on through the future, as every executor does
            future.set_exception(exc)
        else:
            future.set_result(result)
        self._news.put(None)

    def _listen(self) -> None:
        """Wait until the job has ended or waits itself."""
        seconds = self._news.get(timeout=20)
        if seconds is None:
            self._busy = False
        else:
            assert self._loop is not None
            self._clock = self._loop.call_later(seconds, self.wake)

    def wake(self) -> None:
        """Let a job that waits go on."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
            self._go.release()
            self._listen()
            self._next()

    def park(self, seconds: float) -> None:
        """Let virtual seconds pass in a job, or fewer if it is woken."""
        self._news.put(seconds)
        assert self._go.acquire(timeout=20)


def take_time(seconds: float) -> None:
    """Let virtual seconds pass, from within a job."""
    _HERE.lockstep.park(seconds)


class VirtualEvent:
    """A ``threading.Event`` that jobs wait for on virtual time and that the loop sets."""

    def __init__(self) -> None:
        self._set = False
        self._sleepers: list[Lockstep] = []

    def is_set(self) -> bool:
        """Tell whether it was set."""
        return self._set

    def set(self) -> None:
        """Set it, and wake who waits for it."""
        self._set = True
        for each in self._sleepers:
            each.wake()

    def wait(self, seconds: float) -> bool:
        """Wait, from within a job."""
        if not self._set:
            self._sleepers.append(_HERE.lockstep)
            take_time(seconds)
            self._sleepers.remove(_HERE.lockstep)
        return self._set
