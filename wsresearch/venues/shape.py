"""What many messages of one kind have in common: the bytes that are fixed, and where their values begin and end.

Not here: what a message means, any venue, and whether a value is good (:mod:`~wsresearch.venues.columns`).

A shape is learned from one example, a JSON document that a parser has taken, so it knows no order of keys and no
spacing beforehand. It then finds itself in a whole block at once. What makes that possible: between two values of
a JSON document there is a comma, and none of the values looked for has a comma inside. So commas (and the points
inside decimal numbers) cut a message into pieces with at most one value each; a value begins at a fixed distance
behind one cut and ends at a fixed distance before the next, however long it is.

A message has the shape only if every byte outside its values is that of the example. Thus it is the example with
other values, and as valid as these are. Anything else is left to whoever reads one message at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from wsresearch.venues.frames import Frames

__all__ = ["REACH", "Block", "Found", "Kind", "Shape"]

_LONGEST: Final = 2048
"""Bytes of an example; a trade has under 200, and what is fixed in a shape costs time for every message."""

REACH: Final = 32
"""Bytes before the end of a value that may be looked at, wherever that is."""

_MARGIN: Final = _LONGEST + REACH
"""Bytes to lay around a block, so that no look at what would be there in a message of the shape leaves it."""

_WORD: Final = 8
_TOKEN: Final = re.compile(
    rb"""[{}\[\]] | "(?P<key>[^"]*)"[ \t\r\n]*: | (?P<scalar>"[^"]*" | [-+.0-9eE]+ | true | false | null)""", re.VERBOSE
)
_WHOLE_NUMBER: Final = re.compile(rb"[0-9]+")
_CUTS: Final = b",."

Path = tuple[str, ...]
"""Keys from the outermost object to a value."""


class Kind(Enum):
    """What a value looks like, and so where it is cut."""

    WHOLE = auto()
    """a JSON number of digits only"""
    DECIMAL = auto()
    """a JSON string of digits, with a point among them or without"""
    TEXT = auto()
    """any JSON string"""
    TRUTH = auto()
    """``true`` or ``false``"""


class Block:
    """The messages of a block, laid out for looking at many places at once.

    Parameters
    ----------
    frames
        At least one message. Their bytes are copied once, so that no look near an end leaves the memory.
    """

    __slots__ = ("_cuts", "_first_cut", "cut_count", "ends", "starts", "words")

    def __init__(self, frames: Frames) -> None:
        margin = bytes(_MARGIN)
        memory = b"".join((margin, frames.span(), margin))
        shift = _MARGIN - int(frames.starts[0])
        self.starts = frames.starts + shift
        self.ends = frames.ends + shift
        self.words: NDArray[np.uint64] = np.ndarray((len(memory) - _WORD + 1,), np.dtype("<u8"), memory, strides=(1,))
        """The eight bytes from each position on, as one number whose lowest byte is the first."""
        # Both cuts differ in one bit.
        cut, point = _CUTS
        self._cuts = np.flatnonzero(np.frombuffer(memory, np.uint8) & (255 ^ cut ^ point) == cut & point)
        count = len(self.starts)
        each = len(self._cuts) // count
        grid = self._cuts.reshape(count, each) if each * count == len(self._cuts) and each else None
        if grid is not None and (grid[:, 0] >= self.starts).all() and (grid[:, -1] < self.ends).all():
            self._first_cut = np.arange(0, count * each, each)
            self.cut_count = np.full(count, each)
        else:
            self._first_cut = np.searchsorted(self._cuts, self.starts)
            self.cut_count = np.searchsorted(self._cuts, self.ends) - self._first_cut

    def marks(self, rows: NDArray[np.intp], cuts: int) -> NDArray[np.int64]:
        """Return start, cuts and end of messages with so many cuts; shape (cuts + 2, rows)."""
        marks = np.empty((cuts + 2, len(rows)), dtype=np.int64)
        marks[0] = self.starts[rows]
        np.take(self._cuts, self._first_cut[rows] + np.arange(cuts)[:, None], out=marks[1:-1], mode="clip")
        marks[-1] = self.ends[rows]
        return marks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Messages of one shape.

    Parameters
    ----------
    rows : array, shape (n,)
        Which messages of the block; rising.
    ends, lengths : int64 array, shape (values, n)
        Where each value ends in the block's memory, and how long it is; nothing is known of it yet, so a length
        may even be negative.
    """

    rows: NDArray[np.intp]
    ends: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def only(self, which: NDArray[np.bool_]) -> Found:
        """Return some of the messages."""
        return Found(rows=self.rows[which], ends=self.ends[:, which], lengths=self.lengths[:, which])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    name: str | None
    kind: Kind
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """What is fixed in a message, and where its values are.

    Parameters
    ----------
    places
        For each name which of a message's values it is; of a decimal with a point the two parts around it.
    whole
        Which values are whole numbers, those included that nobody asked for: their digits are not fixed, but must
        be digits.
    cuts
        Commas and points in a message.
    """

    places: Mapping[str, tuple[int, ...]]
    whole: tuple[int, ...]
    cuts: int
    _fixed_at: tuple[NDArray[np.intp], NDArray[np.int64]]
    _fixed_mask: NDArray[np.uint64]
    _fixed: NDArray[np.uint64]
    _begins_at: tuple[NDArray[np.intp], NDArray[np.int64]]
    _ends_at: tuple[NDArray[np.intp], NDArray[np.int64]]

    @classmethod
    def of(cls, example: bytes, wanted: Mapping[str, tuple[Path, Kind]]) -> Self | None:
        """Learn a shape.

        Parameters
        ----------
        example
            A valid JSON document.
        wanted
            By name, where each value is and what it looks like.

        Returns
        -------
        Shape or None
            None if the example does not have each wanted value exactly once and of its kind, or is written in a
            way that leaves doubt, such as with escaped characters.
        """
        if len(example) > _LONGEST or b"\\" in example:
            return None
        values = _values(example, wanted)
        if values is None:
            return None
        marks = [0, *(i for i, byte in enumerate(example) if byte in _CUTS), len(example)]
        begins, ends, fixed = [], [], []
        for left, right in zip([0, *(v.end for v in values)], [*(v.begin for v in values), len(example)], strict=True):
            # What is fixed between two values goes by the cuts in it, behind the last value by the message's end.
            inside = [i for i, mark in enumerate(marks) if left <= mark < right] or [len(marks) - 1]
            ends.append((inside[0], left - marks[inside[0]]))
            begins.append((inside[-1], right - marks[inside[-1]]))
            for end in range(right, left, -_WORD):
                text = example[max(left, end - _WORD) : end]
                place = (inside[0], end - _WORD - marks[inside[0]])
                fixed.append((place, text.rjust(_WORD, b"\0"), (b"\xff" * len(text)).rjust(_WORD, b"\0")))
        names = dict.fromkeys(value.name for value in values if value.name is not None)
        return cls(
            places={name: tuple(i for i, value in enumerate(values) if value.name == name) for name in names},
            whole=tuple(i for i, value in enumerate(values) if value.kind is Kind.WHOLE),
            cuts=len(marks) - 2,
            _fixed_at=_places([place for place, _, _ in fixed]),
            _fixed_mask=np.frombuffer(b"".join(mask for _, _, mask in fixed), "<u8")[:, None],
            _fixed=np.frombuffer(b"".join(text for _, text, _ in fixed), "<u8")[:, None],
            _begins_at=_places(begins[:-1]),
            _ends_at=_places(ends[1:]),
        )

    def find(self, block: Block, rows: NDArray[np.intp]) -> Found:
        """Return those of some messages that have this shape."""
        fitting = block.cut_count[rows] == self.cuts
        if not fitting.all():
            rows = rows[fitting]
        marks = block.marks(rows, self.cuts)
        seen = block.words[_at(marks, self._fixed_at)]
        seen &= self._fixed_mask
        same = (seen == self._fixed).all(axis=0)
        ends = _at(marks, self._ends_at)
        found = Found(rows=rows, ends=ends, lengths=ends - _at(marks, self._begins_at))
        return found if same.all() else found.only(same)


