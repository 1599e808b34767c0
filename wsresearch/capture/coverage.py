"""Sets of trade ids as intervals: what is there, what is missing; no file and no event is here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Ids", "IdsBuilder"]

_PENDING: Final = 64
"""Pieces collected before they are merged: memory stays within that many segments' intervals of the final size."""


@dataclass(frozen=True, slots=True, eq=False)
class Ids:
    """A set of 64-bit integers as disjoint closed intervals that do not touch, in rising order.

    Attributes
    ----------
    firsts, lasts
        ``int64[n]``: the ends of the intervals, inclusive.
    """

    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]

    @classmethod
    def of(cls, ids: NDArray[np.int64]) -> Self:
        """Return the set of some ids, in any order, each as often as you like."""
        distinct = np.unique(ids)
        return cls._joined(distinct, distinct)

    @classmethod
    def spanning(cls, spans: Iterable[tuple[int, int]]) -> Self:
        """Return the set of all ids in some closed intervals; one that ends before it begins holds none."""
        pairs = sorted((first, last) for first, last in spans if first <= last)
        array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return cls._joined(array[:, 0], array[:, 1])

    @classmethod
    def union(cls, sets: Iterable[Ids]) -> Self:
        """Return all that is in any of the sets."""
        several = list(sets)
        firsts = np.concatenate([np.empty(0, np.int64), *(one.firsts for one in several)])
        lasts = np.concatenate([np.empty(0, np.int64), *(one.lasts for one in several)])
        order = np.argsort(firsts, kind="stable")
        return cls._joined(firsts[order], lasts[order])

    @classmethod
    def _joined(cls, firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> Self:
        """Join what overlaps or touches; `firsts` rise."""
        if not firsts.size:
            return cls(firsts, lasts)
        reach = np.maximum.accumulate(lasts)
        # As unsigned numbers the distance of any two int64 is right, where signed ones would overflow.
        apart = firsts[1:].astype(np.uint64) - reach[:-1].astype(np.uint64)
        begins = np.concatenate([[True], (firsts[1:] > reach[:-1]) & (apart > 1)])
        ends = np.concatenate([begins[1:], [True]])
        return cls(firsts[begins], reach[ends])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self.firsts.tolist(), self.lasts.tolist(), strict=True)))

    def __len__(self) -> int:
        """Number of intervals."""
        return int(self.firsts.size)

    def __contains__(self, number: int) -> bool:
        at = int(np.searchsorted(self.firsts, number, side="right")) - 1
        return at >= 0 and number <= int(self.lasts[at])

    def __repr__(self) -> str:
        return f"<Ids: {self.count:,} in {len(self):,} intervals>"

    @property
    def count(self) -> int:
        """Number of ids, exact however many."""
        return sum(last - first + 1 for first, last in self)

    def gaps(self) -> Ids:
        """Return the ids that lie between the intervals."""
        return Ids(self.lasts[:-1] + 1, self.firsts[1:] - 1)

    def __and__(self, other: Ids) -> Ids:
        both = []
        mine, theirs = list(self), list(other)
        here = there = 0
        while here < len(mine) and there < len(theirs):
            first, last = max(mine[here][0], theirs[there][0]), min(mine[here][1], theirs[there][1])
            if first <= last:
                both.append((first, last))
            if mine[here][1] < theirs[there][1]:
                here += 1
            else:
                there += 1
        return Ids.spanning(both)

    def __sub__(self, other: Ids) -> Ids:
        rest = []
        theirs = list(other)
        there = 0
        for first, last in self:
            begin = first
            while there < len(theirs) and theirs[there][1] < begin:
                there += 1
            at = there
            while at < len(theirs) and theirs[at][0] <= last:
                rest.append((begin, theirs[at][0] - 1))
                begin = theirs[at][1] + 1
                at += 1
            rest.append((begin, last))
        return Ids.spanning(rest)


class IdsBuilder:
    """Collects ids piece by piece; memory follows the number of intervals, not the number of ids."""

    __slots__ = ("_pieces", "rows")

    def __init__(self) -> None:
        self._pieces: list[Ids] = []
        self.rows = 0

    def add(self, ids: NDArray[np.int64]) -> None:
        """Take in some ids."""
        self.take(Ids.of(ids), rows=ids.size)

    def take(self, ids: Ids, *, rows: int) -> None:
        """Take in a set that so many rows had."""
        self.rows += rows
        self._pieces.append(ids)
        if len(self._pieces) > _PENDING:
            self._pieces = [Ids.union(self._pieces)]

    def ids(self) -> Ids:
        """Return the set of all taken in; ``rows - ids().count`` were there before."""
        self._pieces = [Ids.union(self._pieces)]
        return self._pieces[0]
