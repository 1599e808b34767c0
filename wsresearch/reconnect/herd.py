"""The same policy for many clients at once, each at an attempt of its own; what the clients do is not here.

Kept out of the names of :mod:`wsresearch.reconnect`, because a collector is one client and needs no NumPy for it.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsresearch.reconnect.backoff import Policy, Rung

__all__ = ["Floats", "Herd", "Ints"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FIELDS: Final = len(Rung._fields)


class Herd:
    """The streaks of many clients of one policy.

    Parameters
    ----------
    policy
        What all of them follow.
    size
        How many there are, numbered from 0; each stands before its first attempt.

    Notes
    -----
    A herd of one draws exactly what :meth:`Policy.delays` draws from the same generator; more of them draw from the
    same distribution, because both climb :meth:`Policy.ladder`.
    """

    __slots__ = ("_above", "_attempt", "_before", "_clips", "_draws", "_grows", "_ladder", "_rounds", "policy")

    def __init__(self, policy: Policy, size: int) -> None:
        self.policy = policy
        self._attempt = np.zeros(size, dtype=np.int32)
        self._above = policy.ladder()
        self._ladder = np.empty((0, _FIELDS))
        self._draws = self._grows = self._clips = self._rounds = False
        self._before: Floats = np.zeros(size)
        self._climb(0)

    def draw(self, who: NDArray[np.integer], rng: np.random.Generator) -> Floats:
        """Return the next delay of each client named, and take it a step further.

        Parameters
        ----------
        who
            Numbers of clients, none twice; shape (n,).
        rng
            Where jitter comes from; n numbers are drawn, or none where no delay of these is drawn.

        Returns
        -------
        Floats
            Seconds, shape (n,); infinite for a client that has made its ``max_attempts``.
        """
        attempt = self._attempt[who]
        self._attempt[who] = attempt + 1
        if len(attempt):
            self._climb(int(attempt.max()))
        rung = np.minimum(attempt, len(self._ladder) - 1)
        # Indexing a column is cheap, a million rows of seven is not: only what this policy uses is looked up.
        column = dict(zip(Rung._fields, self._ladder.T, strict=True))
        low: Floats = column["low"][rung]
        if self._grows:
            before = self._before[who]
            low += column["low_grows"][rung] * before
        if self._draws:
            high = column["high"][rung]
            if self._grows:
                high += column["high_grows"][rung] * before
            high -= low
            if high.any():
                high *= rng.random(len(high))
                low += high
        if self._clips:
            low = np.minimum(np.maximum(low, column["least"][rung]), column["most"][rung])
        if self._rounds:
            low = np.where(column["whole"][rung] > 0, np.rint(low), low)
        self._before[who] = low
        if self.policy.max_attempts is not None:
            low = np.where(attempt < self.policy.max_attempts, low, inf)
        return low

    def reset(self, who: NDArray[np.integer]) -> None:
        """Return clients to their first delay."""
        self._attempt[who] = 0

    def _climb(self, attempt: int) -> None:
        """Know the ladder up to an attempt, counted from 0, or to its end; not all of it, for it may be long."""
        known = len(self._ladder)
        if attempt < known or not (new := list(islice(self._above, attempt + 1))):
            return
        self._ladder = np.concatenate((self._ladder, np.array(new, dtype=np.float64)))
        low, high, least, most, low_grows, high_grows, whole = self._ladder.T
        self._grows = bool(low_grows.any() or high_grows.any())
        self._draws = bool((low != high).any()) or self._grows
        self._clips = bool(least.any() or np.isfinite(most).any())
        self._rounds = bool(whole.any())
