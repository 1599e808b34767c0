"""The rows of one segment, wherever they are at this moment: journal, Parquet file, or moving between the
two.

Which segments there are is asked of `scan`; nothing here is written or locked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from wsresearch.capture.guard import check_guard
from wsresearch.capture.journal import RECORD_BYTES, Follower, Record, read_index
from wsresearch.capture.reading import batches_of
from wsresearch.capture.scan import Place, find
from wsresearch.capture.sealed import chosen, columns_of, read_footer, read_sealed
from wsresearch.capture.window import EVER, Window
from wsresearch.errors import CaptureDamaged, CaptureError, NotACapture
from wsresearch.schema import SCHEMAS, TIME_COLUMN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wsresearch.capture.layout import Layout, Segment

__all__ = ["SegmentSummary", "capture_is_there", "metadata_of", "refuse_unread", "segment_rows", "summary"]

_LOOKS: Final = 10
"""A segment moves once in its life, from journal to Parquet. Two looks are enough unless a recovery
rebuilds the Parquet file just then, or somebody moves files about: then say so instead of looking for
ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSummary:
    """What is known of a segment without reading its rows.

    Attributes
    ----------
    segment
        Table and number.
    path
        The file that was looked at, Parquet where there is one.
    sealed
        Whether that is a Parquet file; if not, it is a journal that may be growing.
    rows
        Rows, as the footer or the valid records of the index say.
    first, last
        Lowest and highest time in ns since 1970 UTC as the statistics say; of a journal, the times of its
        first and last row. None if there are no rows.
    size_bytes
        Bytes of the file, index apart.
    """

    segment: Segment
    path: Path
    sealed: bool
    rows: int
    first: int | None
    last: int | None
    size_bytes: int


def metadata_of(layout: Layout, place: Place | None) -> Mapping[bytes, bytes]:
    """Return what the writer of a segment noted in its schema, wherever the segment is now; nothing if it has gone.

    Raises
    ------
    CaptureDamaged, CaptureError
        If it cannot be read.
    """
    while place is not None:
        try:
            if place.parquet is not None:
                check_guard(place.parquet)
                return pq.read_schema(place.parquet).metadata or {}
            with Follower(layout, place.segment) as follower:
                follower.poll(max_rows=1)
                return follower.schema_metadata or {}
        except FileNotFoundError:
            place = find(layout, place.segment)
    return {}


def segment_rows(
    layout: Layout,
    place: Place,
    *,
    columns: Sequence[str] | None = None,
    window: Window = EVER,
    symbols: Sequence[str] | None = None,
    encoded: bool = False,
) -> pa.Table:
    """Return the rows of a listed segment, in the order received; see `read_sealed` for the parameters.

    Of a journal these are the rows of its verified prefix: a batch without its valid record does not exist.

    Raises
    ------
    NotACapture
        If the whole capture has gone.
    CaptureDamaged, CaptureError
        If its Parquet file is damaged or may not be read, and its journal is not there any more.
    """
    name = place.segment.table
    schema = columns_of(name, list(columns or SCHEMAS[name].names), encoded=encoded)
    now: Place | None = place
    for _ in range(_LOOKS):
        if now is None:
            # A journal in which nothing was verified leaves no Parquet file when it is recovered.
            capture_is_there(layout)
            return schema.empty_table()
        try:
            if now.parquet is not None:
                return read_sealed(
                    now.parquet, now.segment, columns=columns, window=window, symbols=symbols, encoded=encoded
                )
            with Follower(layout, now.segment) as follower:
                table = pa.Table.from_batches(batches_of(follower), SCHEMAS[name]).combine_chunks()
                refuse_unread(layout, follower)
            return chosen(table, name, window=window, symbols=symbols).select(schema.names).cast(schema)
        except FileNotFoundError:
            now = find(layout, place.segment)
        except PermissionError as error:  # of a journal: what reads a sealed file has its own words
            raise _unread(layout, place.segment, error, "give yourself permission to read it") from error
        except CaptureDamaged:
            if not now.journal or now.parquet is None:
                raise
            now = Place(segment=now.segment, journal=True, parquet=None)  # recovery would rebuild it from there
    raise CaptureDamaged(f"{place.segment} was listed {_LOOKS} times and could not be opened: is something moving it?")


