"""The journal of a segment: its format and how its verified prefix is read; no file is changed here.

A journal is two files. The data file (``.arrows``) is a plain Arrow IPC stream: the schema message, one
message per batch, and the end-of-stream marker if the segment was closed. The index (``.idx``) is fixed
records of 32 bytes, little endian, one per message and in the same order:

====== ====== ======= ====================================================================================
offset type   field   meaning
====== ====== ======= ====================================================================================
0      uint64 offset  where the message begins in the data file; always the end of the one before
8      uint32 length  bytes of the message
12     uint32 rows    rows of the batch; 0 for the schema and for the end-of-stream marker
16     uint32 crc     CRC-32 (``zlib.crc32``) of the message
20     uint64 seq     number of the record in this index, from 0
28     uint32 check   CRC-32 of the 28 bytes before, begun from the CRC-32 of the segment's name
====== ====== ======= ====================================================================================

Record 0 covers the schema. A message is written before its record, so whoever sees a record may read what it
covers, and **a batch without its valid record does not exist**. As the check begins from the name, a record
of another segment (a stray block, a restored backup) is no record here; `seq` and `offset` leave a repeated
record no place.

Files are read with ``pread`` and never mapped. A growing file is read like any other: bytes beyond the last
whole record are an append under way, or one that never came to its end, and no damage.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.regular import open_regular
from wsresearch.schema import SCHEMAS

__all__ = ["END_OF_STREAM", "RECORD_BYTES", "Follower", "Record", "VerifiedPrefix", "read_index", "read_segment"]

RECORD_BYTES: Final = 32
END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The marker of the Arrow IPC format: a continuation mark and a metadata length of zero."""

_FIELDS: Final = struct.Struct("<QIIIQ")
_CHECK: Final = struct.Struct("<I")
_RECORDS_A_READ: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of an index: which bytes of the data file are a message, and how to know them again."""

    offset: int
    length: int
    rows: int
    crc: int
    seq: int

    def pack(self, segment: Segment) -> bytes:
        """Return the 32 bytes of this record in the index of `segment`."""
        fields = _FIELDS.pack(self.offset, self.length, self.rows, self.crc, self.seq)
        return fields + _check(fields, segment)

    @classmethod
    def unpack(cls, raw: bytes, segment: Segment) -> Self | None:
        """Return the record that 32 bytes hold, None if their check says that they are none of `segment`."""
        fields = raw[: _FIELDS.size]
        if raw[_FIELDS.size :] != _check(fields, segment):
            return None
        offset, length, rows, crc, seq = _FIELDS.unpack(fields)
        return cls(offset=offset, length=length, rows=rows, crc=crc, seq=seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPrefix:
    """What of a journal has passed every check.

    Attributes
    ----------
    batches
        Record batches in the order in which they were appended, from the record asked for; their schema is
        that of the table, without metadata.
    records
        Valid records of the index from its beginning, the schema's included; as `from_record` it goes on.
    rows
        Rows in `batches`.
    schema_metadata
        Key/value pairs that the writer put into the stream's schema; empty if there is no valid schema.
    offset
        Where the verified part of the data file ends.
    data_bytes, index_bytes
        Sizes of the two files after the prefix had been read; what lies beyond `offset` and beyond
        32 × `records` is not verified.
    closed
        Whether the writer closed the segment: nothing can follow.
    problem
        Why the prefix ends before the last whole record of the index, None if it does not.
    """

    batches: list[pa.RecordBatch]
    records: int
    rows: int
    schema_metadata: Mapping[bytes, bytes]
    offset: int
    data_bytes: int
    index_bytes: int
    closed: bool
    problem: str | None


class Follower:
    """Keeps a place in one journal and returns what was verified since, while the file grows.

    The files stay open until `close`, so a journal that is sealed and removed meanwhile can still be read to
    its end. Usable as a context manager; one thread at a time.

    Parameters
    ----------
    layout, segment
        Which journal.
    from_record
        First record whose batch is wanted. The records before it are checked, their data is not.

    Raises
    ------
    FileNotFoundError
        If there is no data file: the segment has been sealed (look for its Parquet file) or never was.
    OSError
        If the files may not be opened.
    """

    def __init__(self, layout: Layout, segment: Segment, *, from_record: int = 0) -> None:
        self._segment = segment
        self._from_record = from_record
        self._data = self._index = -1
        self._data_bytes = 0
        self._records = 0
        self._offset = 0
        self._closed = False
        self._metadata: Mapping[bytes, bytes] = {}
        self._problem: str | None = None
        self._error: OSError | None = None
        try:
            self._data = open_regular(layout.journal_path(segment))
            try:
                self._index = open_regular(layout.index_path(segment))
            except FileNotFoundError:
                # The index is made first and removed last: without it the data has gone too, or it is damage.
                self.close()
                self._data = open_regular(layout.journal_path(segment))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; nothing more can be polled."""
        descriptors, self._data, self._index = (self._data, self._index), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)

    @property
    def segment(self) -> Segment:
        """The segment that is followed."""
        return self._segment

    @property
    def records(self) -> int:
        """Valid records read so far, the schema's included."""
        return self._records

    @property
    def offset(self) -> int:
        """Where the verified part of the data file ends so far, in bytes."""
        return self._offset

    @property
    def closed(self) -> bool:
        """Whether the writer closed the segment: nothing can follow."""
        return self._closed

    @property
    def schema_metadata(self) -> Mapping[bytes, bytes]:
        """Key/value pairs of the stream's schema; empty until the schema has been read."""
        return self._metadata

    @property
    def problem(self) -> str | None:
        """Why the last `poll` stopped before the last whole record, None if it did not."""
        return self._problem

    @property
    def error(self) -> OSError | None:
        """What the disk answered if that is the `problem`: the bytes may be good, and readable another time."""
        return self._error

    def sizes(self) -> tuple[int, int]:
        """Bytes of the data file and of the index now."""
        return os.fstat(self._data).st_size, os.fstat(self._index).st_size if self._index >= 0 else 0

    def poll(self, *, max_rows: int | None = None) -> list[pa.RecordBatch]:
        """Return the batches verified since the last call; an empty list says that there are none.

        Parameters
        ----------
        max_rows
            Stop after the batch that reaches this many rows; None reads to the end.

        Notes
        -----
        Damage raises nothing: the place stays before it, `problem` says what it is, and the next call looks
        there again.
        """
        batches: list[pa.RecordBatch] = []
        rows = 0
        self._problem = self._error = None
        try:
            for raw in self._records_ahead():
                batch = self._take(raw)
                if batch is not None:
                    batches.append(batch)
                    rows += batch.num_rows
                if max_rows is not None and rows >= max_rows:
                    break
        except _BrokenError as broken:
            self._problem = f"{self._segment}: record {self._records} {broken}"
        except OSError as error:
            self._error = error
            self._problem = f"{self._segment}: record {self._records} cannot be read: {error.strerror or error}"
        return batches

    def skip_to(self, record: int) -> None:
        """Let the next `poll` return batches from `record` on; what stands before it is passed over."""
        self._from_record = record

    def _records_ahead(self) -> Iterator[bytes]:
        if self._index < 0:
            raise _BrokenError("is missing, as is the whole index")
        while True:
            raw = os.pread(self._index, RECORD_BYTES * _RECORDS_A_READ, self._records * RECORD_BYTES)
            whole = len(raw) - len(raw) % RECORD_BYTES
            if not whole:
                return
            yield from (raw[start : start + RECORD_BYTES] for start in range(0, whole, RECORD_BYTES))

    def _take(self, raw: bytes) -> pa.RecordBatch | None:
        """Check one record and its message, then move the place behind them."""
        record = Record.unpack(raw, self._segment)
        if record is None:
            raise _BrokenError("is none of this segment")
        if record.seq != self._records or record.offset != self._offset:
            raise _BrokenError("does not follow the one before it")
        if self._closed:
            raise _BrokenError("comes after the end of the stream")
        end = record.offset + record.length
        if end > self._data_bytes:
            self._data_bytes = os.fstat(self._data).st_size
            if end > self._data_bytes:
                raise _BrokenError("covers more than the data file holds")
        batch = None
        if record.rows == 0 or record.seq >= self._from_record:
            message = os.pread(self._data, record.length, record.offset)
            if len(message) != record.length or zlib.crc32(message) != record.crc:
                raise _BrokenError("does not match its data")
            try:
                batch = self._decode(record, message)
            except (pa.ArrowException, ValueError, OSError, EOFError) as error:
                raise _BrokenError(f"covers no valid message: {' '.join(str(error).split())[:200]}") from error
        self._records += 1
        self._offset = end
        return batch

    def _decode(self, record: Record, message: bytes) -> pa.RecordBatch | None:
        """Return the batch in a message whose bytes are those that were written; None for schema and end."""
        expected = SCHEMAS[self._segment.table]
        if record.seq == 0:
            schema = pa.ipc.read_schema(pa.py_buffer(message))
            if record.rows or not schema.equals(expected):
                raise ValueError(f"not the schema of {self._segment.table}")
            self._metadata = dict(schema.metadata or {})
            return None
        if record.rows == 0 and message == END_OF_STREAM:
            self._closed = True
            return None
        batch = pa.ipc.read_record_batch(pa.py_buffer(message), expected)
        # A CRC is no proof against forgery, and an offset that points outside would end the process later.
        batch.validate(full=True)
        if batch.num_rows != record.rows or not record.rows:
            raise ValueError(f"{batch.num_rows} rows where the record says {record.rows}")
        return batch


