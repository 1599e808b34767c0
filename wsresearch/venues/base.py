"""What a venue is to the rest of the house: an address, subscriptions, limits, and a decoder of its messages.

Not here: any one venue, the list of venues (:mod:`~wsresearch.venues.registry`), sockets, files, clocks.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit

import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.venues.frames import Frames

__all__ = [
    "MAX_NOTICES",
    "MAX_SAMPLES",
    "MAX_SAMPLE_BYTES",
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
]

MAX_SAMPLES: Final = 100
"""Rejected messages kept per decoded block: what ``quarantine/`` takes in a whole run."""

MAX_SAMPLE_BYTES: Final = 1024
"""A sample is cut after so many bytes."""

MAX_NOTICES: Final = 32
"""Notices kept of each kind per decoded block, so that a chattering server cannot fill the memory."""

_EXAMPLE: Final = "ws://127.0.0.1:9443"


class RejectKind(StrEnum):
    """Why a message that ought to be a trade did not become a row; the first reason found, in this order."""

    SIZE = "size"
    """longer than any message of the venue; not even parsed"""
    JSON = "json"
    """no JSON, no UTF-8, nested too deeply, or a number out of every range"""
    SHAPE = "shape"
    """JSON, but not the object the venue sends"""
    MISSING = "missing"
    """a trade that lacks a field"""
    SYMBOL = "symbol"
    """not a symbol that was subscribed to, or not that of its stream"""
    TRADE_ID = "trade_id"
    """no integer from 0 to 2^63 - 1"""
    PRICE = "price"
    """no plain positive decimal with at most 20 digits before and 18 after the point"""
    QUANTITY = "quantity"
    """likewise"""
    SIDE = "side"
    """no boolean"""
    TIME = "time"
    """no integer in the connection's unit between the years 2000 and 2100"""


class NoticeKind(StrEnum):
    """What a message is that carries no market data."""

    ACK = "ack"
    ERROR = "error"
    SHUTDOWN = "shutdown"
    HEARTBEAT = "heartbeat"
    UNKNOWN = "unknown"


