"""An event loop whose clock jumps to the next deadline instead of waiting: an hour in a millisecond."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(AssertionError):
    """Every task waits and nothing is scheduled: on a real clock this would hang for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise DeadlockError("nothing is scheduled and nothing is ready")
        self.loop.virtual_time += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs on virtual seconds, beginning at 0."""

    def __init__(self) -> None:
        self.virtual_time = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.virtual_time


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
