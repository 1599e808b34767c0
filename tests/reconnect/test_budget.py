"""The budget's law: never more than its attempts in any window."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.reconnect.budget import Budget, BudgetWindow

BUDGETS = st.builds(Budget, attempts=st.integers(1, 6), window=st.floats(0.01, 1000.0))
STARTS = st.floats(-1e6, 1e9)
STEPS = st.lists(st.floats(0.0, 500.0) | st.just(0.0), min_size=1, max_size=80)


def most_in_any_window(times: list[float], window: float) -> int:
    """Count by exact arithmetic; a fullest half-open window begins at some attempt."""
    exact = [Fraction(time) for time in times]
    return max(sum(start <= time < start + Fraction(window) for time in exact) for start in exact)


@given(BUDGETS, STARTS, STEPS)
def test_never_more_than_the_budget_in_any_window(budget: Budget, now: float, steps: list[float]) -> None:
    """Whoever waits for ready_at() stays within the budget in every half-open window, to the last bit."""
    window, made = BudgetWindow(budget), []
    for step in steps:
        now = window.ready_at(now + step)
        window.spend(now)
        made.append(now)
    assert most_in_any_window(made, budget.window) <= budget.attempts


@given(BUDGETS, STARTS, st.lists(st.tuples(st.floats(0.0, 500.0), st.booleans()), min_size=1, max_size=80))
def test_attempts_that_did_not_ask_are_counted(budget: Budget, now: float, steps: list[tuple[float, bool]]) -> None:
    """A manual reconnect is never refused, but no other attempt is allowed while its window is full."""
    window, made = BudgetWindow(budget), []
    for step, asks in steps:
        now = now + step
        if asks:
            now = window.ready_at(now)
            recent = [t for t in made if Fraction(t) > Fraction(now) - Fraction(budget.window)]
            assert len(recent) < budget.attempts
        window.spend(now)
        made.append(now)


@given(BUDGETS, STARTS, STEPS)
def test_ready_at_is_the_earliest_time(budget: Budget, now: float, steps: list[float]) -> None:
    """It is never earlier than now, stays true when asked again, and one instant before it is too early."""
    window = BudgetWindow(budget)
    for step in steps:
        now += step
        ready = window.ready_at(now)
        assert ready >= now
        assert window.ready_at(ready) == ready
        assert (window.left(now) > 0) == (ready == now)
        if ready > now:
            assert window.ready_at(math.nextafter(ready, -math.inf)) == ready
        now = ready
        window.spend(now)


@given(BUDGETS, STEPS)
def test_a_restart_changes_nothing(budget: Budget, steps: list[float]) -> None:
    """A window given the attempts of an earlier run, in any order, answers as that run would have."""
    window, made, now = BudgetWindow(budget), [], 0.0
    for step in steps:
        now += step
        window.spend(now)
        made.append(now)
    again = BudgetWindow(budget, reversed(made))
    assert again.ready_at(now) == window.ready_at(now)
    assert again.left(now) == window.left(now)


def test_binance_five_minutes() -> None:
    """Sixty attempts at once, the sixty-first exactly 300 s after the first."""
    window = BudgetWindow(Budget())
    for k in range(60):
        assert window.ready_at(float(k)) == k
        assert window.left(float(k)) == 60 - k
        window.spend(float(k))
    assert window.left(60.0) == 0
    assert window.ready_at(60.0) == 300.0
    window.spend(300.0)
    assert window.ready_at(300.0) == 301.0
    assert window.left(299.0) == 0
    assert window.left(330.0) == 30  # 31..59 and 300 are still inside


def test_the_end_of_the_window_is_open() -> None:
    """Two attempts exactly one window apart are in two windows; anything nearer is in one."""
    window = BudgetWindow(Budget(attempts=1, window=10), [5.0])
    assert window.ready_at(math.nextafter(15.0, 0.0)) == 15.0
    assert window.ready_at(15.0) == 15.0
    assert window.left(15.0) == 1


def test_a_sum_that_floats_round_down_is_rounded_up() -> None:
    """0.7 + 0.1 is a bit less than the exact sum; the attempt comes one bit later rather than earlier."""
    ready = BudgetWindow(Budget(attempts=1, window=0.1), [0.7]).ready_at(0.7)
    assert Fraction(0.7 + 0.1) < Fraction(0.7) + Fraction(0.1) <= Fraction(ready)
    assert ready == pytest.approx(0.8)


def test_memory_is_bounded() -> None:
    """A month of attempts leaves no more than one budget of times behind."""
    window = BudgetWindow(Budget(attempts=60, window=300))
    for k in range(100_000):
        window.spend(float(k))
    assert len(window._spent) == 60


@given(st.integers(1, 10**6), st.floats(1e-9, 1e9))
def test_text_round_trip(attempts: int, window: float) -> None:
    """What str() writes, parse() reads back, to the last digit."""
    budget = Budget(attempts=attempts, window=window)
    assert Budget.parse(str(budget)) == budget


def test_text_is_written_as_people_write_it() -> None:
    """60/300 stays 60/300 and is the default."""
    assert str(Budget()) == "60/300"
    assert Budget.parse("60/300") == Budget()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60", "budget must be ATTEMPTS/SECONDS such as 60/300, not '60'"),
        ("", "budget must be"),
        ("0/300", "attempts of the budget must be a whole number from 1 to 1000000, not '0'"),
        ("1.5/300", "attempts of the budget must be a whole number such as 10, not '1.5'"),
        ("-1/300", "attempts of the budget must be"),
        ("60/0", "seconds of the budget must be a number above 0"),
        ("60/300/5", "seconds of the budget must be a decimal number"),
        ("2000000/300", "attempts of the budget must be a whole number from 1 to 1000000"),
    ],
)
def test_wrong_text_is_answered_in_one_line(text: str, message: str) -> None:
    """What is wrong, with which value, and how it is written."""
    with pytest.raises(UsageError, match=message):
        Budget.parse(text)


@pytest.mark.parametrize("time", [math.nan, math.inf])
def test_an_attempt_needs_a_time(time: float) -> None:
    """A time that is none would make every later answer wrong, so it is refused."""
    with pytest.raises(UsageError, match="which is no time"):
        BudgetWindow(Budget()).spend(time)
