"""A venue that goes down at random, a real collector on virtual time, and the truth about both."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from tests.simnet import Opens, Refuses, SimTransport, Tape
from tests.virtual import run_virtually
from wsresearch.api import make_config
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.reader import Reader
from wsresearch.collect.collector import Collector
from wsresearch.collect.recorder import Immediately
from wsresearch.reconnect.causes import Cause, Failure


@dataclass
class RandomVenue:
    """Up for minutes, down for anything between nothing and a minute; refuses while it is down.

    Parameters
    ----------
    seed
        Of the venue's own luck; the collector's is another.
    span
        Virtual seconds for which it goes up and down.
    """

    seed: int
    span: float
    every: float = 1.0
    """Seconds between two trades."""
    down: list[float] = field(default_factory=list)
    up: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = random.Random(f"venue {self.seed}")
        self._draw = draw
        self._tape = Tape(every=self.every)
        now = 0.0
        while now < self.span:
            now += 30.0 + draw.expovariate(1 / 120)
            self.down.append(now)
            # A third are resets of a healthy server, the rest outages of about ten seconds, some much longer.
            now += 0.0 if draw.random() < 1 / 3 else draw.lognormvariate(2.0, 1.0)
            self.up.append(now)

    def __call__(self, number: int, now: float) -> Opens | Refuses:
        at = bisect_right(self.down, now) - 1
        if at >= 0 and now < self.up[at]:
            return Refuses(after=self._draw.uniform(0.005, 0.1))
        ends = self.down[at + 1] if at + 1 < len(self.down) else None
        opens = self._draw.uniform(0.02, 0.2)
        if ends is not None and ends <= now + opens + self.every:  # it would go down before a message
            return Refuses(after=opens)
        gone = Failure(cause=Cause.RESET, close_by="peer")
        return Opens(after=opens, script=self._tape.from_(now + opens, until=ends, then=gone if ends else None))


def collected(root: Path, venue: RandomVenue, **options: Any) -> tuple[pa.Table, SimTransport]:
    """Run a collector against the venue for as long as it goes up and down; return its events and the network."""
    net = SimTransport(venue)
    config = make_config("binance:btcusdt", root, duration=venue.up[-1] + 200, **options)

    async def main() -> int:
        async with Collector(config, transport=net, executors=(Immediately(), Immediately())) as collector:
            return await collector.run()

    # These captures are thrown away, and an hour of virtual seconds is an hour of syncs.
    never = {name: lambda _disk, _what: None for name in ("fdatasync", "fsync", "fsync_dir")}
    with patch.multiple(RealDisk, **never):
        assert run_virtually(main()) == 0
    return Reader(root).events(), net