class IgnoredKind(StrEnum):
    """What a well-formed message is that concerns nobody here."""

    OTHER_EVENT = "other_event"
    """market data of another kind than single trades"""
    PLACEHOLDER = "placeholder"
    """an id spent by the venue on something that was no trade; see `Vacant`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message about the connection itself.

    `detail` is the server's own text (at most 500 characters), *not* made safe for showing.
    """

    kind: NoticeKind
    detail: str
    recv_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A sample of what was refused: its first `MAX_SAMPLE_BYTES` bytes, as received."""

    kind: RejectKind
    raw: bytes
    recv_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacant:
    """A trade id that the venue spent without a trade: its absence from the table is no hole."""

    symbol: str
    trade_id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """What a block of messages held: every message is a row, or in one of the others.

    Parameters
    ----------
    batch : RecordBatch
        Schema `wsresearch.schema.TRADES`, rows in order of arrival; may be empty.
    rejected
        Messages that failed a strict check, counted by kind; kinds that did not occur are absent.
    samples
        The first `MAX_SAMPLES` of them, in order.
    notices
        Acks, errors, announcements; the first `MAX_NOTICES` of each kind, in order.
    ignored
        Well-formed messages of no concern here, counted by kind.
    vacant
        Ids of the ignored placeholders, in order.
    """

    batch: pa.RecordBatch
    rejected: Mapping[RejectKind, int] = field(default_factory=dict)
    samples: Sequence[Reject] = ()
    notices: Sequence[Notice] = ()
    ignored: Mapping[IgnoredKind, int] = field(default_factory=dict)
    vacant: Sequence[Vacant] = ()


class Decoder(ABC):
    """Turns what one connection says into rows; holds what was subscribed to.

    What it remembers beside that changes how long decoding takes, never what comes out.
    """

    __slots__ = ()

    @abstractmethod
    def decode(self, frames: Frames, *, connection: int) -> Decoded:
        """Decode a block; never raises for what a server sent.

        The result depends on each message alone: a block decodes to the same as its messages one by one.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a venue allows one client; breaking these gets the client cut off or banned.

    Parameters
    ----------
    streams
        Subscriptions on one connection.
    incoming_per_second
        Messages a client may send; ping and pong frames count too.
    request_interval
        Seconds to leave between two requests, so that pings and pongs find room beside them.
    request_bytes
        Longest request the server answers.
    url_bytes
        Longest request target used here; more streams than fit are subscribed by requests.
    connects, connect_window
        Connection attempts per IP address in so many seconds.
    lifetime
        Seconds after which the venue closes every connection.
    ping_interval
        Seconds between the server's pings.
    """

    streams: int
    incoming_per_second: int
    request_interval: float
    request_bytes: int
    url_bytes: int
    connects: int
    connect_window: float
    lifetime: float
    ping_interval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue(ABC):
    """One exchange, a value without state.

    Parameters
    ----------
    name
        As written before the colon of a stream.
    default_url
        Scheme, host and port of the real venue.
    limits
        What it allows.
    has_sequence
        Whether trade ids rise by one per symbol, so that a missing id is a candidate for a hole.
    """

    name: str
    default_url: str
    limits: Limits
    has_sequence: bool

    @abstractmethod
    def check_symbol(self, symbol: str) -> str:
        """Return `symbol` as the table writes it (upper case).

        Raises
        ------
        UsageError
            When it cannot be a symbol of this venue; nothing has been opened or sent.
        """

    @abstractmethod
    def path(self, symbols: Sequence[str]) -> str:
        """Return path and query of the request that opens the connection for `symbols`."""

    @abstractmethod
    def subscribe(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the messages to send after opening, `limits.request_interval` apart; often none."""

    @abstractmethod
    def decoder(self, symbols: Sequence[str]) -> Decoder:
        """Return the decoder of a connection that subscribed to `symbols`."""

    def check_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Check all symbols of one connection.

        Raises
        ------
        UsageError
            When there is none, one twice, too many, or one that `check_symbol` refuses.
        """
        if not symbols:
            raise UsageError(f"no symbol given for {self.name}; write for example {self.name}:btcusdt")
        checked = tuple(map(self.check_symbol, symbols))
        if len(checked) > self.limits.streams:
            raise UsageError(
                f"{len(checked)} symbols are more than the {self.limits.streams} streams {self.name} allows"
                " on one connection; split them over several captures"
            )
        if len(set(checked)) < len(checked):
            twice = next(symbol for symbol in checked if checked.count(symbol) > 1)
            raise UsageError(f"symbol {twice!r} is given twice; name each symbol once")
        return checked

    def url(self, symbols: Sequence[str], base: str | None = None) -> str:
        """Return the address to connect to.

        Parameters
        ----------
        symbols
            What the connection is for.
        base
            Scheme, host and port to use in place of the venue's own, such as ``ws://127.0.0.1:9443``.

        Raises
        ------
        UsageError
            For a wrong symbol, or a `base` that is more or less than scheme, host and port.
        """
        return _checked_base(self.default_url if base is None else base) + self.path(symbols)


def _checked_base(base: str) -> str:
    try:
        parts = urlsplit(base)
        port = parts.port
    except ValueError:  # its text may quote what stands where a port should, a part of a password for one
        raise UsageError(f"url {_shown(base)} has no readable host and port: use such as {_EXAMPLE}") from None
    extras = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    printable = base.isascii() and base.isprintable() and " " not in base
    if parts.scheme not in {"ws", "wss"} and parts.hostname and printable:
        raise UsageError(
            f"url {_shown(base)} has the scheme {parts.scheme[:20]!r}, but must have ws or wss, such as {_EXAMPLE}"
        )
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or port == 0 or extras or not printable:
        raise UsageError(
            f"url {_shown(base)} must be scheme, host and port only, such as {_EXAMPLE}; the venue adds the path"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _shown(base: str) -> str:
    """Return `base` for an error message, without what may be a secret: credentials and query."""
    # No address that is allowed has an @, a query or a fragment, so that all of it may go.
    text = re.split(r"[?#]", base)[0]
    return repr(re.sub(r"^(\w*://)?.*@", r"\1…@", text, flags=re.DOTALL)[:80])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One subscription: a venue and its symbols, written ``binance:btcusdt,ethusdt``."""

    venue: Venue
    symbols: tuple[str, ...]

    @classmethod
    def of(cls, venue: Venue, symbols: Sequence[str]) -> Self:
        """Make a stream of checked symbols."""
        return cls(venue=venue, symbols=venue.check_symbols(symbols))

    def __str__(self) -> str:
        return f"{self.venue.name}:{','.join(self.symbols).lower()}"
