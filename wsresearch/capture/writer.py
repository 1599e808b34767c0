"""Writes a capture's journals: batches in, finished segments out; nothing is sealed, read back or timed here.

A table has one segment open at a time, and **the writer is done with a segment before it begins the next**:
a reader that sees the next one knows that the one before is complete. A segment holds rows of one UTC date, so a
row of another date ends it. Rows that arrive together are grouped by date first (within a date they keep their
order), so a batch that straddles midnight in any order ends one segment, not one per row. Late rows of yesterday
after midnight get a segment of yesterday; as receive times do not step back within a connection, that happens at
most once per connection and midnight.

A segment that met an error is given up where it stands: its verified prefix stays as it is, nothing is truncated
(a reader may have the file open), and the next row begins a new segment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.append import UNUSED_KEY, SegmentWriter
from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.pruned import read_pruned
from wsresearch.errors import UsageError
from wsresearch.schema import SCHEMAS, TIME_COLUMN, TableName

__all__ = ["AppendError", "CaptureWriter", "Rotation"]

_MESSAGE_ROWS: Final = 65_536
"""Rows of one journal message at most: a reader holds a message as a whole, and its length must fit 32 bits."""

_NS_A_DAY: Final = 86_400 * 10**9
_DAY_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC).date().toordinal()


class AppendError(OSError):
    """The disk took some rows of a batch and refused the others.

    Attributes
    ----------
    recorded
        Rows of the batch that are recorded and that readers see; at least one.
    remaining
        The other rows, none of which any reader sees. Append them again and every row is recorded once.
    """

    recorded: int
    remaining: pa.RecordBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a segment ends, besides midnight UTC.

    Parameters
    ----------
    age
        Seconds after it was begun.
    rows
        Rows; exact, a batch is split where it crosses.

    Raises
    ------
    UsageError
        If one of them is not positive and finite.
    """

    age: float = 300.0
    rows: int = 1_000_000

    def __post_init__(self) -> None:
        if not (math.isfinite(self.age) and self.age > 0):
            raise UsageError(f"rotation age {self.age!r} s is not positive: give the seconds a segment may last")
        if self.rows < 1:
            raise UsageError(f"rotation rows {self.rows!r} is not positive: give the rows a segment may hold")


@dataclass(slots=True, kw_only=True)
class _Open:
    """A segment being written, the date of its rows, and when it was begun on the clock of the caller."""

    writer: SegmentWriter
    date: Date
    since_ns: int


