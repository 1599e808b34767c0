"""Values of many messages at once: digits to numbers, texts to known names; where they are is found elsewhere.

Not here: shapes (:mod:`~wsresearch.venues.shape`), what a message means, which numbers are plausible.

Everything is read backwards from the end of a value in words of eight bytes, the bytes before its beginning
cleared, and computed on whole words: no step knows how long a value is. Nothing raises for what was sent; a value
that cannot be read is marked, and its number means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.venues.checks import DECIMAL

__all__ = ["MOST_DIGITS", "Names", "decimals", "digits", "has_leading_zero", "truths"]

MOST_DIGITS: Final = 16
"""Digits of a value that can be read here: two words."""

_WORD: Final = 8
_BITS: Final = np.uint64(8)
_POWERS: Final = np.array([10**i for i in range(20)], dtype=np.uint64)
_SCALE: Final = DECIMAL.scale

_EIGHT_ZEROS: Final = np.uint64(0x3030303030303030)
_ABOVE_NINE: Final = np.uint64(0x7676767676767676)
"""Added to a byte below 128 it sets the highest bit exactly if the byte is above nine."""
_HIGHEST_BITS: Final = np.uint64(0x8080808080808080)
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)

_TRUE, _FALSE = (np.frombuffer(text.rjust(_WORD, b"\0"), "<u8")[0] for text in (b"true", b"false"))

Words = NDArray[np.uint64]
Positions = NDArray[np.int64]
Marks = NDArray[np.bool_]


def digits(memory: Words, ends: Positions, lengths: Positions) -> tuple[Words, Marks]:
    """Read whole numbers, leading zeros allowed.

    Parameters
    ----------
    memory
        The eight bytes from each position on.
    ends, lengths : shape (k, n)
        Where k values of n messages end, and how long they are.

    Returns
    -------
    numbers : uint64 array, shape (k, n)
    good : bool array, shape (k, n)
        Where there are 1 to `MOST_DIGITS` bytes and all of them are digits.
    """
    numbers, good = _eight_digits(memory, ends, lengths)
    good &= (lengths > 0) & (lengths <= MOST_DIGITS)
    long = np.flatnonzero((lengths > _WORD).any(axis=1))
    if len(long):
        upper, upper_good = _eight_digits(memory, ends[long] - _WORD, lengths[long] - _WORD)
        numbers[long] += upper * _POWERS[_WORD]
        good[long] &= upper_good
    return numbers, good


def has_leading_zero(numbers: Words, lengths: Positions) -> Marks:
    """Tell which numbers are written with more digits than they need; a single zero counts as one of them."""
    return numbers < _POWERS.take(lengths - 1, mode="clip")


def decimals(whole: Words, part: Words, part_lengths: Positions) -> pa.Array:
    """Put numbers before and behind a point together, exactly.

    Parameters
    ----------
    whole, part : shape (n,)
        At most `MOST_DIGITS` digits each.
    part_lengths : shape (n,)
        Digits behind the point.

    Returns
    -------
    decimal128(38, 18) array, shape (n,)
    """
    # whole × 10^18 as 128 bits from four products of 32 bit halves, plus the part, which has less than 64 bits.
    scale = 10**_SCALE
    scale_high, scale_low = np.uint64(scale >> 32), np.uint64(scale & 0xFFFFFFFF)
    high, low = whole >> _HALF, whole & _LOW
    middle = high * scale_low + (low * scale_low >> _HALF)
    rest = low * scale_high + (middle & _LOW)
    both = np.empty((len(whole), 2), dtype="<u8")
    lower = whole * np.uint64(scale)
    added = lower + part * _POWERS.take(_SCALE - part_lengths, mode="clip")
    both[:, 0] = added
    both[:, 1] = high * scale_high + (middle >> _HALF) + (rest >> _HALF) + (added < lower)
    return pa.Array.from_buffers(DECIMAL, len(whole), [None, pa.py_buffer(both)])


def truths(memory: Words, ends: Positions, lengths: Positions) -> tuple[Marks, Marks]:
    """Read JSON's ``true`` and ``false``; return the values, and where there is one of the two."""
    word = _backwards(memory, ends, lengths)
    true = (word == _TRUE) & (lengths == len("true"))
    return true, true | (word == _FALSE) & (lengths == len("false"))


class Names:
    """Texts that are known beforehand, told by their number.

    Parameters
    ----------
    texts
        All different. Those longer than `words` words are never found.
    words
        How far each text is looked at.
    """

    __slots__ = ("_keys", "_lengths", "_numbers", "_texts")

    def __init__(self, texts: Sequence[bytes], *, words: int) -> None:
        size = words * _WORD
        padded = b"".join(text.rjust(size, b"\0")[:size] for text in texts)
        self._texts: list[Words] = list(np.ascontiguousarray(np.frombuffer(padded, "<u8").reshape(-1, words).T[::-1]))
        self._lengths = np.array([len(text) if len(text) <= size else -1 for text in texts], dtype=np.int64)
        keys = _mixed(self._texts)
        self._numbers = np.argsort(keys, kind="stable")
        self._keys = keys[self._numbers]

    def numbers(self, memory: Words, ends: Positions, lengths: Positions) -> tuple[NDArray[np.intp], Marks]:
        """Return the number of the text at each place, and where there is one that is known; shape (n,)."""
        seen = self._seen(memory, ends, lengths)
        at = np.searchsorted(self._keys, _mixed(seen))
        numbers = self._numbers.take(at, mode="clip")
        return numbers, self._same(seen, lengths, numbers)

    def are(self, memory: Words, ends: Positions, lengths: Positions, numbers: NDArray[np.intp]) -> Marks:
        """Tell where the text is the one with the number given; shape (n,)."""
        return self._same(self._seen(memory, ends, lengths), lengths, numbers)

    def _seen(self, memory: Words, ends: Positions, lengths: Positions) -> list[Words]:
        return [_backwards(memory, ends - _WORD * i, lengths - _WORD * i) for i in range(len(self._texts))]

    def _same(self, seen: Sequence[Words], lengths: Positions, numbers: NDArray[np.intp]) -> Marks:
        same: Marks = self._lengths.take(numbers) == lengths
        for known, word in zip(self._texts, seen, strict=True):
            same &= known.take(numbers) == word
        return same


def _mixed(words: Sequence[Words]) -> Words:
    """One number for a text; two texts may share one, then the second is never found."""
    mixed = words[0]
    for word in words[1:]:
        mixed = mixed ^ word * np.uint64(0x9E3779B97F4A7C15)
    return mixed


def _backwards(memory: Words, ends: Positions, lengths: Positions) -> Words:
    """Return the last eight bytes of each text, the last byte highest, zeros in place of what it has not."""
    return _cleared(memory[ends - _WORD], lengths)


def _cleared(word: Words, lengths: Positions) -> Words:
    spare = np.maximum(_WORD - lengths, 0).view(np.uint64)
    spare *= _BITS
    word >>= spare  # by all 64 bits or more leaves zero
    word <<= spare
    return word


def _eight_digits(memory: Words, ends: Positions, lengths: Positions) -> tuple[Words, Marks]:
    word = _cleared(memory[ends - _WORD] ^ _EIGHT_ZEROS, lengths)
    good = ((word + _ABOVE_NINE) | word) & _HIGHEST_BITS == 0
    # Neighbours are joined three times over: digits to pairs, pairs to fours, fours to eight.
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word * np.uint64(10_000) + (word >> _HALF)) & _LOW
    return word, good
