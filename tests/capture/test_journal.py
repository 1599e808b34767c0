"""Reading a journal: the longest verified prefix, never a wrong row and never an exception, whatever the damage."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capture.made import journal, stats
from wsresearch.capture.journal import (
    END_OF_STREAM,
    RECORD_BYTES,
    Follower,
    Record,
    VerifiedPrefix,
    read_segment,
)
from wsresearch.capture.layout import Layout, Segment
from wsresearch.schema import STATS, TRADES, TableName

SEGMENT = Segment(TableName.STATS, 7)
BATCHES = [stats([1, 2]), stats([3]), stats([4, 5, 6])]
ROWS_AFTER_RECORD = [0, 0, 2, 3, 6, 6]
"""Rows that are known once 0, 1, 2, … records are valid: schema, three batches, end of the stream."""


@dataclass(frozen=True)
class Small:
    """A small journal whose two files can be replaced by any bytes."""

    layout: Layout
    data: bytes
    index: bytes

    def put(self, data: bytes | None = None, index: bytes | None = None) -> None:
        _overwrite(self.layout.journal_path(SEGMENT), self.data if data is None else data)
        _overwrite(self.layout.index_path(SEGMENT), self.index if index is None else index)

    def read(self, data: bytes | None = None, index: bytes | None = None) -> VerifiedPrefix:
        self.put(data, index)
        return read_segment(self.layout, SEGMENT)

    @property
    def ends(self) -> list[int]:
        """Where each message ends in the data file."""
        records = [self.index[start : start + RECORD_BYTES] for start in range(0, len(self.index), RECORD_BYTES)]
        found = [Record.unpack(raw, SEGMENT) for raw in records]
        return [record.offset + record.length for record in found if record]


def _overwrite(path: Path, content: bytes) -> None:
    """Like `write_bytes`, without the truncation to nothing that costs a millisecond on some file systems."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.pwrite(descriptor, content, 0)
    if os.fstat(descriptor).st_size > len(content):
        os.ftruncate(descriptor, len(content))
    os.close(descriptor)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    layout = journal(tmp_path_factory.mktemp("small"), SEGMENT, BATCHES)
    return Small(
        layout=layout,
        data=layout.journal_path(SEGMENT).read_bytes(),
        index=layout.index_path(SEGMENT).read_bytes(),
    )


def rows_of(prefix: VerifiedPrefix) -> list[int]:
    return [number for batch in prefix.batches for number in batch.column("messages").to_pylist()]


def assert_prefix(prefix: VerifiedPrefix, records: int, *, whole: bool | None = None) -> None:
    """The first `records` records are valid and nothing else is; `whole` says whether that is no damage."""
    assert prefix.records == records
    assert rows_of(prefix) == list(range(1, ROWS_AFTER_RECORD[records] + 1))
    assert prefix.rows == ROWS_AFTER_RECORD[records]
    assert prefix.closed == (records == 5)
    if whole is not None:
        assert (prefix.problem is None) == whole


def test_a_closed_journal_reads_back_whole(small: Small) -> None:
    """Rows, their order, the metadata and the end are what was written."""
    prefix = small.read()
    assert_prefix(prefix, 5, whole=True)
    assert prefix.batches == BATCHES
    assert prefix.offset == prefix.data_bytes == len(small.data)
    assert prefix.index_bytes == 5 * RECORD_BYTES
    assert prefix.schema_metadata == {
        b"marks": b"{}",
        b"wsresearch.segment": b"stats-000000000007",
        b"wsresearch.format_version": b"1",
    }


