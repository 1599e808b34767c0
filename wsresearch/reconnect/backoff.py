"""Backoff policies: immutable values that yield the seconds to wait before each attempt of a streak.

A policy is written down once, as its ladder: the interval that the delay of attempt n is drawn from. One client
climbs it with :meth:`Policy.delays`, a million at once with :class:`~wsresearch.reconnect.herd.Herd`.

Not here: when to begin a new streak (:mod:`~wsresearch.reconnect.reset`), how many attempts are too many
(:mod:`~wsresearch.reconnect.budget`), which failures deserve one (:mod:`~wsresearch.reconnect.causes`), and
what other projects do (:mod:`~wsresearch.reconnect.presets`).

Four laws hold here (:class:`Decorrelated` is the exception to the second, by its definition):

- jitter scales with the delay: the spread of attempt n is a share of the bound of attempt n;
- jitter comes after the clamp, so clients that have reached the cap still spread out;
- nothing is rounded, which would put a herd back in step;
- the generator of random numbers is an argument, so the same seed gives the same delays.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from math import inf
from typing import Any, ClassVar, NamedTuple, Protocol

from wsresearch.errors import WsresearchError
from wsresearch.markup import Markup, element
from wsresearch.reconnect.checked import LONGEST, checked_count, checked_number

__all__ = [
    "AttemptsExhausted",
    "Constant",
    "Decorrelated",
    "EqualJitter",
    "Exponential",
    "FullJitter",
    "Linear",
    "Policy",
    "Rng",
    "Rung",
    "bounded",
    "growth",
]


class Rng(Protocol):
    """A source of randomness; ``random.Random`` and ``numpy.random.Generator`` both are one."""

    def random(self) -> float:
        """Return the next number, uniform in [0, 1)."""
        ...


class Rung(NamedTuple):
    """How the delay of one attempt is drawn: ``clip(uniform(l, h), least, most)``, rounded if ``whole``.

    ``l = low + low_grows * before`` and ``h = high + high_grows * before``, with ``before`` the delay before it in
    the streak. Where ``l`` equals ``h`` nothing is drawn. All but the factors and the flag are seconds.
    """

    low: float
    high: float
    least: float = 0.0
    most: float = inf
    low_grows: float = 0.0
    high_grows: float = 0.0
    whole: bool = False

    @classmethod
    def fixed(cls, delay: float) -> Rung:
        """Return the rung that is always the same."""
        return cls(delay, delay)

    def draw(self, before: float, rng: Rng) -> float:
        """Return the delay, in [least, most]; rounding may give the upper end of the interval itself."""
        low, high = self.low + self.low_grows * before, self.high + self.high_grows * before
        drawn = low if low == high else low + (high - low) * rng.random()
        drawn = min(max(drawn, self.least), self.most)
        return float(round(drawn)) if self.whole else drawn


class AttemptsExhausted(WsresearchError):  # noqa: N818 - reads as what it says
    """A policy handed to another library has no delay left: its ``max_attempts`` have all been made."""


_SHOWN = 8
"""Delays in the table that a notebook shows."""

_LUCKS = {"seconds, least": 0.0, "seconds, middle": 0.5, "seconds, most": 1.0 - 2**-53}


@dataclass(frozen=True, slots=True)
class _Luck:
    """Draws the same number each time: where jitter is uniform, 0, ½ and 1 give its ends and its middle."""

    number: float

    def random(self) -> float:
        return self.number


def bounded(default: float, *, low: float | str = 0.0, high: float | str = LONGEST, above_low: bool = False) -> Any:
    """Declare a number of a policy with the range it must lie in.

    A bound may be the name of a field declared before, so that ``cap`` is never below ``base``.
    """
    return field(default=default, metadata={"low": low, "high": high, "above_low": above_low})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(ABC):
    """How long to wait before each attempt of a streak.

    A policy is a value: it holds no position. Each call of :meth:`delays` starts a new streak at the first
    delay, which is what a reset does.

    Parameters
    ----------
    max_attempts
        Attempts in one streak, at least 1; ``delays()`` ends after that many. None means no limit.

    Raises
    ------
    UsageError
        If a parameter lies outside its range; the message names the parameter, the value and the range.
    """

    name: ClassVar[str]
    """What the policy is called on the command line and in text."""

    max_attempts: int | None = None

    def __post_init__(self) -> None:
        if self.max_attempts is not None:
            checked_count("max_attempts", self.max_attempts)
        for each in fields(self):
            if "low" in each.metadata:
                # An int is taken and kept as a float: equal policies have equal texts.
                object.__setattr__(self, each.name, self._in_range(each.name, **each.metadata))

    def _in_range(self, name: str, *, low: float | str, high: float | str, above_low: bool) -> float:
        return checked_number(
            name,
            getattr(self, name),
            low=getattr(self, low) if isinstance(low, str) else low,
            high=getattr(self, high) if isinstance(high, str) else high,
            above_low=above_low,
            low_is=low if isinstance(low, str) else "",
            high_is=high if isinstance(high, str) else "",
        )

    def delays(self, rng: Rng) -> Iterator[float]:
        """Start a streak.

        Parameters
        ----------
        rng
            Where jitter comes from. A policy without jitter never touches it.

        Returns
        -------
        Iterator[float]
            Seconds before attempt 1, 2, …; it ends after ``max_attempts`` values, or never.
        """
        return islice(self._streak(rng), self.max_attempts)

    def _streak(self, rng: Rng) -> Iterator[float]:
        delay = 0.0
        for rung in self.ladder():
            yield (delay := rung.draw(delay, rng))
        while True:
            yield (delay := rung.draw(delay, rng))

    @abstractmethod
    def ladder(self) -> Iterator[Rung]:
        """Yield the rungs of a streak, at least one; the last is that of every attempt after it."""

    def __call__(self) -> Generator[float]:
        """Start a streak for ``websockets.connect(..., reconnect_delays=policy)``.

        Nobody can pass a generator of random numbers on that way, so each streak draws from one of its own,
        seeded by the operating system; the generator that a program shares is never touched.

        Raises
        ------
        AttemptsExhausted
            By ``next()``, once ``max_attempts`` delays were given: a plain end of the generator would reach
            the caller as a ``RuntimeError`` that tells nothing.
        """
        yield from self.delays(random.Random())
        raise AttemptsExhausted(
            f"no attempt of {self} has succeeded; raise max_attempts, or leave it out to go on for ever"
        )

    def __str__(self) -> str:
        own = [each.name for each in fields(self) if each.name != "max_attempts"]
        parameters = [f"{name}={_text(getattr(self, name))}" for name in own]
        if self.max_attempts is not None:
            parameters.append(f"max_attempts={self.max_attempts}")
        return f"{self.name}({', '.join(parameters)})"

    def _repr_html_(self) -> Markup:
        """Return name, parameters and first delays as a small table: with the least, middle and greatest luck."""
        parameters = {each.name: getattr(self, each.name) for each in fields(self)}
        listed = ", ".join(f"{name} {_text(value)}" for name, value in parameters.items() if value is not None)
        drawn = {name: list(islice(self.delays(_Luck(luck)), _SHOWN)) for name, luck in _LUCKS.items()}
        least, *_, greatest = drawn.values()
        if least == greatest:
            drawn = {"seconds": least}
        most = max(map(len, drawn.values()))
        last = "" if most < _SHOWN else "…"
        cells = [[name, *(f"{delay:.4g}" for delay in delays), last] for name, delays in drawn.items()]
        head = ["attempt", *map(str, range(1, most + 1)), last]
        return element(
            "table",
            element("caption", element("b", self.name), f" {listed}", style="text-align:left;white-space:nowrap"),
            element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))),
            element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in cells)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Policy):
    """The same delay each time.

    Parameters
    ----------
    delay
        Seconds, at least 0. Zero means reconnecting at once, for ever: give it a budget.
    """

    name: ClassVar[str] = "constant"
    delay: float = bounded(5.0)

    def ladder(self) -> Iterator[Rung]:
        """Yield the one delay."""
        yield Rung.fixed(self.delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Policy):
    """Delay n is ``min(step * n, cap)``, n from 1.

    Parameters
    ----------
    step, cap
        Seconds; ``step`` above 0, ``cap`` at least ``step``.
    """

    name: ClassVar[str] = "linear"
    step: float = bounded(1.0, above_low=True)
    cap: float = bounded(30.0, low="step")

    def ladder(self) -> Iterator[Rung]:
        """Yield the delays up to the cap."""
        attempt = 1
        while (delay := self.step * attempt) < self.cap:
            yield Rung.fixed(delay)
            attempt += 1
        yield Rung.fixed(self.cap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential(Policy):
    """Delay n is ``min(base * factor**n, cap)`` with **n from 1**: delay 1 is base × factor, NOT base.

    The defaults give 2, 4, 8, 16, 32, 60, 60, … s. For a streak that begins at 1 s and doubles, say
    ``Exponential(base=0.5)``. No jitter: clients that lose the same server come back in step.

    Parameters
    ----------
    base
        Seconds, above 0.
    factor
        Growth from one delay to the next, 1 to 100.
    cap
        Seconds, at least ``base``.

    Notes
    -----
    RFC 6455, section 7.2.3, asks for a truncated binary exponential backoff after an abnormal closure.
    """

    name: ClassVar[str] = "exponential"
    base: float = bounded(1.0, above_low=True)
    factor: float = bounded(2.0, low=1.0, high=100.0)
    cap: float = bounded(60.0, low="base")

    def ladder(self) -> Iterator[Rung]:
        """Yield the delays up to the cap."""
        return map(Rung.fixed, growth(self.base * self.factor, self.factor, self.cap))


@dataclass(frozen=True, slots=True, kw_only=True)
class FullJitter(Policy):
    """Delay n is uniform between ``floor`` and ``min(base * 2**(n - 1), cap)``, n from 1.

    Of the policies here it spreads a herd of clients best for the fewest attempts.

    Parameters
    ----------
    base
        Seconds, above 0: the upper bound of the first delay.
    cap
        Seconds, at least ``base``.
    floor
        Seconds, from 0 to ``base``. Zero is the formula as published.

    Notes
    -----
    The floor is the lower end of the interval, not a clamp on the draw. A clamp would heap the share
    ``floor / bound`` of all clients on one and the same instant, which is the herd that jitter is there to
    break up; moving the end keeps the delay continuous, with the mean (floor + bound) / 2.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: ``random(0, min(cap,
    base * 2**attempt))`` with attempts from 0.
    """

    name: ClassVar[str] = "full-jitter"
    base: float = bounded(1.0, above_low=True)
    cap: float = bounded(30.0, low="base")
    floor: float = bounded(0.1, high="base")

    def ladder(self) -> Iterator[Rung]:
        """Yield the intervals up to the cap."""
        return (Rung(self.floor, bound) for bound in growth(self.base, 2.0, self.cap))


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualJitter(Policy):
    """Delay n is half of ``min(base * 2**(n - 1), cap)``, plus a uniform draw from the other half.

    Parameters
    ----------
    base, cap
        Seconds; ``base`` above 0, ``cap`` at least ``base``.

    Notes
    -----
    Source: M. Brooker, as for :class:`FullJitter`.
    """

    name: ClassVar[str] = "equal-jitter"
    base: float = bounded(1.0, above_low=True)
    cap: float = bounded(30.0, low="base")

    def ladder(self) -> Iterator[Rung]:
        """Yield the intervals up to the cap."""
        return (Rung(bound / 2, bound) for bound in growth(self.base, 2.0, self.cap))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decorrelated(Policy):
    """Each delay is ``min(cap, uniform(base, 3 * previous))``; before the first, ``previous`` is ``base``.

    Parameters
    ----------
    base, cap
        Seconds; ``base`` above 0, ``cap`` at least ``base``.

    Notes
    -----
    Source: M. Brooker, as for :class:`FullJitter`. As published the clamp comes after the draw here, so that
    at the cap about two thirds of the draws are exactly ``cap``.
    """

    name: ClassVar[str] = "decorrelated"
    base: float = bounded(1.0, above_low=True)
    cap: float = bounded(30.0, low="base")

    def ladder(self) -> Iterator[Rung]:
        """Yield the first interval, and the one that grows with the delay before."""
        yield Rung(self.base, 3 * self.base, most=self.cap)
        yield Rung(self.base, 0.0, most=self.cap, high_grows=3.0)


def growth(start: float, factor: float, cap: float) -> Iterator[float]:
    """Yield ``min(start * factor**k, cap)`` for k = 0, 1, …, up to the first that is like all after it.

    Multiplied step by step, so that no exponent grows with k: attempt 10,000 costs what attempt 1 does and
    cannot overflow.
    """
    delay = start
    while delay < cap and factor > 1.0:
        yield delay
        delay *= factor
    yield min(delay, cap)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "/".join(repr(each) for each in value)
    return repr(value)
