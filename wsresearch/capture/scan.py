"""Which segments a table has at this moment, and where each can be read; no file is opened here.

The argument that readers rest on
---------------------------------
A segment lives through these moments, in this order: *begun* (its journal appears), *finished* (the writer
is done with it, and only then begins the next number), *sealed* (its Parquet file appears whole, by a
rename), *retired* (its journal is removed). So at any moment after *begun* it has a journal, a Parquet file
or both.

1. Journals are listed first, Parquet files after that. A segment begun before the listing starts is found: if
   its journal was not retired while the journals were being listed, it is among them (a directory listing
   returns every entry that is there from its beginning to its end); if it was, its Parquet file was there
   before the Parquet files were listed. Listed the other way round, a segment sealed and retired between the
   two would be in neither.
2. A segment in both lists is one `Place`, so its rows are read once.
3. A listing may return an entry that appeared while it ran and miss one that appeared shortly *before* that
   one. So segment 8 may be listed and 7, begun during the listing too, not: a hole in the middle. Numbers
   rise by one from 1, so where those found are not 1, 2, 3, … to the last, everything is listed again and cut
   at the highest number found first: all up to that one were begun before the second listing, for which 1.
   holds. (A number that is missing for good, because a full disk let nothing begin, costs that second look.)
4. What is begun later than that is left out: rows that come after all that is returned. The last segment found
   may grow and is read as far as it is when its turn comes; every other one was finished when the last one was
   begun, so all of it is read. What a reader returns is therefore a prefix of what was recorded, and at least
   all that was recorded when it was called.
5. A listed journal that cannot be opened any more was retired, so its Parquet file is there: `find` looks
   again. A listed Parquet file that has gone failed a check in a recovery, which removes it while the journal
   is there.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from typing import TYPE_CHECKING, Final

from wsresearch.capture.layout import Layout, Segment
from wsresearch.errors import CaptureDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wsresearch.capture.window import Window
    from wsresearch.schema import TableName

__all__ = ["Place", "Places", "doubles", "find", "places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a segment could be read when it was listed.

    Attributes
    ----------
    segment
        Which one.
    journal
        Whether its journal was there.
    parquet
        Its sealed file, None if there was none.
    date
        UTC date of all of its rows as the folder of its sealed file says it, None where there was none.
    """

    segment: Segment
    journal: bool
    parquet: Path | None
    date: Date | None = None


class Places:
    """The segments of a table at one moment, each once, in the order of their numbers, which is that of the rows.

    A `Place` is made when its turn comes: a month leaves nine thousand segments, and most reads want the newest few.

    Parameters
    ----------
    layout, table
        Which table.
    journals
        Segments listed as journals.
    sealed
        Number and date folder of those listed as sealed files.
    highest
        Number after which segments are left out; None for none.

    Attributes
    ----------
    numbers
        Their numbers, rising.

    Raises
    ------
    CaptureDamaged
        If two date folders hold a file of the same segment: nobody can tell which is meant.
    """

    __slots__ = ("_dates", "_journals", "_layout", "_table", "numbers")

    def __init__(
        self,
        layout: Layout,
        table: TableName,
        *,
        journals: Iterable[Segment],
        sealed: Iterable[tuple[int, Date]],
        highest: int | None = None,
    ) -> None:
        self._layout, self._table = layout, table
        self._journals = {segment.number for segment in journals}
        self._dates: dict[int, Date] = {}
        for number, date in sealed:
            if self._dates.setdefault(number, date) != date:
                one, other = (layout.parquet_path(Segment(table, number), of) for of in (self._dates[number], date))
                raise CaptureDamaged(
                    f"{str(one)!r} and {str(other)!r} are the same segment: "
                    "move the one that does not belong there out of the capture (`wsresearch verify` tells which)"
                )
        found = sorted(self._journals | self._dates.keys())
        self.numbers: Final = found if highest is None else found[: bisect_right(found, highest)]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Place]:
        return map(self._place, self.numbers)

    def __reversed__(self) -> Iterator[Place]:
        return map(self._place, reversed(self.numbers))

    def find(self, segment: Segment) -> Place | None:
        """Return where a segment is, None if it was not listed."""
        number = segment.number
        return self._place(number) if number in self._journals or number in self._dates else None

    def within(self, window: Window) -> Iterator[Place]:
        """Return the segments that can hold rows of a window; one that is not sealed yet has no date that denies it."""
        outside = {date for date in set(self._dates.values()) if not window.may_hold_date(date)}
        return (self._place(number) for number in self.numbers if self._dates.get(number) not in outside)

    def _place(self, number: int) -> Place:
        segment, date = Segment(self._table, number), self._dates.get(number)
        path = None if date is None else self._layout.parquet_path(segment, date)
        return Place(segment=segment, journal=number in self._journals, parquet=path, date=date)


def places(layout: Layout, table: TableName) -> Places:
    """Return every segment of a table.

    Raises
    ------
    CaptureDamaged
        If two date folders hold a file of the same segment: nobody can tell which is meant.
    """
    first = _listed(layout, table)
    if not first.numbers or (first.numbers[0] == 1 and first.numbers[-1] == len(first)):
        return first
    return _listed(layout, table, highest=first.numbers[-1])


def find(layout: Layout, segment: Segment) -> Place | None:
    """Look for one segment again; None if it has neither a journal nor a Parquet file."""
    return _listed(layout, segment.table).find(segment)


def doubles(layout: Layout, table: TableName) -> list[tuple[Path, Path]]:
    """Return sealed files of the same segment that lie in different date folders; `places` refuses those."""
    seen: dict[str, Path] = {}
    return [(seen[path.name], path) for path in layout.parquets(table) if seen.setdefault(path.name, path) != path]


def _listed(layout: Layout, table: TableName, *, highest: int | None = None) -> Places:
    journals = layout.journals(table)  # first: see the argument above
    return Places(layout, table, journals=journals, sealed=layout.sealed(table), highest=highest)