def test_any_arrow_tool_reads_the_data_file(small: Small) -> None:
    """A journal needs none of our code: pyarrow and Polars read it to its end."""
    small.put()
    path = small.layout.journal_path(SEGMENT)
    with pa.ipc.open_stream(path) as stream:
        table = stream.read_all()
    assert table["messages"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert table.schema.metadata[b"marks"] == b"{}"
    assert pl.read_ipc_stream(path)["messages"].to_list() == [1, 2, 3, 4, 5, 6]


def test_the_index_is_what_the_documentation_says(small: Small) -> None:
    """Somebody else can check a journal with nothing but the table in the module's docstring."""
    offset = 0
    for number in range(5):
        raw = small.index[number * 32 : number * 32 + 32]
        length = int.from_bytes(raw[8:12], "little")
        assert int.from_bytes(raw[0:8], "little") == offset
        assert int.from_bytes(raw[12:16], "little") == [0, 2, 1, 3, 0][number]
        assert int.from_bytes(raw[16:20], "little") == zlib.crc32(small.data[offset : offset + length])
        assert int.from_bytes(raw[20:28], "little") == number
        assert int.from_bytes(raw[28:32], "little") == zlib.crc32(raw[:28], zlib.crc32(b"stats-000000000007"))
        offset += length
    assert offset == len(small.data)
    assert small.data.endswith(END_OF_STREAM)


@given(
    st.builds(
        Record,
        offset=st.integers(0, 2**64 - 1),
        length=st.integers(0, 2**32 - 1),
        rows=st.integers(0, 2**32 - 1),
        crc=st.integers(0, 2**32 - 1),
        seq=st.integers(0, 2**64 - 1),
    ),
    st.integers(0, 255),
)
def test_a_record_is_known_only_by_its_own_segment_and_undamaged(record: Record, bit: int) -> None:
    """No record of another segment and no record with a flipped bit passes for one."""
    raw = record.pack(SEGMENT)
    assert len(raw) == RECORD_BYTES
    assert Record.unpack(raw, SEGMENT) == record
    assert Record.unpack(raw, Segment(TableName.STATS, 8)) is None
    assert Record.unpack(raw, Segment(TableName.EVENTS, 7)) is None
    damaged = bytearray(raw)
    damaged[bit // 8] ^= 1 << bit % 8
    assert Record.unpack(bytes(damaged), SEGMENT) is None


def test_the_data_cut_at_every_byte(small: Small) -> None:
    """However much of the data a crash took, every batch before the cut is there and nothing else."""
    for cut in range(len(small.data)):
        assert_prefix(small.read(data=small.data[:cut]), sum(end <= cut for end in small.ends), whole=False)


def test_the_index_cut_at_every_byte(small: Small) -> None:
    """However much of the index a crash took, every batch with a record is there; that is no damage."""
    for cut in range(len(small.index)):
        assert_prefix(small.read(index=small.index[:cut]), cut // RECORD_BYTES, whole=True)


def test_every_bit_of_the_index_flipped(small: Small) -> None:
    """A damaged record ends the prefix before it."""
    for bit in range(len(small.index) * 8):
        index = bytearray(small.index)
        index[bit // 8] ^= 1 << bit % 8
        assert_prefix(small.read(index=bytes(index)), bit // 8 // RECORD_BYTES, whole=False)


def test_a_bit_of_every_byte_of_the_data_flipped(small: Small) -> None:
    """No damaged byte is ever returned as a row, in whichever message it lies."""
    for place in range(len(small.data)):
        data = bytearray(small.data)
        data[place] ^= 1 << place % 8
        assert_prefix(small.read(data=bytes(data)), sum(end <= place for end in small.ends), whole=False)


@pytest.mark.parametrize("which", ["data", "index"])
def test_zeros_from_every_byte_on(small: Small, which: str) -> None:
    """A file system that lost the end of a file and kept its length costs what was there, no more."""
    intact = getattr(small, which)
    for cut in range(len(intact)):
        zeroed = intact[:cut] + bytes(len(intact) - cut)
        # Zeros in the place of zeros are no damage.
        harmed = next((place for place in range(cut, len(intact)) if intact[place]), len(intact))
        expected = sum(end <= harmed for end in small.ends) if which == "data" else harmed // RECORD_BYTES
        assert_prefix(small.read(**{which: zeroed}), expected, whole=expected == 5)


@pytest.mark.parametrize("which", ["data", "index"])
@pytest.mark.parametrize("length", [1, 8, 31, 32, 33, 64, 500])
def test_a_repeated_or_foreign_tail_adds_nothing(small: Small, tmp_path: Path, which: str, length: int) -> None:
    """Bytes that turn up behind a journal, its own again or another's, are no rows."""
    other = journal(tmp_path, Segment(TableName.STATS, 8), [stats([7, 8, 9])])
    foreign = {
        "data": other.journal_path(Segment(TableName.STATS, 8)).read_bytes(),
        "index": other.index_path(Segment(TableName.STATS, 8)).read_bytes(),
    }[which]
    intact = getattr(small, which)
    for tail in (
        intact[-length:],
        intact[:length],
        foreign[-length:],
        foreign[:length],
        bytes(length),
        os.urandom(length),
    ):
        assert_prefix(small.read(**{which: intact + tail}), 5)


def test_a_tail_repeated_in_both_files_adds_nothing(small: Small) -> None:
    """The last batch written twice, record and all, is one batch."""
    begin, end = small.ends[2:4]
    data, index = small.data[:end], small.index[: 4 * RECORD_BYTES]
    repeated = small.read(data=data + small.data[begin:end], index=index + index[-RECORD_BYTES:])
    assert_prefix(repeated, 4, whole=False)


def test_another_segments_journal_under_this_name_is_empty(small: Small, tmp_path: Path) -> None:
    """A file moved to another name (a restored backup) is not read as what it now claims to be."""
    other = journal(tmp_path, Segment(TableName.STATS, 8), [stats([7])])
    shutil.copy(other.journal_path(Segment(TableName.STATS, 8)), small.layout.journal_path(SEGMENT))
    shutil.copy(other.index_path(Segment(TableName.STATS, 8)), small.layout.index_path(SEGMENT))
    assert_prefix(read_segment(small.layout, SEGMENT), 0, whole=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_two_cuts_and_any_garbage_give_a_prefix(small: Small, data: st.DataObject) -> None:
    """Whatever is done to both files at once, what comes back is the beginning of what was written."""

    def harmed(intact: bytes) -> bytes:
        cut = data.draw(st.integers(0, len(intact)))
        return intact[:cut] + data.draw(st.binary(max_size=100)) + intact[data.draw(st.integers(cut, len(intact))) :]

    prefix = small.read(data=harmed(small.data), index=harmed(small.index))
    assert_prefix(prefix, prefix.records)


def test_a_growing_journal_gives_each_batch_once_and_as_soon_as_it_is_recorded(small: Small) -> None:
    """A live picture gets every row once, at whatever byte the writer happens to be."""
    small.put(data=b"", index=b"")
    seen: list[int] = []
    written = 0
    with (
        small.layout.journal_path(SEGMENT).open("ab", buffering=0) as data,
        small.layout.index_path(SEGMENT).open("ab", buffering=0) as index,
        Follower(small.layout, SEGMENT) as follower,
    ):
        for number, end in enumerate(small.ends):
            for file, content in (
                (data, small.data[written:end]),
                (index, small.index[number * RECORD_BYTES : (number + 1) * RECORD_BYTES]),
            ):
                for place in range(len(content)):
                    assert follower.poll() == []
                    assert follower.problem is None
                    assert follower.records == number
                    file.write(content[place : place + 1])
            new = [number for batch in follower.poll() for number in batch.column("messages").to_pylist()]
            seen += new
            assert len(seen) == ROWS_AFTER_RECORD[number + 1]
            written = end
        assert seen == [1, 2, 3, 4, 5, 6]
        assert follower.closed
        assert follower.offset == len(small.data)


def test_damage_that_is_repaired_is_read_over(small: Small) -> None:
    """A reader stops before what it cannot verify and goes on once it can: nothing is skipped for ever."""
    index = bytearray(small.index)
    index[2 * RECORD_BYTES] ^= 1
    small.put(index=bytes(index))
    with Follower(small.layout, SEGMENT) as follower:
        assert len(follower.poll()) == 1
        assert follower.problem == "stats-000000000007: record 2 is none of this segment"
        assert follower.poll() == []
        with small.layout.index_path(SEGMENT).open("r+b") as file:
            file.write(small.index)
        assert [batch.num_rows for batch in follower.poll()] == [1, 3]
        assert follower.problem is None


def test_reading_goes_on_from_any_record(small: Small) -> None:
    """A reader that knows how far it was gets the rest, also when the end of the stream is all that is left."""
    small.put()
    for record in range(8):
        prefix = read_segment(small.layout, SEGMENT, from_record=record)
        skipped = ROWS_AFTER_RECORD[min(record, 5)]
        assert rows_of(prefix) == [1, 2, 3, 4, 5, 6][skipped:]
        assert prefix.rows == 6 - skipped
        assert prefix.records == 5
        assert prefix.closed
        assert prefix.schema_metadata


def test_memory_is_bounded_by_rows_when_asked(small: Small) -> None:
    """A long journal can be read a piece at a time."""
    small.put()
    with Follower(small.layout, SEGMENT) as follower:
        assert [len(follower.poll(max_rows=2)) for _ in range(4)] == [1, 2, 0, 0]
    with Follower(small.layout, SEGMENT) as follower:
        follower.skip_to(3)
        assert [batch.num_rows for batch in follower.poll(max_rows=1)] == [3]


def test_a_journal_removed_while_it_is_read_is_read_to_its_end(small: Small) -> None:
    """A seal takes no row away from a reader that had begun."""
    small.put()
    with Follower(small.layout, SEGMENT) as follower:
        first = follower.poll(max_rows=1)
        small.layout.journal_path(SEGMENT).unlink()
        small.layout.index_path(SEGMENT).unlink()
        assert sum(batch.num_rows for batch in [*first, *follower.poll()]) == 6
        assert follower.closed


def test_a_journal_that_has_gone_says_so(small: Small) -> None:
    """Gone (sealed meanwhile) and damaged are told apart: a reader looks for the Parquet file."""
    small.put()
    small.layout.journal_path(SEGMENT).unlink()
    with pytest.raises(FileNotFoundError):
        read_segment(small.layout, SEGMENT)
    small.layout.index_path(SEGMENT).unlink()
    with pytest.raises(FileNotFoundError):
        read_segment(small.layout, SEGMENT)


def test_a_lost_index_is_damage_and_no_exception(small: Small) -> None:
    """Data without its index has no rows, and the reader is told why."""
    small.put()
    small.layout.index_path(SEGMENT).unlink()
    prefix = read_segment(small.layout, SEGMENT)
    assert_prefix(prefix, 0, whole=False)
    assert "index" in str(prefix.problem)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/hostname"), Path.mkdir])
def test_what_is_no_regular_file_is_not_opened(small: Small, make: Callable[[Path], None]) -> None:
    """A pipe under a journal's name holds no reader up, a link leads none astray."""
    small.put()
    path = small.layout.journal_path(SEGMENT)
    path.unlink()
    make(path)
    try:
        with pytest.raises(FileNotFoundError):
            read_segment(small.layout, SEGMENT)
    finally:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_a_disk_that_cannot_read_is_told_apart_from_damage(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input/output error ends the prefix, names itself, and is not taken for bad bytes."""
    small.put()
    real = os.pread

    def failing(descriptor: int, count: int, offset: int) -> bytes:
        if offset == small.ends[1]:
            raise OSError(5, "Input/output error")
        return real(descriptor, count, offset)

    with Follower(small.layout, SEGMENT) as follower:
        monkeypatch.setattr(os, "pread", failing)
        assert len(follower.poll()) == 1
        assert follower.problem == "stats-000000000007: record 2 cannot be read: Input/output error"
        assert follower.error is not None
        monkeypatch.undo()
        assert len(follower.poll()) == 2
        assert follower.error is None


def _forged(messages: Iterator[tuple[bytes, int]]) -> tuple[bytes, bytes]:
    """A journal whose checks all hold, of whatever messages."""
    data, index = b"", b""
    for seq, (message, rows) in enumerate(messages):
        record = Record(offset=len(data), length=len(message), rows=rows, crc=zlib.crc32(message), seq=seq)
        data, index = data + message, index + record.pack(SEGMENT)
    return data, index


SCHEMA = STATS.serialize().to_pybytes()
BATCH = stats([1, 2]).serialize().to_pybytes()


def _harmed_batch() -> bytes:
    """A message of two trades with string offsets that point far outside."""
    columns: list[Any] = [pa.array(["BTCUSDT"] * 2), *(pa.nulls(2, field.type) for field in list(TRADES)[1:])]
    message = bytes(pa.RecordBatch.from_arrays(columns, schema=TRADES).serialize().to_pybytes())
    offsets = struct.pack("<iii", 0, 7, 14)
    assert message.count(offsets) == 1
    return message.replace(offsets, struct.pack("<iii", 0, 2**30, 2**31 - 1))


@pytest.mark.parametrize(
    ("messages", "records"),
    [
        ([(b"", 0)], 0),
        ([(b"nonsense", 0)], 0),
        ([(TRADES.serialize().to_pybytes(), 0)], 0),
        ([(SCHEMA, 3)], 0),
        ([(BATCH, 2)], 0),
        ([(SCHEMA, 0), (SCHEMA, 0)], 1),
        ([(SCHEMA, 0), (b"", 0)], 1),
        ([(SCHEMA, 0), (BATCH, 0)], 1),
        ([(SCHEMA, 0), (BATCH, 1)], 1),
        ([(SCHEMA, 0), (BATCH, 3)], 1),
        ([(SCHEMA, 0), (BATCH[:-8], 2)], 1),
        ([(SCHEMA, 0), (b"\xff\xff\xff\xff\xf8\xff\xff\x7f" + BATCH[8:], 2)], 1),
        ([(SCHEMA, 0), (BATCH, 2), (END_OF_STREAM, 0), (BATCH, 2)], 3),
        ([(SCHEMA, 0), (BATCH, 2), (END_OF_STREAM, 0), (END_OF_STREAM, 0)], 3),
    ],
)
def test_a_forged_journal_with_valid_checks_does_no_harm(
    small: Small, messages: list[tuple[bytes, int]], records: int
) -> None:
    """Messages of the wrong kind, size or row count end the prefix even if every CRC is right."""
    data, index = _forged(iter(messages))
    prefix = small.read(data=data, index=index)
    assert prefix.records == records
    assert prefix.problem is not None
    assert "\n" not in prefix.problem


def test_strings_that_point_outside_their_data_are_refused(tmp_path: Path) -> None:
    """A forged batch cannot make the process read memory that is not its own."""
    layout, segment = Layout(tmp_path), Segment(TableName.TRADES, 1)
    layout.journal_dir.mkdir()
    data, index = b"", b""
    for seq, (message, rows) in enumerate([(TRADES.serialize().to_pybytes(), 0), (_harmed_batch(), 2)]):
        record = Record(offset=len(data), length=len(message), rows=rows, crc=zlib.crc32(message), seq=seq)
        data, index = data + message, index + record.pack(segment)
    layout.journal_path(segment).write_bytes(data)
    layout.index_path(segment).write_bytes(index)
    prefix = read_segment(layout, segment)
    assert prefix.records == 1
    assert prefix.batches == []
    assert "no valid message" in str(prefix.problem)


def test_a_record_with_another_number_is_not_the_next_one(small: Small) -> None:
    """A record is known by its place as well as by what it covers."""
    record = Record.unpack(small.index[RECORD_BYTES : 2 * RECORD_BYTES], SEGMENT)
    assert record is not None
    moved = replace(record, seq=2).pack(SEGMENT)
    prefix = small.read(index=small.index[:RECORD_BYTES] + moved)
    assert_prefix(prefix, 1, whole=False)


def test_a_record_that_claims_gigabytes_costs_none(small: Small) -> None:
    """A length that the file cannot have is refused before anything is read."""
    record = Record(offset=0, length=2**32 - 1, rows=1, crc=0, seq=0)
    prefix = small.read(index=record.pack(SEGMENT))
    assert "more than the data file holds" in str(prefix.problem)


def test_no_descriptor_stays_open(small: Small) -> None:
    """A day of polling opens no more files than it closes, errors included."""
    small.put()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        read_segment(small.layout, SEGMENT)
        follower = Follower(small.layout, SEGMENT)
        follower.close()
        follower.close()
        with pytest.raises(FileNotFoundError):
            Follower(small.layout, Segment(TableName.STATS, 99))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
