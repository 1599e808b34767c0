"""Twelve ways in which a day can go wrong, each drawn from a seed; what a collector makes of them is not here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["PATTERNS", "Kind", "Spell"]

_HOUR: Final = 3600.0


class Kind(StrEnum):
    """What a spell does to attempts, and to a connection that is open when it begins."""

    RESET = "reset"
    """no length: the open connection is reset, the next attempt finds everything well"""
    REFUSE = "refuse"
    """attempts are refused; an open connection is reset"""
    UNAVAILABLE = "unavailable"
    """attempts get 503 with Retry-After; an open connection is closed with 1001"""
    BANNED = "banned"
    """attempts get 429 with Retry-After; an open connection is closed with 1008"""
    HANG = "hang"
    """attempts are never answered; an open connection is half open"""
    NAMELESS = "nameless"
    """the name is not found; an open connection ends without a Close frame"""
    FLAP = "flap"
    """connections are accepted and closed at once"""
    TASTE = "taste"
    """connections bring one trade and are closed"""
    LATER = "later"
    """connections are closed with 1013 after a moment"""
    SILENT = "silent"
    """connections open and stay open, and bring nothing"""
    SHUTDOWN = "shutdown"
    """no length: the end is announced, and comes some seconds later with 1001"""
    CLOCK = "clock"
    """no length: the wall clock steps"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One disturbance, in virtual seconds since the day began; ``size`` is the step of a clock or a Retry-After."""

    kind: Kind
    begin: float
    end: float
    size: float = 0.0


def _arrivals(rng: random.Random, seconds: float, mean: float) -> Iterator[float]:
    at = rng.expovariate(1 / mean)
    while at < seconds:
        yield at
        at += rng.expovariate(1 / mean)


def _spells(
    rng: random.Random,
    seconds: float,
    kind: Kind,
    *,
    mean: float,
    lasts: Callable[[], float] = lambda: 0.0,
    size: Callable[[], float] = lambda: 0.0,
) -> Iterator[Spell]:
    """Draw spells of one kind, ``mean`` seconds apart, that do not overlap each other."""
    free = 0.0
    for at in _arrivals(rng, seconds, mean):
        if at >= free:
            free = at + lasts()
            yield Spell(kind=kind, begin=at, end=free, size=size())


def _only(kind: Kind, mean: float, low: float, high: float, size: float = 0.0) -> Callable[..., list[Spell]]:
    def pattern(rng: random.Random, seconds: float) -> list[Spell]:
        lasts = lambda: rng.uniform(low, high)  # noqa: E731
        return list(_spells(rng, seconds, kind, mean=mean, lasts=lasts, size=lambda: size))

    return pattern


def _resets(rng: random.Random, seconds: float) -> list[Spell]:
    return list(_spells(rng, seconds, Kind.RESET, mean=_HOUR / 4))


def _rollovers(rng: random.Random, seconds: float) -> list[Spell]:
    notice = lambda: rng.uniform(0.0, 30.0)  # noqa: E731
    return list(_spells(rng, seconds, Kind.SHUTDOWN, mean=4 * _HOUR, size=notice))


def _clocks(rng: random.Random, seconds: float) -> list[Spell]:
    steps = _spells(rng, seconds, Kind.CLOCK, mean=2 * _HOUR, size=lambda: rng.choice([-3600.0, -1.0, 0.2, 3600.0]))
    return _in_order([*steps, *_resets(rng, seconds)])


def _everything(rng: random.Random, seconds: float) -> list[Spell]:
    lengths = {Kind.RESET: 0.0, Kind.SHUTDOWN: 0.0, Kind.CLOCK: 0.0}
    found = []
    for kind in Kind:
        longest = lengths.get(kind, 600.0)
        size = {Kind.CLOCK: 3600.0, Kind.SHUTDOWN: 10.0}.get(kind, 40.0)
        lasts = lambda longest=longest: rng.uniform(0.0, longest)  # noqa: E731
        found += _spells(rng, seconds, kind, mean=3 * _HOUR, lasts=lasts, size=lambda size=size: rng.uniform(0.2, size))
    return _in_order(found)


def _in_order(spells: list[Spell]) -> list[Spell]:
    """Sort, and leave out what begins while another one lasts: of two disturbances the first is met."""
    kept: list[Spell] = []
    for spell in sorted(spells, key=lambda spell: spell.begin):
        if not kept or spell.begin >= kept[-1].end:
            kept.append(spell)
    return kept


PATTERNS: Final[Mapping[str, Callable[[random.Random, float], list[Spell]]]] = MappingProxyType(
    {
        "short cuts": _resets,
        "maintenance": _only(Kind.REFUSE, 8 * _HOUR, _HOUR, 2 * _HOUR),
        "restarts": _only(Kind.REFUSE, _HOUR, 1.0, 90.0),
        "overload": _only(Kind.UNAVAILABLE, 3 * _HOUR, 60.0, 900.0, size=20.0),
        "bans": _only(Kind.BANNED, 6 * _HOUR, 120.0, 1200.0, size=120.0),
        "dead routes": _only(Kind.HANG, 2 * _HOUR, 5.0, 600.0),
        "lost names": _only(Kind.NAMELESS, 2 * _HOUR, 5.0, 600.0),
        "flapping": _only(Kind.FLAP, 2 * _HOUR, 30.0, 1200.0),
        "one message each": _only(Kind.TASTE, 2 * _HOUR, 30.0, 1200.0),
        "silences": _only(Kind.SILENT, _HOUR, 5.0, 300.0),
        "rollovers": _rollovers,
        "everything": lambda rng, seconds: _in_order([*_everything(rng, seconds), *_clocks(rng, seconds)]),
    }
)
"""A name and what draws its spells for so many seconds, in order and not overlapping."""
