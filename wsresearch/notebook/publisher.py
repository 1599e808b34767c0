"""The one thread that changes what a panel shows: it ticks, and does what it is asked; no widget is here."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Publisher"]

_log = logging.getLogger(__name__)


class Publisher:
    """A thread that calls ``tick`` once a second, or at once when it has been asked for something.

    Callbacks of widgets may run on any thread and must not take long, so all they do is to :meth:`ask`.

    Parameters
    ----------
    tick
        Shows what is new.
    failed
        Called with an exception that ``tick`` or a request did not expect, so that it is seen and not lost.
    every
        Seconds from one tick to the next.
    name
        Of the thread.
    """

    def __init__(
        self,
        tick: Callable[[], None],
        *,
        failed: Callable[[Exception], None],
        every: float = 1.0,
        name: str = "wsresearch-panel",
    ) -> None:
        self._tick = tick
        self._failed = failed
        self._every = every
        self._changed = threading.Condition()
        self._requests: deque[Callable[[], None]] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        # What is registered last is done first: it ends before the sockets, and all else that it uses, are closed.
        atexit.register(self.close)
        self._thread.start()

    def ask(self, request: Callable[[], None]) -> None:
        """Have something done by the thread, as soon as it can; any thread may ask, and does not wait."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def work(self, job: Callable[[], None]) -> None:
        """Have something done that takes long, by a thread of its own, and then tick."""

        def run() -> None:
            self._guarded(job)
            self.ask(lambda: None)

        threading.Thread(target=run, name=f"{self._thread.name}-work", daemon=True).start()

    def close(self) -> None:
        """End the thread, after what it is doing; requests not begun are dropped. Any thread may call it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        atexit.unregister(self.close)
        if self._thread.ident is not None and not self.is_current:
            self._thread.join()

    @property
    def is_current(self) -> bool:
        """Whether the caller is on its thread."""
        return self._thread is threading.current_thread()

    @property
    def closed(self) -> bool:
        """Whether it has been told to end."""
        return self._closed

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until something is true, looking after each tick, at most ``timeout`` seconds; return whether it is."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def tell(self) -> None:
        """Have those look again who wait for something to become true."""
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._requests, timeout=max(0.0, due - time.monotonic()))
                if self._closed:
                    return
                requests = list(self._requests)
                self._requests.clear()
            for request in requests:
                self._guarded(request)
            self._guarded(self._tick)
            due = max(due + self._every, time.monotonic()) if time.monotonic() >= due else due
            self.tell()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a thread has no caller; whoever looks at the panel is told
            _log.exception("a panel met what it did not expect")
            self._failed(error)
