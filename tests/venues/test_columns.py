"""Values read by the column are those that Python reads one by one."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsresearch.venues.columns import MOST_DIGITS, Names, decimals, digits, has_leading_zero, truths

MARGIN = b"\x00" * 32


def laid_out(texts: list[bytes], around: bytes) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Memory with the texts in it and foreign bytes around each; ends and lengths, shape (1, n)."""
    memory = MARGIN + around
    ends = []
    for text in texts:
        memory += text
        ends.append(len(memory))
        memory += around
    memory += MARGIN
    words = np.ndarray((len(memory) - 7,), dtype="<u8", buffer=memory, strides=(1,))
    return words, np.array([ends], dtype=np.int64), np.array([list(map(len, texts))], dtype=np.int64)


numeric = st.from_regex(rb"[0-9]{1,16}", fullmatch=True)
around = st.binary(max_size=9)


@given(st.lists(numeric | st.binary(max_size=18) | st.text("0123456789.-/:", max_size=17).map(str.encode)), around)
def test_digits_are_read_as_python_reads_them(texts: list[bytes], foreign: bytes) -> None:
    """Exactly the texts of 1 to 16 ASCII digits are good, whatever bytes stand beside them."""
    numbers, good = digits(*laid_out(texts, foreign))
    for text, number, is_good in zip(texts, numbers[0].tolist(), good[0].tolist(), strict=True):
        assert is_good == (text.isdigit() and text.isascii() and len(text) <= MOST_DIGITS)
        if is_good:
            assert number == int(text)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 13, 16])
def test_one_byte_that_is_no_digit_is_seen_wherever_it_stands(length: int) -> None:
    """In either of the two words, at each of their places."""
    whole = b"1234567890123456"[:length]
    texts = [whole[:at] + bytes([wrong]) + whole[at + 1 :] for at in range(length) for wrong in b"x/:-. \x00\xb1"]
    _, good = digits(*laid_out(texts, b"5"))
    assert not good.any()


@given(st.lists(numeric, min_size=1))
def test_a_leading_zero_shows(texts: list[bytes]) -> None:
    """JSON has no 007, and a lone zero is none."""
    memory, ends, lengths = laid_out(texts, b"")
    numbers, _ = digits(memory, ends, lengths)
    assert has_leading_zero(numbers, lengths)[0].tolist() == [text.startswith(b"0") and len(text) > 1 for text in texts]


part = st.integers(0, 10**16 - 1)


@given(st.lists(st.tuples(part, part, st.integers(0, 16)), min_size=1))
def test_decimals_are_exact(parts: list[tuple[int, int, int]]) -> None:
    """Both parts at full width, against Python's own decimals: not one bit of 128 is off."""
    parts = [(above, below % 10**length, length) for above, below, length in parts]
    above, below = (np.array([[row[i] for row in parts]] * 2, dtype=np.uint64) for i in (0, 1))
    column, again = decimals(above, below, np.array([[length for *_, length in parts]] * 2, dtype=np.int64))
    column.validate(full=True)
    assert again.equals(column)
    expected = [Decimal(f"{whole}.{behind:0{length}}" if length else whole) for whole, behind, length in parts]
    assert column.to_pylist() == expected


@given(st.lists(st.sampled_from([b"true", b"false", b"True", b"\0true", b"", b"null", b"xfalse", b"1", b"e"])), around)
def test_only_true_and_false_are_truths(texts: list[bytes], foreign: bytes) -> None:
    """A flag is one of two words, whole and exact, however what stands before it would complete one."""
    memory, ends, lengths = laid_out(texts, foreign)
    true, good = truths(memory, ends[0], lengths[0])
    assert good.tolist() == [text in {b"true", b"false"} for text in texts]
    assert true.tolist() == [text == b"true" for text in texts]


KNOWN = [b"BTCUSDT", b"ETHUSDT", b"T", b"1000SATSUSDT", b"1234567890123456", "币安人生USDT".encode()]


@given(st.lists(st.sampled_from(KNOWN) | st.binary(max_size=30) | st.sampled_from([b"XBTCUSDT", b"TCUSDT"])), around)
def test_known_names_are_found_and_no_others(texts: list[bytes], foreign: bytes) -> None:
    """A name is the whole text: neither its tail nor one with something before it."""
    memory, ends, lengths = laid_out(texts, foreign)
    numbers, good = Names([(text,) for text in KNOWN], words=(2,)).numbers(memory, ends, lengths)
    assert good.tolist() == [text in KNOWN and len(text) <= 16 for text in texts]
    assert [KNOWN[n] for n, found in zip(numbers.tolist(), good.tolist(), strict=True) if found] == [
        text for text, found in zip(texts, good.tolist(), strict=True) if found
    ]


@given(st.lists(st.tuples(st.sampled_from(KNOWN), st.sampled_from(KNOWN)), min_size=1), around)
def test_a_name_of_two_texts_needs_both(pairs: list[tuple[bytes, bytes]], foreign: bytes) -> None:
    """A symbol is known only on its own stream."""
    firsts, seconds = ([pair[i] for pair in pairs] for i in (0, 1))
    memory, ends, lengths = laid_out(firsts + seconds, foreign)
    known = Names([(text, text) for text in KNOWN], words=(2, 3))
    _, good = known.numbers(memory, ends.reshape(2, -1), lengths.reshape(2, -1))
    assert good.tolist() == [first == second and len(first) <= 16 for first, second in pairs]
