"""One table, kept up with and read backwards."""

from __future__ import annotations

import pytest

from tests.notebook.recording import Recording
from wsresearch.errors import CaptureDamaged
from wsresearch.notebook.strand import Strand
from wsresearch.schema import TableName


def numbers(rows: object) -> list[int]:
    return rows["seq"].to_pylist()  # type: ignore[index]


def test_each_row_comes_once_wherever_it_is(recording: Recording) -> None:
    """Sealed, sealed while it is being followed, and written later: all rows, in order, none twice."""
    for _ in range(3):
        recording.outage()
        recording.write()
        recording.rotate()
    recording.outage()
    recording.write()
    strand = Strand(recording.layout, TableName.EVENTS, most_rows=10_000)
    told = numbers(strand.poll())
    recording.outage()
    recording.write()
    recording.rotate()
    recording.outage()
    recording.write()
    told += numbers(strand.poll())
    older: list[int] = []
    while not strand.has_all:
        older = numbers(strand.fetch()) + older
    assert older + told == [row["seq"] for row in recording.log.rows]
    assert numbers(strand.rows) == older + told
    strand.close()


def test_it_reads_back_as_far_as_asked(recording: Recording) -> None:
    """Older segments are read one by one, the newest first, until a time is reached."""
    times = []
    for _ in range(4):
        recording.log.wait(60)
        recording.outage()
        recording.write()
        recording.rotate()
        times.append(recording.log.rows[-1]["time"])
    strand = Strand(recording.layout, TableName.EVENTS, most_rows=10_000)
    assert not len(strand.poll())
    assert not strand.reaches(times[-2])
    fetched = 0
    while not strand.reaches(times[-2]):
        strand.fetch()
        fetched += 1
    assert fetched == 2
    assert not strand.reaches(None)
    strand.close()


def test_what_cannot_be_read_is_told_and_left_out(recording: Recording) -> None:
    """A damaged file raises once; the next call goes on with the one before it."""
    recording.rotate()
    recording.outage()
    recording.write()
    recording.rotate()
    newest = recording.layout.parquets(TableName.EVENTS)[-1]
    newest.write_bytes(b"PAR1 this is no Parquet file PAR1")
    strand = Strand(recording.layout, TableName.EVENTS, most_rows=10_000)
    with pytest.raises(CaptureDamaged):
        strand.fetch()
    assert len(strand.fetch()) == 5
    assert strand.has_all
    strand.close()


def test_it_holds_no_more_than_it_may(recording: Recording) -> None:
    """However long a capture is, and however long it is followed, the rows held are bounded."""
    for _ in range(5):
        recording.outage()
        recording.write()
        recording.rotate()
    strand = Strand(recording.layout, TableName.EVENTS, most_rows=12)
    strand.poll()
    while not strand.has_all:
        strand.fetch()
    assert 12 <= len(strand.rows) <= 17
    for _ in range(10):
        recording.outage()
        recording.write()
        strand.poll()
    assert numbers(strand.rows) == [row["seq"] for row in recording.log.rows[-12:]]
    strand.close()
