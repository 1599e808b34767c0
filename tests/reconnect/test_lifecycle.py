"""The lifecycle: what every run may rely on, whatever happens in whatever order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsresearch.reconnect.actions import Action, Drop, End, Open, Phases, Record, State
from wsresearch.reconnect.backoff import Constant, Decorrelated, EqualJitter, Exponential, FullJitter, Policy
from wsresearch.reconnect.budget import Budget, BudgetWindow
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.reconnect.lifecycle import TABLE, IllegalSignal, Lifecycle, Rules, Signal, mermaid
from wsresearch.reconnect.reset import Reset
from wsresearch.schema import EventKind

REFUSED = Failure(cause=Cause.REFUSED)
RESET = Failure(cause=Cause.RESET)


def machine(**rules: object) -> Lifecycle:
    told = {"policy": Constant(delay=1.0), "reset": Reset.parse("stable:60")} | rules
    return Lifecycle(Rules(**told), BudgetWindow(Budget(attempts=1000, window=300)), random.Random(1))  # type: ignore[arg-type]


def rows(actions: list[Action], kind: EventKind) -> list[Record]:
    return [action for action in actions if isinstance(action, Record) and action.kind is kind]


def connect(cycle: Lifecycle, now: float) -> float:
    """Drive a waiting machine to an open connection; return when it opened."""
    assert cycle.deadline is not None
    now = max(now, cycle.deadline)
    cycle.handle(Signal.DEADLINE, now)
    cycle.handle(Signal.OPENED, now + 0.03, phases=Phases(dns=0.01, tcp=0.01, upgrade=0.01))
    return now + 0.03


def test_every_signal_has_a_rule() -> None:
    """A signal that the table allows somewhere can be handled: no run dies of a missing method."""
    for row in TABLE.values():
        for signal in row:
            assert hasattr(Lifecycle, f"_on_{signal.name.lower()}")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("signal", list(Signal))
def test_an_illegal_signal_changes_nothing(state: State, signal: Signal) -> None:
    """A caller that lost track is told, and the machine stays where it was."""
    if signal in TABLE[state]:
        return
    cycle = machine()
    cycle.state = state
    with pytest.raises(IllegalSignal, match=signal.value):
        cycle.handle(signal, 1.0)
    assert cycle.state is state


def test_stop_is_possible_from_every_living_state() -> None:
    """Nobody waits for a backoff, a handshake or a stall to be over before the run can be stopped."""
    for state in (State.IDLE, State.BACKING_OFF, State.CONNECTING, State.OPEN):
        cycle = machine()
        cycle.state = state
        actions = cycle.handle(Signal.STOP, 5.0)
        assert actions[-1] == End(state=State.STOPPED, exit_code=0)
        assert cycle.deadline is None


def test_the_seed_waits_as_it_wrote_and_then_gives_up() -> None:
    """The policy the project began with: 2, 4, 8, 16, 32, 60 … s, ten attempts, then a loud end."""
    cycle = machine(policy=Exponential(base=1, factor=2, cap=60, max_attempts=10), reset=Reset.parse("message"))
    now, delays = 0.0, []
    actions = cycle.handle(Signal.START, now)
    while cycle.state is State.BACKING_OFF:
        delays.append(rows(actions, EventKind.BACKOFF)[0].fields["delay"])
        now = cycle.deadline or now
        cycle.handle(Signal.DEADLINE, now)
        actions = cycle.handle(Signal.ATTEMPT_FAILED, now, failure=REFUSED)
    assert delays == [0.0, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert now == 362
    assert actions[-1] == End(state=State.GAVE_UP, exit_code=4)
    assert rows(actions, EventKind.GAVE_UP)[0].fields["cause"] is Cause.REFUSED


def test_as_many_attempts_as_permitted_and_not_one_more() -> None:
    """max_attempts=3: three attempts after a loss, then the end, which says how many there were."""
    cycle = machine(max_attempts=3)
    cycle.handle(Signal.START, 0.0)
    now = connect(cycle, 0.0)
    cycle.handle(Signal.MARKET, now + 1)
    actions = cycle.handle(Signal.LOST, now + 2, failure=RESET)
    attempts = 0
    while cycle.state is State.BACKING_OFF:
        assert cycle.deadline is not None
        opening = cycle.handle(Signal.DEADLINE, cycle.deadline)
        attempts += sum(isinstance(action, Open) for action in opening)
        actions = cycle.handle(Signal.ATTEMPT_FAILED, now + 100, failure=REFUSED)
    assert attempts == 3
    assert rows(actions, EventKind.GAVE_UP)[0].fields["detail"].startswith("3 attempts in a row failed")


def test_a_delay_is_what_the_policy_drew() -> None:
    """Jitter keeps clients apart only if nothing rounds it: the wait and both columns are the drawn number itself."""
    policy = FullJitter(base=1, cap=30)
    cycle = machine(policy=policy)
    cycle.handle(Signal.START, 0.0)
    drawn = policy.delays(random.Random(1))
    for now in range(0, 1000, 100):
        cycle.handle(Signal.DEADLINE, now)
        actions = cycle.handle(Signal.ATTEMPT_FAILED, now, failure=REFUSED)
        expected = next(drawn)
        told = rows(actions, EventKind.BACKOFF)[0].fields
        assert (told["delay"], told["drawn"]) == (expected, expected)
        assert cycle.deadline == now + expected


def test_first_attempt_after_a_stable_connection_is_immediate() -> None:
    """After a minute of data the server was healthy a moment ago: no delay, and no draw from the policy."""
    cycle = machine()
    cycle.handle(Signal.START, 0.0)
    now = connect(cycle, 0.0)
    cycle.handle(Signal.MARKET, now + 0.1)
    cycle.handle(Signal.MARKET, now + 61)
    actions = cycle.handle(Signal.LOST, now + 61.5, failure=RESET)
    backoff = rows(actions, EventKind.BACKOFF)[0]
    assert backoff.fields["delay"] == 0
    assert "drawn" not in backoff.fields


def test_a_connection_that_only_hung_for_a_minute_was_not_stable() -> None:
    """Life counts up to the last market message: silence proves nothing, so the delays go on growing."""
    cycle = machine(policy=Exponential(base=1, factor=2, cap=60), idle_timeout=100.0)
    cycle.handle(Signal.START, 0.0)
    now = connect(cycle, 0.0)
    cycle.handle(Signal.MARKET, now + 1)
    actions = cycle.handle(Signal.DEADLINE, now + 101)
    assert rows(actions, EventKind.BACKOFF)[0].fields["delay"] == 2
    now = connect(cycle, now + 101)
    cycle.handle(Signal.MARKET, now + 1)
    actions = cycle.handle(Signal.LOST, now + 1, failure=RESET)
    assert rows(actions, EventKind.BACKOFF)[0].fields["delay"] == 4


def test_a_stall_is_recorded_and_dropped() -> None:
    """An open connection without market data for idle_timeout is an outage like any other."""
    cycle = machine(idle_timeout=30.0)
    cycle.handle(Signal.START, 0.0)
    now = connect(cycle, 0.0)
    cycle.handle(Signal.MARKET, now + 5)
    assert cycle.deadline == now + 35
    actions = cycle.handle(Signal.DEADLINE, now + 35)
    assert [type(action) for action in actions[:3]] == [Record, Drop, Record]
    lost = rows(actions, EventKind.LOST)[0]
    assert lost.fields["cause"] is Cause.STALLED
    assert lost.fields["waited"] == pytest.approx(30)
    assert lost.fields["outage"] == 1


def test_retry_after_and_budget_lengthen_a_delay_and_say_so() -> None:
    """A server that names a time is obeyed, and the budget is never bypassed; the cause column says which it was."""
    told = Failure(cause=Cause.HTTP_STATUS, http_status=503, retry_after=17.0)
    cycle = machine()
    cycle.handle(Signal.START, 0.0)
    cycle.handle(Signal.DEADLINE, 0.0)
    backoff = rows(cycle.handle(Signal.ATTEMPT_FAILED, 0.0, failure=told), EventKind.BACKOFF)[0]
    assert (backoff.fields["delay"], backoff.fields["drawn"], backoff.fields["cause"]) == (18, 1, Cause.RETRY_AFTER)

    tight = Lifecycle(
        Rules(policy=Constant(delay=1.0), reset=Reset()),
        BudgetWindow(Budget(attempts=2, window=100)),
        random.Random(1),
    )
    tight.handle(Signal.START, 0.0)
    tight.handle(Signal.DEADLINE, 0.0)
    tight.handle(Signal.ATTEMPT_FAILED, 0.0, failure=REFUSED)
    tight.handle(Signal.DEADLINE, 1.0)
    backoff = rows(tight.handle(Signal.ATTEMPT_FAILED, 1.0, failure=REFUSED), EventKind.BACKOFF)[0]
    assert (backoff.fields["delay"], backoff.fields["cause"]) == (99, Cause.BUDGET)


def told_to_stay_away(policy: Policy, seed: int, asked: float, alive: float) -> list[tuple[float, float | None]]:
    """Return delay and drawn after a connection of that life, closed with 1013, and after five answers 503."""
    rules = Rules(policy=policy, reset=Reset.parse("stable:60"))
    cycle = Lifecycle(rules, BudgetWindow(Budget(attempts=1000, window=300)), random.Random(seed))
    cycle.handle(Signal.START, 0.0)
    opened = connect(cycle, 0.0)
    cycle.handle(Signal.MARKET, opened + alive)
    closed = Failure(cause=Cause.CLOSED, close_code=1013, close_by="peer", retry_after=None)
    busy = Failure(cause=Cause.HTTP_STATUS, http_status=503, retry_after=asked)
    answers = [cycle.handle(Signal.LOST, opened + alive, failure=closed)]
    for _ in range(5):
        assert cycle.deadline is not None
        now = cycle.deadline
        cycle.handle(Signal.DEADLINE, now)
        answers.append(cycle.handle(Signal.ATTEMPT_FAILED, now, failure=busy))
    backoffs = [rows(actions, EventKind.BACKOFF)[0].fields for actions in answers]
    assert {row["cause"] for row in backoffs} == {Cause.RETRY_AFTER}
    return [(row["delay"], row["drawn"]) for row in backoffs]


@given(
    policy=st.sampled_from(
        [Constant(delay=2.0), Exponential(), FullJitter(), EqualJitter(base=1, cap=16), Decorrelated(base=1, cap=9)]
    ),
    seed=st.integers(0, 2**32),
    asked=st.floats(0.5, 3600.0),
    alive=st.sampled_from([1.0, 600.0]),
)
def test_nobody_comes_earlier_than_asked_nor_later_than_the_policy_may_add(
    policy: Policy, seed: int, asked: float, alive: float
) -> None:
    """After a 1013 (five seconds) and a Retry-After: that time, then the policy's delay; the same for the same seed."""
    waits = told_to_stay_away(policy, seed, asked, alive)
    for (delay, drawn), least in zip(waits, [5.0, *[asked] * 5], strict=True):
        assert drawn is not None, "also after a stable connection, which else is followed by an attempt at once"
        assert least <= delay <= least + drawn
    alone = policy.delays(random.Random(seed))
    assert [drawn for _, drawn in waits] == [next(alone) for _ in waits]
    assert waits == told_to_stay_away(policy, seed, asked, alive)


