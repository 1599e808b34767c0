"""The words of the lifecycle: states, signals in, actions out; values only, no rule is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wsresearch.schema import EventKind

__all__ = ["Action", "Drop", "End", "Open", "Phases", "Record", "Signal", "State"]


class State(StrEnum):
    """Where a run is; also the ``state`` of a status."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPEN = "open"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"
    GAVE_UP = "gave_up"
    FAILED = "failed"


class Signal(StrEnum):
    """What can happen to a run."""

    START = "start"
    OPENED = "opened"
    ATTEMPT_FAILED = "attempt_failed"
    MARKET = "market_message"
    ANNOUNCED = "end_announced"
    LOST = "lost"
    DEADLINE = "deadline"
    RECONNECT = "reconnect_now"
    STOP = "stop"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Seconds each phase of an attempt took; a phase that was not reached is None. They tile the attempt."""

    dns: float | None = None
    tcp: float | None = None
    tls: float | None = None
    upgrade: float | None = None

    @property
    def total(self) -> float:
        """Seconds of the whole attempt."""
        return sum(phase or 0.0 for phase in (self.dns, self.tcp, self.tls, self.upgrade))


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Try to open a WebSocket; the attempt begins at monotonic second ``at``, when its row was recorded."""

    attempt: int
    connection: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Abort the connection: a dead peer gets no polite close, it would cost the close timeout exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write an event row; ``at`` is monotonic seconds, ``fields`` are columns of the events table."""

    kind: EventKind
    at: float
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The run is over."""

    state: State
    exit_code: int


Action = Open | Drop | Record | End
