"""The venues there are, by name, and the text form of a stream.

Not here: what a venue says or does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from wsresearch.errors import UsageError
from wsresearch.venues.base import Stream, Venue
from wsresearch.venues.binance import SPOT, USDM

__all__ = ["VENUES", "parse_stream", "venue_named"]

VENUES: Final[Mapping[str, Venue]] = MappingProxyType({venue.name: venue for venue in (SPOT, USDM)})
"""Every venue by its name."""


def venue_named(name: str) -> Venue:
    """Return the venue called `name`.

    Raises
    ------
    UsageError
        When there is none; the message lists those there are.
    """
    venue = VENUES.get(name)
    if venue is None:
        raise UsageError(f"unknown venue {name[:40]!r}; choose one of {', '.join(VENUES)}")
    return venue


def parse_stream(text: str) -> Stream:
    """Read a stream such as ``binance:btcusdt,ethusdt``; ``str()`` of the result leads back to it.

    Raises
    ------
    UsageError
        For an unknown venue or a symbol that it cannot have.
    """
    if not isinstance(text, str):
        raise UsageError(f"the stream is {str(text)[:80]}, but must be one text, for example 'binance:btcusdt,ethusdt'")
    name, colon, symbols = text.partition(":")
    if not colon:
        raise UsageError(f"{text[:80]!r} is no stream; write venue:symbol, for example binance:btcusdt,ethusdt")
    venue = venue_named(name)
    return Stream.of(venue, symbols.split(",") if symbols else ())
