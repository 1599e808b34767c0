"""Many clients of one policy: the same law as one client, drawn together."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.reconnect.test_backoff import any_policy
from wsresearch.reconnect.backoff import Constant, FullJitter, Linear, Policy
from wsresearch.reconnect.herd import Herd
from wsresearch.reconnect.presets import POLICIES, PRESETS

EVERY = {name: kind() for name, kind in POLICIES.items()} | {name: preset.policy for name, preset in PRESETS.items()}


def climbed(policy: Policy, *, seed: int, attempts: int, clients: int) -> np.ndarray:
    """Return the delays of many clients that are in step; shape (attempts, clients)."""
    herd, rng, all_of_them = Herd(policy, clients), np.random.default_rng(seed), np.arange(clients)
    return np.array([herd.draw(all_of_them, rng) for _ in range(attempts)])


@given(any_policy(), st.integers(0, 2**32))
def test_a_herd_of_one_is_one_client(policy: Policy, seed: int) -> None:
    """The same generator gives the same delays to the last bit, and after ``max_attempts`` there is none."""
    one = list(islice(policy.delays(np.random.default_rng(seed)), 60))
    herd = climbed(policy, seed=seed, attempts=60, clients=1)[:, 0].tolist()
    assert herd == one + [np.inf] * (60 - len(one))


@pytest.mark.parametrize("name", EVERY)
def test_many_draw_from_the_distribution_of_one(name: str) -> None:
    """Attempt by attempt, 2,000 clients together and 2,000 streaks one by one are one distribution."""
    policy = EVERY[name]
    together = climbed(policy, seed=1, attempts=8, clients=2000)
    rng = np.random.default_rng(2)
    streaks = [list(islice(policy.delays(rng), 8)) for _ in range(2000)]
    alone = np.array([streak + [np.inf] * (8 - len(streak)) for streak in streaks]).T
    for drawn, known in zip(together, alone, strict=True):
        if len(set(known)) == 1:
            assert set(drawn) == set(known)
        else:
            # 22 policies × 8 attempts: a right one fails here once in 50,000 times, and the seeds are fixed.
            assert stats.ks_2samp(drawn, known).pvalue > 1e-7


def test_clients_stand_at_attempts_of_their_own() -> None:
    """Who is asked goes on, who is not asked stays, and a reset is for one alone."""
    herd, rng = Herd(Linear(step=1, cap=4), 3), np.random.default_rng(0)
    assert herd.draw(np.array([0, 2]), rng).tolist() == [1, 1]
    assert herd.draw(np.array([2]), rng).tolist() == [2]
    assert herd.draw(np.array([2, 1, 0]), rng).tolist() == [3, 1, 2]
    herd.reset(np.array([2]))
    assert herd.draw(np.array([0, 1, 2]), rng).tolist() == [3, 2, 1]


def test_nobody_asked_nothing_drawn() -> None:
    """An empty question has an empty answer and leaves the generator where it was."""
    rng = np.random.default_rng(0)
    assert Herd(FullJitter(), 5).draw(np.array([], dtype=np.int64), rng).tolist() == []
    assert Herd(FullJitter(), 0).draw(np.array([], dtype=np.int64), rng).tolist() == []
    Herd(Constant(), 5).draw(np.arange(5), rng)
    assert rng.random() == np.random.default_rng(0).random()


def test_a_long_ladder_is_climbed_only_as_far_as_needed() -> None:
    """A policy whose cap is a million steps away costs a few rungs, and the last one is that of all after it."""
    herd, rng = Herd(Linear(step=1e-6, cap=1e6), 1), np.random.default_rng(0)
    for attempt in range(1, 100):
        assert herd.draw(np.array([0]), rng).tolist() == [1e-6 * attempt]
    delays = climbed(FullJitter(base=1, cap=2, floor=0), seed=0, attempts=3000, clients=1)
    assert 1.5 < delays[10:].max() < 2