def _at(marks: NDArray[np.int64], places: tuple[NDArray[np.intp], NDArray[np.int64]]) -> NDArray[np.int64]:
    mark, offset = places
    at: NDArray[np.int64] = marks[mark]
    at += offset
    return at


def _places(places: list[tuple[int, int]]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    return (
        np.array([mark for mark, _ in places], dtype=np.intp),
        np.array([[offset] for _, offset in places], dtype=np.int64),
    )


def _values(example: bytes, wanted: Mapping[str, tuple[Path, Kind]]) -> list[_Value] | None:
    """Return the values of a document in their order, None if a wanted one is not there exactly once."""
    names = {path: name for name, (path, _) in wanted.items()}
    missing = set(names)
    values: list[_Value] = []
    for path, begin, end in _scalars(example):
        text = example[begin:end]
        if path not in names:
            if _WHOLE_NUMBER.fullmatch(text):
                values.append(_Value(name=None, kind=Kind.WHOLE, begin=begin, end=end))
            continue
        kind = wanted[names[path]][1]
        quoted = kind in {Kind.DECIMAL, Kind.TEXT}
        if path not in missing or quoted != text.startswith(b'"'):
            return None
        missing.remove(path)
        edges = [begin + quoted, end - quoted]
        if kind is Kind.DECIMAL and b"." in text:
            point = begin + text.index(b".")
            edges[1:1] = [point, point + 1]
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            values.append(_Value(name=names[path], kind=kind, begin=left, end=right))
    return None if missing else values


def _scalars(example: bytes) -> list[tuple[Path, int, int]]:
    """Return path, begin and end of all that is neither object nor array in a valid document without escapes."""
    found: list[tuple[Path, int, int]] = []
    outer: list[str] = []
    key = ""  # also that of every element of an array, which nobody can ask for
    for token in _TOKEN.finditer(example):
        text = token[0]
        if token["key"] is not None:
            key = token["key"].decode()
        elif text in {b"{", b"["}:
            outer.append(key)
            key = ""
        elif text in {b"}", b"]"}:
            key = outer.pop()
        elif token["scalar"] is not None:
            found.append(((*outer[1:], key), token.start(), token.end()))
    return found
