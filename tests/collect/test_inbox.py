"""The one bounded queue: what is held, what is dropped, and that every drop is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsresearch.collect.inbox import Inbox
from wsresearch.venues import Frames
from wsresearch.venues.frames import PER_MESSAGE

LIMIT = 300
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.binary(max_size=120)),
        st.tuples(st.just("block"), st.lists(st.binary(max_size=120), max_size=6)),
        st.tuples(st.just("take"), st.integers(0, 5)),
        st.tuples(st.just("release"), st.integers(0, 3)),
        st.tuples(st.just("count"), st.none()),
    ),
    max_size=80,
)


@given(STEPS)
def test_what_is_held_is_bounded_and_what_is_dropped_is_counted(steps: list[tuple[str, object]]) -> None:
    """However messages come and go: never more than the limit in memory, each message kept in order or counted."""
    inbox = Inbox(limit=LIMIT, on_arrival=lambda: None)
    put: list[bytes] = []
    kept: list[bytes] = []
    unwritten: list[int] = []
    dropped = dropped_bytes = messages = size = 0
    for what, value in steps:
        if what == "put":
            assert isinstance(value, bytes)
            inbox.put(value, len(put))
            put.append(value)
        elif what == "block":
            assert isinstance(value, list)
            inbox.put_block(Frames.of(value, len(put)))
            put += value
        elif what == "take":
            assert isinstance(value, int)
            taken = inbox.take(value)
            assert len(taken) <= value
            kept += list(taken)
            unwritten.append(taken.footprint)
        elif what == "release" and unwritten:
            inbox.release(unwritten.pop(0))
        elif what == "count":
            counted = inbox.count()
            messages, size = messages + counted.messages, size + counted.bytes
            dropped, dropped_bytes = dropped + counted.dropped, dropped_bytes + counted.dropped_bytes
        assert 0 <= inbox.held_bytes <= LIMIT
        assert inbox.held_bytes == sum(unwritten) + waiting(inbox)
    kept += list(inbox.take(1000))
    counted = inbox.count()
    assert messages + counted.messages == len(put)
    assert size + counted.bytes == sum(map(len, put))
    assert dropped + counted.dropped == len(put) - len(kept)
    assert dropped_bytes + counted.dropped_bytes == sum(map(len, put)) - sum(map(len, kept))
    rest = iter(put)
    assert all(message in rest for message in kept), "not in the order received"


def waiting(inbox: Inbox) -> int:
    singles = sum(len(message) + PER_MESSAGE for message in inbox._singles)
    return sum(block.footprint for block in inbox._blocks) + singles


def test_each_message_keeps_its_time() -> None:
    """The receive time travels with the message, also when its neighbour was dropped."""
    inbox = Inbox(limit=10 + 2 * PER_MESSAGE, on_arrival=lambda: None)
    for number, message in enumerate([b"12345", b"123456", b"12345"]):
        inbox.put(message, 100 + number)
    taken = inbox.take(10)
    assert (list(taken), taken.recv_ns.tolist()) == ([b"12345", b"12345"], [100, 102])
    assert inbox.last_drop_ns == 101


def test_of_a_block_that_does_not_fit_the_beginning_is_kept() -> None:
    """An overflow is one hole and no sieve; what is kept of a large read does not hold the rest of it in memory."""
    inbox = Inbox(limit=10 + 2 * PER_MESSAGE, on_arrival=lambda: None)
    inbox.put_block(Frames.of([b"1234", b"5678", b"9abc", b"d"], 7))
    taken = inbox.take(10)
    assert list(taken) == [b"1234", b"5678"]
    assert len(taken.payload) == 8
    counted = inbox.count()
    assert (counted.messages, counted.dropped, counted.dropped_bytes) == (4, 2, 5)


def test_empty_messages_are_bounded_too() -> None:
    """A peer that sends nothing but empty messages, millions of them, fills the queue and not the machine."""
    inbox = Inbox(limit=1000, on_arrival=lambda: None)
    for _ in range(100):
        inbox.put(b"", 0)
        inbox.put_block(Frames.of([b""] * 100, 0))
    counted = inbox.count()
    assert len(inbox.take(100_000)) == 1000 // PER_MESSAGE
    assert (counted.messages, counted.dropped) == (10_100, 10_100 - 1000 // PER_MESSAGE)


def test_arrival_is_told_once_until_it_was_looked_at() -> None:
    """A thousand messages wake the consumer once."""
    told: list[None] = []
    inbox = Inbox(limit=1000, on_arrival=lambda: told.append(None))
    for _ in range(5):
        inbox.put(b"x", 0)
    assert len(told) == 1
    inbox.take(5)
    inbox.put(b"x", 0)
    assert len(told) == 2


def test_a_dropped_message_still_shows_that_the_peer_lives() -> None:
    """A full queue is our slowness: the time of the last drop goes on, of single messages and of blocks."""
    inbox = Inbox(limit=4 + PER_MESSAGE, on_arrival=lambda: None)
    inbox.put(b"1234", 1)
    assert inbox.last_drop_ns is None
    inbox.put(b"1234", 2)
    assert inbox.last_drop_ns == 2
    inbox.put_block(Frames.of([b"5", b"6"], [3, 4]))
    assert inbox.last_drop_ns == 4
    assert inbox.count().dropped == 3
