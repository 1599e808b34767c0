"""One lap of trades as bytes ready to be sent, and how it becomes the next one; sending is not here."""

from __future__ import annotations

import struct
import time

import numpy as np
from numpy.typing import NDArray

from wsresearch.venues.binance_wire import trade_message

SYMBOLS = (
    "BTCUSDT",
    "ETHUSDT",
    "SOLUSDT",
    "BNBUSDT",
    "XRPUSDT",
    "DOGEUSDT",
    "ADAUSDT",
    "TRXUSDT",
    "PEPEUSDT",
    "SUIUSDT",
)
PER_SYMBOL = 10_000
"""Trades of each symbol in a lap: a power of ten, so that within a lap only the low digits of an id differ."""
ID_DIGITS = 10
FIRST_LAP = 123_456
"""What stands before an id's low digits in the first lap."""


class Lap:
    """One lap of trades as it goes over the wire; `next` turns it into the one after it, in place.

    Attributes
    ----------
    wire
        Frame headers and messages, back to back.
    bounds : int64 array, shape (n + 1,)
        Frame ``i`` is ``wire[bounds[i]:bounds[i + 1]]``.
    """

    def __init__(self, symbols: tuple[str, ...] = SYMBOLS, *, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        count = len(symbols) * PER_SYMBOL
        order = rng.permutation(np.repeat(np.arange(len(symbols)), PER_SYMBOL))
        steps = np.cumsum(rng.choice([-1, 0, 0, 0, 1], size=(len(symbols), PER_SYMBOL)), axis=1)
        sizes = np.round(rng.lognormal(-3.0, 1.5, count) + 0.00001, 5)
        makers = rng.random(count) < 0.5
        second = int(time.time())
        frames: list[bytes] = []
        ids, times, at = [], [], 0
        seen = [0] * len(symbols)
        for number, which in enumerate(order.tolist()):
            rank, seen[which] = seen[which], seen[which] + 1
            millisecond = second * 1000 + number * 1000 // count
            message = trade_message(
                symbol=symbols[which],
                trade_id=FIRST_LAP * PER_SYMBOL + rank,
                price=f"{60_000 / 8**which * (1 + steps[which, rank] / 1e5):.8f}",
                quantity=f"{sizes[number]:.8f}",
                trade_time=millisecond,
                event_time=millisecond,
                buyer_is_maker=bool(makers[number]),
                combined=True,
            )
            frame = struct.pack("!BBH", 0x81, 126, len(message)) + message
            ids.append(at + frame.index(b'"t":') + 4)
            times.append((at + frame.index(b'"E":') + 4, at + frame.index(b'"T":') + 4))
            frames.append(frame)
            at += len(frame)
        self.symbols = symbols
        self._order = order
        self.wire = bytearray(b"".join(frames))
        self.bounds = np.concatenate([[0], np.cumsum([len(frame) for frame in frames])]).astype(np.int64)
        self._bytes = np.frombuffer(self.wire, dtype=np.uint8)
        self._ids = np.array(ids)
        self._times = np.array(times).ravel()
        self._lap = FIRST_LAP
        self._second = second

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def next(self) -> None:
        """Write the digits that differ in the next lap."""
        before, self._lap = self._lap, self._lap + 1
        self._write(self._ids, f"{before:06d}", f"{self._lap:06d}")
        before, self._second = self._second, self._second + 1
        self._write(self._times, f"{before:010d}", f"{self._second:010d}")

    def counts(self, sent: int) -> dict[str, int]:
        """Return how many of the first `sent` trades are of each symbol."""
        laps, rest = divmod(sent, len(self))
        seen = laps * PER_SYMBOL + np.bincount(self._order[:rest], minlength=len(self.symbols))
        return dict(zip(self.symbols, seen.tolist(), strict=True))

    def _write(self, places: NDArray[np.int64], before: str, after: str) -> None:
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                self._bytes[places + place] = ord(new)
