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

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsresearch.capture.layout import Layout, Segment
from wsresearch.errors import CaptureDamaged

if TYPE_CHECKING:
    from wsresearch.schema import TableName

__all__ = ["Place", "doubles", "find", "places"]


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
    """

    segment: Segment
    journal: bool
    parquet: Path | None

    @property
    def date(self) -> datetime.date | None:
        """UTC date of all of its rows as its folder says it, None where only the journal is there."""
        if self.parquet is None:
            return None
        return datetime.date.fromisoformat(self.parquet.parent.name.removeprefix("date="))


def places(layout: Layout, table: TableName) -> list[Place]:
    """Return every segment of a table once, in the order of their numbers, which is the order of the rows.

    Raises
    ------
    CaptureDamaged
        If two date folders hold a file of the same segment: nobody can tell which is meant.
    """
    first = _listed(layout, table)
    if [place.segment.number for place in first] == list(range(1, len(first) + 1)):
        return first
    last = first[-1].segment
    return [place for place in _listed(layout, table) if place.segment <= last]


def find(layout: Layout, segment: Segment) -> Place | None:
    """Look for one segment again; None if it has neither a journal nor a Parquet file."""
    return next((place for place in _listed(layout, segment.table) if place.segment == segment), None)


def doubles(layout: Layout, table: TableName) -> list[tuple[Path, Path]]:
    """Return sealed files of the same segment that lie in different date folders; `places` refuses those."""
    seen: dict[str, Path] = {}
    return [(seen[path.name], path) for path in layout.parquets(table) if seen.setdefault(path.name, path) != path]


def _listed(layout: Layout, table: TableName) -> list[Place]:
    journals = set(layout.journals(table))  # first: see the argument above
    sealed: dict[Segment, Path] = {}
    for path in layout.parquets(table):
        parsed = Segment.parse(path.name)
        if parsed is None:  # pragma: no cover - the layout lists no other names
            continue
        if parsed[0] in sealed:
            raise CaptureDamaged(
                f"{str(sealed[parsed[0]])!r} and {str(path)!r} are the same segment: "
                "move the one that does not belong there out of the capture (`wsresearch verify` tells which)"
            )
        sealed[parsed[0]] = path
    return [
        Place(segment=segment, journal=segment in journals, parquet=sealed.get(segment))
        for segment in sorted(journals | sealed.keys())
    ]
