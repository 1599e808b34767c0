"""Whom a server lets in when many come at once: a rate, a queue, refusals, and a limit for each address.

Not here: who comes when (:mod:`wsresearch.study.storm`). Times are seconds and arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from wsresearch.errors import UsageError
from wsresearch.reconnect.budget import Budget
from wsresearch.reconnect.checked import checked_count, checked_number
from wsresearch.reconnect.herd import Floats, Ints

__all__ = ["BINANCE", "Admission", "Door"]

BINANCE: Final = Budget(attempts=300, window=300.0)
"""Binance spot, documentation of 2026-07-21: 300 connection attempts per 5 minutes per IP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """How a server lets clients in.

    Parameters
    ----------
    accept_rate
        Connections it opens in a second, one after the other; None: everybody at once.
    queue
        Attempts that may wait their turn. Who finds it full is turned away. Needs an ``accept_rate``.
    refuses
        Whether who is turned away, or comes while the server is gone, is told so at once. If not, nothing answers,
        and the attempt ends when the client's patience does.
    retry_after
        Seconds that a refusal tells the client to stay away; None: it says nothing. Only if it ``refuses``.
    per_address
        Attempts that one address may make in any window; the next ones are refused without taking a place in the
        queue, and do not count. With a ``retry_after`` they are told how long it is until they may.
    clients_per_address
        Clients that share an address.

    Raises
    ------
    UsageError
        If a number is out of range, or does not go with the others.
    """

    accept_rate: float | None = None
    queue: int = 1000
    refuses: bool = True
    retry_after: float | None = None
    per_address: Budget | None = None
    clients_per_address: int = 1

    def __post_init__(self) -> None:
        if self.accept_rate is not None:
            rate = checked_number("accept_rate", self.accept_rate, low=0.0, above_low=True)
            object.__setattr__(self, "accept_rate", rate)
        if isinstance(self.queue, bool) or not isinstance(self.queue, int) or not 0 <= self.queue <= 10**9:
            raise UsageError(f"queue must be a whole number from 0 to 1000000000, not {str(self.queue)[:40]!r}")
        if self.retry_after is not None:
            told = checked_number("retry_after", self.retry_after, low=0.0, above_low=True)
            object.__setattr__(self, "retry_after", told)
            if not self.refuses:
                raise UsageError(f"retry_after is {told:g}, but a server that does not answer cannot say so")
        checked_count("clients_per_address", self.clients_per_address)

    @property
    def admits_all(self) -> bool:
        """Whether nobody is ever turned away or kept waiting, so that the order of arrival does not matter."""
        return self.accept_rate is None and self.per_address is None


class Door:
    """The state of an admission.

    Parameters
    ----------
    rules
        What it decides by.
    addresses
        How many there are, numbered from 0.
    """

    def __init__(self, rules: Admission, *, addresses: int) -> None:
        self._rules = rules
        self._limit = None if rules.per_address is None else _Limit(rules.per_address, addresses)
        self._queue = None if rules.accept_rate is None else _Queue(rules.accept_rate, rules.queue)

    def admit(self, at: Floats, address: Ints) -> tuple[Floats, Floats]:
        """Decide about attempts in the order in which they arrive.

        Parameters
        ----------
        at
            When they arrive, rising, and not before any that were decided earlier; shape (n,).
        address
            Where they come from; shape (n,).

        Returns
        -------
        tuple of Floats
            Seconds until each is let in, infinite for those turned away; and seconds those are told to stay away,
            0 for nothing; both of shape (n,).
        """
        waits, told = np.zeros(len(at)), np.zeros(len(at))
        passed = np.arange(len(at))
        if self._limit is not None:
            told = self._limit.admit(at, address)
            waits[told > 0.0] = inf
            passed = np.flatnonzero(told == 0.0)
        if self._queue is not None:
            waits[passed] = self._queue.admit(at[passed])
        if self._rules.retry_after is None:
            return waits, np.zeros(len(at))
        told[np.isinf(waits) & (told == 0.0)] = self._rules.retry_after
        return waits, told


class _Queue:
    """First come, first served; one connection every ``1 / rate`` seconds, the first of a busy stretch at once."""

    def __init__(self, rate: float, room: int) -> None:
        self._rate, self._room = rate, room
        # Counted from the beginning of the busy stretch, so that thousands who come at once are added up exactly.
        self._since, self._taken = -inf, 0

    def admit(self, at: Floats) -> Floats:
        """Return the seconds until each is let in, infinite if the queue is full; ``at`` rises."""
        rate, room, since, taken = self._rate, self._room, self._since, self._taken
        waits = []
        # Whether one fits depends on all who came before: a plain loop, at a tenth of what the rest costs.
        for arrival in at.tolist():
            ahead = taken - (arrival - since) * rate
            if ahead <= 0.0:
                since, taken = arrival, 1
                waits.append(0.0)
            elif ahead <= room:
                taken += 1
                waits.append(ahead / rate)
            else:
                waits.append(inf)
        self._since, self._taken = since, taken
        return np.array(waits, dtype=np.float64)


class _Limit:
    """No window holds more attempts of one address than the budget says; those refused do not count."""

    def __init__(self, budget: Budget, addresses: int) -> None:
        self._most, self._window = budget.attempts, budget.window
        self._count = np.zeros(addresses, dtype=np.int64)
        # Row k holds when each address made its attempt k, modulo the budget; rows are made when they are needed,
        # since few addresses ever come near their limit.
        self._when = np.empty((min(4, self._most), addresses))

    def admit(self, at: Floats, address: Ints) -> Floats:
        """Return 0 for each attempt that may pass, or the seconds until its address may again; ``at`` rises."""
        order = np.argsort(address, kind="stable")
        of, when = address[order], at[order]
        first = np.flatnonzero(np.diff(of, prepend=-1))
        sizes = np.diff(first, append=len(of))
        # As if all passed: an attempt is allowed if the one so many before it has left the window.
        number = self._count[of] + np.arange(len(of)) - np.repeat(first, sizes)
        self._make_room(int(number.max(initial=0)) + 1)
        free = number < self._most
        old = np.flatnonzero(~free)
        recalled = number[old] - self._most < self._count[of[old]]
        free[old] = recalled & (self._when[number[old] % self._most, of[old]] <= when[old] - self._window)
        full = np.zeros(len(first), dtype=bool)
        if len(first):
            full = ~np.logical_and.reduceat(free, first)
        passing = np.repeat(~full, sizes)
        self._when[number[passing] % self._most, of[passing]] = when[passing]
        self._count[of[first[~full]]] += sizes[~full]
        until = np.zeros(len(of))
        for begin, size in zip(first[full].tolist(), sizes[full].tolist(), strict=True):
            until[begin : begin + size] = self._one_by_one(int(of[begin]), when[begin : begin + size].tolist())
        answer = np.empty(len(of))
        answer[order] = until
        return answer

    def _one_by_one(self, address: int, at: list[float]) -> list[float]:
        until, count = [], int(self._count[address])
        for arrival in at:
            place = count % self._most, address
            if count < self._most or self._when[place] <= arrival - self._window:
                self._when[place] = arrival
                count += 1
                until.append(0.0)
            else:
                # Above 0 however it is rounded: 0 stands for "may pass".
                until.append(max(float(self._when[place]) + self._window - arrival, 1e-9))
        self._count[address] = count
        return until

    def _make_room(self, attempts: int) -> None:
        needed = min(attempts, self._most)
        if needed > len(self._when):
            rows = min(max(needed, 2 * len(self._when)), self._most)
            grown = np.empty((rows, self._when.shape[1]))
            grown[: len(self._when)] = self._when
            self._when = grown
