"""How soon a dead or silent connection is noticed with the default options, and how soon it is replaced.

``python -m benchmarks.noticed`` prints three things: seconds until a half-open link is given up and until a silent
feed is, by collectors on real sockets; and seconds from the end of an outage to the next open connection under the
default policy, by the rules alone, for outages of many lengths. The promises stand beside them.

Not here: what each fault of the catalogue costs (``python -m tests.drill``).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.undisturbed import undisturbed
from wsresearch.api import Capture, make_config
from wsresearch.collect.collector import Collector
from wsresearch.lab import Tape, start
from wsresearch.reconnect.backoff import FullJitter
from wsresearch.reconnect.budget import Budget, BudgetWindow
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.reconnect.lifecycle import Lifecycle, Numbers, Rules, Signal, State
from wsresearch.reconnect.reset import Reset

COLLECTORS: Final = 10
IDLE: Final = 5.0
HALF_OPEN: Final = 12.0
"""Seconds in which a half-open link must be given up; silence is allowed a second beyond ``idle_timeout``."""

CUTS: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0)
SHORT: Final = 0.3
"""Seconds up to which an outage is called short: back within 2 s in 99 of 100; after a longer one within cap + 5 s.

Longer ones than about 0.3 s meet the third attempt, before which the policy draws up to 2 s, and more."""
RUNS: Final = 2_000

_UP: Final = 90.0
_OPENS: Final = 0.05
_REFUSED: Final = 0.01


async def noticed(fault: dict[str, Any], folder: Path, *, seconds: float, **options: Any) -> list[float]:
    """Do a fault to collectors that collect; return after how many seconds each gave its connection up."""
    with start(Tape.generate(rate=50.0, seed=1)) as exchange:
        async with contextlib.AsyncExitStack() as stack:
            collectors, running = [], []
            for number in range(COLLECTORS):
                config = make_config("binance:btcusdt", folder / str(number), url=exchange.url, seed=number, **options)
                collectors.append(await stack.enter_async_context(Collector(config)))
                running.append(asyncio.create_task(collectors[-1].run()))
                await asyncio.sleep(0.37)  # so that their pings fall at different moments
            await asyncio.sleep(2.0)
            began = time.time()
            await asyncio.to_thread(exchange.inject, fault)
            await asyncio.sleep(seconds)
            for collector in collectors:
                collector.stop()
            await asyncio.gather(*running)
    rows = [Capture(folder / str(number)).outages().to_pylist()[0] for number in range(COLLECTORS)]
    return [row["detect"] if fault["fault"] == "silence" else row["noticed"].timestamp() - began for row in rows]


def recovered(cut: float, seed: int) -> float:
    """Return the seconds from the end of an outage to the next open connection, under the default rules."""
    rules = Rules(policy=FullJitter(base=1.0, cap=30.0), reset=Reset())
    cycle = Lifecycle(rules, BudgetWindow(Budget()), random.Random(seed), Numbers())
    cycle.handle(Signal.START, 0.0)
    cycle.handle(Signal.DEADLINE, 0.0)
    cycle.handle(Signal.OPENED, _OPENS)
    for second in range(1, int(_UP) + 1):
        cycle.handle(Signal.MARKET, float(second))
    cycle.handle(Signal.LOST, _UP, failure=Failure(cause=Cause.RESET))
    back = _UP + cut
    while True:
        assert cycle.state is State.BACKING_OFF
        assert cycle.deadline is not None
        now = cycle.deadline
        cycle.handle(Signal.DEADLINE, now)
        if now >= back:
            return now + _OPENS - back
        cycle.handle(Signal.ATTEMPT_FAILED, now + _REFUSED, failure=Failure(cause=Cause.REFUSED))


def main() -> int:
    """Measure and print; exit code 1 if a promise is not kept."""
    well = True
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name, undisturbed():
        folder = Path(name)
        half_open = asyncio.run(noticed({"fault": "half_open"}, folder / "half-open", seconds=HALF_OPEN + 1))
        well &= _told("a half-open link is given up after", half_open, HALF_OPEN)
        silence = {"fault": "silence", "for": None}
        silent = asyncio.run(noticed(silence, folder / "silent", seconds=IDLE + 2, idle_timeout=IDLE))
        well &= _told(f"a silent feed, idle_timeout {IDLE:g} s, after", silent, IDLE + 1)
    print(f"\ndefault policy, {RUNS} outages of each length: seconds from its end to the next open connection")
    print("  outage     median    90 %    99 %   worst   promised")
    for cut in CUTS:
        values = [recovered(cut, seed) for seed in range(RUNS)]
        of, limit = (99, 2.0) if cut <= SHORT else (100, 35.0)
        kept = float(np.percentile(values, of)) <= limit
        well &= kept
        numbers = " ".join(f"{np.percentile(values, at):7.2f}" for at in (50, 90, 99, 100))
        print(f"  {cut:6.1f} s  {numbers}   {limit:g} s in {of} %{'' if kept else '  NOT KEPT'}")
    print("\nall as promised" if well else "\nNOT all as promised")
    return 0 if well else 1


def _told(what: str, values: Sequence[float], limit: float) -> bool:
    found = f"median {np.median(values):6.2f} s, worst {max(values):6.2f} s of {len(values)}"
    print(f"{what:44} {found}; promised {limit:g} s")
    return max(values) <= limit


if __name__ == "__main__":
    sys.exit(main())
