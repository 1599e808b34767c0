"""The state of the path to the clients: how fast, how late and in what pieces bytes travel.

Not here: the sockets (:mod:`~wsresearch.lab.line`) and the timing of the faults.
"""

from __future__ import annotations

import random
from typing import Final, TypeVar

from wsresearch.lab.faults import Bandwidth, Latency, Slicer

__all__ = ["Conditions", "PathFault"]

PathFault = Latency | Bandwidth | Slicer
"""The faults that change how bytes travel, and not what is sent."""

_F = TypeVar("_F", Latency, Bandwidth, Slicer)

_PACE: Final = 0.02
"""A limited bandwidth sends every 20 ms what may be sent in that time, so that the rate is even at this grain."""


class Conditions:
    """What is in force now; one for all connections of an exchange.

    Parameters
    ----------
    rng
        Draws jitter and the sizes of slices.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._active: list[PathFault] = []

    @property
    def is_calm(self) -> bool:
        """Whether bytes travel freely."""
        return not self._active

    def begin(self, fault: PathFault) -> None:
        """Bring `fault` into force; of several of a kind, the latest counts."""
        self._active.append(fault)

    def end(self, fault: PathFault) -> None:
        """Take `fault` out of force."""
        self._active = [other for other in self._active if other is not fault]

    def delay(self) -> float:
        """Return how many seconds later than written the next bytes may leave."""
        latency = self._latest(Latency)
        if latency is None:
            return 0.0
        return max(0.0, latency.latency + latency.jitter * (2 * self._rng.random() - 1))

    def piece(self, waiting: int) -> tuple[int, float]:
        """Return how many of `waiting` bytes leave together, and the pause after them in seconds."""
        size, pause = waiting, 0.0
        if slicer := self._latest(Slicer):
            spread = min(slicer.size_variation, slicer.average_size - 1)
            size = min(size, slicer.average_size + self._rng.randint(-spread, spread))
            pause = slicer.delay
        if bandwidth := self._latest(Bandwidth):
            size = min(size, max(1, int(bandwidth.bytes_per_second * _PACE)))
            pause = max(pause, size / bandwidth.bytes_per_second)
        return size, pause

    def _latest(self, kind: type[_F]) -> _F | None:
        return next((fault for fault in reversed(self._active) if isinstance(fault, kind)), None)
