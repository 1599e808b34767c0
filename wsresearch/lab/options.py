"""Everything an exchange is told, as one value that travels as JSON.

Not here: the exchange and the process that carries it out.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeVar

import msgspec

from wsresearch.errors import UsageError
from wsresearch.lab.market import Market
from wsresearch.lab.plan import FaultPlan
from wsresearch.lab.recording import Recording

__all__ = ["Begin", "ExchangeOptions", "FaultClock"]

_E = TypeVar("_E", bound=StrEnum)


class Begin(StrEnum):
    """When tape and fault plan begin."""

    AT_START = "at_start"
    WITH_FIRST_CLIENT = "with_first_client"


class FaultClock(StrEnum):
    """What the times of a fault plan count: real seconds, or seconds of the tape."""

    REAL = "real"
    TAPE = "tape"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOptions:
    """What an :class:`~wsresearch.lab.exchange.Exchange` is told.

    Attributes
    ----------
    source
        What the tape is made of.
    faults
        What goes wrong, when.
    host, port
        Where to listen; port 0 is any free one.
    waits
        Whether the tape stands still while nobody can take market data, and faults lose nothing.
    begin
        When tape and plan begin.
    fault_clock
        What the times of the plan count. ``tape`` strikes between the same two messages every time, however long
        reconnections take; for a tape that does not wait it is the same as ``real``.
    ping_interval
        Seconds between pings; three unanswered ones end a connection (Binance: 20 s, 1 min).
    lifetime
        Seconds after which a connection is closed with 1001 (Binance: 24 h); None: never.
    enforce_limits
        Whether more than 5 incoming messages in a second (close 1008) and more than 300 attempts in 5 minutes
        (HTTP 429) are punished.
    weight_limit
        REST weight allowed a minute (Binance: 6000); None: any.
    seed
        Of everything random in faults: jitter, slices, garbage. The tape has its own.
    futures
        Whether generated trades have the shape of the futures family.

    Raises
    ------
    UsageError
        For a number that is out of range.
    """

    source: Market | Recording = field(default_factory=Market)
    faults: FaultPlan = field(default_factory=FaultPlan)
    host: str = "127.0.0.1"
    port: int = 0
    waits: bool = False
    begin: Begin = Begin.AT_START
    fault_clock: FaultClock = FaultClock.REAL
    ping_interval: float = 20.0
    lifetime: float | None = None
    enforce_limits: bool = False
    weight_limit: int | None = None
    seed: int = 0
    futures: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "begin", _member(Begin, self.begin, "begin"))
        object.__setattr__(self, "fault_clock", _member(FaultClock, self.fault_clock, "fault_clock"))
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port {self.port} must be 0 to 65535; 0 is any free one")
        if not 0 < self.ping_interval < math.inf:
            raise UsageError(f"ping_interval {self.ping_interval} must be a number of seconds above 0")
        if self.lifetime is not None and not 0 < self.lifetime < math.inf:
            raise UsageError(f"lifetime {self.lifetime} must be a number of seconds above 0, or None")
        if self.weight_limit is not None and self.weight_limit < 0:
            raise UsageError(f"weight_limit {self.weight_limit} must be 0 or more, or None")

    def to_json(self) -> bytes:
        """Return the options as one line of JSON; the inverse of `from_json`."""
        document = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        document["source"] = {type(self.source).__name__: dataclasses.asdict(self.source)}
        document["faults"] = [fault.to_json() for fault in self.faults]
        return msgspec.json.encode(document)

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        UsageError
            When it is something else, or a value is out of range.
        """
        try:
            document: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            [(kind, source)] = document.pop("source").items()
            faults = FaultPlan.parse(document.pop("faults"))
            kinds: dict[str, type[Market | Recording]] = {"Market": Market, "Recording": Recording}
            return cls(source=msgspec.convert(source, kinds[kind]), faults=faults, **document)
        except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"these are no options of an exchange: {error!r}: {line[:80]!r}") from error


def _member(kind: type[_E], value: str, name: str) -> _E:
    if value not in set(kind):
        raise UsageError(f"{name} {value!r} must be one of {', '.join(kind)}")
    return kind(value)
