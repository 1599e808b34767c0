"""When reading pauses because our own queue is full: pure numbers, time is an argument; sockets are not here.

Reading eagerly is the rule. A peer whose pings and pongs wait behind data that nobody reads looks dead and takes us
for dead, so a queue that stays full, as before a disk that is stuck, drops and counts instead. But a burst of a second,
or a neighbour who took the processor for one, is better held back by the network, which loses nothing. So pausing is
granted in seconds that are spent quickly and grow back slowly.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Brake"]

_PATIENCE: Final = 1.0
"""Most seconds of pausing in a row; a ping has 5 by default."""
_A_READ: Final = 9 << 16
"""Most bytes that one read brings: 256 KiB by either event loop, as much again for what a block knows of its messages
(none of them shorter than that; a trade's is a sixth), and what was held back of a message before it."""
_GROWS: Final = 0.1
"""Seconds of patience that come back in a second. Under a load that never ends this is the share of time paused."""


class Brake:
    """Tells when to pause and when to go on.

    Parameters
    ----------
    limit
        Bytes that the queue holds at most. Pausing begins while what one more socket read brings still fits, and
        ends when half of that is held.
    """

    def __init__(self, limit: int) -> None:
        self._high = limit - min(_A_READ, limit // 2)
        self._low = self._high // 2
        self._patience = _PATIENCE
        self._since = float("-inf")
        self.on = False

    def tread(self, held: int, now: float) -> bool:
        """Whether to pause now, at monotonic second `now`, with so many bytes held."""
        if held < self._high or self.on or self._left(now) <= 0:
            return False
        self._patience, self._since, self.on = self._left(now), now, True
        return True

    def ease(self, held: int, now: float) -> bool:
        """Whether a pause is over: there is room again, or no patience left."""
        if self.on and held > self._low and now - self._since < self._patience:
            return False
        self.release(now)
        return True

    def release(self, now: float) -> None:
        """A pause is over, whatever the reason."""
        if self.on:
            self._patience, self._since, self.on = self._patience - (now - self._since), now, False

    def _left(self, now: float) -> float:
        return min(_PATIENCE, self._patience + _GROWS * (now - self._since))
