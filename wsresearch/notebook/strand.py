"""One table of a capture, kept up with and read backwards as far as it is wanted; what its rows mean is not here.

The newest rows come from `Follow`, each exactly once. What was sealed before is fetched one segment at a time, the
newest first, so that neither the first look nor any later one costs more because a capture is long.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from wsresearch.capture.buffer import RollingBuffer
from wsresearch.capture.follow import Follow
from wsresearch.capture.layout import Layout
from wsresearch.capture.rows import segment_rows
from wsresearch.capture.scan import Place, places
from wsresearch.capture.window import EVER
from wsresearch.schema import SCHEMAS, TIME_COLUMN, TableName

__all__ = ["Strand"]

_MOST_BYTES: Final = 64 << 20


class Strand:
    """The newest rows of one table.

    Parameters
    ----------
    layout, table
        What is read.
    most_rows
        Rows held at most; the oldest go first.

    Raises
    ------
    NotACapture, CaptureDamaged, CaptureError
        As `wsresearch.capture.reader.Reader.trades`.

    Notes
    -----
    Sealed segments without a journal are listed first, and whatever is not among them is taken over by the `Follow`:
    a segment that is sealed between the two listings is in one of them, and only in one.
    """

    def __init__(self, layout: Layout, table: TableName, *, most_rows: int) -> None:
        self._layout = layout
        self._table = table
        self._most_rows = most_rows
        self._unread: list[Place] = [place for place in places(layout, table) if not place.journal]
        sealed = {place.segment for place in self._unread}
        self._older: list[pa.Table] = []
        self._follow = Follow(
            layout,
            table,
            buffer=RollingBuffer(max_rows=most_rows, max_bytes=_MOST_BYTES, max_age=None, schema=SCHEMAS[table]),
            backfill=EVER,
            may_hold=lambda place: place.segment not in sealed,
        )
        self._told = 0
        self._oldest: int | None = None

    @property
    def rows(self) -> pa.Table:
        """The rows held, oldest first."""
        return pa.concat_tables([*self._older, self._follow.snapshot()])

    @property
    def has_all(self) -> bool:
        """Whether nothing older is left to fetch, or room for it."""
        return not self._unread or len(self._follow) + sum(map(len, self._older)) >= self._most_rows

    def reaches(self, since: int | None) -> bool:
        """Tell whether the rows held go back to a time (ns since 1970), or as far as they can."""
        return self.has_all or (since is not None and self._oldest is not None and self._oldest <= since)

    def poll(self) -> pa.Table:
        """Return the rows recorded since the last call: at the first one, those that are not sealed yet."""
        self._follow.poll()
        counts = self._follow.counts
        new, self._told = counts.added - self._told, counts.added
        held = self._follow.snapshot()
        rows = held.slice(max(0, len(held) - new))
        if self._oldest is None:
            self._note_oldest(rows)
        self._trim()
        return rows

    def fetch(self) -> pa.Table:
        """Return the rows of one older segment, which must be there.

        Raises
        ------
        CaptureDamaged, CaptureError
            If it cannot be read. It is left out then, and the next call goes on before it.
        """
        rows = segment_rows(self._layout, self._unread.pop())
        self._older.insert(0, rows)
        self._note_oldest(rows)
        return rows

    def close(self) -> None:
        """Close the files."""
        self._follow.close()

    def _note_oldest(self, rows: pa.Table) -> None:
        if len(rows):
            self._oldest = rows[TIME_COLUMN[self._table]][0].value

    def _trim(self) -> None:
        while self._older and sum(map(len, self._older[1:])) + len(self._follow) >= self._most_rows:
            del self._older[0]
