"""A shape is found where every byte outside the values is that of the example, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.venues.frames import Frames
from wsresearch.venues.shape import Block, Kind, Shape

WANTED = {
    "id": (("t",), Kind.WHOLE),
    "price": (("d", "p"), Kind.DECIMAL),
    "name": (("d", "s"), Kind.TEXT),
    "flag": (("d", "m"), Kind.TRUTH),
}
EXAMPLE = b'{"t":12,"x":[1,"a,b"],"d":{"p":"1.5","s":"AB","m":true,"n":7,"y":null}}'


def read(shape: Shape, messages: list[bytes], between: bytes = b"") -> dict[int, dict[str, tuple[bytes, ...]]]:
    """The values of each message that has the shape."""
    payload, starts = b"", []
    for message in messages:
        payload += between
        starts.append(len(payload))
        payload += message
    begin = np.array(starts, dtype=np.int64)
    end = begin + np.array(list(map(len, messages)), dtype=np.int64)
    block = Block(Frames(payload, begin, end, np.zeros(len(messages), dtype=np.int64)))
    found = shape.find(block, np.arange(len(messages)))
    shift = int(block.starts[0] - begin[0])
    return {
        row: {
            name: tuple(payload[found.ends[i, n] - shift - found.lengths[i, n] : found.ends[i, n] - shift] for i in at)
            for name, at in shape.places.items()
        }
        for n, row in enumerate(found.rows.tolist())
    }


def learned(example: bytes) -> Shape:
    shape = Shape.of(example, WANTED)
    assert shape is not None
    return shape


def test_values_are_found_however_long_they_are() -> None:
    """Position and length of a value may differ from message to message."""
    other = (
        EXAMPLE.replace(b"12", b"123456").replace(b"1.5", b"99999.25").replace(b"AB", b"").replace(b"true", b"false")
    )
    assert read(learned(EXAMPLE), [EXAMPLE, other]) == {
        0: {"id": (b"12",), "price": (b"1", b"5"), "name": (b"AB",), "flag": (b"true",)},
        1: {"id": (b"123456",), "price": (b"99999", b"25"), "name": (b"",), "flag": (b"false",)},
    }


def test_a_number_that_nobody_asked_for_may_change() -> None:
    """Order numbers and the like differ in every message; they are named so that their digits get checked."""
    shape = learned(EXAMPLE)
    assert list(read(shape, [EXAMPLE, EXAMPLE.replace(b":7", b":81234")])) == [0, 1]
    assert len(shape.whole) == 3  # t, the 1 in the list, n


VALUES = [EXAMPLE.index(b"12"), EXAMPLE.index(b"[1") + 1, EXAMPLE.index(b"true"), EXAMPLE.index(b":7") + 1]
FREE = {VALUES[0], VALUES[0] + 1, VALUES[1], *range(VALUES[2], VALUES[2] + 4), VALUES[3]}
FREE |= {EXAMPLE.index(b"1.5"), EXAMPLE.index(b"1.5") + 2, EXAMPLE.index(b"AB"), EXAMPLE.index(b"AB") + 1}


@pytest.mark.parametrize("at", sorted(set(range(len(EXAMPLE))) - FREE))
def test_no_byte_outside_the_values_may_differ(at: int) -> None:
    """Each of them, by any single bit: a shape that overlooks one would take what no parser takes."""
    shape = learned(EXAMPLE)
    for bit in range(8):
        other = bytearray(EXAMPLE)
        other[at] ^= 1 << bit
        assert list(read(shape, [EXAMPLE, bytes(other), EXAMPLE])) == [0, 2]


@given(
    st.lists(st.sampled_from([EXAMPLE, b"", b",", b"{}", EXAMPLE[:40], EXAMPLE * 2, b"," * 9]), min_size=1), st.binary()
)
def test_what_stands_between_and_beside_does_not_matter(messages: list[bytes], between: bytes) -> None:
    """Headers may hold commas, neighbours may be anything: found is what is the example."""
    found = read(learned(EXAMPLE), messages, between)
    assert list(found) == [i for i, message in enumerate(messages) if message == EXAMPLE]


def test_every_order_and_spacing_can_be_learned() -> None:
    """Nothing is known of the way a venue writes today."""
    for document in (
        {"d": {"m": False, "s": "AB", "n": 7, "p": "1"}, "t": 12},
        {"t": 12, "d": {"s": "AB", "p": "100.05", "m": True, "z": {"p": "7", "q": [{"p": "1"}, "5"]}}},
    ):
        for separators in ((",", ":"), (" , ", " :\t"), (",\n  ", ": ")):
            example = json.dumps(document, separators=separators).encode()
            found = read(learned(example), [example])[0]
            assert found["price"] == tuple(str(document["d"]["p"]).encode().split(b"."))  # type: ignore[index]
            assert (found["id"], found["name"]) == ((b"12",), (b"AB",))


@pytest.mark.parametrize(
    "example",
    [
        EXAMPLE.replace(b'"t":12,', b""),
        EXAMPLE.replace(b'"t":12', b'"t":12,"t":13'),
        EXAMPLE.replace(b'"t":12', b'"t":"12"'),
        EXAMPLE.replace(b'"AB"', b"5"),
        EXAMPLE.replace(b'"1.5"', b"1.5"),
        EXAMPLE.replace(b'"x"', b'"\\u0074"'),
        EXAMPLE.replace(b'"a,b"', b'"' + b"a" * 4000 + b'"'),
    ],
)
def test_what_leaves_doubt_is_not_learned(example: bytes) -> None:
    """A value that is missing, there twice, of another kind, or a key in disguise: that is for a parser."""
    json.loads(example)
    assert Shape.of(example, WANTED) is None


def test_a_long_fixed_part_is_compared_to_its_end() -> None:
    """Short messages at the end of the memory are no example of it, and looking at them harms nothing."""
    long: dict[str, Any] = {"t": 1, "d": {"p": "1", "s": "A", "m": True}, "note": "x" * 1500}
    example = json.dumps(long).encode()
    almost = example.replace(b"x" * 1500, b"x" * 1499 + b"y")
    assert list(read(learned(example), [example, almost, b'{"t":1,"d":5,"a":5,"b":6,"c"', b",,,,"])) == [0]
