"""Which segments a table has at this moment, and where each can be read; no row is read here.

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

Sealed trades may also be *pruned*: `prune` writes down which segments go, durably, and then removes their files, the
oldest first. What a reader returns is what it would have returned before that was written down, or after:

6. What is written down is read after the files were listed, and what it names is left out, be its file there or not.
   If it names a segment, the answer is that of *after*, without any of those that go with it: a file that was missed
   in the listing because it was just being removed is among them, for it was written down before. If it does not, no
   file of those had been removed when the listing ended: it is whole.
7. From then on a reader holds (see `hold`) the oldest sealed file that it listed. `prune` removes a file only if nobody
   holds it, and none beyond one that it could not remove. So all that was listed stays until the list is forgotten; if
   the file had gone already, everything is listed again. While no segment is sealed there is no such file, and the
   folder of the journals is held, which `prune` asks for as well before it removes anything. Nobody waits for ever:
   readers that come later leave out what was written down, and hold a later file.
8. Whoever goes through segments from the newest to the oldest needs no hold: when one has gone, so have all before it.
   One that is named as removed and has come back (a backup) is left out, by 6., as if it were not there.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from typing import TYPE_CHECKING, Final

from wsresearch.capture.hold import Hold, hold
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.pruned import Pruned, read_pruned
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import TableName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wsresearch.capture.window import Window

__all__ = ["Place", "Places", "doubles", "find", "listed", "places"]

_LOOKS: Final = 100
"""Each look but the first follows a file that `prune` removed at that very moment."""


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
    As long as this object is kept, none of them is pruned.

    Parameters
    ----------
    layout, table
        Which table.
    journals
        Segments listed as journals.
    sealed
        Number and date folder of those listed as sealed files.
    pruned
        What is written down as removed; None for nothing.
    highest
        Number after which segments are left out; None for none.

    Attributes
    ----------
    numbers
        Their numbers, rising.
    pruned
        As given.
    leftovers
        Sealed files that are written down as removed and still there, by number.

    Raises
    ------
    CaptureDamaged
        If two date folders hold a file of the same segment: nobody can tell which is meant.
    """

    __slots__ = ("_dates", "_held", "_journals", "_layout", "_table", "leftovers", "numbers", "pruned")

    def __init__(
        self,
        layout: Layout,
        table: TableName,
        *,
        journals: Iterable[Segment],
        sealed: Iterable[tuple[int, Date]],
        pruned: Pruned | None = None,
        highest: int | None = None,
    ) -> None:
        self._layout, self._table = layout, table
        self._journals = {segment.number for segment in journals}
        self._dates: dict[int, Date] = {}
        self._held: Hold | None = None
        self.pruned: Final = pruned
        self.leftovers: Final[list[tuple[int, Path]]] = []
        through, removed = (0, None) if pruned is None else (pruned.through, pruned.numbers)
        for number, date in sealed:
            if number <= through and removed is not None and number in removed:
                self.leftovers.append((number, layout.parquet_path(Segment(table, number), date)))
            elif self._dates.setdefault(number, date) != date:
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

    @property
    def has_no_hole(self) -> bool:
        """Whether each number from 1 to the last is there, or written down as removed."""
        removed = 0 if self.pruned is None else self.pruned.numbers.count
        return not self.numbers or (self.numbers[0] > 0 and self.numbers[-1] == len(self) + removed)

    def held(self) -> bool:
        """See to it that nothing listed is pruned while this object lives; False if it is too late for that."""
        if not self.numbers:
            return True
        oldest = min(self._dates, default=None)
        try:
            self._held = hold(
                self._layout.journal_dir
                if oldest is None
                else self._layout.parquet_path(Segment(self._table, oldest), self._dates[oldest])
            )
        except OSError:
            return True  # whoever may not open it is told so when it is read; nor is it pruned, for the same reason
        return self._held is not None

    def within(self, window: Window) -> Iterator[Place]:
        """Return the segments that can hold rows of a window; one that is not sealed yet has no date that denies it."""
        outside = {date for date in set(self._dates.values()) if not window.may_hold_date(date)}
        return (self._place(number) for number in self.numbers if self._dates.get(number) not in outside)

    def _place(self, number: int) -> Place:
        segment, date = Segment(self._table, number), self._dates.get(number)
        path = None if date is None else self._layout.parquet_path(segment, date)
        return Place(segment=segment, journal=number in self._journals, parquet=path, date=date)


def places(layout: Layout, table: TableName) -> Places:
    """Return every segment of a table; none of them is pruned as long as what is returned is kept.

    Raises
    ------
    CaptureDamaged
        If two date folders hold a file of the same segment: nobody can tell which is meant.
    CaptureError
        If nobody can tell what was pruned, see `read_pruned`.
    """
    for _ in range(_LOOKS):
        found = listed(layout, table)
        if not found.has_no_hole:
            found = listed(layout, table, highest=found.numbers[-1])
        if table is not TableName.TRADES or found.held():
            return found
    raise CaptureDamaged(f"{table} were listed {_LOOKS} times and never stood still: is something moving them?")


def listed(layout: Layout, table: TableName, *, highest: int | None = None) -> Places:
    """Return the segments that one look shows, held by nobody."""
    journals = layout.journals(table)  # first, and what was pruned last: see the argument above
    sealed = layout.sealed(table)
    pruned = read_pruned(layout) if table is TableName.TRADES else None
    return Places(layout, table, journals=journals, sealed=sealed, pruned=pruned, highest=highest)


def find(layout: Layout, segment: Segment) -> Place | None:
    """Look for one segment again; None if it has neither a journal nor a Parquet file.

    Whoever listed it wants it, whatever was written down since: it is there as long as that list is kept.
    """
    journals = layout.journals(segment.table)
    return Places(layout, segment.table, journals=journals, sealed=layout.sealed(segment.table)).find(segment)


def doubles(layout: Layout, table: TableName) -> list[tuple[Path, Path]]:
    """Return sealed files of the same segment that lie in different date folders; `places` refuses those."""
    seen: dict[str, Path] = {}
    return [(seen[path.name], path) for path in layout.parquets(table) if seen.setdefault(path.name, path) != path]
