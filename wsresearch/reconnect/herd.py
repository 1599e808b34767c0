"""The same policy for many clients at once, each at an attempt of its own; what the clients do is not here.

Kept out of the names of :mod:`wsresearch.reconnect`, because a collector is one client and needs no NumPy for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsresearch.reconnect.backoff import Policy, Rung

__all__ = ["Floats", "Herd", "Ints"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AT_FIRST: Final = 64
"""Rungs that are looked at to begin with: nearly every ladder ends before, and is then known for good."""


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

    __slots__ = ("_above", "_attempt", "_before", "_columns", "_known", "_recalls", "policy")

    def __init__(self, policy: Policy, size: int) -> None:
        self.policy = policy
        self._attempt = np.zeros(size, dtype=np.int64)
        self._before: Floats = np.zeros(size)
        self._above: Iterator[Rung] | None = policy.ladder()
        self._known = np.empty((0, len(Rung._fields)))
        self._columns: dict[str, Floats] = {}
        self._recalls = True
        self._climb(_AT_FIRST)

    @property
    def drawn(self) -> Ints:
        """How many delays each client has been given since its last reset; shape (size,)."""
        return self._attempt

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
        attempt = self._attempt.take(who)
        self._attempt[who] = attempt + 1
        if len(attempt) and self._above is not None:
            self._climb(int(attempt.max()))
        column = self._columns

        def of(name: str) -> Floats:
            # Beyond the ladder's end its last rung counts. Only the columns that differ are looked up.
            return column[name].take(attempt, mode="clip")

        low = of("low")
        width = of("high") - low if "high" in column else None
        if self._recalls:
            before = self._before.take(who)
            if "low_grows" in column:
                low += of("low_grows") * before
                width = of("high") + of("high_grows") * before - low
        if width is not None and width.any():
            low += width * rng.random(len(width))
        if "least" in column:
            low = np.minimum(np.maximum(low, of("least")), of("most"))
        if "whole" in column:
            low = np.where(of("whole") > 0, np.rint(low), low)
        if self._recalls:
            self._before[who] = low
        if self.policy.max_attempts is not None:
            low = np.where(attempt < self.policy.max_attempts, low, inf)
        return low

    def move(self, who: NDArray[np.integer], to: NDArray[np.integer]) -> None:
        """Give clients other numbers, in place of those who had them; the numbers they had stand for nobody."""
        self._attempt[to] = self._attempt.take(who)
        if self._recalls:
            self._before[to] = self._before.take(who)

    def reset(self, who: NDArray[np.integer]) -> None:
        """Return clients to their first delay."""
        self._attempt[who] = 0

    def _climb(self, attempt: int) -> None:
        """Know the ladder up to an attempt, counted from 0, or to its end; not all of it, for it may be long."""
        if attempt < len(self._known) or self._above is None:
            return
        new = list(islice(self._above, attempt + 1))
        self._known = np.concatenate((self._known, np.array(new, dtype=np.float64).reshape(-1, self._known.shape[1])))
        ended = len(new) <= attempt
        column = {name: np.ascontiguousarray(each) for name, each in zip(Rung._fields, self._known.T, strict=True)}
        grows = bool(column["low_grows"].any() or column["high_grows"].any())
        clips = bool(column["least"].any() or np.isfinite(column["most"]).any())
        # What this policy does without is left out, and so costs nothing.
        kept = {"low"}
        kept |= {"high"} if grows or (column["low"] != column["high"]).any() else set()
        kept |= {"low_grows", "high_grows"} if grows else set()
        kept |= {"least", "most"} if clips else set()
        kept |= {"whole"} if column["whole"].any() else set()
        self._columns = {name: column[name] for name in kept}
        self._recalls = grows or not ended
        if ended:
            self._above = None
