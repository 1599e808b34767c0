"""Sets of ids as intervals agree with plain Python sets, at the ends of 64 bits too."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.capture.coverage import Ids, IdsBuilder

LOW, HIGH = -(2**63), 2**63 - 1
small = st.lists(st.integers(-30, 30), max_size=60)
any_ids = st.lists(st.one_of(st.integers(LOW, HIGH), st.sampled_from([LOW, LOW + 1, HIGH - 1, HIGH])), max_size=20)


def ids_of(numbers: list[int]) -> Ids:
    return Ids.of(np.array(numbers, dtype=np.int64))


def as_set(ids: Ids) -> set[int]:
    return {number for first, last in ids for number in range(first, last + 1)}


@given(small, small)
def test_set_algebra(ours: list[int], theirs: list[int]) -> None:
    """Union, intersection, difference, count, gaps and membership are those of sets."""
    a, b = ids_of(ours), ids_of(theirs)
    assert as_set(a) == set(ours)
    assert as_set(Ids.union([a, b])) == set(ours) | set(theirs)
    assert as_set(a & b) == set(ours) & set(theirs)
    assert as_set(a - b) == set(ours) - set(theirs)
    assert a.count == len(set(ours))
    assert as_set(a.gaps()) == (set(range(min(ours), max(ours) + 1)) - set(ours) if ours else set())
    assert all((number in a) == (number in set(ours)) for number in range(-31, 32))


@given(any_ids, any_ids)
def test_the_ends_of_64_bits_do_no_harm(ours: list[int], theirs: list[int]) -> None:
    """Ids at the very ends neither overflow nor join what lies apart, and counts stay exact beyond 64 bits."""
    a, b = ids_of(ours), ids_of(theirs)
    both = Ids.union([a, b])
    assert both.count == len(set(ours) | set(theirs))
    if ours and theirs:
        assert both.count + both.gaps().count == max(ours + theirs) - min(ours + theirs) + 1
    assert (a & b).count == len(set(ours) & set(theirs))
    assert (a - b).count == len(set(ours) - set(theirs))
    assert all(number in a for number in ours)


@given(st.lists(small, max_size=10))
def test_pieces_come_together(pieces: list[list[int]]) -> None:
    """However the ids are cut into pieces, set and number of repeats are the same."""
    builder = IdsBuilder()
    for piece in pieces * 20:
        builder.add(np.array(piece, dtype=np.int64))
    everything = [number for piece in pieces * 20 for number in piece]
    assert as_set(builder.ids()) == set(everything)
    assert builder.rows - builder.ids().count == len(everything) - len(set(everything))


@given(st.lists(st.tuples(st.integers(-30, 30), st.integers(-30, 30)), max_size=20))
def test_spans(spans: list[tuple[int, int]]) -> None:
    """Closed intervals in any order, overlapping or empty, make the set of what they hold."""
    ids = Ids.spanning(spans)
    assert as_set(ids) == {number for first, last in spans for number in range(first, last + 1)}
    assert all(last + 1 < following for (_, last), (following, _) in zip(list(ids), list(ids)[1:], strict=False))
