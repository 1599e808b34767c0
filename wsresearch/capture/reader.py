"""Reading a capture, running or not: `Reader` merges what is sealed with what is still in a journal.

It needs no lock and no collector and writes nothing. Why no row is missing and none is there twice while a
writer appends, rotates, seals and retires is argued in `scan`; what keeps up with a growing table is in
`follow`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.buffer import RollingBuffer
from wsresearch.capture.follow import Follow
from wsresearch.capture.identity import read_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.pruned import read_pruned
from wsresearch.capture.rows import SegmentSummary, capture_is_there, segment_rows, summary
from wsresearch.capture.scan import Place, Places, places
from wsresearch.capture.sealed import columns_of
from wsresearch.capture.window import Instant, Span, Window, instant, span
from wsresearch.errors import CaptureDamaged, UsageError
from wsresearch.schema import SCHEMAS, TIME_COLUMN, TableName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wsresearch.capture.identity import Identity
    from wsresearch.capture.layout import Segment
    from wsresearch.capture.pruned import Pruned

__all__ = ["Reader", "Totals"]

_Stretch: TypeAlias = "tuple[Instant | None, Instant | None, Span | None]"
"""``since``, ``until`` and ``last`` as they were given."""

_FOLLOW_ROWS: Final = 1_000_000
_FOLLOW_BYTES: Final = 256 * 1024 * 1024
"""A million trades are about 130 MB; what a notebook can spare without asking."""

_TOLD: Final = 20
"""Symbols named in the text of an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How much a capture holds, journals included, told from footers and indexes without reading a row.

    Attributes
    ----------
    trades, events, stats
        Rows of each table.
    segments
        Segments of all tables.
    size_bytes
        Bytes of their data files.
    """

    trades: int = 0
    events: int = 0
    stats: int = 0
    segments: int = 0
    size_bytes: int = 0


class Reader:
    """The tables of one capture, live rows included.

    Every call looks at the directory anew and returns a prefix of what was recorded, at least up to the moment of
    the call: each row once, in the order recorded, which is the order received (a batch that straddles midnight
    is recorded date by date). Of trades the beginning is left out that `prune` has removed: `pruned` tells of it. A
    reader may be shared by threads.

    Parameters
    ----------
    root
        The capture directory.

    Raises
    ------
    UsageError
        If it is no path.
    NotACapture
        If the directory is not there or holds no capture.
    CaptureTooNew
        If a later version of this package wrote it.

    Notes
    -----
    **Time.** Where a method takes ``since``, ``until`` and ``last``, it returns the rows with
    ``since <= time < until`` by the table's time column (``recv_time`` of trades, ``time`` of the others). `Instant`
    tells what ``since`` and ``until`` may be: an aware ``datetime`` or pandas ``Timestamp``, a cell of a time
    column, or an ISO text, which is UTC where it names no offset; a naive ``datetime`` is refused. ``last``
    (``"10min"``, a ``timedelta``, or seconds) counts back from the newest row of the *whole capture*, whichever table
    has it: so the same ``last`` cuts all tables at one instant, in an outage ``trades(last="1min")`` is empty as it
    should be, and a capture of last year can be asked too. It stands alone.

    **Cost.** A call lists the names of a table once, of all three with ``last``. Segments that cannot hold a row
    asked for are not read: their date folder says so, or, of the dates that fit, the statistics in their footer; not
    their number, for a clock may have stepped back. Footers are kept in memory, for a sealed file never changes.

    **Errors of the methods.** `UsageError` for a value that makes no sense; `NotACapture` if the directory
    has gone since; `CaptureDamaged` if a Parquet file needed fails a check, because leaving its rows out
    would falsify a result silently; `CaptureError` if a file may not be read.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        if not isinstance(root, str | os.PathLike):
            raise UsageError(f"the directory is {root!r}, but must be a path such as 'data/btc'")
        self._layout = Layout(Path(root))
        self._identity = read_identity(self._layout)
        self._known: dict[Segment, SegmentSummary] = {}

    def __repr__(self) -> str:
        return f"<Reader of {os.fspath(self._layout.root)!r}>"

    @property
    def root(self) -> Path:
        """The capture directory."""
        return self._layout.root

    @property
    def identity(self) -> Identity:
        """What ``capture.json`` said when the reader was made."""
        return self._identity

    def trades(
        self,
        since: Instant | None = None,
        until: Instant | None = None,
        symbols: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        last: Span | None = None,
    ) -> pa.Table:
        """Return trades in the order received.

        Parameters
        ----------
        since, until, last
            Which stretch of time, see the notes of the class. None: all.
        symbols
            One or several, of those that ``capture.json`` or a row names; upper and lower case mean the same. None:
            all.
        columns
            Which columns, in this order. None: all.

        Returns
        -------
        pyarrow.Table
            With the columns of `wsresearch.schema.TRADES`.
        """
        return self._read(TableName.TRADES, (since, until, last), columns, self._named(symbols))

    def batches(
        self,
        since: Instant | None = None,
        until: Instant | None = None,
        symbols: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        last: Span | None = None,
    ) -> pa.RecordBatchReader:
        """Return the rows of `trades` piece by piece: memory holds two segments, however long the capture is.

        Parameters as for `trades`. Symbols are encoded by dictionary, as they are stored. What is refused is refused
        by this call; damage is found when its segment is reached. The pieces can be gone through once; while one is
        worked on, the next is read.
        """
        names = self._named(symbols)
        schema, pieces = self._pieces(TableName.TRADES, (since, until, last), columns, names, encoded=True)
        return pa.RecordBatchReader.from_batches(
            schema, (batch for piece in _ahead(pieces) for batch in piece.to_batches())
        )

    def events(
        self,
        since: Instant | None = None,
        until: Instant | None = None,
        columns: Sequence[str] | None = None,
        last: Span | None = None,
    ) -> pa.Table:
        """Return everything that happened to the connections, in order; parameters as for `trades`."""
        return self._read(TableName.EVENTS, (since, until, last), columns)

    def stats(
        self,
        since: Instant | None = None,
        until: Instant | None = None,
        columns: Sequence[str] | None = None,
        last: Span | None = None,
    ) -> pa.Table:
        """Return the counters of each second, in order; parameters as for `trades`."""
        return self._read(TableName.STATS, (since, until, last), columns)

    def follow(
        self,
        *,
        table: TableName = TableName.TRADES,
        max_rows: int = _FOLLOW_ROWS,
        max_bytes: int = _FOLLOW_BYTES,
        max_age: float | None = None,
        backfill: Span | None = None,
    ) -> Follow:
        """Return a rolling buffer that keeps up with a table each time its ``poll`` is called.

        Parameters
        ----------
        table
            Which one.
        max_rows, max_bytes, max_age
            What the buffer holds at most, see `RollingBuffer`.
        backfill
            Begin with the rows of the last so much time; None begins with what comes from now on.
        """
        if table not in list(TableName):
            raise UsageError(f"table is {table!r}: give one of {', '.join(TableName)}")
        name = TableName(table)
        window = None if backfill is None else self.last_window(span(backfill, "backfill"))
        buffer = RollingBuffer(
            max_rows=max_rows,
            max_bytes=max_bytes,
            max_age=max_age,
            time_column=TIME_COLUMN[name],
            schema=SCHEMAS[name],
        )
        return Follow(
            self._layout,
            name,
            buffer=buffer,
            backfill=window,
            may_hold=lambda place: window is not None and self._may_hold(place, window),
        )

    def segments(self, table: TableName) -> list[SegmentSummary]:
        """Return what is known of each segment of a table without reading its rows, in their order."""
        found = (self._summary(place) for place in self._places(TableName(table)))
        return [known for known in found if known is not None]

    def totals(self) -> Totals:
        """Return how much there is, told from footers and indexes."""
        found = {table: self.segments(table) for table in TableName}
        return Totals(
            trades=sum(known.rows for known in found[TableName.TRADES]),
            events=sum(known.rows for known in found[TableName.EVENTS]),
            stats=sum(known.rows for known in found[TableName.STATS]),
            segments=sum(len(known) for known in found.values()),
            size_bytes=sum(known.size_bytes for several in found.values() for known in several),
        )

    def pruned(self) -> Pruned | None:
        """Return what `prune` removed, which no method returns rows of any more; None if nothing was."""
        return read_pruned(self._layout)

    def since_pruned(self, table: pa.Table, column: str) -> pa.Table:
        """Return the rows of any table that are later than all trades `prune` removed; all if it removed none.

        What is counted against the trades, such as false alarms a day, must be of the time of which there are trades.
        """
        pruned = self.pruned()
        if pruned is None or pruned.last is None:
            return table
        return table.filter(pc.greater(table[column], pa.scalar(pruned.last, pa.timestamp("us", tz="UTC"))))

    def _read(
        self,
        table: TableName,
        stretch: _Stretch,
        columns: Sequence[str] | None,
        symbols: Sequence[str] | None = None,
    ) -> pa.Table:
        schema, pieces = self._pieces(table, stretch, columns, symbols)
        return pa.concat_tables([pa.Table.from_batches([], schema), *pieces])

    def _pieces(
        self,
        table: TableName,
        stretch: _Stretch,
        columns: Sequence[str] | None,
        symbols: Sequence[str] | None,
        *,
        encoded: bool = False,
    ) -> tuple[pa.Schema, Iterator[pa.Table]]:
        """Return what each segment has of the rows asked for, read when its turn comes."""
        schema = SCHEMAS[table]
        if columns is not None:
            wrong = [name for name in columns if name not in schema.names]
            if isinstance(columns, str) or wrong or len(set(columns)) != len(columns) or not columns:
                raise UsageError(f"columns is {columns!r}: give a list of different ones of {', '.join(schema.names)}")
        schema = columns_of(table, columns or schema.names, encoded=encoded)
        listed = self._places(table)
        window = self._window(*stretch, listed={table: listed})
        return schema, (
            segment_rows(self._layout, place, columns=columns, window=window, symbols=symbols, encoded=encoded)
            for place in listed.within(window)
            if self._may_hold(place, window)
        )

    def _named(self, symbols: str | Sequence[str] | None) -> list[str] | None:
        """Return the symbols to look for, each as given and in upper case; None for all."""
        if symbols is None:
            return None
        given = [symbols] if isinstance(symbols, str) else list(symbols) if isinstance(symbols, Iterable) else []
        if not given or not all(isinstance(name, str) and name for name in given):
            raise UsageError(f"symbols is {symbols!r}: give names such as ['BTCUSDT'], or None for all")
        here = dict.fromkeys(self._identity.symbols)
        if _strange(given, here):  # only then is it worth the look at every row: somebody else may have written some
            for batch in self.batches(columns=["symbol"]):
                here.update(dict.fromkeys(batch.column(0).unique().to_pylist()))
        if strange := _strange(given, here):
            told = [*map(repr, list(here)[:_TOLD]), *(["…"] if len(here) > _TOLD else [])]
            raise UsageError(f"symbols: the capture has no {', '.join(map(repr, strange))}; it has {', '.join(told)}")
        return sorted({*given, *(name.upper() for name in given)})

    def _places(self, table: TableName) -> Places:
        found = places(self._layout, table)
        capture_is_there(self._layout)  # after the listing: a directory that has gone lists as an empty one
        return found

    def _window(
        self, since: Instant | None, until: Instant | None, last: Span | None, *, listed: Mapping[TableName, Places]
    ) -> Window:
        if last is not None:
            if since is not None or until is not None:
                raise UsageError(f"last is {last!r} beside since or until: give last alone, or since and until")
            return self.last_window(span(last, "last"), listed)
        return Window(
            since=None if since is None else instant(since, "since"),
            until=None if until is None else instant(until, "until"),
        )

    def last_window(self, length: int, listed: Mapping[TableName, Places] | None = None) -> Window:
        """Return the last so many ns of the whole capture; what is `listed` already is not listed again."""
        known = listed or {}
        every = (known[table] if table in known else self._places(table) for table in TableName)
        newest = [time for places in every if (time := self._newest(places)) is not None]
        return Window(since=max(newest) - length if newest else None)

    def _newest(self, listed: Places) -> int | None:
        """Time of the newest row of a table: of the last segment that has any."""
        for place in reversed(listed):
            known = self._summary(place)
            if known is not None and known.last is not None:
                return known.last
        return None

    def _may_hold(self, place: Place, window: Window) -> bool:
        """Whether a segment of a date that fits can hold rows of a window; a journal is read in any case."""
        if not window.bounded or place.parquet is None:
            return True
        try:
            known = self._summary(place)
        except CaptureDamaged:
            return True  # whoever reads it will say so, unless its journal is still there
        return known is None or known.first is None or known.last is None or window.may_hold(known.first, known.last)

    def _summary(self, place: Place) -> SegmentSummary | None:
        known = self._known.get(place.segment)
        if known is None:
            known = summary(self._layout, place)
            if known is not None and known.sealed:
                self._known[place.segment] = known
        return known


def _strange(given: Sequence[str], here: Iterable[str]) -> list[str]:
    """Return the names that are not there, neither as they are nor in upper case."""
    known = {*here, *(name.upper() for name in here)}
    return [name for name in given if name not in known and name.upper() not in known]


def _ahead(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the pieces, each read in a thread while the one before it is worked on."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as thread:
        waiting = thread.submit(next, pieces, None)
        while (piece := waiting.result()) is not None:
            waiting = thread.submit(next, pieces, None)
            yield piece
