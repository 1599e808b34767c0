"""A simulated network for collector tests: a scripted venue behind the transport's seam, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from wsresearch.collect.clock import Anchor
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.seam import AttemptFailed
from wsresearch.reconnect.actions import Phases
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.venues.binance_wire import trade_message

EPOCH_NS = 1_800_000_000 * 10**9
"""Wall clock at virtual second 0: 2027-01-15 08:00 UTC."""


@dataclass(kw_only=True)
class Refuses:
    """An attempt that fails after so many seconds."""

    after: float = 0.01
    failure: Failure = field(default_factory=lambda: Failure(cause=Cause.REFUSED, detail="connection refused"))


@dataclass(kw_only=True)
class Opens:
    """An attempt that opens, and what the connection then brings: ``(seconds since the last step, message)``.

    A failure in place of a message ends the connection; after the last step it stays open and silent. One that
    outlives its end goes on with its script when it has been dropped, and puts into the inbox what it brings.
    """

    after: float = 0.03
    script: Iterable[tuple[float, bytes | Failure]] = ()
    outlives: bool = False


class SimTransport:
    """The network: ``venue(number, now)`` answers the attempt of that number.

    Attributes
    ----------
    attempts, ends, goodbyes
        When each attempt began, when a script ended a connection, and when the client said goodbye.
    live, most_live
        Links that are not gone, now and at most.
    answers_after
        Seconds that a venue takes to answer a goodbye.
    """

    def __init__(self, venue: Callable[[int, float], Refuses | Opens]) -> None:
        self.venue = venue
        self.attempts: list[float] = []
        self.ends: list[float] = []
        self.answers_after = 0.0
        self.live = 0
        self.most_live = 0
        self.goodbyes: list[float] = []
        # A loop holds its tasks weakly: one of a link that nobody has any more would be collected while it waits.
        self.tasks: set[asyncio.Task[Failure]] = set()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ns(self) -> int:
        return EPOCH_NS + round(self.now() * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def connect(self, url: str, *, began: float, anchor: Anchor, inbox: Inbox) -> SimLink:
        self.attempts.append(self.now())
        answer = self.venue(len(self.attempts), self.now())
        await asyncio.sleep(answer.after)
        phases = Phases(dns=0.0, tcp=self.now() - began)
        if isinstance(answer, Refuses):
            raise AttemptFailed(answer.failure, phases)
        return SimLink(self, answer, phases, anchor, inbox)


class SimLink:
    """One simulated connection."""

    peer = "sim:1"
    clock_offset = None
    ping_rtt = 0.001

    def __init__(self, net: SimTransport, answer: Opens, phases: Phases, anchor: Anchor, inbox: Inbox) -> None:
        self.phases = phases
        self._net, self._anchor, self._inbox = net, anchor, inbox
        net.live += 1
        net.most_live = max(net.most_live, net.live)
        self._gone = False
        self._outlives = answer.outlives
        self._task = asyncio.create_task(self._play(answer.script))
        net.tasks.add(self._task)
        self._task.add_done_callback(net.tasks.discard)

    async def _play(self, script: Iterable[tuple[float, bytes | Failure]]) -> Failure:
        for pause, step in script:
            if pause:  # without one it came together with the step before
                await asyncio.sleep(pause)
            if isinstance(step, Failure):
                self._net.ends.append(self._net.now())
                return step
            self._inbox.put(step, self._anchor.wall(self._net.now()))
        return await asyncio.get_running_loop().create_future()

    async def lost(self) -> tuple[Failure, float]:
        await asyncio.wait({self._task})
        noticed = self._net.now()
        self.abort()
        if self._task.cancelled():
            return Failure(cause=Cause.EOF), noticed
        return self._task.result(), noticed

    async def send(self, text: str) -> None:
        return None

    async def close(self) -> None:
        self._net.goodbyes.append(self._net.now())
        if self._net.answers_after:
            await asyncio.sleep(self._net.answers_after)
        self.abort()

    def abort(self) -> None:
        if not self._gone:
            self._gone = True
            self._net.live -= 1
            if not self._outlives:
                self._task.cancel()


def trade(trade_id: int, now: float, *, symbol: str = "BTCUSDT", price: str = "100.5", quantity: str = "0.25") -> bytes:
    """A trade matched at virtual second ``now``, in a combined stream."""
    wall_ms = EPOCH_NS // 10**6 + round(now * 1000)
    return trade_message(
        symbol=symbol,
        trade_id=trade_id,
        price=price,
        quantity=quantity,
        trade_time=wall_ms,
        event_time=wall_ms,
        buyer_is_maker=trade_id % 2 == 0,
        combined=True,
    )


class Tape:
    """A venue's trades on virtual time: one every ``every`` seconds, whether or not anybody listens."""

    def __init__(self, *, every: float = 0.5) -> None:
        self.every = every

    def from_(
        self, now: float, *, until: float | None = None, then: Failure | None = None
    ) -> Iterator[tuple[float, bytes | Failure]]:
        """What a connection opened at ``now`` brings, up to a failure at ``until``."""
        number = int(now / self.every) + 1
        at = now
        while until is None or number * self.every <= until:
            yield number * self.every - at, trade(number, number * self.every)
            at = number * self.every
            number += 1
        if then is not None:
            yield until - at, then
