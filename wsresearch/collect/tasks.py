"""Tasks that are kept, cancelled together, and whose defects reach somebody; what they do is not here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Tasks", "happens_before"]

_log = logging.getLogger(__name__)


class Tasks:
    """The background tasks of one run.

    Parameters
    ----------
    on_defect
        Called with an exception that a task did not handle: a defect of the program, never swallowed.
    """

    def __init__(self, on_defect: Callable[[BaseException], None]) -> None:
        self._on_defect = on_defect
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._reap)
        return task

    async def cancel(self) -> None:
        """Cancel all that run, and wait until they have ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("%s has a defect", task.get_name(), exc_info=exc)
            self._on_defect(exc)


async def happens_before(event: asyncio.Event, limit: Coroutine[Any, Any, None] | None) -> bool:
    """Wait until ``event`` is set, at most until ``limit`` has ended; False if that came first."""
    news = asyncio.ensure_future(event.wait())
    waiting: set[asyncio.Future[Any]] = {news}
    if limit is not None:
        waiting.add(asyncio.ensure_future(limit))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return news.done()
    finally:
        for future in waiting:
            future.cancel()