def read_segment(layout: Layout, segment: Segment, *, from_record: int = 0) -> VerifiedPrefix:
    """Read the longest verified prefix of a journal, be it finished, growing or damaged.

    Parameters
    ----------
    layout, segment
        Which journal.
    from_record
        First record whose batch is wanted; what stands before it is passed over. 0 and 1 both mean "all".

    Returns
    -------
    VerifiedPrefix

    Raises
    ------
    FileNotFoundError
        If there is no data file: the segment has been sealed meanwhile (look for its Parquet file) or never
        was.
    OSError
        If the files may not be opened. Damage raises nothing; it ends the prefix and stands in `problem`.
    """
    with Follower(layout, segment, from_record=from_record) as follower:
        batches = follower.poll()
        data_bytes, index_bytes = follower.sizes()
        return VerifiedPrefix(
            batches=batches,
            records=follower.records,
            rows=sum(batch.num_rows for batch in batches),
            schema_metadata=follower.schema_metadata,
            offset=follower.offset,
            data_bytes=data_bytes,
            index_bytes=index_bytes,
            closed=follower.closed,
            problem=follower.problem,
        )


def read_index(layout: Layout, segment: Segment) -> bytes:
    """Return the bytes of an index, of which nothing has been checked.

    Raises
    ------
    FileNotFoundError
        If there is none; a link or a pipe of that name is none.
    OSError
        If it may not be read.
    """
    with os.fdopen(open_regular(layout.index_path(segment)), "rb") as file:
        return file.read()


class _BrokenError(Exception):
    """The journal ends here for a reader; never leaves this module."""


def _check(fields: bytes, segment: Segment) -> bytes:
    return _CHECK.pack(zlib.crc32(fields, zlib.crc32(str(segment).encode())))
