"""The life of a connection as a table, with the rules of reconnection written on top of it.

Not here: clocks, sockets, tasks and files. Time is the argument ``now`` (monotonic seconds), randomness the
argument ``rng``; what should happen comes back as actions, and whoever owns the socket performs them.

The theory, in one paragraph. A run is a walk through seven states. A *signal* is something that happened; the
table says which signals a state understands and where each may lead. A signal that the table does not list
raises :class:`IllegalSignal` and changes nothing, so a caller that lost track of the machine is told at once
instead of opening a second connection. There is one connection because there is one walk.

Every action that records a row carries the ``waited`` of the step that ended, all taken from the same ``now``:
that is why the silence of an outage is exactly the sum of its rows (see :class:`wsresearch.schema.EventKind`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from wsresearch.reconnect.actions import Action, Drop, End, Open, Phases, Record, Signal, State
from wsresearch.reconnect.backoff import Policy, Rng
from wsresearch.reconnect.budget import BudgetWindow
from wsresearch.reconnect.causes import Cause, Failure, Severity, classify, in_words, strike_of
from wsresearch.reconnect.reset import Reset
from wsresearch.schema import EventKind

__all__ = [
    "DELIBERATE",
    "TABLE",
    "IllegalSignal",
    "Lifecycle",
    "Numbers",
    "Rules",
    "Signal",
    "State",
    "mermaid",
]


_S, _G = State, Signal
_AFTER_FAILURE: Final = (_S.BACKING_OFF, _S.GAVE_UP, _S.FAILED)
_ENDING: Final = MappingProxyType({_G.STOP: (_S.STOPPED,), _G.FATAL: (_S.FAILED,)})

TABLE: Final[Mapping[State, Mapping[Signal, tuple[State, ...]]]] = MappingProxyType(
    {
        # START can lead to a wait: the budget outlives the process, so a crash loop does not hammer the venue.
        _S.IDLE: {_G.START: (_S.BACKING_OFF,), **_ENDING},
        _S.BACKING_OFF: {_G.DEADLINE: (_S.CONNECTING,), _G.RECONNECT: (_S.CONNECTING,), **_ENDING},
        # RECONNECT while an attempt is under way is already being done.
        _S.CONNECTING: {
            _G.OPENED: (_S.OPEN,),
            _G.ATTEMPT_FAILED: _AFTER_FAILURE,
            _G.RECONNECT: (_S.CONNECTING,),
            **_ENDING,
        },
        # DEADLINE while open is the stall: no market data for idle_timeout.
        _S.OPEN: {
            _G.MARKET: (_S.OPEN,),
            _G.ANNOUNCED: (_S.OPEN,),
            _G.LOST: _AFTER_FAILURE,
            _G.DEADLINE: _AFTER_FAILURE,
            _G.RECONNECT: (_S.BACKING_OFF,),
            **_ENDING,
        },
        _S.STOPPED: {},
        _S.GAVE_UP: {},
        _S.FAILED: {},
    }
)
"""``TABLE[state][signal]`` = the states it may lead to; what is not listed is illegal."""

DELIBERATE: Final = frozenset({Cause.RECONNECT, Cause.STOP})
"""Causes that we brought about ourselves; they neither strike nor wait."""

_EXIT: Final = MappingProxyType({State.STOPPED: 0, State.FAILED: 3, State.GAVE_UP: 4})


class IllegalSignal(RuntimeError):  # noqa: N818 - it is the caller's defect, and reads as what it says
    """A signal that the table does not allow in this state; the machine has not moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides about waiting.

    Parameters
    ----------
    policy, reset
        The backoff policy and what returns it to its first delay.
    idle_timeout
        Seconds without market data after which an open connection counts as stalled.
    max_attempts
        Attempts allowed in a row before giving up; None leaves it to the policy.

    Notes
    -----
    After a connection that lived long enough for a ``stable`` reset rule the first attempt is made at once and
    draws no delay: such a server was healthy a moment ago. The other reset rules prove nothing of the kind, so
    with them the policy is followed as written.

    Who is told how long to stay away waits the policy's delay after that, also after a stable connection: all clients
    are told the same, so none comes early and the herd comes as spread as its policy draws.
    """

    policy: Policy
    reset: Reset
    idle_timeout: float = 30.0
    max_attempts: int | None = None


@dataclass(slots=True, kw_only=True)
class Numbers:
    """Counters that continue over the runs of a capture."""

    connection: int = 0
    outage: int = 0


@dataclass(slots=True, kw_only=True)
class _Wait:
    """A decided delay: since when it runs, how long, and what the policy itself had drawn."""

    began: float
    delay: float
    drawn: float | None


@dataclass(slots=True, kw_only=True)
class _Life:
    """The connection that is open: its two clocks, and whether the venue announced its end."""

    opened: float
    last_market: float | None = None
    announced: bool = False

    @property
    def last_sign(self) -> float:
        return self.opened if self.last_market is None else self.last_market


@dataclass(slots=True)
class Lifecycle:
    """The machine: one per run, driven by :meth:`handle`.

    ``deadline`` is the monotonic second at which the caller must deliver ``Signal.DEADLINE``, or None.
    """

    rules: Rules
    budget: BudgetWindow
    rng: Rng
    numbers: Numbers = field(default_factory=Numbers)

    state: State = field(default=State.IDLE, init=False)
    deadline: float | None = field(default=None, init=False)
    attempt: int = field(default=0, init=False)
    _delays: Iterator[float] = field(init=False)
    _streak: int = field(default=0, init=False)
    _outage: int = field(default=0, init=False)
    _strikes: tuple[str | None, int] = field(default=(None, 0), init=False)
    _wait: _Wait | None = field(default=None, init=False)
    _life: _Life | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._delays = self.rules.policy.delays(self.rng)

    @property
    def outage(self) -> int:
        """Number of the outage in progress, 0 if there is none."""
        return self._outage

    def handle(
        self,
        signal: Signal,
        now: float,
        *,
        failure: Failure | None = None,
        phases: Phases | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> list[Action]:
        """Take one signal and say what to do.

        Parameters
        ----------
        signal
            What happened.
        now
            When, in monotonic seconds.
        failure
            Why, for ``ATTEMPT_FAILED``, ``LOST``, ``STOP`` and ``FATAL``.
        phases
            What the attempt's phases took, for ``OPENED`` and ``ATTEMPT_FAILED``.
        fields
            Further columns for the row that this signal records.

        Raises
        ------
        IllegalSignal
            If the table does not list the signal for this state; nothing has changed then.
        """
        allowed = TABLE[self.state].get(signal)
        if allowed is None:
            raise IllegalSignal(f"{signal} cannot happen while {self.state}")
        rule = getattr(self, f"_on_{signal.name.lower()}")
        actions: list[Action] = rule(now, failure or Failure(cause=Cause.UNKNOWN), phases or Phases(), fields or {})
        assert self.state in allowed, (signal, self.state, allowed)
        if self.state in _EXIT:
            self.deadline = None
            actions.append(End(state=self.state, exit_code=_EXIT[self.state]))
        return actions

    # -- the rules, one for each signal -----------------------------------------------------------------------

    def _on_start(self, now: float, _f: Failure, _p: Phases, _x: Mapping[str, Any]) -> list[Action]:
        return self._back_off(now, drawn=None, at_least=0.0)

    def _on_deadline(self, now: float, _f: Failure, _p: Phases, _x: Mapping[str, Any]) -> list[Action]:
        if self.state is State.BACKING_OFF:
            return self._connect(now)
        life = self._open_life()
        failure = Failure(
            cause=Cause.STALLED,
            detail=f"no market data for {now - life.last_sign:.1f} s (idle_timeout {self.rules.idle_timeout:g} s)",
            close_by="local",
        )
        stalled = self._record(EventKind.STALLED, now, cause=failure.cause, detail=failure.detail)
        return [stalled, Drop(), *self._lose(now, failure)]

    def _on_opened(self, now: float, _f: Failure, phases: Phases, extra: Mapping[str, Any]) -> list[Action]:
        self.state = State.OPEN
        self.numbers.connection += 1
        self._life = _Life(opened=now)
        self.deadline = now + self.rules.idle_timeout
        return [self._record(EventKind.OPENED, now, attempt=self.attempt, **_tiled(phases), **extra)]

    def _on_attempt_failed(
        self, now: float, failure: Failure, phases: Phases, extra: Mapping[str, Any]
    ) -> list[Action]:
        row = self._record(
            EventKind.ATTEMPT_FAILED, now, attempt=self.attempt, **_tiled(phases), **_columns(failure), **extra
        )
        return [row, *self._decide(now, failure, at_once=False)]

    def _on_market(self, now: float, _f: Failure, _p: Phases, extra: Mapping[str, Any]) -> list[Action]:
        life = self._open_life()
        actions: list[Action] = []
        if life.last_market is None:
            actions = [self._record(EventKind.FIRST_MESSAGE, now, waited=max(0.0, now - life.opened), **extra)]
            self._outage = 0
            self.attempt = 0
        life.last_market = max(now, life.last_sign)
        self.deadline = life.last_market + self.rules.idle_timeout
        return actions

    def _on_announced(self, now: float, failure: Failure, _p: Phases, _x: Mapping[str, Any]) -> list[Action]:
        self._open_life().announced = True
        return [self._record(EventKind.ROLLOVER, now, cause=Cause.SERVER_SHUTDOWN, detail=failure.detail)]

    def _on_lost(self, now: float, failure: Failure, _p: Phases, _x: Mapping[str, Any]) -> list[Action]:
        # What the venue announced is the cause; the way the socket then ended stays in the close code and detail.
        if self._open_life().announced:
            failure = replace(failure, cause=Cause.SERVER_SHUTDOWN)
        return self._lose(now, failure)

    def _on_reconnect(self, now: float, _f: Failure, _p: Phases, _x: Mapping[str, Any]) -> list[Action]:
        if self.state is State.BACKING_OFF:
            return self._connect(now)
        if self.state is State.CONNECTING:
            return []
        failure = Failure(cause=Cause.RECONNECT, detail="reconnect asked for", close_by="local")
        return [Drop(), *self._lose(now, failure)]

    def _on_stop(self, now: float, failure: Failure, _p: Phases, _x: Mapping[str, Any]) -> list[Action]:
        self.state = State.STOPPED
        cause = Cause.STOP if failure.cause is Cause.UNKNOWN else failure.cause
        return [self._record(EventKind.STOPPED, now, cause=cause, detail=failure.detail or None)]

    def _on_fatal(self, now: float, failure: Failure, _p: Phases, _x: Mapping[str, Any]) -> list[Action]:
        rows: list[Action] = [] if self._life is None else [Drop(), self._lost(now, failure)]
        self.state = State.FAILED
        return [*rows, self._record(EventKind.ERROR, now, **_columns(failure))]

    # -- what several rules share -----------------------------------------------------------------------------

    def _lost(self, now: float, failure: Failure) -> Record:
        """Close the books of a connection; if it had delivered, an outage begins."""
        life = self._open_life()
        self._life = None
        if life.last_market is not None:
            self.numbers.outage += 1
            self._outage = self.numbers.outage
        # Receive times are whole nanoseconds: one rounded up may lie a hair after the moment of the loss.
        return self._record(EventKind.LOST, now, waited=max(0.0, now - life.last_sign), **_columns(failure))

    def _lose(self, now: float, failure: Failure) -> list[Action]:
        life = self._open_life()
        row = self._lost(now, failure)
        # Life counts up to the last market message: hanging silently for a minute is no proof of stability.
        alive = life.last_sign - life.opened
        at_once = False
        if self.rules.reset.is_due(opened=True, messages=life.last_market is not None, alive=alive):
            self._delays = self.rules.policy.delays(self.rng)
            self._streak = 0
            self._strikes = (None, 0)
            at_once = self.rules.reset.proves_stability
        return [row, *self._decide(now, failure, at_once=at_once)]

    def _decide(self, now: float, failure: Failure, *, at_once: bool) -> list[Action]:
        """Permanent, exhausted, or a delay."""
        if failure.cause in DELIBERATE:
            return self._back_off(now, drawn=None, at_least=0.0, free=True)
        mark, (last, strikes) = strike_of(failure), self._strikes
        self._strikes = (mark, strikes + 1 if mark is not None and mark == last else 1)
        verdict = classify(failure, strikes=self._strikes[1])
        if verdict.severity is Severity.PERMANENT:
            self.state = State.FAILED
            detail = f"{in_words(failure.cause)}; {verdict.mend}"
            return [self._record(EventKind.ERROR, now, **{**_columns(failure), "detail": detail})]
        self._streak += 1
        at_once = at_once and not verdict.at_least
        drawn = None if at_once else next(self._delays, None)
        spent = self.rules.max_attempts is not None and self._streak > self.rules.max_attempts
        if spent or (drawn is None and not at_once):
            self.state = State.GAVE_UP
            detail = f"{self._streak - 1} attempts in a row failed, the last because: {in_words(failure.cause)}"
            return [self._record(EventKind.GAVE_UP, now, cause=failure.cause, detail=detail)]
        return self._back_off(now, drawn=drawn, at_least=verdict.at_least)

    def _back_off(self, now: float, *, drawn: float | None, at_least: float, free: bool = False) -> list[Action]:
        delay, cause = at_least + (drawn or 0.0), Cause.RETRY_AFTER if at_least else None
        allowed = now if free else self.budget.ready_at(now + delay)
        if allowed > now + delay:
            delay, cause = allowed - now, Cause.BUDGET
        self.state = State.BACKING_OFF
        self.deadline = now + delay
        self._wait = _Wait(began=now, delay=delay, drawn=drawn)
        return [self._record(EventKind.BACKOFF, now, attempt=self.attempt + 1, delay=delay, drawn=drawn, cause=cause)]

    def _connect(self, now: float) -> list[Action]:
        wait = self._wait
        assert wait is not None
        self._wait = None
        self.state = State.CONNECTING
        self.deadline = None
        self.attempt += 1
        self.budget.spend(now)
        row = self._record(
            EventKind.CONNECTING,
            now,
            attempt=self.attempt,
            delay=wait.delay,
            drawn=wait.drawn,
            waited=now - wait.began,
        )
        return [row, Open(attempt=self.attempt, connection=self.numbers.connection + 1, at=now)]

    def _open_life(self) -> _Life:
        assert self._life is not None
        return self._life

    def _record(self, kind: EventKind, at: float, **fields: Any) -> Record:
        known = {name: value for name, value in fields.items() if value is not None}
        numbers = {"connection": self.numbers.connection, "outage": self._outage}
        return Record(kind=kind, at=at, fields={**numbers, **known})


def _columns(failure: Failure) -> dict[str, Any]:
    """Return the event columns that tell of a failure."""
    return {
        "cause": failure.cause,
        "detail": failure.detail or None,
        "close_code": failure.close_code,
        "close_by": failure.close_by,
        "http_status": failure.http_status,
    }


def _tiled(phases: Phases) -> dict[str, Any]:
    """Return the event columns of an attempt's phases, and their sum as the length of the step."""
    return {
        "waited": phases.total,
        "dns": phases.dns,
        "tcp": phases.tcp,
        "tls": phases.tls,
        "upgrade": phases.upgrade,
    }


def mermaid() -> str:
    """Return the state diagram of :data:`TABLE` in Mermaid's language, for ARCHITECTURE.md."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE}"]
    arrows: dict[tuple[State, State], list[str]] = {}
    for state, row in TABLE.items():
        for signal, targets in row.items():
            for target in targets:
                arrows.setdefault((state, target), []).append(signal)
    lines += [f"    {here} --> {there}: {', '.join(signals)}" for (here, there), signals in arrows.items()]
    lines += [f"    {state} --> [*]" for state in _EXIT]
    return "\n".join(lines) + "\n"
