"""Writes the journal of one segment, message by message; when a segment begins and ends is decided elsewhere.

`wsresearch.capture.journal` describes the two files. The order of the writes is all there is to it: the index is
made before the data file, a message is written before its record, and nothing written is ever changed.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import pyarrow as pa

from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.journal import END_OF_STREAM, Record
from wsresearch.capture.layout import Layout, Segment
from wsresearch.errors import UsageError
from wsresearch.schema import FORMAT_VERSION, SCHEMAS

__all__ = ["FORMAT_KEY", "SEGMENT_KEY", "UNUSED_KEY", "SegmentWriter"]

SEGMENT_KEY: Final = b"wsresearch.segment"
"""Schema metadata of every journal and sealed file: which segment it is, as in its file name."""

FORMAT_KEY: Final = b"wsresearch.format_version"
"""Schema metadata of every journal and sealed file: the format version it was written in."""

UNUSED_KEY: Final = b"wsresearch.unused"
"""Metadata of a segment before which numbers were used up without a row, by files that could not be made: how many."""


class SegmentWriter:
    """The journal of one segment while it is written.

    Parameters
    ----------
    layout, segment
        Which journal; neither of its files may exist.
    carried
        Key/value pairs for the schema, beside our own; UTF-8, as other readers refuse anything else.
    disk
        What changes the disk.

    Raises
    ------
    UsageError
        If what is carried is not UTF-8.
    OSError
        If the files cannot be made; none is left then, as far as the disk allows.
    """

    def __init__(
        self, layout: Layout, segment: Segment, *, carried: Mapping[bytes, bytes], disk: Disk = REAL_DISK
    ) -> None:
        self.segment: Final = segment
        self.rows = 0
        self._layout = layout
        self._disk = disk
        self._records = 0
        self._offset = 0
        self._dirty = False
        self._descriptors: list[int] = []
        schema = SCHEMAS[segment.table].with_metadata(_metadata(segment, carried))
        try:
            for path in (layout.index_path(segment), layout.journal_path(segment)):
                self._descriptors.append(disk.create(path))
            self._write(schema.serialize(), rows=0)
        except OSError:
            with suppress(OSError):  # the error that brought us here is the one to tell
                self.give_up()
            raise

    def append(self, batch: pa.RecordBatch) -> None:
        """Write one batch; if this raises `OSError`, no reader sees any of its rows, and nothing may follow."""
        self._write(batch.serialize(), rows=batch.num_rows)
        self.rows += batch.num_rows

    def sync(self) -> None:
        """Make what was appended survive a power loss; does nothing if nothing was appended since.

        Raises
        ------
        OSError
            If the disk cannot, or if somebody removed the files while they were written.
        """
        if not self._dirty:
            return
        index, data = self._descriptors
        for descriptor in (data, index):
            if not self._disk.links(descriptor):
                path = str(self._layout.journal_path(self.segment))
                raise FileNotFoundError(errno.ENOENT, "was removed while it was written", path)
            self._disk.fdatasync(descriptor)
        self._dirty = False

    def finish(self) -> None:
        """Mark the end of the stream, make everything durable and close the files."""
        self._write(memoryview(END_OF_STREAM), rows=0)
        self.sync()
        self._close()

    def give_up(self) -> None:
        """Close the files as they are; remove them if they hold no row, so that a full disk is not littered."""
        self._close()
        if self.rows == 0:
            for path in (self._layout.journal_path(self.segment), self._layout.index_path(self.segment)):
                with suppress(FileNotFoundError):
                    self._disk.unlink(path)

    def _write(self, message: memoryview | pa.Buffer, *, rows: int) -> None:
        content = memoryview(message)
        index, data = self._descriptors
        record = Record(
            offset=self._offset, length=content.nbytes, rows=rows, crc=zlib.crc32(content), seq=self._records
        )
        self._dirty = True
        self._disk.write(data, content)
        self._disk.write(index, record.pack(self.segment))
        self._offset += content.nbytes
        self._records += 1

    def _close(self) -> None:
        while self._descriptors:
            self._disk.close(self._descriptors.pop())


def _metadata(segment: Segment, carried: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    for text in (*carried, *carried.values()):
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"carried metadata {text[:40]!r} is not UTF-8: encode it as text") from error
    return {**carried, SEGMENT_KEY: str(segment).encode(), FORMAT_KEY: str(FORMAT_VERSION).encode()}
