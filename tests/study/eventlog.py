"""A writer of consistent event tables: the test says how long each step took, the log keeps clock and numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from wsresearch.schema import EVENTS, TRADES

START_NS = 1_795_000_000_000_000_000  # 2026-11-18 08:53:20 UTC


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


@dataclass
class EventLog:
    """Writes the rows that a collector would write, with the numbers that the contract of the events asks for."""

    now: int = START_NS
    run: int = 0
    connection: int = 0
    outage: int = 0
    outages: int = 0
    attempt: int = 0
    wall_offset: int = 0
    """Added to every ``time``: a wall clock that was stepped."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    delivered: bool = False

    def add(self, kind: str, **fields: Any) -> None:
        row = {
            "seq": len(self.rows) + 1,
            "time": self.now + self.wall_offset,
            "run": self.run,
            "connection": self.connection,
            "outage": self.outage,
            "kind": kind,
        }
        self.rows.append(row | fields)

    def wait(self, seconds: float) -> None:
        self.now += ns(seconds)

    def start(self) -> None:
        self.run += 1
        self.outage = self.attempt = 0
        self.delivered = False
        self.add("run_started")

    def back_off(self, delay: float, *, drawn: float | None = None, cause: str | None = None) -> None:
        self.add("backoff", attempt=self.attempt + 1, delay=delay, drawn=drawn, cause=cause)

    def connecting(self, waited: float, *, delay: float | None = None) -> None:
        self.wait(waited)
        self.attempt += 1
        delay = waited if delay is None else delay
        self.add("connecting", attempt=self.attempt, waited=waited, delay=delay)

    def try_to_open(
        self,
        waited: float,
        *,
        delay: float | None = None,
        drawn: float | None = None,
        cause: str | None = None,
    ) -> None:
        delay = waited if delay is None else delay
        self.back_off(delay, drawn=drawn, cause=cause)
        self.connecting(waited, delay=delay)

    def failed(self, took: float, *, cause: str = "refused", **fields: Any) -> None:
        self.wait(took)
        self.add("attempt_failed", attempt=self.attempt, cause=cause, waited=took, dns=0.0, tcp=took, **fields)

    def opened(self, took: float) -> None:
        self.wait(took)
        self.connection += 1
        self.delivered = False
        phases = {"dns": 0.0, "tcp": took / 4, "tls": took / 2, "upgrade": took / 4}
        self.add("opened", attempt=self.attempt, waited=took, **phases)

    def first_message(self, after: float) -> None:
        self.wait(after)
        self.add("first_message", waited=after)
        self.outage = self.attempt = 0
        self.delivered = True

    def lost(self, after: float, *, cause: str = "reset", **fields: Any) -> None:
        """Lose the connection ``after`` its last market message, or its opening if it delivered none."""
        self.wait(after)
        if self.delivered:
            self.outages += 1
            self.outage = self.outages
        self.delivered = False
        self.add("lost", cause=cause, waited=after, **fields)

    def hole(self, first_id: int, last_id: int, *, symbol: str = "BTCUSDT", **fields: Any) -> None:
        self.add("hole", symbol=symbol, first_id=first_id, last_id=last_id, **fields)

    def filled(self, first_id: int, last_id: int, *, symbol: str = "BTCUSDT") -> None:
        self.add("hole_filled", symbol=symbol, first_id=first_id, last_id=last_id, outage=None)

    def connect(self) -> None:
        """Open the first connection of a run without a hitch."""
        self.start()
        self.try_to_open(0.0)
        self.opened(0.05)
        self.first_message(0.02)

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(self.rows, schema=EVENTS)


def trades(times_ns: list[int], *, connection: int = 1, symbol: str = "BTCUSDT") -> pa.Table:
    """Return trades with the given receive times."""
    rows = [
        {"symbol": symbol, "trade_id": i, "recv_time": t, "connection": connection, "backfilled": False}
        for i, t in enumerate(times_ns)
    ]
    return pa.Table.from_pylist(rows, schema=TRADES)


def days(
    outages: int,
    *,
    span: float,
    seed: int = 1,
    causes: tuple[str, ...] = ("reset", "closed", "stalled", "eof"),
) -> EventLog:
    """Return a capture of about ``span`` seconds with this many outages of mixed causes and lengths."""
    draw = random.Random(seed)
    log = EventLog()
    log.connect()
    next_id = 1000
    up = span / (outages + 1)
    for _ in range(outages):
        log.wait(draw.expovariate(1 / up))
        cause = draw.choices(causes, weights=[1 / (1 + i) for i in range(len(causes))])[0]
        log.lost(draw.uniform(20, 30) if cause == "stalled" else draw.expovariate(20), cause=cause)
        base = 1.0
        if draw.random() < 0.5:
            log.try_to_open(0.0)
        else:
            log.try_to_open(draw.uniform(0.1, base))
        while draw.random() < 0.4:
            log.failed(draw.expovariate(5), cause="refused")
            base = min(30.0, base * 2)
            log.try_to_open(draw.uniform(0.1, base))
        log.opened(draw.uniform(0.02, 0.3))
        log.first_message(draw.expovariate(4))
        if draw.random() < 0.8:
            lost = int(draw.lognormvariate(3, 1.5)) + 1
            log.hole(next_id, next_id + lost - 1, cause="outage", outage=log.outages)
            next_id += lost + 1000
    log.wait(up)
    log.add("stopped", cause="stop")
    return log
