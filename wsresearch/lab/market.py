"""A seeded market: trades whose arrivals, prices and sizes look enough like the real thing, the same for every seed.

Not here: wall-clock times (they are those of the sending), the wire, and any pacing.

The model, chosen so that each part can be said in a line and the long-run rate is exact in expectation:

* *Arrivals* are orders of a self-exciting (Hawkes) process with an exponential kernel, simulated by thinning
  (Ogata 1981). Half of the orders are answers to earlier ones (branching ratio 0.5, memory 0.2 s), so that there are
  bursts and silences. Its stationary mean is ``mu / (1 - 0.5)``, from which ``mu`` follows.
* *Trades*: an order is filled by a geometric number of trades, 2 on average, at one moment and of one side.
* *Prices* walk on the tick grid: an order that eats through a level moves the price one to three ticks its way.
* *Sides* persist: an order repeats the side of the symbol's previous one with probability 0.65.
* *Sizes* are log-normal with sigma 2, thus heavy-tailed, in lots of 0.00001.
* *Ids* rise by one per symbol.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from wsresearch.errors import TapeError
from wsresearch.lab.message import Message
from wsresearch.venues.binance_wire import stream_name

__all__ = ["Market"]

_BRANCHING: Final = 0.5
_MEMORY: Final = 0.2
_TRADES_PER_ORDER: Final = 2.0
_SAME_SIDE: Final = 0.65
_MOVES_PRICE: Final = 0.35
_SIZE_SIGMA: Final = 2.0
_PRICES: Final = MappingProxyType(
    {"BTCUSDT": 60_000.0, "ETHUSDT": 2_500.0, "SOLUSDT": 150.0, "BNBUSDT": 550.0, "XRPUSDT": 5.0}
)
"""Where the walk of a well-known symbol begins, give or take 5 %; for looks only."""
_LOTS_PER_UNIT: Final = 100_000
_TICKS_PER_UNIT: Final = 100
_MAX_RATE: Final = 1_000_000.0
_MAX_ID: Final = 2**53
_NAME: Final = re.compile(r"[A-Z0-9_]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What a generated tape is made of.

    Attributes
    ----------
    symbols
        In either case; the first trades most, each later one less (as 1, 1/2, 1/3 …).
    rate
        Trades per second, over all symbols, in the long run.
    seed
        Same seed, same trades.
    seconds, count
        Where the tape ends, in seconds or in trades, whichever comes first; endless without either.
    first_ids
        First trade id by symbol; drawn from the seed for symbols not named.

    Raises
    ------
    TapeError
        For a value that is no market.
    """

    symbols: tuple[str, ...] = ("BTCUSDT",)
    rate: float = 100.0
    seed: int = 0
    seconds: float | None = None
    count: int | None = None
    first_ids: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        upper = tuple(symbol.upper() for symbol in self.symbols)
        object.__setattr__(self, "symbols", upper)
        object.__setattr__(self, "first_ids", {name.upper(): first for name, first in self.first_ids.items()})
        if not upper or len(set(upper)) != len(upper):
            raise TapeError(f"symbols {list(self.symbols)} must be one or more, each once")
        for symbol in upper:
            if not _NAME.fullmatch(symbol):
                raise TapeError(f"symbol {symbol[:40]!r} cannot be generated; use letters, digits and _, at most 32")
        if not 0 < self.rate <= _MAX_RATE:
            raise TapeError(f"rate {self.rate} must be above 0 and at most {_MAX_RATE:.0f} trades per second")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise TapeError(f"seconds {self.seconds} must be above 0; leave it out for an endless tape")
        if self.count is not None and self.count < 1:
            raise TapeError(f"count {self.count} must be at least 1; leave it out for an endless tape")
        for symbol, first in self.first_ids.items():
            if symbol not in upper or not 0 <= first < _MAX_ID:
                raise TapeError(f"first id {first} of {symbol} must be 0 to 2**53 and of a symbol of this tape")

    def trades(self) -> Iterator[Message]:
        """Yield the trades from the beginning, in order of time; each call begins anew."""
        rng = random.Random(self.seed)
        books = [_Book(symbol, self.first_ids.get(symbol), rng) for symbol in self.symbols]
        weights = [1 / (place + 1) for place in range(len(books))]
        limit_ns = math.inf if self.seconds is None else self.seconds * 1e9
        left = math.inf if self.count is None else self.count
        for moment in _arrivals(self.rate / _TRADES_PER_ORDER, rng):
            due_ns = int(moment * 1e9)
            if due_ns >= limit_ns:
                return
            book = rng.choices(books, weights)[0] if len(books) > 1 else books[0]
            for message in book.fill(due_ns, rng):
                yield message
                left -= 1
                if left <= 0:
                    return


def _arrivals(rate: float, rng: random.Random) -> Iterator[float]:
    """Yield the moments of a Hawkes process of mean `rate` per second, by thinning: candidates come at the present
    intensity, which only falls until the next event, and are kept in proportion to what is left of it.
    """
    base = rate * (1 - _BRANCHING)
    decay = 1 / _MEMORY
    excited, now = rate - base, 0.0  # begins at its stationary mean: no warm-up in a short tape
    while True:
        bound = base + excited
        step = rng.expovariate(bound)
        now += step
        excited *= math.exp(-decay * step)
        if rng.random() * bound <= base + excited:
            excited += _BRANCHING * decay
            yield now


class _Book:
    """The state of one symbol: price, side and the next id."""

    __slots__ = ("_lag_ms", "_maker", "_next_id", "_stream", "_symbol", "_ticks", "_typical")

    def __init__(self, symbol: str, first_id: int | None, rng: random.Random) -> None:
        self._symbol = symbol
        self._stream = stream_name(symbol)
        drawn_id = rng.randrange(10**8, 10**9)
        price = _PRICES.get(symbol, 10 ** rng.uniform(0.5, 3)) * rng.uniform(0.95, 1.05)
        self._next_id = drawn_id if first_id is None else first_id
        self._ticks = round(price * _TICKS_PER_UNIT)
        # The typical trade is worth about 100 units of the quote currency, whatever the price.
        self._typical = math.log(100 / (self._ticks / _TICKS_PER_UNIT) * _LOTS_PER_UNIT)
        self._maker = rng.random() < 0.5
        self._lag_ms = rng.randrange(3)  # one for the whole symbol, so that its trade times never step back

    def fill(self, due_ns: int, rng: random.Random) -> Iterator[Message]:
        """Yield the trades that fill one order."""
        if rng.random() >= _SAME_SIDE:
            self._maker = not self._maker
        direction = -1 if self._maker else 1  # a buyer who is maker was hit by a selling taker
        while True:
            if rng.random() < _MOVES_PRICE:
                self._ticks = max(100, self._ticks + direction * rng.randrange(1, 4))
            lots = max(1, int(rng.lognormvariate(self._typical, _SIZE_SIGMA)))
            units, part = divmod(self._ticks, _TICKS_PER_UNIT)
            whole, lot = divmod(lots, _LOTS_PER_UNIT)
            yield Message(
                due_ns=due_ns,
                stream=self._stream,
                symbol=self._symbol,
                trade_id=self._next_id,
                price=f"{units}.{part:02d}000000",
                quantity=f"{whole}.{lot:05d}000",
                buyer_is_maker=self._maker,
                lag_ms=self._lag_ms,
            )
            self._next_id += 1
            if rng.random() >= 1 - 1 / _TRADES_PER_ORDER:
                return