@pytest.mark.parametrize("alive", [1.0, 600.0])
def test_a_herd_that_is_told_the_same_does_not_come_in_step(alive: float) -> None:
    """A thousand clients of one server that says 30 s: their first attempts spread over what the policy draws."""
    after_503 = [told_to_stay_away(FullJitter(), seed, 30.0, alive)[1][0] for seed in range(1000)]
    after_1013 = [told_to_stay_away(FullJitter(), seed, 30.0, alive)[0][0] for seed in range(1000)]
    for waits, least in ((after_503, 30.0), (after_1013, 5.0)):
        tenths = Counter(int((wait - least) * 10) for wait in waits)
        assert min(waits) >= least
        assert max(tenths.values()) < 200


def test_a_permanent_failure_ends_the_run_with_advice() -> None:
    """A certificate error is not retried for ever: exit code 3 and a line that says how to mend it."""
    cycle = machine()
    cycle.handle(Signal.START, 0.0)
    cycle.handle(Signal.DEADLINE, 0.0)
    actions = cycle.handle(Signal.ATTEMPT_FAILED, 0.1, failure=Failure(cause=Cause.CERTIFICATE, detail="expired"))
    assert actions[-1] == End(state=State.FAILED, exit_code=3)
    assert len(rows(actions, EventKind.ERROR)[0].fields["detail"]) > 20


