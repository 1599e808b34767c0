"""Policies that exist to reproduce how other clients wait, flaws included.

Which project uses which of them, with which numbers, is not here but in :mod:`~wsresearch.reconnect.presets`.
For a capture of your own take :class:`~wsresearch.reconnect.backoff.FullJitter`: the laws of
:mod:`~wsresearch.reconnect.backoff` do not all hold for these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Policy, Rung, bounded, growth
from wsresearch.reconnect.checked import checked_number

__all__ = ["AdditiveJitter", "DrawnFirst", "DrawnStart", "ProportionalJitter", "Steps", "WholeSeconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProportionalJitter(Policy):
    """Delay n is ``b * uniform(1 - jitter, 1 + jitter)`` of ``b = min(start * factor**(n - 1), cap)``.

    The first delay is exactly ``start``. Jitter comes after the clamp, so delays reach cap × (1 + jitter).

    Parameters
    ----------
    start, cap
        Seconds; ``start`` above 0, ``cap`` at least ``start``.
    factor
        Growth from one delay to the next, 1 to 100.
    jitter
        Half the spread, as a share of the delay, 0 to 1.
    """

    name: ClassVar[str] = "proportional-jitter"
    start: float = bounded(1.0, above_low=True)
    factor: float = bounded(1.6, low=1.0, high=100.0)
    cap: float = bounded(120.0, low="start")
    jitter: float = bounded(0.2, high=1.0)

    def ladder(self) -> Iterator[Rung]:
        """Yield the first delay, then the intervals up to the cap."""
        yield Rung.fixed(self.start)
        base = min(self.start * self.factor, self.cap)
        yield from (
            Rung(each * (1 - self.jitter), each * (1 + self.jitter)) for each in growth(base, self.factor, self.cap)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditiveJitter(Policy):
    """Delay n is ``min(start * factor**(n - 1), cap - jitter) + uniform(0, jitter)``, kept in [start, cap].

    The base is lowered near the cap, so that delays still differ there; jitter added first and clamped after
    would put every client on the cap exactly.

    Parameters
    ----------
    start, cap
        Seconds; ``start`` above 0, ``cap`` at least ``start``.
    factor
        Growth from one delay to the next, 1 to 100.
    jitter
        Seconds added at most, the same for each delay.
    at_once
        Whether the streak begins with an attempt without delay, before delay 1.
    """

    name: ClassVar[str] = "additive-jitter"
    start: float = bounded(2.0, above_low=True)
    factor: float = bounded(1.5, low=1.0, high=100.0)
    cap: float = bounded(30.0, low="start")
    jitter: float = bounded(0.1)
    at_once: bool = False

    def __post_init__(self) -> None:
        Policy.__post_init__(self)  # super() does not work in a slotted dataclass on Python 3.11
        if not isinstance(self.at_once, bool):
            raise UsageError(f"at_once must be True or False, not {self.at_once!r}")

    def ladder(self) -> Iterator[Rung]:
        """Yield the attempt at once, if there is one, and the intervals up to the cap."""
        if self.at_once:
            yield Rung.fixed(0.0)
        highest = max(self.cap - self.jitter, 0.0)
        for base in growth(self.start, self.factor, self.cap):
            low = min(base, highest)
            yield Rung(low, low + self.jitter, least=self.start, most=self.cap)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFirst(Policy):
    """Delay 1 is uniform between 0 and ``first``; delay n > 1 is ``min(start * factor**(n - 2), cap)``.

    Parameters
    ----------
    first
        Seconds, at least 0.
    start, cap
        Seconds; ``start`` above 0, ``cap`` at least ``start``.
    factor
        Growth from one delay to the next, 1 to 100.

    Notes
    -----
    RFC 6455, section 7.2.3, suggests a random first delay of 0 to 5 s and a growing one after it.
    """

    name: ClassVar[str] = "drawn-first"
    first: float = bounded(5.0)
    start: float = bounded(3.1, above_low=True)
    factor: float = bounded(1.618, low=1.0, high=100.0)
    cap: float = bounded(90.0, low="start")

    def ladder(self) -> Iterator[Rung]:
        """Yield the first interval, then the delays up to the cap."""
        yield Rung(0.0, self.first)
        yield from map(Rung.fixed, growth(self.start, self.factor, self.cap))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnStart(Policy):
    """Delay n is ``min(d * factor**(n - 1), cap)``; ``d`` is drawn once a streak, uniform from low to high.

    Parameters
    ----------
    low, high
        Seconds; ``low`` above 0, ``high`` at least ``low``.
    factor
        Growth from one delay to the next, 1 to 100.
    cap
        Seconds, at least ``high``.
    """

    name: ClassVar[str] = "drawn-start"
    low: float = bounded(1.0, above_low=True)
    high: float = bounded(5.0, low="low")
    factor: float = bounded(1.3, low=1.0, high=100.0)
    cap: float = bounded(10.0, low="high")

    def ladder(self) -> Iterator[Rung]:
        """Yield the interval of the first delay, and the growth of each from the one before."""
        yield Rung(self.low, self.high, most=self.cap)
        yield Rung(0.0, 0.0, most=self.cap, low_grows=self.factor, high_grows=self.factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeSeconds(Policy):
    """Delay n is ``1 + uniform(0, min(cap, 2**n - 1))`` rounded to a whole second, n from 1.

    Rounding puts a herd back in step: of 10,000 clients after an outage of 60 s, 1,243 came back in the
    busiest 100 ms with a full jitter that was rounded, and 139 with the same jitter as it was drawn.

    Parameters
    ----------
    cap
        Seconds of jitter at most, at least 1.
    """

    name: ClassVar[str] = "whole-seconds"
    cap: float = bounded(60.0, low=1.0)

    def ladder(self) -> Iterator[Rung]:
        """Yield the intervals up to the cap."""
        return (Rung(1.0, power, whole=True) for power in growth(2.0, 2.0, self.cap + 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps(Policy):
    """The delays of a list; the last one is repeated.

    Parameters
    ----------
    steps
        Seconds, each at least 0, one or more; ``0.1/0.5/2`` as text.
    """

    name: ClassVar[str] = "steps"
    steps: tuple[float, ...] = (1.0, 2.0, 5.0)

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if not isinstance(self.steps, tuple) or not self.steps:
            raise UsageError(f"steps must be a tuple of at least one delay, not {self.steps!r}")
        steps = tuple(checked_number("each of steps", step, low=0.0) for step in self.steps)
        object.__setattr__(self, "steps", steps)

    def ladder(self) -> Iterator[Rung]:
        """Yield the delays of the list."""
        return map(Rung.fixed, self.steps)