def summary(layout: Layout, place: Place) -> SegmentSummary | None:
    """Return what is known of a listed segment, reading a footer or an index; None if it has gone without a
    trace.

    Raises
    ------
    CaptureDamaged, CaptureError, NotACapture
        As `segment_rows`.
    """
    now: Place | None = place
    for _ in range(_LOOKS):
        if now is None:
            capture_is_there(layout)
            return None
        try:
            return _of_journal(layout, now.segment) if now.parquet is None else _of_parquet(now.parquet, now.segment)
        except FileNotFoundError:
            now = find(layout, place.segment)
        except PermissionError as error:  # of a journal: what reads a sealed file has its own words
            raise _unread(layout, place.segment, error, "give yourself permission to read it") from error
        except CaptureDamaged:
            if not now.journal or now.parquet is None:
                raise
            now = Place(segment=now.segment, journal=True, parquet=None)
    raise CaptureDamaged(f"{place.segment} was listed {_LOOKS} times and could not be opened: is something moving it?")


def refuse_unread(layout: Layout, follower: Follower) -> None:
    """Raise CaptureError if the disk kept back what a journal holds: a prefix cut by that is not the prefix."""
    if follower.error is not None:
        raise _unread(layout, follower.segment, follower.error, "check the disk and try again") from follower.error


def _unread(layout: Layout, segment: Segment, error: OSError, todo: str) -> CaptureError:
    path = os.fspath(layout.journal_path(segment))
    return CaptureError(f"{path!r} cannot be read ({error.strerror or error}): {todo}")


def capture_is_there(layout: Layout) -> None:
    """Raise NotACapture if the directory has been removed or emptied meanwhile: "gone" is not "no rows"."""
    if not layout.identity.exists():
        raise NotACapture(f"{os.fspath(layout.root)!r} holds no capture any more: was it moved or removed?")


def _of_parquet(path: Path, segment: Segment) -> SegmentSummary:
    footer = read_footer(path, segment)
    return SegmentSummary(
        segment=segment,
        path=path,
        sealed=True,
        rows=footer.rows,
        first=footer.first,
        last=footer.last,
        size_bytes=footer.size_bytes,
    )


def _of_journal(layout: Layout, segment: Segment) -> SegmentSummary:
    path = layout.journal_path(segment)
    with Follower(layout, segment) as follower:
        size_bytes, _ = follower.sizes()
        begin = follower.poll(max_rows=1)
        rows = sum(batch.num_rows for batch in begin)
        # Without a single valid record there is no row, and perhaps no index either.
        more, records = _rows_from(layout, segment, follower.records) if follower.records else (0, 0)
        # The last valid record may be the end of the stream: then the batch is in the one before it.
        end = begin
        if more:
            follower.skip_to(records - 2)
            end = follower.poll() or begin
    time = TIME_COLUMN[segment.table]
    return SegmentSummary(
        segment=segment,
        path=path,
        sealed=False,
        rows=rows + more,
        first=begin[0].column(time)[0].value if begin else None,
        last=end[-1].column(time)[-1].value if end else None,
        size_bytes=size_bytes,
    )


def _rows_from(layout: Layout, segment: Segment, record: int) -> tuple[int, int]:
    """Rows in the valid records of an index from `record` on, and the number of valid records in all."""
    raw = read_index(layout, segment)
    rows = 0
    for start in range(record * RECORD_BYTES, len(raw) - RECORD_BYTES + 1, RECORD_BYTES):
        found = Record.unpack(raw[start : start + RECORD_BYTES], segment)
        if found is None or found.seq != record:
            break
        rows += found.rows
        record += 1
    return rows, record
