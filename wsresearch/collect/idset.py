"""A set of integers as intervals: what is known of millions of ids in a few numbers; what ids mean is not here."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["MAX_INTERVALS", "IdSet"]

MAX_INTERVALS: Final = 4096
"""Intervals kept; beyond that the lowest are forgotten."""


class IdSet:
    """A set of integers of 64 bits held as disjoint, sorted, closed intervals that do not touch.

    Attributes
    ----------
    forgetful
        Whether it has ever held more than :data:`MAX_INTERVALS` intervals and let the lowest go.
    """

    __slots__ = ("_firsts", "_lasts", "forgetful")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        # Of eight bytes each; a list's numbers would take five times as much, for each hole of each symbol.
        self._firsts = array("q")
        self._lasts = array("q")
        self.forgetful = False
        for first, last in intervals:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __len__(self) -> int:
        return len(self._firsts)

    @property
    def lowest(self) -> int | None:
        """The lowest number, None if there is none."""
        return self._firsts[0] if self._firsts else None

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the intervals of what the set has in ``first..last``."""
        if not self._lasts or self._lasts[-1] < first:
            return []
        low, high = bisect_right(self._lasts, first - 1), bisect_right(self._firsts, last)
        pairs = zip(self._firsts[low:high], self._lasts[low:high], strict=True)
        return [(max(first, a), min(last, b)) for a, b in pairs]

    def add(self, first: int, last: int) -> None:
        """Add ``first..last``, joining whatever it touches."""
        if self._lasts and self._lasts[-1] == first - 1:  # what nearly always happens
            self._lasts[-1] = last
            return
        low = bisect_right(self._lasts, first - 2)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = array("q", [first])
        self._lasts[low:high] = array("q", [last])
        self._forget()

    def discard(self, first: int, last: int) -> None:
        """Take out whatever of ``first..last`` is in."""
        low, high = bisect_right(self._lasts, first - 1), bisect_right(self._firsts, last)
        if low >= high:
            return
        ends = ((self._firsts[low], first - 1), (last + 1, self._lasts[high - 1]))
        parts = [(a, b) for a, b in ends if a <= b]
        self._firsts[low:high] = array("q", [a for a, _ in parts])
        self._lasts[low:high] = array("q", [b for _, b in parts])
        self._forget()

    def remove(self, number: int) -> bool:
        """Take one number out; say whether it was in."""
        if number not in self:
            return False
        self.discard(number, number)
        return True

    def _forget(self) -> None:
        if len(self._firsts) > MAX_INTERVALS:
            self.forgetful = True
            del self._firsts[0], self._lasts[0]
