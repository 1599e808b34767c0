"""What a scenario is, and what a run of it leaves behind to be judged; playing and judging are not here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from wsresearch.venues.binance_wire import trade_message

__all__ = ["Facts", "NotPlayed", "Play", "Run", "Scenario", "Section", "Trade", "Venue"]


class NotPlayed(Exception):  # noqa: N818 - reads as what it says
    """A scenario cannot be played on this machine; the text says why."""


class Section(StrEnum):
    """The sections of the catalogue of faults."""

    REACHING = "reaching the server"
    OPEN = "while open"
    CONTENT = "content"
    PROCESS = "time and process"
    DISK = "disk"
    SECURITY = "security"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a scenario: everything that it does at random is drawn from its seed."""

    seed: int
    rng: random.Random
    folder: Path

    @property
    def root(self) -> Path:
        """The capture directory."""
        return self.folder / "capture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A trade that exists at the venue."""

    symbol: str
    trade_id: int
    price: str
    quantity: str
    maker: bool
    at_ms: int

    def wire(self) -> bytes:
        """The message that tells of it, in a combined stream."""
        return trade_message(
            symbol=self.symbol,
            trade_id=self.trade_id,
            price=self.price,
            quantity=self.quantity,
            trade_time=self.at_ms,
            event_time=self.at_ms,
            buyer_is_maker=self.maker,
            combined=True,
        )

    def row(self) -> tuple[Any, ...]:
        """What must stand on disk: symbol, id, price, quantity, side, time."""
        side = "sell" if self.maker else "buy"
        time = datetime.fromtimestamp(self.at_ms / 1000, tz=UTC)
        return (self.symbol, self.trade_id, Decimal(self.price), Decimal(self.quantity), side, time)


class Venue:
    """A venue that knows every one of its trades: ids rise by one for each symbol, whoever is told of them.

    Parameters
    ----------
    rng
        Draws first ids, prices, quantities and sides.
    symbols
        What is traded.
    clock
        Returns the time of the next trade, in milliseconds since 1970.

    Attributes
    ----------
    sent
        Trades that a client was told, each once, in order.
    unsure
        Rows of those of which no client has confirmed yet that it has them.
    """

    def __init__(self, rng: random.Random, symbols: Sequence[str], *, clock: Callable[[], int]) -> None:
        self._rng = rng
        self._clock = clock
        self.symbols = tuple(symbols)
        self._next = {symbol: rng.choice([1, rng.randrange(1, 10**9)]) for symbol in symbols}
        self.sent: list[Trade] = []
        self.unsure: set[tuple[Any, ...]] = set()

    def trade(self, symbol: str | None = None) -> Trade:
        """Let one trade happen that nobody is told of."""
        rng = self._rng
        symbol = symbol or rng.choice(self.symbols)
        number = self._next[symbol]
        self._next[symbol] = number + 1
        return Trade(
            symbol=symbol,
            trade_id=number,
            price=f"{rng.uniform(1, 99_999):.8f}",
            quantity=f"{rng.randrange(1, 10**8)}.{rng.randrange(10**5):05}",
            maker=rng.random() < 0.5,
            at_ms=self._clock(),
        )

    def told(self, count: int = 1) -> list[Trade]:
        """Let trades happen that a client is told of."""
        trades = [self.trade() for _ in range(count)]
        self.sent += trades
        return trades


@dataclass(kw_only=True)
class Facts:
    """What a run left behind, and what is true of it.

    Attributes
    ----------
    root
        The capture.
    sent
        What a client was told that passes the strict checks: exactly this must be stored, in this order.
    unsure
        Rows of `sent` that were on the way to a client which, for a reason of its own, left before it confirmed them:
        an attempt whose timeout a loaded machine let pass, a stop. They may be stored or be missing.
    holes
        Truth minus stored: symbol, first and last id. None: the ids missing between the stored ones.
    exit_code
        Of the run.
    causes
        Every cause that a status told while the run lasted or after it.
    most_live
        Connections that were open at one time.
    stop, recovery, noticed
        Seconds: from the wish to stop to everything sealed; from the end of the fault to market data that is stored;
        from the beginning of the fault to the client's leaving. None where it does not apply.
    rejected
        Messages that fail the strict checks; None: not counted here.
    may_lose
        How many rows of `sent` may be missing on disk, each as a hole, because the process was killed or said that it
        dropped them; None: as many as the stats say were dropped.
    connections
        The number of the connection that a stored row must bear, by symbol and id; empty: not judged here.
    accepted
        Connections that the server accepted from the client, whatever became of them; None: not counted here.
    waited
        Seconds from each answer that sends the client away to the next connection that the server accepted, both on
        the server's clock.
    problems
        What was wrong beyond what is judged for every scenario.
    """

    root: Path
    sent: list[Trade]
    exit_code: int | None
    unsure: set[tuple[Any, ...]] = field(default_factory=set)
    holes: list[tuple[str, int, int]] | None = None
    causes: set[str] = field(default_factory=set)
    most_live: int = 1
    stop: float | None = None
    recovery: float | None = None
    noticed: float | None = None
    rejected: int | None = 0
    may_lose: int | None = 0
    connections: dict[tuple[str, int], int] = field(default_factory=dict)
    accepted: int | None = None
    waited: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


Play = Callable[[Run], Facts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One fault of the catalogue, in words and as something that can be played.

    Attributes
    ----------
    name
        Unique; what `--only` takes.
    section
        Where the catalogue has it.
    injected, truth
        What is done, and what must be on disk afterwards, each in a line.
    play
        Does it to a real collector.
    causes
        Why connections and attempts ended, as the events must tell: these and no others.
    any_cause
        Whether that is left to chance.
    notes, may_note
        Causes of `error` events that must, and that may, be there besides.
    ends
        Exit code of the run: 0 stopped by us, 3 permanent failure, 4 gave up.
    attempts
        How many connections the server must accept, no more and no less: 1 where the first failure is permanent, 3
        where the third is; None where chance decides.
    waits
        Seconds that the client must stay away at least after each answer that sends it away; None: not measured.
    says
        What the status must say of the cause, in these words among others.
    within
        Seconds in which the fault must be noticed; None: not measured.
    recovers
        Seconds in which market data must flow again.
    prepare
        Called before a run; what it makes may stay. Raises :class:`NotPlayed` where the scenario cannot be played.
    long
        Whether a run takes about half a minute: ``make drill`` plays such ones a tenth as often, ``make test`` leaves
        them to it, as each is another one of the table with longer times.
    """

    name: str
    section: Section
    injected: str
    play: Play
    truth: str = "every row sent is stored once; ids that nobody was told are holes"
    causes: frozenset[str] = frozenset()
    any_cause: bool = False
    notes: frozenset[str] = frozenset()
    may_note: frozenset[str] = frozenset()
    ends: int = 0
    attempts: int | None = None
    waits: float | None = None
    says: str = ""
    within: float | None = None
    recovers: float = 2.0
    prepare: Callable[[], object] = object
    long: bool = False

    def run(self, seed: int, folder: Path) -> Facts:
        """Play it; the same seed does the same."""
        return self.play(Run(seed=seed, rng=random.Random(f"{self.name} {seed}"), folder=folder))
