"""A venue and a network behind the collector's seam, on virtual time, that keep their own account of the truth."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.simnet import EPOCH_NS
from tests.simulation.weather import Kind, Spell
from wsresearch.collect.clock import Anchor
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.seam import AttemptFailed
from wsresearch.reconnect.actions import Phases
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.venues.binance_wire import shutdown_message, trade_message

__all__ = ["Told", "World"]

_UPGRADE = 0.03
_KEEPALIVE = 10.0
"""Seconds until a half-open link is noticed: ping interval and ping timeout together."""

_ENDS = {
    Kind.RESET: Failure(cause=Cause.RESET, detail="connection reset by the peer", close_by="peer"),
    Kind.REFUSE: Failure(cause=Cause.RESET, detail="connection reset by the peer", close_by="peer"),
    Kind.UNAVAILABLE: Failure(cause=Cause.CLOSED, close_code=1001, close_by="peer"),
    Kind.BANNED: Failure(cause=Cause.CLOSED, close_code=1001, close_by="peer"),
    Kind.HANG: Failure(cause=Cause.PING_TIMEOUT, detail="no pong", close_by="local"),
    Kind.NAMELESS: Failure(cause=Cause.EOF, detail="the connection ended without a Close frame", close_by="peer"),
    Kind.FLAP: Failure(cause=Cause.CLOSED, close_code=1000, close_by="peer"),
    Kind.TASTE: Failure(cause=Cause.CLOSED, close_code=1000, close_by="peer"),
    Kind.LATER: Failure(cause=Cause.CLOSED, close_code=1013, close_by="peer"),
}
_REFUSES = {
    Kind.REFUSE: (0.001, Failure(cause=Cause.REFUSED)),
    Kind.HANG: (10.0, Failure(cause=Cause.OPEN_TIMEOUT, close_by="local")),
    Kind.NAMELESS: (0.2, Failure(cause=Cause.NAME_NOT_FOUND)),
}


@dataclass(slots=True)
class Told:
    """What one connection told: trade ids with the moments they were sent, and whether it was lost."""

    run: int
    ids: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    lost: bool = False


class World:
    """The network, the venue and the clock of a day; one object outlives the runs of the collector.

    Parameters
    ----------
    spells
        What disturbs the day, in order.
    rng
        Draws what a network draws.
    every
        Seconds between two trades. Every 97th is garbled, every 61st is sent twice.

    Attributes
    ----------
    began
        When each run began, in virtual seconds of the day.
    leaving
        The run is being stopped: what ends now was not lost.
    gone
        The run was killed: nothing is sent any more.
    """

    def __init__(self, spells: Sequence[Spell], rng: random.Random, *, every: float = 15.0) -> None:
        self.spells = spells
        self.every = every
        self.run = 0
        self.base = 0.0
        self.began: list[float] = []
        self.attempts: list[float] = []
        self.told: list[Told] = []
        self.live = self.most_live = 0
        self.leaving = self.gone = False
        self.rng = rng
        self._begins = [spell.begin for spell in spells]

    def begin(self) -> None:
        """Begin another run; the kernel has closed what the one before left open."""
        self.run += 1
        self.began.append(self.base)
        self.live = 0
        self.leaving = self.gone = False

    # -- the seam ---------------------------------------------------------------------------------------------

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def today(self) -> float:
        """Virtual seconds since the day began, whichever run asks."""
        return self.base + self.now()

    def wall_ns(self) -> int:
        steps = sum(spell.size for spell in self.spells if spell.kind is Kind.CLOCK and spell.begin <= self.today())
        return EPOCH_NS + round((self.today() + steps) * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def connect(self, url: str, *, began: float, anchor: Anchor, inbox: Inbox) -> _Link:
        self.attempts.append(self.today())
        spell = self.spell_at(self.today())
        after, failure = _UPGRADE * self.rng.uniform(0.5, 2), None
        if spell is not None and spell.kind in _REFUSES:
            after, failure = _REFUSES[spell.kind]
        elif spell is not None and spell.kind in {Kind.UNAVAILABLE, Kind.BANNED}:
            status = 503 if spell.kind is Kind.UNAVAILABLE else 429
            failure = Failure(cause=Cause.HTTP_STATUS, http_status=status, retry_after=spell.size)
        await asyncio.sleep(after)
        phases = Phases(dns=0.0, tcp=0.0, upgrade=self.now() - began)
        if failure is not None:
            raise AttemptFailed(failure, phases)
        return _Link(self, phases, anchor, inbox)

    # -- what the links ask -----------------------------------------------------------------------------------

    def spell_at(self, moment: float) -> Spell | None:
        """The spell that lasts at a moment."""
        at = bisect_right(self._begins, moment) - 1
        return self.spells[at] if at >= 0 and moment < self.spells[at].end else None

    def next_spell(self, moment: float) -> Spell | None:
        """The first spell that begins after a moment."""
        at = bisect_right(self._begins, moment)
        return self.spells[at] if at < len(self.spells) else None

    def messages(self, number: int) -> list[bytes]:
        """What is sent for a trade: mostly one message."""
        wall_ms = EPOCH_NS // 10**6 + round(number * self.every * 1000)
        told = trade_message(
            symbol="BTCUSDT",
            trade_id=number,
            price="100.5",
            quantity="0.25",
            trade_time=wall_ms,
            event_time=wall_ms,
            buyer_is_maker=number % 2 == 0,
            combined=True,
        )
        if self.garbled(number):
            return [told.replace(b'"p":"', b'"p":"x')]
        return [told, told] if number % 61 == 0 else [told]

    def garbled(self, number: int) -> bool:
        """Whether a trade is sent in a form that no strict check lets pass."""
        return number % 97 == 0


class _Link:
    """One simulated connection; see :class:`wsresearch.collect.seam.Link`."""

    peer = "sim:1"
    clock_offset = None
    ping_rtt = 0.001

    def __init__(self, world: World, phases: Phases, anchor: Anchor, inbox: Inbox) -> None:
        self.phases = phases
        self._world, self._anchor, self._inbox = world, anchor, inbox
        self._told = Told(run=world.run)
        world.told.append(self._told)
        world.live += 1
        world.most_live = max(world.most_live, world.live)
        self._gone = False
        self._task = asyncio.create_task(self._live())

    async def _live(self) -> Failure:
        world = self._world
        spell = world.spell_at(world.today())
        while True:
            if spell is not None and spell.kind in _ENDS:
                return await self._end(spell)
            if spell is not None and spell.kind is Kind.SHUTDOWN:
                self._put(shutdown_message(world.wall_ns() // 10**6, combined=True))
                await self._play(world.today() + spell.size)
                return Failure(cause=Cause.CLOSED, close_code=1001, close_by="peer")
            if spell is not None and spell.kind is Kind.SILENT:
                await asyncio.sleep(max(0.0, spell.end - world.today()))
            spell = world.next_spell(world.today())
            await self._play(None if spell is None else spell.begin)

    async def _end(self, spell: Spell) -> Failure:
        if spell.kind is Kind.HANG:
            await asyncio.sleep(_KEEPALIVE)
        elif spell.kind is Kind.TASTE and not self._told.ids:
            await self._play(None, most=1)
        elif spell.kind is Kind.LATER:
            await asyncio.sleep(0.5)
        return _ENDS[spell.kind]

    async def _play(self, until: float | None, *, most: int | None = None) -> None:
        """Send the trades that are made before a moment."""
        world = self._world
        number = int(world.today() / world.every + 1e-9) + 1
        while (until is None or number * world.every < until) and most != 0:
            await asyncio.sleep(number * world.every - world.today())
            if world.gone:
                return
            for message in world.messages(number):
                self._put(message)
            if not world.garbled(number):
                self._told.ids.append(number)
                self._told.at.append(world.today())
                most = None if most is None else most - 1
            number += 1
        if until is not None:
            await asyncio.sleep(max(0.0, until - world.today()))

    def _put(self, message: bytes) -> None:
        self._inbox.put(message, self._anchor.wall(self._world.now()))

    async def lost(self) -> tuple[Failure, float]:
        await asyncio.wait({self._task})
        noticed = self._world.now()
        if self._task.cancelled():
            return Failure(cause=Cause.EOF), noticed
        self.abort()
        return self._task.result(), noticed

    async def send(self, text: str) -> None:
        return None

    async def close(self) -> None:
        await asyncio.sleep(self._world.rng.choice([0.0, 0.02, 1.0]))  # a second: the peer does not answer our Close
        self.abort()

    def abort(self) -> None:
        if not self._gone:
            self._gone = True
            self._told.lost = not (self._world.leaving or self._world.gone)
            self._world.live -= 1
            self._task.cancel()
