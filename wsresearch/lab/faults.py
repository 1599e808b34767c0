"""The faults a local exchange can play: what each does, with which parameters.

Not here: their timeline (:mod:`~wsresearch.lab.plan`) and how they are done on the wire. All of this is values.

In JSON a fault is ``{"at": seconds, "fault": kind, …}`` and ``for`` stands for the attribute `seconds`. Where
Toxiproxy has a fault of the name, it means the same, except that all times are seconds and all sizes bytes.

A fault that ends connections hits those open at its time. One with a duration also hits those opened during it.
*Door* faults (`refuse`, `http`, `stall_handshake`, `flap`) meet whoever comes to the door; as nobody comes while
all are inside, they reset the open connections when they begin, unless ``"drop": false`` (or only REST is meant).
"""

from __future__ import annotations

import dataclasses
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final

from wsresearch.lab.parameters import JSON_NAMES, FlapHow, Garbage, HttpTarget, checked

__all__ = [
    "FAULTS",
    "Bandwidth",
    "Close",
    "DoorFault",
    "Duplicate",
    "Fault",
    "FaultKind",
    "Flap",
    "Garble",
    "Giant",
    "HalfOpen",
    "Http",
    "Latency",
    "LimitData",
    "Refuse",
    "Reorder",
    "ResetPeer",
    "ServerShutdown",
    "Silence",
    "SkipIds",
    "Slicer",
    "SlowClose",
    "StallHandshake",
    "Timeout",
]


class FaultKind(StrEnum):
    """The names of all faults; the first seven are Toxiproxy's."""

    LATENCY = "latency"
    BANDWIDTH = "bandwidth"
    SLOW_CLOSE = "slow_close"
    TIMEOUT = "timeout"
    RESET_PEER = "reset_peer"
    SLICER = "slicer"
    LIMIT_DATA = "limit_data"
    CLOSE = "close"
    REFUSE = "refuse"
    HTTP = "http"
    SILENCE = "silence"
    HALF_OPEN = "half_open"
    FLAP = "flap"
    SKIP_IDS = "skip_ids"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    GARBLE = "garble"
    GIANT = "giant"
    SERVER_SHUTDOWN = "server_shutdown"
    STALL_HANDSHAKE = "stall_handshake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(ABC):
    """One disturbance at one time.

    Attributes
    ----------
    at
        Seconds on the clock of the exchange that plays it.

    Raises
    ------
    FaultPlanError
        For an impossible value of any attribute, naming it, the value and what it must be.
    """

    kind: ClassVar[FaultKind]
    at: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None and "None" in field.type:  # the annotation, a text here
                continue
            object.__setattr__(self, field.name, checked(field.name, value))

    def to_json(self) -> dict[str, Any]:
        """Return the fault as it stands in a plan; the inverse of reading it."""
        values = {JSON_NAMES.get(f.name, f.name): getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"at": values.pop("at"), "fault": self.kind.value} | values

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        """Return the parameters besides ``at``: name in JSON, name of the attribute."""
        return {JSON_NAMES.get(f.name, f.name): f.name for f in dataclasses.fields(cls) if f.name != "at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorFault(Fault):
    """A fault that meets whoever tries to connect, for `seconds`; `drop` resets the connections open before."""

    seconds: float = 5.0
    drop: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPeer(Fault):
    """TCP RST at once: what was written and has not reached the client is lost. Also spelled ``reset``."""

    kind = FaultKind.RESET_PEER


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Fault):
    """A Close frame with `code` and `reason` (code null: an empty one), the client's answer, FIN.

    Codes that may not be sent (1005, 1006, 2999 …) are sent all the same.
    """

    kind = FaultKind.CLOSE
    code: int | None = 1000
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose(Fault):
    """A Close frame, after whose answer TCP stays open for `delay` seconds before FIN.

    Toxiproxy's holds up a close that someone else begins; this one begins it.
    """

    kind = FaultKind.SLOW_CLOSE
    delay: float = 5.0
    code: int | None = 1000
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout(Fault):
    """No byte gets through for `seconds`, not even a pong, then FIN without a Close frame; what was held is lost."""

    kind = FaultKind.TIMEOUT
    seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen(Fault):
    """The exchange never reads, answers or closes again, while TCP stays open; after `seconds`, if given, RST."""

    kind = FaultKind.HALF_OPEN
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence(Fault):
    """Connections are open and pings are answered, but there is no market data for `seconds` (null: ever again)."""

    kind = FaultKind.SILENCE
    seconds: float | None = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(DoorFault):
    """Nobody listens on the port: connection refused."""

    kind = FaultKind.REFUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(DoorFault):
    """Requests are answered with `status`, a ``Retry-After`` of `retry_after` (seconds, or any text) and `body`."""

    kind = FaultKind.HTTP
    status: int = 503
    retry_after: float | str | None = None
    body: str = ""
    on: HttpTarget = HttpTarget.STREAM


