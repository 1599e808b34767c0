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
    count = len(ends)
    long = np.flatnonzero((lengths > _WORD).any(axis=1))
    rows = np.concatenate([np.arange(count), long])
    back = np.repeat(np.array([0, _WORD]), [count, len(long)])[:, None]
    word = _cleared(memory[ends[rows] - (back + _WORD)] ^ _EIGHT_ZEROS, lengths[rows] - back)
    readable = ((word + _ABOVE_NINE) | word) & _HIGHEST_BITS == 0
    # Neighbours are joined three times over: digits to pairs, pairs to fours, fours to eight.
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word * np.uint64(10_000) + (word >> _HALF)) & _LOW
    numbers, good = word[:count], readable[:count]
    numbers[long] += word[count:] * _POWERS[_WORD]
    good[long] &= readable[count:]
    good &= (lengths > 0) & (lengths <= MOST_DIGITS)
    return numbers, good


def has_leading_zero(numbers: Words, lengths: Positions) -> Marks:
    """Tell which numbers are written with more digits than they need."""
    return (numbers < _POWERS.take(lengths - 1, mode="clip")) & (lengths > 1)


def decimals(whole: Words, part: Words, part_lengths: Positions) -> list[pa.Array]:
    """Put numbers before and behind a point together, exactly.

    Parameters
    ----------
    whole, part : shape (k, n)
        At most `MOST_DIGITS` digits each.
    part_lengths : shape (k, n)
        Digits behind the point.

    Returns
    -------
    list of k decimal128(38, 18) arrays, shape (n,)
    """
    # whole × 10^18 as 128 bits from four products of 32 bit halves, plus the part, which has less than 64 bits.
    scale = 10**_SCALE
    scale_high, scale_low = np.uint64(scale >> 32), np.uint64(scale & 0xFFFFFFFF)
    high, low = whole >> _HALF, whole & _LOW
    middle = high * scale_low + (low * scale_low >> _HALF)
    rest = low * scale_high + (middle & _LOW)
    lower = whole * np.uint64(scale)
    added = lower + part * _POWERS.take(_SCALE - part_lengths, mode="clip")
    both = np.empty((*whole.shape, 2), dtype="<u8")
    both[..., 0] = added
    both[..., 1] = high * scale_high + (middle >> _HALF) + (rest >> _HALF) + (added < lower)
    return [pa.Array.from_buffers(DECIMAL, len(column), [None, pa.py_buffer(column)]) for column in both]


def truths(memory: Words, ends: Positions, lengths: Positions) -> tuple[Marks, Marks]:
    """Read JSON's ``true`` and ``false``; return the values, and where there is one of the two."""
    word = _cleared(memory[ends - _WORD], lengths)
    true = (word == _TRUE) & (lengths == len("true"))
    return true, true | (word == _FALSE) & (lengths == len("false"))


class Names:
    """Known things, each with one text or several, told by their number.

    Parameters
    ----------
    texts : shape (things, k)
        The first text of each is another one.
    words : shape (k,)
        How many words each text may have; a thing with a longer one is never found.
    """

    __slots__ = ("_back", "_keys", "_lengths", "_numbers", "_text", "_words")

    def __init__(self, texts: Sequence[Sequence[bytes]], *, words: Sequence[int]) -> None:
        sizes = [count * _WORD for count in words]
        padded = b"".join(
            text[-size:].rjust(size, b"\0") for row in texts for text, size in zip(row, sizes, strict=True)
        )
        self._words = np.ascontiguousarray(np.frombuffer(padded, "<u8").reshape(len(texts), sum(words)).T)
        self._lengths = np.array([list(map(len, row)) for row in texts], dtype=np.int64).T
        self._lengths[:, (self._lengths > np.array(sizes)[:, None]).any(axis=0)] = -1
        self._text = np.repeat(np.arange(len(words)), words)
        self._back = np.concatenate([np.arange(count)[::-1] for count in words])[:, None] * _WORD
        keys = self._mixed(self._words)
        self._numbers = np.argsort(keys, kind="stable")
        self._keys = keys[self._numbers]

    def numbers(self, memory: Words, ends: Positions, lengths: Positions) -> tuple[NDArray[np.intp], Marks]:
        """Return the number of what has these texts, and where there is one.

        Parameters
        ----------
        memory, ends, lengths
            As for `digits`, shape (k, n).

        Returns
        -------
        numbers, good : shape (n,)
        """
        seen = _cleared(memory[ends[self._text] - (self._back + _WORD)], lengths[self._text] - self._back)
        numbers = self._numbers.take(np.searchsorted(self._keys, self._mixed(seen)), mode="clip")
        good: Marks = (self._words.take(numbers, axis=1) == seen).all(axis=0)
        good &= (self._lengths.take(numbers, axis=1) == lengths).all(axis=0)
        return numbers, good

    def _mixed(self, words: Words) -> Words:
        """One number for the first text; of two texts that share one the second is never found."""
        mixed: Words = words[0]
        for word in words[1 : int(np.count_nonzero(self._text == 0))]:
            mixed = mixed * np.uint64(0x9E3779B97F4A7C15) ^ word
        return mixed


def _cleared(word: Words, lengths: Positions) -> Words:
    """Put zeros in place of the bytes before a text's beginning, in the words at its end."""
    spare = np.maximum(_WORD - lengths, 0).view(np.uint64)
    spare *= _BITS
    word >>= spare  # by all 64 bits or more leaves zero
    word <<= spare
    return word
