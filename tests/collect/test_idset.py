"""Ids as intervals: the same answers as a set of integers, in far less memory."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wsresearch.collect.idset import MAX_INTERVALS, IdSet

NUMBERS = st.integers(-20, 60)
SPANS = st.tuples(NUMBERS, st.integers(0, 15)).map(lambda span: (span[0], span[0] + span[1]))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard", "remove"]), SPANS), max_size=40)


def numbers(intervals: IdSet | list[tuple[int, int]]) -> set[int]:
    return {number for first, last in intervals for number in range(first, last + 1)}


@given(STEPS, SPANS)
def test_it_is_a_set(steps: list[tuple[str, tuple[int, int]]], asked: tuple[int, int]) -> None:
    """Whatever is added and taken out in whatever order: a plain set of integers gives the same answers."""
    ids, model = IdSet(), set[int]()
    for what, (first, last) in steps:
        span = set(range(first, last + 1))
        if what == "add":
            ids.add(first, last)
            model |= span
        elif what == "discard":
            ids.discard(first, last)
            model -= span
        else:
            assert ids.remove(first) is (first in model)
            model.discard(first)
    assert numbers(ids) == model
    assert all((number in ids) is (number in model) for number in range(-30, 90))
    assert numbers(ids.within(*asked)) == model & set(range(asked[0], asked[1] + 1))
    assert ids.lowest == min(model, default=None)


@given(STEPS)
def test_intervals_are_sorted_and_do_not_touch(steps: list[tuple[str, tuple[int, int]]]) -> None:
    """Ten million ids in line are one pair of numbers, and never two."""
    ids = IdSet()
    for what, (first, last) in steps:
        ids.add(first, last) if what == "add" else ids.discard(first, last)
    pairs = list(ids)
    assert len(ids) == len(pairs)
    assert all(first <= last for first, last in pairs)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(pairs))


def test_memory_is_bounded_and_it_says_what_it_forgot() -> None:
    """A venue that sends every other id for ever does not fill the memory: the oldest ids go, and that is known."""
    ids = IdSet()
    for number in range(0, 4 * MAX_INTERVALS, 2):
        ids.add(number, number)
    assert len(ids) == MAX_INTERVALS
    assert ids.forgetful
    assert 0 not in ids
    assert 4 * MAX_INTERVALS - 2 in ids
