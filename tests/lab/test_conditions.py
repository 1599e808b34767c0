"""The path to the clients: how late, how fast and in what pieces bytes travel."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.lab.conditions import Conditions
from wsresearch.lab.faults import Bandwidth, Latency, Slicer


def _conditions(*faults: Latency | Bandwidth | Slicer) -> Conditions:
    conditions = Conditions(random.Random(1))
    for fault in faults:
        conditions.begin(fault)
    return conditions


def test_a_free_path() -> None:
    """Without faults everything goes at once and whole; after a fault has ended, too."""
    fault = Latency()
    conditions = _conditions(fault)
    assert not conditions.is_calm
    conditions.end(fault)
    assert conditions.is_calm
    assert (conditions.delay(), conditions.piece(1_000)) == (0.0, (1_000, 0.0))


@given(st.floats(0, 5), st.floats(0, 5))
def test_latency(latency: float, jitter: float) -> None:
    """The delay is the latency give or take the jitter, and never negative."""
    conditions = _conditions(Latency(latency=latency, jitter=jitter))
    assert all(max(0.0, latency - jitter) <= conditions.delay() <= latency + jitter + 1e-9 for _ in range(20))


@given(st.floats(1, 1e6), st.integers(1, 100_000))
def test_bandwidth(rate: float, waiting: int) -> None:
    """However much waits, the pieces and their pauses together make the rate."""
    conditions = _conditions(Bandwidth(bytes_per_second=rate))
    size, pause = conditions.piece(waiting)
    assert 1 <= size <= waiting
    assert size / pause == pytest.approx(rate)


@given(st.integers(1, 500), st.integers(0, 500))
def test_slices(average: int, variation: int) -> None:
    """Slices are never empty, never beyond the variation, and on average as asked."""
    conditions = _conditions(Slicer(average_size=average, size_variation=variation, delay=0.5))
    pieces = [conditions.piece(10_000) for _ in range(300)]
    spread = min(variation, average - 1)
    assert all(average - spread <= size <= average + spread and pause == 0.5 for size, pause in pieces)


def test_the_latest_counts() -> None:
    """A second fault of a kind stands in for the first while both are in force; kinds go together."""
    slow, slower = Bandwidth(bytes_per_second=1_000), Bandwidth(bytes_per_second=100)
    conditions = _conditions(slow, slower, Latency(latency=2))
    assert conditions.piece(10_000) == (2, 0.02)
    conditions.end(slower)
    assert conditions.piece(10_000) == (20, 0.02)
    assert conditions.delay() == 2