def test_reconnect_now_cuts_a_backoff_short_and_is_counted() -> None:
    """A person may bypass the delay and the budget, but the attempt is spent and the real wait recorded."""
    cycle = machine(policy=Constant(delay=50))
    cycle.handle(Signal.START, 0.0)
    cycle.handle(Signal.DEADLINE, 0.0)
    cycle.handle(Signal.ATTEMPT_FAILED, 0.0, failure=REFUSED)
    before = cycle.budget.left(3.0)
    actions = cycle.handle(Signal.RECONNECT, 3.0)
    connecting = rows(actions, EventKind.CONNECTING)[0]
    assert (connecting.fields["waited"], connecting.fields["delay"]) == (3.0, 50)
    assert isinstance(actions[-1], Open)
    assert cycle.budget.left(3.0) == before - 1


def test_an_announced_end_is_the_cause_of_the_outage() -> None:
    """After serverShutdown the close that follows is the venue's announced one, not a puzzle."""
    cycle = machine()
    cycle.handle(Signal.START, 0.0)
    now = connect(cycle, 0.0)
    cycle.handle(Signal.MARKET, now)
    cycle.handle(Signal.ANNOUNCED, now + 1, failure=Failure(cause=Cause.SERVER_SHUTDOWN))
    actions = cycle.handle(Signal.LOST, now + 2, failure=Failure(cause=Cause.CLOSED, close_code=1001, close_by="peer"))
    lost = rows(actions, EventKind.LOST)[0]
    assert (lost.fields["cause"], lost.fields["close_code"]) == (Cause.SERVER_SHUTDOWN, 1001)


