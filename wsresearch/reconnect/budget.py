"""The attempt budget: never more than so many attempts in any window of so many seconds.

Not here: clocks, and what to do while the budget is used up. Venues ban addresses that connect too often
(Binance: 300 attempts in 5 minutes), and no policy alone can promise to stay below that, because a reset rule
returns it to its first delay. The budget can.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from wsresearch.errors import UsageError
from wsresearch.reconnect.checked import checked_count, checked_number, parse_count, parse_number, short

__all__ = ["Budget", "BudgetWindow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many attempts are allowed in any window of time.

    Parameters
    ----------
    attempts
        Attempts, 1 to 1,000,000. The default leaves four fifths of Binance's 300 to whatever else connects
        from the same address.
    window
        Length of the window in seconds, above 0.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    attempts: int = 60
    window: float = 300.0

    def __post_init__(self) -> None:
        checked_count("attempts of the budget", self.attempts, high=1_000_000)
        window = checked_number("seconds of the budget", self.window, low=0.0, above_low=True)
        object.__setattr__(self, "window", window)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``60/300``, attempts per seconds; raise :class:`UsageError` for anything else."""
        attempts, slash, window = text.partition("/")
        if not slash:
            raise UsageError(f"budget must be ATTEMPTS/SECONDS such as 60/300, not {text[:40]!r}")
        return cls(
            attempts=parse_count("attempts of the budget", attempts),
            window=parse_number("seconds of the budget", window),
        )

    def __str__(self) -> str:
        return f"{self.attempts}/{short(self.window)}"


class BudgetWindow:
    """What has been spent of a budget, and when the next attempt is allowed.

    The law: of attempts made no earlier than :meth:`ready_at` said, no half-open window [t, t + window) holds
    more than ``budget.attempts``. An attempt exactly ``window`` seconds after another is in a new window.

    Parameters
    ----------
    budget
        The budget.
    spent
        Times of earlier attempts on the same clock, in any order: a budget outlives a restart.

    Notes
    -----
    Only the newest ``budget.attempts`` times can matter, so no more are kept. An attempt that a person asked
    for may be spent without asking; it counts, and those after it wait for it.
    """

    __slots__ = ("_spent", "budget")

    def __init__(self, budget: Budget, spent: Iterable[float] = ()) -> None:
        self.budget = budget
        self._spent: list[float] = []
        for time in spent:
            self.spend(time)

    def ready_at(self, now: float) -> float:
        """Return the earliest time an attempt is allowed: ``now``, or later if the budget is used up."""
        if len(self._spent) < self.budget.attempts:
            return now
        return max(now, self._leaves_at(self._spent[0]))

    def spend(self, now: float) -> None:
        """Count an attempt made at ``now``, allowed or not."""
        if not math.isfinite(now):
            raise UsageError(f"an attempt was made at {now}, which is no time")
        insort(self._spent, now)
        del self._spent[: -self.budget.attempts]

    def left(self, now: float) -> int:
        """Return how many attempts are allowed at once at ``now``."""
        return self.budget.attempts - sum(self._leaves_at(time) > now for time in self._spent)

    def _leaves_at(self, time: float) -> float:
        """Return the first time whose window no longer holds ``time``.

        The sum is rounded up where floats round it down: fsum is exact, and one rounded ulp early would put
        one attempt too many into a window.
        """
        leaves = time + self.budget.window
        while math.fsum((leaves, -time, -self.budget.window)) < 0:
            leaves = math.nextafter(leaves, math.inf)
        return leaves
