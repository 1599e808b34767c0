"""A collector of its own process, as a scenario has it in hand; what is done to it stands in the tables."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil

from tests.drill.scenario import Run, Trade
from tests.drill.sockets import PATIENCE
from wsresearch.collect import process
from wsresearch.collect.config import Config
from wsresearch.collect.status import Status, read_status
from wsresearch.errors import NotACapture

__all__ = ["LOST", "Act", "ended", "trade_of"]

LOST = 600
"""Rows that a SIGKILL may cost: those not yet flushed, and those a loaded machine had not yet read from the socket."""


class Act:
    """What a scenario does to a background collector, and what it finds out on the way."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run = run
        self.rng = run.rng
        self.config = config
        self.stop: float | None = None
        self.recovery: float | None = None
        self.cuts = 0
        self.problems: list[str] = []
        self.causes: set[str] = set()

    def started(self) -> psutil.Process:
        """Start a collector; return its process."""
        return psutil.Process(process.start_detached(self.config).pid)

    def status(self) -> Status | None:
        with contextlib.suppress(NotACapture):
            status = read_status(self.run.root)
            if status.cause and status.in_words:
                self.causes.add(status.cause)
            return status
        return None

    def collecting(self, more: int = 20) -> None:
        """Wait until the run has stored so many more trades."""
        status = self.status()
        before = 0 if status is None or status.pid is None else status.trades
        self.until(lambda: (now := self.status()) is not None and now.trades >= before + more, "more trades")

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"never came about: {what}; {self.status()}")
            time.sleep(0.01)

    def stopped(self) -> bool:
        """Stop the collector as the command does; return whether there was one."""
        began = time.monotonic()
        was = process.stop(self.run.root)
        self.stop = max(self.stop or 0.0, time.monotonic() - began)
        self.status()
        return was

    def killed(self, victim: psutil.Process) -> None:
        victim.kill()
        self.cuts += 1
        self.until(lambda: not process._lives(victim), "the end of a killed process")
        self.status()

    def must(self, truth: object, what: str) -> None:
        if not truth:
            self.problems.append(what)


@contextlib.contextmanager
def ended(act: Act) -> Iterator[None]:
    """Kill what still runs at the end, and say so; ask for the status once more."""
    try:
        yield
    finally:
        if (left := process.running(act.run.root)) is not None:
            act.problems.append("a collector was still running at the end")
            act.killed(left)
    act.status()


def trade_of(row: dict[str, Any]) -> Trade:
    """Return the trade that a row of the exchange's truth tells of."""
    return Trade(
        symbol=row["symbol"],
        trade_id=row["trade_id"],
        price=str(row["price"]),
        quantity=str(row["quantity"]),
        maker=row["side"] == "sell",
        at_ms=round(row["trade_time"].timestamp() * 1000),
    )
