"""While open, at length: rules that take minutes, on virtual time; the table that they stand in is not here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.drill.scenario import Facts, Run, Venue
from tests.drill.virtually import Opens, on_virtual_time
from wsresearch.reconnect.causes import Cause, Failure

__all__ = ["both_deliver", "flapping", "try_again_later", "within_budget"]


def closed(code: int) -> Failure:
    return Failure(cause=Cause.CLOSED, detail="closed by the peer", close_code=code, close_by="peer")


def try_again_later(rng: random.Random, venue: Venue) -> Callable[[int, float], Opens]:
    """1013, once or twice; then well."""
    times = rng.randint(1, 2)

    def meet(number: int, _now: float) -> Opens:
        script = [(rng.uniform(0.01, 1), trade) for trade in venue.told(rng.randrange(1, 9))]
        return Opens(
            script=[(pause, trade.wire()) for pause, trade in script] + [(0.5, closed(1013))] * (number <= times)
        )

    return meet


def flapping(rng: random.Random, venue: Venue) -> Callable[[int, float], Opens]:
    """A server that lets us in and closes at once, for minutes; sometimes after one message."""

    def meet(_number: int, now: float) -> Opens:
        if now > 250:
            return Opens(script=[(0.1, trade.wire()) for trade in venue.told(5)])
        script: list[tuple[float, bytes | Failure]] = [(0.0, t.wire()) for t in venue.told(1) if rng.random() < 0.5]
        if not script:
            venue.sent.pop()
        return Opens(script=[*script, (0.0, closed(rng.choice([1000, 1001, 1012])))])

    return meet


def both_deliver(run: Run) -> Facts:
    """Silent until it is replaced, a connection then brings for seconds, late, what the new one brings as well."""
    connections: dict[tuple[str, int], int] = {}

    def make(rng: random.Random, venue: Venue) -> Callable[[int, float], Opens]:
        before, both = venue.told(rng.randrange(1, 9)), venue.told(60)
        connections.update({(trade.symbol, trade.trade_id): 1 for trade in before})
        connections.update({(trade.symbol, trade.trade_id): 2 for trade in both})
        told = [(0.05, trade.wire()) for trade in both]

        def meet(number: int, _now: float) -> Opens:
            if number > 1:
                return Opens(script=told)
            script = [(rng.uniform(0, 0.3), trade.wire()) for trade in before]
            return Opens(script=[*script, (31.0, both[0].wire()), *told[1:]], outlives=True)

        return meet

    return on_virtual_time(make, seconds=60, connections=connections, idle_timeout=30.0)(run)


def within_budget(attempts: Sequence[float], _events: Any) -> list[str]:
    most = max(sum(first <= at < first + 100 for at in attempts) for first in attempts)
    return [] if most <= 20 else [f"{most} attempts within 100 s, 20 are allowed"]