@dataclass(frozen=True, slots=True, kw_only=True)
class StallHandshake(DoorFault):
    """TCP is accepted, the upgrade request never answered, also when the fault is over."""

    kind = FaultKind.STALL_HANDSHAKE


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap(DoorFault):
    """Connections are accepted and ended again after `after` messages of market data.

    `how`: ``close`` with a Close frame of `code`, ``eof`` with a bare FIN, ``reset`` with RST; or
    ``accept_eof`` and ``accept_reset``: TCP alone is accepted and ended before any answer (`after` is then
    meaningless).
    """

    kind = FaultKind.FLAP
    after: int = 0
    how: FlapHow = FlapHow.CLOSE
    code: int | None = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerShutdown(Fault):
    """The ``serverShutdown`` event to everybody, and after `delay` seconds a close with `code`."""

    kind = FaultKind.SERVER_SHUTDOWN
    delay: float = 1.0
    code: int | None = 1001


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Fault):
    """For `seconds`, every byte to the clients comes `latency` later, give or take up to `jitter`, in order."""

    kind = FaultKind.LATENCY
    latency: float = 0.5
    jitter: float = 0.0
    seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(Fault):
    """For `seconds`, at most ``rate`` bytes a second to each client."""

    kind = FaultKind.BANDWIDTH
    bytes_per_second: float = 1_000.0
    seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicer(Fault):
    """For `seconds`, bytes go out in pieces of `average_size` ± `size_variation`, `delay` seconds apart."""

    kind = FaultKind.SLICER
    average_size: int = 64
    size_variation: int = 32
    delay: float = 0.0
    seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData(Fault):
    """After ``bytes`` more bytes to a client its connection ends with FIN, in the middle of a frame if need be."""

    kind = FaultKind.LIMIT_DATA
    size_bytes: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipIds(Fault):
    """The venue jumps over the next `count` trade ids (of `symbol`): those trades never exist for anybody."""

    kind = FaultKind.SKIP_IDS
    count: int = 1
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(Fault):
    """Each of the next `count` trades (of `symbol`) is sent twice."""

    kind = FaultKind.DUPLICATE
    count: int = 1
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder(Fault):
    """The next `count` trades (of `symbol`) are held until all are there, and sent in reverse."""

    kind = FaultKind.REORDER
    count: int = 2
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Garble(Fault):
    """Before each of the next `count` trades (of `symbol`) goes a malformed message; with `replace`, instead of it.

    `garbage` chooses what it looks like; null draws one from the exchange's seed each time.
    """

    kind = FaultKind.GARBLE
    count: int = 1
    replace: bool = False
    garbage: Garbage | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Giant(Fault):
    """One unknown but well-formed event of ``bytes`` bytes, 22 or more; many clients refuse over 1 MiB."""

    kind = FaultKind.GIANT
    size_bytes: int = 2_000_000


FAULTS: Final[Mapping[FaultKind, type[Fault]]] = MappingProxyType(
    {
        cls.kind: cls
        for cls in (
            *(Latency, Bandwidth, SlowClose, Timeout, ResetPeer, Slicer, LimitData),
            *(Close, Refuse, Http, Silence, HalfOpen, Flap, SkipIds, Duplicate, Reorder, Garble, Giant),
            *(ServerShutdown, StallHandshake),
        )
    }
)
"""The fault of each kind."""
