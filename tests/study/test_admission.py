"""The door of a server under a storm: who is let in, and when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.reconnect import Budget, BudgetWindow
from wsresearch.study.admission import BINANCE, Admission, Door


def admitted(rules: Admission, at: list[float], address: list[int] | None = None) -> tuple[list[float], list[float]]:
    """Return waits and times to stay away of attempts that come in one block."""
    of = np.array(address or [0] * len(at), dtype=np.int64)
    waits, told = Door(rules, addresses=int(of.max(initial=0)) + 1).admit(np.array(at), of)
    return waits.tolist(), told.tolist()


def test_a_queue_is_served_in_turn() -> None:
    """Two a second: who comes at once waits half a second more each, until there is no room."""
    inf = float("inf")
    assert admitted(Admission(accept_rate=2, queue=2), [0.0] * 5)[0] == [0, 0.5, 1, inf, inf]
    assert admitted(Admission(accept_rate=2, queue=0), [0, 0.25, 0.5, 3])[0] == [0, inf, 0, 0]
    # At 1.0 the first two have been let in, and the last of three has half a second to go.
    assert admitted(Admission(accept_rate=2, queue=2), [0, 0, 0, 1.0, 1.0])[0] == [0, 0.5, 1, 0.5, 1]


def test_a_refusal_says_how_long_to_stay_away() -> None:
    """The queue tells its Retry-After, the limit of an address how long it is until it may again."""
    rules = Admission(accept_rate=1, queue=0, retry_after=7)
    assert admitted(rules, [0, 0.5])[1] == [0, 7]
    limited = Admission(per_address=Budget(attempts=1, window=60), retry_after=7)
    assert admitted(limited, [0, 10, 10, 60], [0, 0, 1, 0]) == ([0, np.inf, 0, 0], [0, 50, 0, 0])
    assert admitted(Admission(per_address=Budget(attempts=1, window=60)), [0, 10])[1] == [0, 0]


def test_binance_lets_300_attempts_of_an_address_pass_in_five_minutes() -> None:
    """The 301st is turned away until the first is five minutes old."""
    waits, _ = admitted(Admission(per_address=BINANCE), [*np.arange(300) / 10, 299.95, 300.0, 300.05, 300.1])
    assert [bool(wait) for wait in waits[300:]] == [True, False, True, False]


@given(
    limit=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 1.0, 4.0]), st.integers(0, 3), st.booleans()), min_size=1, max_size=150
    ),
)
def test_the_limit_is_the_budget_of_each_address(limit: int, steps: list[tuple[float, int, bool]]) -> None:
    """However attempts fall into blocks, those that pass are those a budget of their address has room for."""
    budget = Budget(attempts=limit, window=10.0)
    known: dict[int, BudgetWindow] = {}
    door = Door(Admission(per_address=budget), addresses=4)
    now, block = 0.0, list[tuple[float, int, bool]]()
    for number, (step, address, ends) in enumerate(steps):
        now += step
        window = known.setdefault(address, BudgetWindow(budget))
        passes = window.ready_at(now) <= now
        if passes:
            window.spend(now)
        block.append((now, address, passes))
        if ends or number == len(steps) - 1:
            at, of, expected = zip(*block, strict=True)
            waits, _ = door.admit(np.array(at), np.array(of))
            assert (waits == 0).tolist() == list(expected)
            block = []


@pytest.mark.parametrize("rules", [Admission(), Admission(accept_rate=3, per_address=BINANCE)])
def test_nobody_comes(rules: Admission) -> None:
    """No attempts, no answers."""
    waits, told = Door(rules, addresses=1).admit(np.array([]), np.array([], dtype=np.int64))
    assert (len(waits), len(told)) == (0, 0)