class CaptureWriter:
    """Appends batches to the journals of one capture.

    One thread at a time; nothing is kept in memory, so there is nothing to flush.

    Parameters
    ----------
    root
        The capture directory; it must exist, and the caller holds its lock.
    rotation
        When a segment ends.
    carry
        Called with the table when a segment of it begins; returns key/value pairs (UTF-8) for its schema, which
        stay with the rows into Parquet: what earlier segments established and a reader of this one must know.
    on_finished
        Called with every segment that holds rows as soon as nothing more will be written to it, in the thread of
        the caller: it hands the segment on to whoever seals it.
    on_split
        Called with the rows of a batch that are recorded while others of it are not yet: what follows goes into
        another segment, and `carry` is asked for it next.
    disk
        What changes the disk.
    """

    def __init__(
        self,
        root: Path,
        *,
        rotation: Rotation | None = None,
        carry: Callable[[TableName], Mapping[bytes, bytes]] | None = None,
        on_finished: Callable[[Segment], None] | None = None,
        on_split: Callable[[TableName, pa.RecordBatch], None] | None = None,
        disk: Disk = REAL_DISK,
    ) -> None:
        self._layout = Layout(root)
        self._rotation = rotation or Rotation()
        self._carry = carry
        self._on_finished = on_finished
        self._on_split = on_split
        self._disk = disk
        self._open: dict[TableName, _Open] = {}
        self._following: dict[TableName, Segment] = {}
        self._unused: dict[TableName, int] = {}
        self._names_unsynced = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, table: TableName, batch: pa.RecordBatch, *, now_ns: int) -> None:
        """Record a batch; when this returns every reader sees its rows, and kill -9 takes none of them away.

        Parameters
        ----------
        table
            Where the rows belong.
        batch
            Any number of rows, with the schema of the table and no null in its time column.
        now_ns
            Nanoseconds of the clock that `tick` uses; ages are told by it, dates by the rows.

        Raises
        ------
        UsageError
            If the batch is not one of `table`, or the writer is closed. Nothing is recorded.
        AppendError
            If the disk took only a part of a batch that had to be split; it carries the rest.
        OSError
            If the disk refused; nothing of the batch is recorded.
        """
        if self._closed:
            raise UsageError(f"the writer of {str(self._layout.root)!r} is closed: open another one")
        _check(table, batch)
        rest = self._by_date(table, batch)
        recorded = 0
        try:
            self._finish_if_due(table, now_ns)
            while rest:
                date, rows = rest[0]
                opened = self._opened_for(table, date, now_ns)
                part = rows.slice(0, min(self._rotation.rows - opened.writer.rows, _MESSAGE_ROWS))
                try:
                    opened.writer.append(part)
                except OSError:
                    self._give_up(table)
                    raise
                recorded += part.num_rows
                rest[:1] = [(date, rows.slice(part.num_rows))] if part.num_rows < rows.num_rows else []
                if rest and self._on_split:
                    self._on_split(table, part)
        except OSError as error:
            if not recorded:
                raise
            partial = AppendError(error.errno, error.strerror or str(error), error.filename)
            partial.recorded = recorded
            partial.remaining = pa.concat_batches([rows for _, rows in rest])
            raise partial from error

    def tick(self, now_ns: int) -> None:
        """Finish the segments that are old or full although nothing is appended; call it now and then.

        Raises
        ------
        OSError
            If the disk refused. All that was due is finished or given up nevertheless; no row is lost.
        """
        self._each(lambda table: self._finish_if_due(table, now_ns))

    def sync(self) -> None:
        """Make all that was appended survive a power loss (``fdatasync``: median 1 ms, at times 30).

        Raises
        ------
        OSError
            If the disk refused. The segment in question is given up, as nobody can tell how much of it is on the
            disk, and handed to `on_finished` so that it is written anew.
        """
        self._each(self._sync)
        if self._names_unsynced:
            self._disk.fsync_dir(self._layout.journal_dir)
            self._disk.fsync_dir(self._layout.root)
            self._names_unsynced = False

    def close(self) -> None:
        """Finish every segment. Further calls do nothing.

        Raises
        ------
        OSError
            If the disk refused. Every segment is finished or given up nevertheless; no row is lost.
        """
        self._closed = True
        self._each(self._finish)

    def _each(self, step: Callable[[TableName], None]) -> None:
        """Take a step for every open segment, then raise the first error that one of them met."""
        errors = []
        for table in list(self._open):
            try:
                step(table)
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _by_date(self, table: TableName, batch: pa.RecordBatch) -> list[tuple[Date, pa.RecordBatch]]:
        """Split a batch into its UTC dates: that of the open segment first, the others as they first occur."""
        if not batch.num_rows:
            return []
        time = batch.column(TIME_COLUMN[table])
        # Most batches are one row, an event or a second's stats: calling Arrow for its least and greatest takes longer
        # than writing it. A scalar's `value` is the integer, exactly.
        ends = (time[0], time[0]) if len(time) == 1 else pc.min_max(time).values()
        first, last = (end.value // _NS_A_DAY for end in ends)
        if first == last:
            return [(_date(first), batch)]
        # Day by day with exact integers: Arrow's own division rounds towards zero, and times may lie before 1970.
        days = pa.array([value // _NS_A_DAY for value in time.cast(pa.int64()).to_pylist()], pa.int64())
        parts = [(_date(day), batch.filter(pc.equal(days, day))) for day in days.unique().to_pylist()]
        opened = self._open.get(table)
        return sorted(parts, key=lambda part: opened is None or part[0] != opened.date)

    def _opened_for(self, table: TableName, date: Date, now_ns: int) -> _Open:
        """Return the open segment if it takes another row of `date`, else finish it and begin one that does."""
        opened = self._open.get(table)
        if opened and (opened.date != date or opened.writer.rows >= self._rotation.rows):
            self._finish(table)
            opened = None
        if opened is None:
            opened = self._open[table] = _Open(writer=self._begin(table), date=date, since_ns=now_ns)
        return opened

    def _begin(self, table: TableName) -> SegmentWriter:
        carried = dict(self._carry(table)) if self._carry else {}
        segment = self._following.get(table) or self._first(table)
        if unused := self._unused.get(table, 0):
            carried[UNUSED_KEY] = str(unused).encode()
        # A number is used up even if its files cannot be made: what a reader saw of it is never something else. The
        # next segment tells of it, so that nobody takes it for one that has gone.
        self._following[table] = Segment(table, segment.number + 1)
        self._unused[table] = unused + 1
        self._disk.mkdir(self._layout.journal_dir)
        self._names_unsynced = True
        return SegmentWriter(self._layout, segment, carried=carried, disk=self._disk)

    def _first(self, table: TableName) -> Segment:
        """Return the first segment after all that left a trace, what was pruned included: numbers are used once."""
        segment = self._layout.next_segment(table)
        pruned = read_pruned(self._layout) if table is TableName.TRADES else None
        return segment if pruned is None else max(segment, Segment(table, pruned.through + 1))

    def _finish_if_due(self, table: TableName, now_ns: int) -> None:
        opened = self._open.get(table)
        if opened is None:
            return
        # A clock set back must not keep a segment open for as long as it was set back.
        opened.since_ns = min(opened.since_ns, now_ns)
        if now_ns - opened.since_ns >= self._rotation.age * 1e9 or opened.writer.rows >= self._rotation.rows:
            self._finish(table)

    def _finish(self, table: TableName) -> None:
        try:
            self._open[table].writer.finish()
        except OSError:
            self._give_up(table)
            raise
        self._hand_on(table)

    def _sync(self, table: TableName) -> None:
        try:
            self._open[table].writer.sync()
        except OSError:
            self._give_up(table)
            raise

    def _give_up(self, table: TableName) -> None:
        with suppress(OSError):  # the error that brought us here is the one to tell
            self._open[table].writer.give_up()
        self._hand_on(table)

    def _hand_on(self, table: TableName) -> None:
        writer = self._open.pop(table).writer
        if not writer.rows:
            return
        self._unused[table] = 0
        if self._on_finished:
            self._on_finished(writer.segment)


def _date(day: int) -> Date:
    return Date.fromordinal(_DAY_ZERO + day)


def _check(table: TableName, batch: pa.RecordBatch) -> None:
    """Refuse what a reader of the journal would refuse: for it the segment would end there."""
    if not batch.schema.equals(SCHEMAS[table]):
        raise UsageError(f"a batch with columns {batch.schema.names} is none of {table}: build it with its schema")
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise UsageError(f"a batch of {table} is not valid Arrow: {' '.join(str(error).split())[:200]}") from error
    if batch.column(TIME_COLUMN[table]).null_count:
        raise UsageError(f"a batch of {table} has rows without {TIME_COLUMN[table]}: give every row its time")
