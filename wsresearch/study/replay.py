"""What another policy would have met in the outages that were recorded: a replay on the rules that the collector uses.

Comparing policies is not here (:mod:`~wsresearch.study.policies`), nor what many clients do to a server at once
(:mod:`~wsresearch.study.storm`). The replay takes the server as it was: one client more or less does not change it.

The machine that decides is :class:`wsresearch.reconnect.lifecycle.Lifecycle` itself, with its reset rule, budget and
treatment of answers, driven along the time line of the record: connections are lost when they were lost, and an
attempt is answered as the record says that the server answered then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import inf
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.reconnect.actions import Signal, State
from wsresearch.reconnect.backoff import Policy
from wsresearch.reconnect.budget import Budget, BudgetWindow
from wsresearch.reconnect.checked import checked_count
from wsresearch.reconnect.lifecycle import Lifecycle, Rules
from wsresearch.reconnect.presets import PRESETS, parse_policy
from wsresearch.reconnect.reset import Reset
from wsresearch.study.intervals import Answer, Down, read_downs, usual_answer

__all__ = ["EARLY", "LATE", "REPLAY", "Outcomes", "play_out", "replay", "rules_of"]

EARLY: Final = "early"
LATE: Final = "late"
"""The two bounds: the server came back as early, or as late, as the record allows."""

REPLAY: Final = pa.schema(
    [
        pa.field("repetition", pa.int32()),
        pa.field("outage", pa.int32()),
        pa.field("server", pa.string()),
        pa.field("recovered", pa.bool_()),
        pa.field("gave_up", pa.bool_()),
        pa.field("seconds", pa.float64()),
        pa.field("attempts", pa.int32()),
        pa.field("trades_lost", pa.float64()),
    ]
)

_ENOUGH: Final = 10_000
"""Outages to play at each bound where nobody says how many repetitions: two seconds of work for each policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What came of it; every array has the shape (2 bounds, repetitions, outages), the early bound first.

    Parameters
    ----------
    seconds
        From the last market message to the next; infinite if it never came.
    attempts
        Attempts that began in the outage.
    gave_up
        Whether the policy had ended for good by then.
    live
        Connections open after it; more than one only under a listing.
    """

    seconds: NDArray[np.float64]
    attempts: NDArray[np.int32]
    gave_up: NDArray[np.bool_]
    live: NDArray[np.int32]

    def trades_lost(self, downs: Sequence[Down]) -> NDArray[np.float64]:
        """Return the trades missed, of the same shape: NaN where the rate is unknown, infinite if it never came."""
        rates = np.array([np.nan if down.trade_rate is None else down.trade_rate for down in downs])
        began = np.array([down.began for down in downs])
        room = np.full(len(downs), inf)
        same = np.array([late.run == early.run for early, late in pairwise(downs)], dtype=bool)
        room[:-1][same] = np.diff(began)[same]
        # An outage that ran into the next one: the next one counts the rest.
        counted = np.where(np.isfinite(self.seconds), np.minimum(self.seconds, room), inf)
        with np.errstate(invalid="ignore"):
            return np.where(rates == 0, 0.0, counted * rates)


class _Luck:
    """A source of randomness that gives each outage of each repetition its own numbers, the same for every policy."""

    __slots__ = ("_draw", "_seed", "asked")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._draw = random.Random(seed)
        self.asked = False

    def begin(self, repetition: int, outage: int) -> None:
        # Seeded by text: that is hashed, the same everywhere and unlike for neighbours.
        self._draw.seed(f"{self._seed}/{repetition}/{outage}")

    def random(self) -> float:
        self.asked = True
        return self._draw.random()


def rules_of(
    policy: Policy | str,
    *,
    reset: Reset | str | None = None,
    max_attempts: int | None = None,
) -> Rules:
    """Return the rules for a policy given as people give it; a preset brings the reset rule of its original."""
    if reset is None and isinstance(policy, str) and policy in PRESETS:
        reset = PRESETS[policy].reset
    if isinstance(policy, str):
        policy = parse_policy(policy)
    if not isinstance(policy, Policy):
        raise UsageError(f"a policy is a value such as FullJitter() or its text, not {type(policy).__name__}")
    reset = Reset.parse(reset) if isinstance(reset, str) else reset or Reset()
    if max_attempts is not None:
        checked_count("max_attempts", max_attempts)
    return Rules(policy=policy, reset=reset, max_attempts=max_attempts)


def replay(
    downs: Any,
    policy: Policy | str,
    *,
    reset: Reset | str | None = None,
    budget: Budget | str | None = None,
    max_attempts: int | None = None,
    repetitions: int | None = None,
    seed: int = 0,
) -> pa.Table:
    """Replay recorded outages with a policy, again and again with other luck.

    Parameters
    ----------
    downs
        The events table of a capture, or a table of server-down intervals as
        :func:`wsresearch.study.server_down` returns it. One made by hand needs ``began`` and ``up_late``, in
        seconds; the other columns may be left out: the server is then known exactly (``up_early`` is
        ``up_late``), losses are noticed at once, and attempts take no time.
    policy
        A policy, the text of one, or the name of a preset.
    reset, budget
        As values or as text; by default ``stable:60``, or the reset rule of the preset, and 60 attempts in 5 min.
    max_attempts
        Attempts allowed in a row before giving up.
    repetitions
        How often; by default often enough for ten thousand outages. A policy without jitter does the same each
        time, so it is played once.
    seed
        The same seed gives the same table, and the same numbers to every policy.

    Returns
    -------
    pyarrow.Table
        Two rows for each repetition and outage, one for each bound:

        =============== ================================================================================
        ``repetition``  from 0
        ``outage``      its number
        ``server``      ``early``: it was back as soon as the last attempt in vain had begun; ``late``: only when
                        the recorded attempt that brought data began. The truth lies between the two
        ``recovered``   whether data came again
        ``gave_up``     whether the policy had ended for good: no attempt left, or an error that is permanent
        ``seconds``     from the last market message to the next; null if none came. Outages that ran into one
                        another end together
        ``attempts``    attempts that began in it
        ``trades_lost`` ``seconds`` × the rate of the outage; null where that is not known or none came
        =============== ================================================================================

    Raises
    ------
    UsageError
        If a table cannot be read, or a value is wrong; the message names the column or parameter.

    Notes
    -----
    A recorded outage whose end was not seen (censored) recovers at the early bound only; at the late one it is not
    recovered, after the attempts that fell into the time that was watched. An attempt in vain takes as long, and is
    answered as, the last recorded one before it; where an outage has none, as the median one of the table.
    """
    read = read_downs(downs)
    rules = rules_of(policy, reset=reset, max_attempts=max_attempts)
    budget = Budget.parse(budget) if isinstance(budget, str) else budget or Budget()
    outcomes = play_out(read, rules, budget=budget, repetitions=repetitions, seed=seed)
    return _as_table(read, outcomes)


def _as_table(downs: Sequence[Down], outcomes: Outcomes) -> pa.Table:
    shape = outcomes.seconds.shape
    bound, repetition, at = (each.ravel() for each in np.indices(shape))
    seconds, lost = outcomes.seconds.ravel(), outcomes.trades_lost(downs).ravel()
    numbers = np.array([down.outage for down in downs], dtype=np.int32)
    columns = [
        pa.array(repetition, pa.int32()),
        pa.array(numbers[at]) if len(at) else pa.array([], pa.int32()),
        pa.array(np.where(bound == 0, EARLY, LATE), pa.string()),
        pa.array(np.isfinite(seconds)),
        pa.array(outcomes.gave_up.ravel()),
        pa.array(seconds, mask=~np.isfinite(seconds)),
        pa.array(outcomes.attempts.ravel()),
        pa.array(lost, mask=~np.isfinite(lost)),
    ]
    return pa.table(columns, schema=REPLAY)


def play_out(
    downs: Sequence[Down],
    rules: Rules,
    *,
    budget: Budget,
    repetitions: int | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Outcomes:
    """Play the outages at both bounds; ``progress`` is told after each repetition how many outages were played."""
    count = len(downs)
    repeats = repetitions_for(count, repetitions)
    shape = (2, repeats, count)
    seconds, attempts = np.full(shape, inf), np.zeros(shape, np.int32)
    gave_up = np.zeros(shape, bool)
    runs = [list(run) for _, run in groupby(range(count), key=lambda at: downs[at].run)]
    otherwise = usual_answer(downs)
    luck = _Luck(seed)
    for repetition in range(repeats):
        for bound in range(2):
            window = BudgetWindow(budget)
            for run in runs:
                played = _Run([downs[at] for at in run], bound, otherwise, repetition)
                played.play(Lifecycle(rules=rules, budget=window, rng=luck), luck)
                where = (bound, repetition, slice(run[0], run[-1] + 1))
                seconds[where], attempts[where], gave_up[where] = played.seconds, played.attempts, played.gave_up
        if progress is not None:
            progress(2 * count)
        if repetition == 0 and not luck.asked:
            for each in (seconds, attempts, gave_up):
                each[:, 1:] = each[:, :1]
            break
    return Outcomes(seconds=seconds, attempts=attempts, gave_up=gave_up, live=np.isfinite(seconds).astype(np.int32))


def repetitions_for(outages: int, asked: int | None) -> int:
    """Return how often to repeat: as asked, or so often that ten thousand outages are played."""
    if asked is not None:
        return checked_count("repetitions", asked, high=100_000)
    return min(1_000, max(20, -(-_ENOUGH // max(1, outages))))


class _Run:
    """One run of the record, played once at one bound."""

    def __init__(self, downs: Sequence[Down], bound: int, otherwise: Answer, repetition: int) -> None:
        self.seconds = [inf] * len(downs)
        self.attempts = [0] * len(downs)
        self.gave_up = [False] * len(downs)
        self._downs = downs
        self._late = bound == 1
        self._otherwise = otherwise
        self._repetition = repetition

    def _in_vain(self, down: Down, now: float) -> bool:
        # The server came back after `early` and not after `late`; where nothing was in vain, not after any time at
        # all. `slip` is how late the recorded timers were: the same attempt, made on time, is still the same.
        if self._late:
            return now < down.late - down.slip
        return now <= down.early if down.answers else now < down.early

    def play(self, machine: Lifecycle, luck: _Luck) -> None:
        downs = self._downs
        opened = downs[0].began - downs[0].alive
        for signal in (Signal.START, Signal.RECONNECT, Signal.OPENED, Signal.MARKET):
            machine.handle(signal, opened)
        at = 0
        while at < len(downs):
            since, down = at, downs[at]
            luck.begin(self._repetition, down.outage)
            machine.handle(Signal.MARKET, down.began)
            machine.handle(Signal.LOST, down.noticed, failure=down.failure)
            at, ended = self._recover(machine, at)
            if ended == inf:
                over = machine.state is not State.BACKING_OFF
                self.gave_up[since:] = [over] * (len(downs) - since)
                return
            for each in range(since, at + 1):
                self.seconds[each] = ended - downs[each].began
            at += 1

    def _recover(self, machine: Lifecycle, at: int) -> tuple[int, float]:
        """Make attempts until data comes; return the outage in which that was, and when: infinite if never."""
        downs = self._downs
        while machine.state is State.BACKING_OFF:
            assert machine.deadline is not None
            now = machine.deadline
            while at + 1 < len(downs) and downs[at + 1].began <= now:
                at += 1
            down = downs[at]
            if self._late and down.late == inf and now > down.known_until:
                break
            machine.handle(Signal.DEADLINE, now)
            self.attempts[at] += 1
            if self._in_vain(down, now):
                answer = down.answer(now, self._otherwise)
                if answer.lived is None:
                    machine.handle(Signal.ATTEMPT_FAILED, now + answer.took, failure=answer.failure)
                else:
                    machine.handle(Signal.OPENED, now + answer.took)
                    machine.handle(Signal.LOST, now + answer.took + answer.lived, failure=answer.failure)
                continue
            opened = now + down.connect
            first = opened + down.first_message + (down.slip if self._late else 0.0)
            machine.handle(Signal.OPENED, opened)
            if at + 1 < len(downs) and downs[at + 1].began < first:
                at += 1
                machine.handle(Signal.LOST, max(opened, downs[at].noticed), failure=downs[at].failure)
                continue
            machine.handle(Signal.MARKET, first)
            return at, first
        return at, inf
