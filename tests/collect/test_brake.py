"""Pausing is for bursts: not long in a row, not a large part of the time, and not before the queue is nearly full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsresearch.collect.brake import Brake

LIMIT = 64 << 20
A_READ = 9 << 16


def test_it_pauses_when_nearly_full_and_goes_on_when_half_empty() -> None:
    """In between nothing changes, so that reading does not stutter."""
    brake = Brake(LIMIT)
    assert not brake.tread(LIMIT - A_READ - 1, 0.0)
    assert brake.tread(LIMIT - A_READ, 0.0)
    assert not brake.ease((LIMIT - A_READ) // 2 + 1, 0.1)
    assert brake.ease((LIMIT - A_READ) // 2, 0.1)
    assert not brake.tread(LIMIT - A_READ - 1, 0.2)
    assert brake.tread(LIMIT - A_READ, 0.2)


def test_a_queue_that_stays_full_is_waited_for_a_second_only() -> None:
    """A stuck disk does not make the peer look dead: after a second reading goes on, and what has no room drops."""
    brake = Brake(LIMIT)
    assert brake.tread(LIMIT, 10.0)
    assert not brake.ease(LIMIT, 10.9)
    assert brake.ease(LIMIT, 11.0)
    assert not brake.tread(LIMIT, 11.0)
    assert brake.tread(LIMIT, 11.5), "some patience has grown back"
    assert not brake.ease(LIMIT, 11.54)
    assert brake.ease(LIMIT, 11.56)


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(0, LIMIT)), max_size=200))
def test_under_a_load_that_never_ends_most_of_the_time_is_spent_reading(steps: list[tuple[float, int]]) -> None:
    """Whatever happens: paused at most a second, and a tenth of the time besides."""
    brake = Brake(LIMIT)
    now = paused = 0.0
    for seconds, held in steps:
        end = now + seconds
        if brake.tread(held, now):
            while not brake.ease(held, now):
                now += 0.005
                paused += 0.005
        now = max(now, end)
    assert paused <= 1.0 + 0.1 * now + 0.005 * (len(steps) + 1)
