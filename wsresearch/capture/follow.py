"""Keeping up with a table while it is recorded: each row once, across rotations and seals; no thread is started here.

Whoever wants to keep up calls `Follow.poll` from time to time.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from wsresearch.capture.journal import Follower
from wsresearch.capture.rows import capture_is_there, refuse_unread, segment_rows, summary
from wsresearch.capture.scan import Place, Places, find, places
from wsresearch.capture.sealed import chosen
from wsresearch.capture.window import EVER, Window
from wsresearch.errors import UsageError
from wsresearch.schema import SCHEMAS, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsresearch.capture.buffer import BufferCounts, RollingBuffer
    from wsresearch.capture.layout import Layout, Segment

__all__ = ["Follow"]

_ROWS_AT_ONCE: Final = 65_536
"""Rows decoded before they are handed to the buffer: bounds the memory that catching up takes."""

_QUIET_POLLS: Final = 64
"""Every so many polls that brought nothing, the Parquet files are listed too, whatever the journals say: see
`Follow._begun_since`."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """A journal that is not at its end yet, and how many of its rows were taken."""

    follower: Follower
    rows: int = 0


class Follow:
    """A rolling buffer that `poll` brings up to date with what is recorded.

    Made by `Reader.follow`. Of the rows that existed when it was made, those of `backfill` are in the
    buffer; of the rows recorded later each is added exactly once, in the order described at `Reader`.

    Parameters
    ----------
    layout, table
        What is followed.
    buffer
        Where the rows go.
    backfill
        Which of the rows that exist already are wanted; None for none.
    may_hold
        Says of a segment whose date can be one of `backfill` whether it can hold rows of it (it may say yes too
        often).

    Raises
    ------
    NotACapture, CaptureDamaged, CaptureError
        As `Reader.trades`.

    Notes
    -----
    Segments up to number `_high` are known: each is *open*, with its journal open here and a count of the rows
    taken, or *done*. It is done when its end-of-stream marker was read (nothing can follow), or when a listing
    shows that its journal has been retired; then the open file, which outlives its name, is read to its end once
    more. The rows of a Parquet file are those of its journal in the same order, so a segment that was sealed
    before its journal could be opened, or that could not be read to its end, goes on at the same row.
    """

    def __init__(
        self,
        layout: Layout,
        table: TableName,
        *,
        buffer: RollingBuffer,
        backfill: Window | None,
        may_hold: Callable[[Place], bool],
    ) -> None:
        self._layout = layout
        self._table = table
        self._buffer = buffer
        self._polling = threading.Lock()
        self._open: dict[Segment, _Open] = {}
        self._high = 0
        self._quiet = 0
        self._closed = False
        found = places(layout, table)
        for place in found if backfill is None else found.within(backfill):
            if place.journal or (backfill is not None and may_hold(place)):
                self._begin(place, backfill)
        self._high = found.numbers[-1] if found.numbers else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._buffer)

    def __repr__(self) -> str:
        return f"<Follow {self._table} of {str(self._layout.root)!r}: {len(self._buffer):,} rows held>"

    @property
    def counts(self) -> BufferCounts:
        """What went through the buffer."""
        return self._buffer.counts

    def snapshot(self) -> pa.Table:
        """The rows held after the last `poll`, oldest first: a table that never changes. Any thread may ask."""
        return self._buffer.snapshot()

    def close(self) -> None:
        """Close the files and follow no further; the snapshot stays."""
        with self._polling:
            for opened in self._open.values():
                opened.follower.close()
            self._open.clear()
            self._closed = True

    def poll(self) -> int:
        """Add what was recorded since the last call, and return how many rows that was.

        Any thread may call it; one at a time works, the others wait.

        Raises
        ------
        NotACapture
            If the capture has gone.
        UsageError
            After `close`.
        CaptureDamaged, CaptureError
            If a file cannot be read. The next call goes on where this one could not.
        """
        with self._polling:
            if self._closed:
                raise UsageError(f"{self!r} is closed: follow the capture anew")
            capture_is_there(self._layout)
            before = self._buffer.counts.added
            self._drain_all()
            # Listed once, not until nothing is new: a writer that rotates fast must not hold the caller.
            begun, listed = self._begun_since()
            if begun:
                # What is listed before the last of these is finished, but rows may have come since it was read.
                self._drain_all()
            for place in begun:
                self._begin(place, EVER)
                self._high = place.segment.number
            del listed  # kept until here, so that none of it was pruned before it was read
            for opened in self._open.values():
                refuse_unread(self._layout, opened.follower)
            added = self._buffer.counts.added - before
            self._quiet = 0 if added else self._quiet + 1
            return added

    def _begun_since(self) -> tuple[list[Place], Places | None]:
        """Return the segments that are not known yet, in their order, with their list; be done with those retired.

        Mostly a look at the journals tells all. The Parquet files, which may be many, must be listed as
        well when segments may have come and gone unseen: when one we knew has been retired, when the newest
        we know is done, and when the numbers of the new ones do not follow on those known. One case would
        escape: a journal that nobody seals while later segments are begun and retired between two polls;
        hence a look now and then.

        If segments were pruned before they were taken, the rows held are forgotten, for those that come do not follow
        on them; that takes a follower that was not polled for as long as trades are kept.
        """
        journals = self._layout.journals(self._table)
        retired = sorted(self._open.keys() - set(journals))
        fresh = [segment for segment in journals if segment.number > self._high]
        in_order = [segment.number for segment in fresh] == list(range(self._high + 1, self._high + 1 + len(fresh)))
        newest_is_open = any(segment.number == self._high for segment in self._open)
        if not retired and in_order and newest_is_open and (self._quiet + 1) % _QUIET_POLLS:
            return [Place(segment=segment, journal=True, parquet=None) for segment in fresh], None
        found = places(self._layout, self._table)
        for segment in retired:
            self._retire(segment, found.find(segment))
        if found.pruned is not None and found.pruned.through > self._high:
            self._buffer.forget()
        return [place for place in found if place.segment.number > self._high], found

    def _begin(self, place: Place, window: Window | None) -> None:
        """Take the rows of a segment not seen before, those in `window` into the buffer."""
        now: Place | None = place
        if place.journal:
            try:
                self._open[place.segment] = _Open(follower=Follower(self._layout, place.segment))
            except FileNotFoundError:
                now = find(self._layout, place.segment)  # sealed meanwhile
            else:
                self._drain(place.segment, window)
                return
        if now is not None and window is not None:
            self._add(segment_rows(self._layout, now), window)

    def _drain_all(self) -> None:
        for segment in list(self._open):
            self._drain(segment, EVER)

    def _drain(self, segment: Segment, window: Window | None) -> None:
        """Take what a journal has verified since; be done with it at its end."""
        opened = self._open[segment]
        while batches := opened.follower.poll(max_rows=_ROWS_AT_ONCE):
            table = pa.Table.from_batches(batches, SCHEMAS[self._table]).combine_chunks()
            opened.rows += table.num_rows
            self._add(table, window)
        if opened.follower.closed:
            opened.follower.close()
            del self._open[segment]

    def _retire(self, segment: Segment, place: Place | None) -> None:
        """Read a journal that has lost its name to its end, for good."""
        self._drain(segment, EVER)
        opened = self._open.get(segment)
        if opened is None:
            return  # it ended properly
        known = None if place is None else summary(self._layout, place)
        if place is not None and known is not None and known.rows > opened.rows:
            # More than the journal let us see: it could not be read (an input/output error), its sealer could.
            self._add(segment_rows(self._layout, place).slice(opened.rows), EVER)
        opened.follower.close()
        del self._open[segment]

    def _add(self, table: pa.Table, window: Window | None) -> None:
        if window is not None:
            self._buffer.add(chosen(table, self._table, window=window))
