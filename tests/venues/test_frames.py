"""Blocks of messages: what goes in comes out, however it is cut and joined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsresearch.venues.frames import Frames


def positions(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


messages = st.lists(st.binary(max_size=20), max_size=12)


@given(messages)
def test_messages_come_back_as_they_went_in(sent: list[bytes]) -> None:
    """A block is a list of messages without the list: same length, same bytes, same order."""
    frames = Frames.of(sent, range(len(sent)))
    assert len(frames) == len(sent)
    assert list(frames) == frames.messages() == sent
    assert [frames[i] for i in range(len(sent))] == sent
    assert frames.nbytes == sum(map(len, sent))
    assert frames.recv_ns.tolist() == list(range(len(sent)))


@given(messages, st.integers(0, 12), st.integers(0, 12))
def test_cutting_and_joining_loses_nothing(sent: list[bytes], first: int, second: int) -> None:
    """A block cut anywhere and joined again is the same block, so a queue may hand on any part of it."""
    frames = Frames.of(sent, range(len(sent)))
    low, high = sorted((first, second))
    parts = [frames[:low], frames[low:high], frames[high:]]
    assert [m for part in parts for m in part] == sent
    joined = Frames.concat(parts)
    assert joined.messages() == sent
    assert joined.recv_ns.tolist() == frames.recv_ns.tolist()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_block_over_a_foreign_buffer_needs_no_copy_of_it(kind: Callable[[bytes], bytes]) -> None:
    """A splitter hands over its own memory and positions in it; headers between the messages are left alone."""
    buffer = kind(b"..\x81\x01a\x81\x00\x81\x03bcd..")
    frames = Frames(buffer, positions(4, 7, 9), positions(5, 7, 12), positions(1, 2, 3))
    assert frames.payload is buffer
    assert frames.messages() == list(frames) == [b"a", b"", b"bcd"]
    assert frames.nbytes == 4
    assert bytes(frames.span()) == b"a\x81\x00\x81\x03bcd"
    assert frames[1:].payload is buffer
    assert frames[1:].messages() == [b"", b"bcd"]
    assert frames[-1] == b"bcd"
    assert Frames.concat([frames, frames[:0], frames[:1]]).messages() == [b"a", b"", b"bcd", b"a"]


def test_one_receive_time_serves_all() -> None:
    """Messages of one read arrived together."""
    assert Frames.of([b"a", b"b"], 7).recv_ns.tolist() == [7, 7]


def test_nothing_is_a_block_too() -> None:
    """No messages, and no blocks, make an empty block."""
    assert len(Frames.concat([])) == 0
    assert Frames.of([], []).messages() == []
    assert Frames.of([b"a"], 1)[5:2].messages() == []


@pytest.mark.parametrize(
    ("starts", "ends", "times", "says"),
    [
        ([0], [2], [1, 2], "must have one shape"),
        ([0, 1], [2], [1], "must have one shape"),
        ([0], [3], [1], "leave the payload of 2 bytes"),
        ([-1], [2], [1], "leave the payload of 2 bytes"),
        ([2, 0], [2, 1], [1, 2], "begins before the one in front of it ends"),
        ([0, 1], [2, 2], [1, 2], "begins before the one in front of it ends"),
        ([1, 1], [0, 2], [1, 2], "ends before it begins"),
    ],
)
def test_parts_that_do_not_fit_are_refused(starts: list[int], ends: list[int], times: list[int], says: str) -> None:
    """A splitter with a mistake hears of it at once, not as garbled trades."""
    with pytest.raises(ValueError, match=says):
        Frames(b"ab", positions(*starts), positions(*ends), positions(*times))


def test_positions_must_be_64_bit() -> None:
    """Narrow positions would overflow on a large block."""
    narrow = np.zeros(0, dtype=np.int32)
    with pytest.raises(ValueError, match="int64"):
        Frames(b"", narrow, positions(), positions())


def test_a_block_has_no_steps_and_no_far_side() -> None:
    """Only neighbours share a payload; an index beyond the end is an error, as in a list."""
    frames = Frames.of([b"a", b"b", b"c"], 1)
    with pytest.raises(ValueError, match="step 2"):
        frames[::2]
    with pytest.raises(IndexError):
        frames[3]
