"""Checking one segment on its own, as strictly as its format allows; what segments add up to is told in `verify`."""

from __future__ import annotations

import datetime
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wsresearch.capture.append import FORMAT_KEY, SEGMENT_KEY
from wsresearch.capture.guard import GUARD_BYTES, check_guard
from wsresearch.capture.journal import RECORD_BYTES, Follower, Record, read_index
from wsresearch.capture.layout import Layout, Segment
from wsresearch.schema import FORMAT_VERSION, SCHEMAS, TIME_COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Findings", "journal_rows", "sealed_rows"]

_MAGIC: Final = b"PAR1"
_FOOTER_TAIL: Final = 8
"""Length of the footer, 4 bytes little endian, and the magic number again."""

_NS_DAY: Final = 86_400 * 10**9
_ROWS_AT_ONCE: Final = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a check has to say; filled as it goes.

    Attributes
    ----------
    problems
        One line each: data is lost, damaged, or contradicts itself.
    notes
        One line each: worth knowing, harmless.
    unread
        Files that may not be read: what is in them is not known, and no sign of damage.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def may_not_read(self, name: str, error: OSError) -> None:
        """Say that a file may not be read, and what to do."""
        self.unread.append(name)
        self.problems.append(f"{name}: cannot be read ({error.strerror}): give yourself permission to read it")


def sealed_rows(path: Path, segment: Segment, findings: Findings) -> Iterator[pa.Table]:
    """Yield the rows of a sealed file, a row group at a time, and say what is wrong with it.

    Checked are the magic numbers, schema, metadata, that no byte lies between what the columns claim, every page
    checksum, every value's validity, row counts, and that all rows are of the date that the folder names.

    Raises
    ------
    FileNotFoundError
        If it is not there (any more).
    """
    name = _short(path)
    try:
        guard_bytes = GUARD_BYTES if check_guard(path) else 0
        with pq.ParquetFile(os.fspath(path), page_checksum_verification=True) as file:
            _check_frame(path, file.metadata, guard_bytes, findings)
            _check_metadata(name, file.schema_arrow.metadata or {}, segment, findings)
            if not file.schema_arrow.equals(SCHEMAS[segment.table]):
                findings.problems.append(f"{name}: its columns are not those of {segment.table}")
                return
            rows = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                table.validate(full=True)
                if any(chunk_rows != file.metadata.row_group(group).num_rows for chunk_rows in map(len, table.columns)):
                    findings.problems.append(f"{name}: row group {group} holds other than its number of rows")
                    return
                rows += table.num_rows
                _check_dates(name, path.parent.name, table[TIME_COLUMN[segment.table]], findings)
                yield table.replace_schema_metadata(None)
            if rows != file.metadata.num_rows:
                findings.problems.append(f"{name}: {rows} rows where its footer says {file.metadata.num_rows}")
    except FileNotFoundError:
        raise
    except PermissionError as error:
        findings.may_not_read(name, error)
    except (pa.ArrowException, OSError, ValueError) as error:
        findings.problems.append(f"{name}: damaged, {_line(error)}: bring it back from a copy or move it away")


def journal_rows(layout: Layout, segment: Segment, findings: Findings) -> Iterator[pa.Table]:
    """Yield the verified rows of a journal and say what is wrong behind them.

    A torn tail is none: it is what a collector that was killed, or is just writing, leaves. It is one if verified
    records stand behind the first bad one, because their rows are lost to every reader.

    Raises
    ------
    FileNotFoundError
        If it is not there (any more).
    """
    try:
        opened = Follower(layout, segment)
    except PermissionError as error:
        findings.may_not_read(str(segment), error)
        return
    with opened as follower:
        while batches := follower.poll(max_rows=_ROWS_AT_ONCE):
            yield pa.Table.from_batches(batches, SCHEMAS[segment.table])
        if follower.records:
            _check_metadata(str(segment), follower.schema_metadata, segment, findings)
        if follower.error is not None:
            findings.problems.append(f"{follower.problem}: check the disk")
        elif follower.problem is not None:
            records, rows = _beyond(layout, segment, follower.records)
            if rows:
                findings.problems.append(
                    f"{follower.problem}, and {records} good records with {rows} rows stand behind it: "
                    "keep a copy of this journal, a recovery will move it into quarantine"
                )
            elif not follower.records:
                findings.problems.append(f"{follower.problem}: no row of it can be read")
            else:
                findings.notes.append(f"{follower.problem}; nothing good stands behind it")


def _check_frame(path: Path, metadata: pq.FileMetaData, guard_bytes: int, findings: Findings) -> None:
    """Check the magic numbers, and that the columns claim every byte between the first one and guard and footer."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
        end = file.seek(-_FOOTER_TAIL, os.SEEK_END)
        tail = file.read(_FOOTER_TAIL)
    if head != _MAGIC or tail[-len(_MAGIC) :] != _MAGIC:
        findings.problems.append(f"{_short(path)}: does not begin and end as a Parquet file does")
        return
    claimed = []
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            claimed.append((begin, begin + chunk.total_compressed_size))
    footer = end - int.from_bytes(tail[:4], "little")
    ends = [len(_MAGIC), *(last for _, last in sorted(claimed))]
    begins = [*(first for first, _ in sorted(claimed)), footer - guard_bytes]
    if ends != begins:
        findings.problems.append(f"{_short(path)}: holds bytes that none of its columns claims")


def _check_metadata(name: str, metadata: Mapping[bytes, bytes], segment: Segment, findings: Findings) -> None:
    told = metadata.get(SEGMENT_KEY, b"")
    if told != str(segment).encode():
        findings.problems.append(f"{name}: says inside that it is {told.decode(errors='replace')!a}")
    version = metadata.get(FORMAT_KEY, b"")
    if not version.isdigit() or int(version) > FORMAT_VERSION:
        findings.problems.append(
            f"{name}: has format version {version.decode(errors='replace')!a}, not {FORMAT_VERSION} or below"
        )


def _check_dates(name: str, folder: str, times: pa.ChunkedArray, findings: Findings) -> None:
    if times.null_count:
        findings.problems.append(f"{name}: {times.null_count} rows without a time")
    ends = pc.min_max(times.cast(pa.int64()))
    for end in {ends["min"].as_py(), ends["max"].as_py()} - {None}:
        date = datetime.date.fromordinal(datetime.date(1970, 1, 1).toordinal() + end // _NS_DAY)
        if folder != f"date={date.isoformat()}":
            problem = f"{name}: holds rows of {date} but lies in {folder}: move it where it belongs"
            if problem not in findings.problems:
                findings.problems.append(problem)


def _beyond(layout: Layout, segment: Segment, records: int) -> tuple[int, int]:
    """Count the records behind the first bad one that still match their data, and the rows in them."""
    good = rows = 0
    try:
        index = read_index(layout, segment)
        with layout.journal_path(segment).open("rb") as data:
            for number in range(records + 1, len(index) // RECORD_BYTES):
                record = Record.unpack(index[number * RECORD_BYTES : (number + 1) * RECORD_BYTES], segment)
                if record is not None and record.seq == number and _matches(data, record):
                    good += 1
                    rows += record.rows
    except FileNotFoundError:
        pass  # no index at all, or a recovery has just settled it
    return good, rows


def _matches(data: BinaryIO, record: Record) -> bool:
    data.seek(record.offset)
    content = data.read(record.length)
    return len(content) == record.length and zlib.crc32(content) == record.crc


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _line(error: BaseException) -> str:
    return ascii(" ".join(str(error).split())[:200])[1:-1]
