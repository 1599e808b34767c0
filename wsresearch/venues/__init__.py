"""What each exchange says: addresses, subscriptions, limits, and messages decoded into rows.

Not here: sockets, files, clocks. Binance's way of *writing* messages is in
:mod:`~wsresearch.venues.binance_wire`, for the local exchange.
"""

from __future__ import annotations

from wsresearch.venues.base import (
    Decoded,
    Decoder,
    IgnoredKind,
    Limits,
    Notice,
    NoticeKind,
    Reject,
    RejectKind,
    Stream,
    Vacant,
    Venue,
)
from wsresearch.venues.frames import Frames
from wsresearch.venues.registry import VENUES, parse_stream, venue_named

__all__ = [
    "VENUES",
    "Decoded",
    "Decoder",
    "Frames",
    "IgnoredKind",
    "Limits",
    "Notice",
    "NoticeKind",
    "Reject",
    "RejectKind",
    "Stream",
    "Vacant",
    "Venue",
    "parse_stream",
    "venue_named",
]
