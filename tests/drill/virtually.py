"""The stage of virtual time: a collector with real files and a scripted network, where an hour takes a moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.drill.scenario import Facts, Play, Run, Venue
from tests.drill.sockets import FAST
from tests.simnet import EPOCH_NS, Opens, Refuses, SimTransport
from tests.virtual import run_virtually
from wsresearch.api import make_config
from wsresearch.capture.reader import Reader
from wsresearch.collect.collector import Collector
from wsresearch.collect.recorder import Immediately
from wsresearch.collect.status import read_status

__all__ = ["EPOCH_MS", "Opens", "Refuses", "on_virtual_time"]

EPOCH_MS = EPOCH_NS // 10**6

Meet = Callable[[int, float], Opens | Refuses]
Check = Callable[[Sequence[float], Sequence[dict[str, Any]]], list[str]]


def on_virtual_time(
    make: Callable[[random.Random, Venue], Meet],
    *,
    seconds: float,
    check: Check | None = None,
    net: Callable[[Meet, random.Random], SimTransport] | None = None,
    rejected: int | None = 0,
    holes: Callable[[], list[tuple[str, int, int]]] | None = None,
    connections: dict[tuple[str, int], int] | None = None,
    **options: Any,
) -> Play:
    """Return how a scenario is played on virtual time.

    Parameters
    ----------
    make
        Makes what the attempt of a number meets at a virtual second, for one run.
    seconds
        How long it lasts.
    check
        Finds what is wrong from the times of the attempts and the events.
    net
        Makes another network than :class:`~tests.simnet.SimTransport`.
    rejected, holes, connections
        As in the facts.
    **options
        Of the collector.
    """

    def play(run: Run) -> Facts:
        clock = [EPOCH_MS]

        def tick() -> int:
            clock[0] += 1
            return clock[0]

        venue = Venue(run.rng, ["BTCUSDT", "ETHUSDT"], clock=tick)
        meet = make(run.rng, venue)
        network: Any = SimTransport(meet) if net is None else net(meet, run.rng)
        # At once, after a usual round trip, or not at all: longer than a stop has patience.
        network.answers_after = random.Random(f"goodbye {run.seed}").choice([0.0, 0.02, 1.0])
        told = {**FAST, "idle_timeout": 10_000.0, "seed": run.seed, "duration": seconds} | options
        config = make_config("binance:btcusdt,ethusdt", run.root, **told)
        causes: set[str] = set()

        async def main() -> tuple[int, float | None]:
            now = asyncio.get_running_loop().time
            wishes: list[float] = []
            async with Collector(config, transport=network, executors=(Immediately(), Immediately())) as collector:
                note = collector._chronicle.event

                def noted(*args: Any, **columns: Any) -> None:
                    note(*args, **columns)
                    if collector.status.cause and collector.status.in_words:
                        causes.add(collector.status.cause)

                stop = collector.stop

                def wished(detail: str = "a stop was asked for") -> None:
                    wishes.append(now())
                    stop(detail)

                collector._chronicle.event = noted  # type: ignore[method-assign]
                collector.stop = wished  # type: ignore[method-assign]
                code = await collector.run()
            return code, now() - wishes[0] if wishes else None

        code, stopping = run_virtually(main())
        causes.add(read_status(run.root).cause or "")
        events = Reader(run.root).events().to_pylist()
        return Facts(
            root=run.root,
            sent=venue.sent,
            exit_code=code,
            causes=causes,
            most_live=network.most_live,
            stop=stopping,
            accepted=len(network.attempts),
            waited=[min(later) for end in network.ends if (later := [at - end for at in network.attempts if at > end])],
            rejected=rejected,
            holes=None if holes is None else holes(),
            connections=connections or {},
            problems=[] if check is None else check(network.attempts, events),
        )

    return play
