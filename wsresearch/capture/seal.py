"""Turns a finished journal into its Parquet file, after its last row and after a crash alike; when is not decided here.

The steps, each of which may be the last before the power goes:

1. the verified journal is encoded; the same journal always gives the same bytes;
2. they are written to a hidden temporary file beside the final name, which is made durable;
3. they are read back from the disk and compared with what was written and, value by value, with the journal;
4. the temporary file gets its final name, and the folders are made durable;
5. the journal's data file is removed, then its index, and the folder is made durable.

Until 5 the journal is there and is the truth, from 4 on the Parquet file is there too, with the same rows. So
whatever was interrupted, doing it all again ends in the same place: a Parquet file with the very bytes is left as it
is, one with any others goes into quarantine and is made anew.

**What a journal holds beyond its verified prefix.** The rest of one append that never came to its end (a message cut
short, or whole but without its record) was never anybody's to read and goes with the journal. Anything else is damage:
then the whole journal moves into quarantine after its prefix has been sealed. Nothing in quarantine is ever deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.journal import RECORD_BYTES, Follower
from wsresearch.capture.layout import Layout, Segment, Suffix
from wsresearch.capture.parquet import difference, encode, regroup
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import TIME_COLUMN, TableName

__all__ = ["Recovered", "SealCutShort", "Sealed", "recover", "seal"]

_NS_A_DAY: Final = 86_400 * 10**9
_DAY_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC).date().toordinal()

_ROWS_AT_ONCE: Final = 1024
"""Rows of small batches that are put together as they are read: one of a single event takes 16 kB of memory [measured],
so that a row group of such would take 2 GB."""

_READ_BACK: Final = 1 << 20
"""Bytes of a sealed file that are read back and compared at a time."""

_LONGEST_MESSAGE: Final = 1 << 28
"""Bytes that one append may have left unfinished, far more than the largest batch; what is longer is damage."""


class SealCutShort(Exception):  # noqa: N818 - says what became of it, and is caught by whoever asked for it
    """Whoever asked for a seal has no time left; the journal is there, and sealing may be done again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A segment that has become a Parquet file.

    Attributes
    ----------
    segment, path
        Which one, and where it lies.
    rows, size_bytes
        Rows in it, and its size.
    quarantined
        What was moved away on the way: a damaged Parquet file of this name, a damaged journal.
    problem
        What was wrong with the journal behind its last good row, None if nothing.
    """

    segment: Segment
    path: Path
    rows: int
    size_bytes: int
    quarantined: tuple[Path, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What a recovery found and did.

    Attributes
    ----------
    sealed
        Segments that were sealed now.
    quarantined
        Files that were moved into quarantine.
    temporaries_removed, empty_removed
        Files removed that held nothing: of seals that were cut off, and of journals without a row.
    problems
        One line for every damage that was met.
    unsealed
        Journals that are still there with the reason, in one line; readers read them as they are.
    """

    sealed: tuple[Sealed, ...] = ()
    quarantined: tuple[Path, ...] = ()
    temporaries_removed: int = 0
    empty_removed: int = 0
    problems: tuple[str, ...] = ()
    unsealed: tuple[tuple[Segment, str], ...] = ()

    @property
    def rows(self) -> int:
        """Rows in the segments that were sealed now."""
        return sum(each.rows for each in self.sealed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What one reading of a journal found: its verified rows and what stands behind them."""

    rows: int
    dates: frozenset[Date]
    metadata: Mapping[bytes, bytes]
    problem: str | None
    """Damage in or behind the verified prefix."""


def seal(
    layout: Layout, segment: Segment, *, disk: Disk = REAL_DISK, on_step: Callable[[], None] = lambda: None
) -> Sealed | None:
    """Turn the journal of a segment into its Parquet file and remove it.

    Safe to call again after any crash, and for a segment that is sealed already. Nobody may be writing the segment.
    `on_step` is called before each step, of which a row group is the longest, and may raise `SealCutShort`.

    Returns
    -------
    Sealed or None
        None if there is no journal (any more) or it holds no row: then nothing of it is left but, if it was damaged,
        its files in quarantine.

    Raises
    ------
    OSError
        If the disk refused. The journal is still there.
    CaptureDamaged
        If what was written could not be read back as it was. The journal is still there.
    SealCutShort
        If `on_step` did. The journal is still there.
    """
    return _seal(layout, segment, disk, on_step)[0]


def recover(root: Path, *, disk: Disk = REAL_DISK) -> Recovered:
    """Bring a capture that nobody is writing into order: seal what is left, remove what was cut off.

    The caller holds the lock of the capture. Doing it again finds nothing more to do.

    Raises
    ------
    OSError
        If the folders cannot be read or temporary files not removed. A journal that could not be sealed raises
        nothing, it is named in `Recovered.unsealed`.
    """
    layout = Layout(root)
    sealed: list[Sealed] = []
    quarantined: list[Path] = []
    problems: list[str] = []
    unsealed: list[tuple[Segment, str]] = []
    temporaries = [path for table in TableName for path in layout.temporaries(table)]
    for path in temporaries:
        disk.unlink(path)
    empty = 0
    for table in TableName:
        journals = layout.journals(table)
        for segment in sorted({*layout.indexes(table)} - {*journals}):
            moved = _settle_lone_index(layout, segment, disk)
            quarantined += moved
            problems += [f"{segment}: its index has no data file" for _ in moved]
            empty += not moved
        for segment in journals:
            try:
                done, moved, problem = _seal(layout, segment, disk, lambda: None)
            except (OSError, CaptureDamaged) as error:
                unsealed.append((segment, str(error)))
                continue
            quarantined += moved
            problems += [problem] if problem else []
            sealed += [done] if done else []
            empty += not done and not moved
    return Recovered(
        sealed=tuple(sealed),
        quarantined=tuple(quarantined),
        temporaries_removed=len(temporaries),
        empty_removed=empty,
        problems=tuple(problems),
        unsealed=tuple(unsealed),
    )


def _seal(
    layout: Layout, segment: Segment, disk: Disk, on_step: Callable[[], None]
) -> tuple[Sealed | None, tuple[Path, ...], str | None]:
    """Seal, and tell what was sealed, what was moved into quarantine and what was wrong."""
    try:
        survey, content = _read_through(layout, segment, on_step)
    except FileNotFoundError:
        return None, (), None
    moved: tuple[Path, ...] = ()
    path = None
    size_bytes = 0
    if len(survey.dates) == 1:
        (date,) = survey.dates
        path = layout.parquet_path(segment, date)
        size_bytes = content.nbytes
        if os.path.lexists(path) and not _holds(path, content):
            moved += _quarantine(layout, segment, ((path, Suffix.PARQUET),), disk)
        if not os.path.lexists(path):
            _publish(layout, segment, date, content, metadata=survey.metadata, disk=disk, on_step=on_step)
        # Also where the file had its name before we came: whoever gave it may have been cut off right then.
        for folder in (path.parent, layout.table_dir(segment.table), layout.root):
            on_step()
            disk.fsync_dir(folder)
        on_step()
    if survey.problem:
        files = ((layout.journal_path(segment), Suffix.JOURNAL), (layout.index_path(segment), Suffix.INDEX))
        moved += _quarantine(layout, segment, files, disk)
    else:
        for name in (layout.journal_path(segment), layout.index_path(segment)):
            with suppress(FileNotFoundError):
                disk.unlink(name)
    disk.fsync_dir(layout.journal_dir)
    if path is None:
        return None, moved, survey.problem
    done = Sealed(
        segment=segment,
        path=path,
        rows=survey.rows,
        size_bytes=size_bytes,
        quarantined=moved,
        problem=survey.problem,
    )
    return done, moved, survey.problem


def _publish(
    layout: Layout,
    segment: Segment,
    date: Date,
    content: memoryview,
    *,
    metadata: Mapping[bytes, bytes],
    disk: Disk,
    on_step: Callable[[], None],
) -> None:
    """Write the Parquet file under a hidden name, check it, and give it its own name."""
    disk.mkdir(layout.table_dir(segment.table))
    disk.mkdir(layout.date_dir(segment.table, date))
    temporary = layout.temporary_path(segment, date)
    with suppress(FileNotFoundError):
        disk.unlink(temporary)
    try:
        descriptor = disk.create(temporary)
        try:
            disk.write(descriptor, content)
            disk.fsync(descriptor)
        finally:
            disk.close(descriptor)
        wrong = None if _holds(temporary, content) else "other bytes"
        with Follower(layout, segment) as follower:
            wrong = wrong or difference(content, segment.table, _blocks(follower, on_step), metadata)
        if wrong:
            raise CaptureDamaged(
                f"{segment} was written to {str(temporary)!r} and read back differently ({wrong}): "
                "its journal is kept, check the disk"
            )
        on_step()
    except (OSError, CaptureDamaged, SealCutShort):
        with suppress(OSError):  # the error that brought us here is the one to tell
            disk.unlink(temporary)
        raise
    disk.rename(temporary, layout.parquet_path(segment, date))


def _read_through(layout: Layout, segment: Segment, on_step: Callable[[], None]) -> tuple[_Survey, memoryview]:
    """Read a journal to the end of what is verified; return what there is to say of it, and its rows as Parquet."""
    rows = 0
    dates: set[Date] = set()
    with Follower(layout, segment) as follower:

        def blocks() -> Iterator[pa.Table]:
            nonlocal rows
            for block in _blocks(follower, on_step):
                rows += block.num_rows
                dates.update(_dates(block.column(TIME_COLUMN[segment.table])))
                yield block

        follower.poll(max_rows=0)  # the schema, whose metadata the Parquet file begins with
        rest = blocks()
        content = encode(segment.table, rest, follower.schema_metadata)
        for _ in rest:
            pass  # whatever was made of it, what is told is what the journal holds
        if follower.error is not None:
            raise follower.error
        problem = follower.problem or _trouble_behind(layout, follower)
        if follower.sizes() == (0, 0):
            problem = None  # cut off before the first byte, whatever became of the index
        elif rows and len(dates) != 1:
            problem = f"{segment}: {rows} rows of {len(dates)} dates, which no writer of ours makes"
        survey = _Survey(rows=rows, dates=frozenset(dates), metadata=follower.schema_metadata, problem=problem)
        return survey, content


def _blocks(follower: Follower, on_step: Callable[[], None]) -> Iterator[pa.Table]:
    """Read the verified rows of a journal, a row group at a time."""

    def batches() -> Iterator[pa.RecordBatch]:
        while found := follower.poll(max_rows=_ROWS_AT_ONCE):
            on_step()
            yield from pa.Table.from_batches(found).combine_chunks().to_batches()

    return regroup(batches(), follower.segment.table)


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


def _holds(path: Path, content: memoryview) -> bool:
    """Tell whether a file of ours has exactly these bytes, on the disk; it never lies in memory as a whole."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            # Forget what is in memory, so that it is the disk that answers; a hint, and not heeded everywhere.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        at = 0
        while found := file.read(_READ_BACK):
            if not pa.py_buffer(found).equals(pa.py_buffer(content[at : at + len(found)])):  # Python takes 40 × as long
                return False
            at += len(found)
    return at == len(content)


def _settle_lone_index(layout: Layout, segment: Segment, disk: Disk) -> tuple[Path, ...]:
    """Remove an index without its data file, or move it away if it speaks of rows that are nowhere."""
    path = layout.index_path(segment)
    sealed = {number for number, _ in layout.sealed(segment.table)}
    data_in_quarantine = any(found == segment and suffix is Suffix.JOURNAL for found, suffix, _ in layout.quarantined())
    could_speak_of_rows = path.stat().st_size >= 2 * RECORD_BYTES
    if data_in_quarantine or (could_speak_of_rows and segment.number not in sealed):
        return _quarantine(layout, segment, ((path, Suffix.INDEX),), disk)
    disk.unlink(path)
    return ()


def _quarantine(
    layout: Layout, segment: Segment, files: tuple[tuple[Path, Suffix], ...], disk: Disk
) -> tuple[Path, ...]:
    """Move files of a segment into quarantine under names that are free, durably."""
    disk.mkdir(layout.quarantine_dir)
    moved = []
    for path, suffix in files:
        target = layout.quarantine_path(segment, suffix)
        with suppress(FileNotFoundError):
            disk.rename(path, target)
            moved.append(target)
    for folder in (layout.quarantine_dir, layout.root, *dict.fromkeys(path.parent for path, _ in files)):
        disk.fsync_dir(folder)
    return tuple(moved)
