"""How unusual a value is among those before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import genpareto

from wsresearch.study.law import Tail, chances

SIZE = 2_000
ROWS = 40_000

LAWS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "exponential": lambda draw, count: draw.exponential(1, count),
    "lognormal": lambda draw, count: draw.lognormal(0, 2, count),
    "pareto": lambda draw, count: draw.pareto(2, count),
    "weibull": lambda draw, count: draw.weibull(0.5, count),
    "half at once": lambda draw, count: np.where(draw.random(count) < 0.5, 0, draw.exponential(1, count)),
}


@pytest.mark.parametrize("law", LAWS)
def test_a_share_of_p_has_a_chance_of_p(law: str) -> None:
    """Whatever the distribution, light-tailed or heavy: as `chances` promises, down to 1 in 1,000."""
    values = LAWS[law](np.random.default_rng(9), ROWS + SIZE)
    windows = np.lib.stride_tricks.sliding_window_view(values, SIZE)[:ROWS]
    found = np.concatenate(
        [chances(windows[at : at + 500].copy(), values[SIZE + at : SIZE + at + 500]) for at in range(0, ROWS, 500)]
    )
    assert found.min() > 0
    assert found.max() <= 1
    assert (found <= 0.1).mean() == pytest.approx(0.1, rel=0.06)
    assert (found <= 0.01).mean() == pytest.approx(0.01, rel=0.3)
    assert (found <= 0.001).mean() == pytest.approx(0.001, rel=0.8)


def test_the_fit_finds_a_pareto_law() -> None:
    """Excesses drawn from a generalized Pareto law by scipy: shape, scale and chances come back."""
    draw = np.random.default_rng(1)
    for shape in (0.0, 0.2, 0.4):
        excess = np.sort(genpareto.rvs(shape, scale=3.0, size=20_000, random_state=draw))
        longest = np.concatenate(([5.0], 5.0 + excess))[None, :]
        tail = Tail.fitted(longest, 200_000)
        assert tail.shape[0] == pytest.approx(shape, abs=0.05)
        assert tail.scale[0] == pytest.approx(3.0, rel=0.08)
        there = np.array([5.0 + 20.0])
        assert tail.chance(there)[0] == pytest.approx(0.1 * genpareto.sf(20, shape, scale=3.0), rel=0.35)


def test_values_that_are_all_the_same_say_nothing_of_longer_ones() -> None:
    """No excess, no law: the chance to be the longest of all, never 0 and never NaN."""
    sample = np.full((1, 500), 2.0)
    assert chances(sample, np.array([3.0])).tolist() == [1 / 501]
    assert chances(sample, np.array([2.0])).tolist() == [1.0]
    assert chances(np.zeros((1, 500)), np.array([1e9])).tolist() == [1 / 501]


def test_no_law_ends_somewhere() -> None:
    """Values that never exceed 1: a longer one is unusual, not impossible."""
    sample = np.random.default_rng(4).uniform(0, 1, (1, SIZE))
    assert 0 < chances(sample, np.array([5.0]))[0] < 1e-6


@pytest.mark.parametrize("law", ["exponential", "pareto"])
def test_the_heavier_law_bounds_what_is_far_beyond_the_sample(law: str) -> None:
    """Of 300 seeded samples, at least 9 in 10 bound the chance of a value that comes once in ten samples."""
    draw = np.random.default_rng(8)
    truth = 1e-5  # a sample has 10,000 values
    far = {"exponential": -np.log(truth), "pareto": truth**-0.5 - 1}[law]
    longest = np.array([np.sort(LAWS[law](draw, 10_000))[-101:] for _ in range(300)])
    tail = Tail.fitted(longest, 10_000)
    at = np.full(300, far)
    assert (tail.heavier(1.645).chance(at) >= truth).mean() >= 0.9
    # Not a bound that is always far off: the law itself is too low about every other time.
    assert (tail.chance(at) >= truth).mean() < 0.75
