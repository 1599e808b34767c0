"""One reading of a finished journal, from its first row to what stands behind its last; nothing is written here.

**What a journal holds beyond its verified prefix.** The rest of one append that never came to its end (a message cut
short, or whole but without its record) was never anybody's to read. Anything else is damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from itertools import chain
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.journal import RECORD_BYTES, Follower
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.parquet import regroup
from wsresearch.schema import TIME_COLUMN

__all__ = ["Reading", "batches_of"]

_NS_A_DAY: Final = 86_400 * 10**9
_DAY_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC).date().toordinal()

_ROWS_AT_ONCE: Final = 256
"""Rows of small batches that are put together as they are read: one of a single event takes 16 kB of memory [measured],
so that as many as are handled at a time would take a quarter of a gigabyte, and 1,024 of them 16 MB."""

_LONGEST_MESSAGE: Final = 1 << 28
"""Bytes that one append may have left unfinished, far more than the largest batch; what is longer is damage."""


class Reading:
    """The verified rows of a journal, read once; only a few thousand of them are in memory at a time.

    Usable as a context manager.

    Parameters
    ----------
    layout, segment
        Which journal.
    on_step
        Called before each of the small steps in which it is read; may raise to end it.

    Attributes
    ----------
    metadata
        Key/value pairs of its schema.
    rows, dates
        Rows read so far and their UTC dates: from the beginning those of the first piece, after `finish` of all.

    Raises
    ------
    FileNotFoundError
        If there is no such journal.
    OSError
        If its files may not be opened.
    """

    def __init__(self, layout: Layout, segment: Segment, on_step: Callable[[], None]) -> None:
        self.metadata: Mapping[bytes, bytes] = {}
        self.rows = 0
        self.dates: set[Date] = set()
        self._layout = layout
        self._on_step = on_step
        with ExitStack() as stack:
            self._follower = stack.enter_context(Follower(layout, segment))
            self._follower.poll(max_rows=0)
            self.metadata = self._follower.schema_metadata
            rest = self._read()
            first = next(rest, None)
            self.pieces: Iterator[pa.Table] = rest if first is None else chain([first], rest)
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._follower.close()

    @property
    def segment(self) -> Segment:
        """The segment that is read."""
        return self._follower.segment

    @property
    def date(self) -> Date | None:
        """The date of all rows read so far, None if there are none or they are of several."""
        return next(iter(self.dates)) if len(self.dates) == 1 else None

    def finish(self) -> str | None:
        """Read what has not been read; return what is wrong in or behind the verified prefix, None if nothing.

        Raises
        ------
        OSError
            If the disk keeps back what may be good.
        """
        for _ in self.pieces:
            pass  # whatever was made of the others, what is told is what the journal holds
        follower = self._follower
        if follower.error is not None:
            raise follower.error
        if follower.sizes() == (0, 0):
            return None  # cut off before the first byte, whatever became of the index
        if self.rows and len(self.dates) != 1:
            return f"{follower.segment}: {self.rows} rows of {len(self.dates)} dates, which no writer of ours makes"
        return follower.problem or _trouble_behind(self._layout, follower)

    def _read(self) -> Iterator[pa.Table]:
        for piece in regroup(self._batches(), self.segment.table):
            self.rows += piece.num_rows
            self.dates.update(_dates(piece.column(TIME_COLUMN[self.segment.table])))
            yield piece

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in batches_of(self._follower):
            self._on_step()
            yield batch


def batches_of(follower: Follower) -> Iterator[pa.RecordBatch]:
    """Yield what a journal has verified and was not read yet, small batches put together."""
    while found := follower.poll(max_rows=_ROWS_AT_ONCE):
        yield from pa.Table.from_batches(found).combine_chunks().to_batches()


def _dates(time: pa.ChunkedArray) -> set[Date]:
    ends = pc.min_max(time.cast(pa.int64()))
    days = {ends[end].as_py() // _NS_A_DAY for end in ("min", "max") if ends[end].is_valid}
    return {Date.fromordinal(_DAY_ZERO + day) for day in days}


def _trouble_behind(layout: Layout, follower: Follower) -> str | None:
    """Say what is wrong with the bytes behind the verified prefix; None if they are one unfinished append."""
    data_bytes, index_bytes = follower.sizes()
    rest = data_bytes - follower.offset
    if not rest and index_bytes < (follower.records + 1) * RECORD_BYTES:
        return None
    if follower.closed:
        return f"{follower.segment}: {rest} bytes after the end of the stream"
    with layout.journal_path(follower.segment).open("rb") as file:
        file.seek(follower.offset)
        tail = file.read(min(rest, _LONGEST_MESSAGE))
    if rest <= _LONGEST_MESSAGE and _is_one_append(tail):
        return None
    return f"{follower.segment}: {rest} bytes after record {follower.records - 1} that no append left"


def _is_one_append(tail: bytes) -> bool:
    """Tell whether bytes are one IPC message, or the beginning of one."""
    marker = b"\xff\xff\xff\xff"
    if not tail.startswith(marker[: len(tail)]):
        return False
    reader = pa.BufferReader(tail)
    try:
        pa.ipc.read_message(reader)
    except (pa.ArrowException, OSError, EOFError):
        return True
    return bool(reader.tell() == len(tail))