def walk(cycle: Lifecycle, choices: Iterator[float]) -> list[Record]:
    """Drive a machine through random but legal signals for a while."""
    now, recorded = 0.0, []
    actions = cycle.handle(Signal.START, now)
    for choice in choices:
        recorded += [action for action in actions if isinstance(action, Record)]
        if not TABLE[cycle.state]:
            break
        step = choice * 40
        if cycle.state is State.BACKING_OFF:
            now = cycle.deadline or now
            actions = cycle.handle(Signal.DEADLINE, now)
        elif cycle.state is State.CONNECTING:
            phases = Phases(dns=step / 100, tcp=step / 50)
            now += phases.total
            failed = choice < 0.4
            signal = Signal.ATTEMPT_FAILED if failed else Signal.OPENED
            actions = cycle.handle(signal, now, failure=REFUSED if failed else None, phases=phases)
        elif cycle.deadline is not None and now + step > cycle.deadline:
            now = cycle.deadline
            actions = cycle.handle(Signal.DEADLINE, now)
        else:
            now += step
            failure = RESET if choice < 0.3 else None
            actions = cycle.handle(Signal.LOST if failure else Signal.MARKET, now, failure=failure)
    return recorded


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=60))
def test_the_silence_of_an_outage_is_the_sum_of_its_rows(choices: list[float]) -> None:
    """What an outage cost can be added up from its steps, to the microsecond, whatever happened in it."""
    cycle = machine(policy=FullJitter(base=1, cap=10))
    recorded = walk(cycle, iter(choices))
    ends = {row.fields["outage"]: row for row in recorded if row.kind is EventKind.FIRST_MESSAGE}
    for number, end in ends.items():
        if not number:
            continue
        mine = [row for row in recorded if row.fields["outage"] == number and row.at <= end.at]
        lost = next(row for row in mine if row.kind is EventKind.LOST)
        silence = end.at - (lost.at - lost.fields["waited"])
        assert silence == pytest.approx(sum(row.fields.get("waited", 0.0) for row in mine), abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=80))
def test_one_connection_at_a_time_and_numbers_that_rise(choices: list[float]) -> None:
    """Opened and lost alternate, and connection and outage numbers never repeat."""
    recorded = walk(machine(), iter(choices))
    open_now = False
    connections, outages = [], []
    for row in recorded:
        if row.kind is EventKind.OPENED:
            assert not open_now
            open_now = True
            connections.append(row.fields["connection"])
        if row.kind is EventKind.LOST:
            assert open_now
            open_now = False
            outages.append(row.fields["outage"])
    assert connections == list(range(1, len(connections) + 1))
    assert outages == sorted(outages)


def test_the_diagram_in_the_documentation_is_the_table() -> None:
    """ARCHITECTURE.md shows the machine that runs, not one that once ran."""
    text = (Path(__file__).resolve().parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{mermaid()}```" in text


def test_a_receive_time_rounded_up_makes_no_negative_step() -> None:
    """Receive times are whole nanoseconds: a message a hair after the moment of its loss must not spoil the ledger."""
    cycle = machine()
    cycle.handle(Signal.START, 0.0)
    opened = connect(cycle, 0.0)
    (first,) = rows(cycle.handle(Signal.MARKET, opened - 3e-10), EventKind.FIRST_MESSAGE)
    assert first.fields["waited"] == 0.0
    cycle.handle(Signal.MARKET, opened + 1.0 + 3e-10)
    (lost,) = rows(cycle.handle(Signal.LOST, opened + 1.0, failure=RESET), EventKind.LOST)
    assert lost.fields["waited"] == 0.0
