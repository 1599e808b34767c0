"""Turns a finished journal into its Parquet file, after its last row and after a crash alike; when is not decided here.

The steps, each of which may be the last before the power goes:

1. the verified journal is encoded, a row group at a time, into a hidden temporary file beside the final name; the same
   journal always gives the same bytes;
2. the temporary file is made durable;
3. it is read back from the disk and compared with what was written and, value by value, with the journal;
4. it gets its final name, and the folders are made durable;
5. the journal's data file is removed, then its index, and the folder is made durable.

Until 5 the journal is there and is the truth, from 4 on the Parquet file is there too, with the same rows. So
whatever was interrupted, doing it all again ends in the same place: a Parquet file with the very bytes is left as it
is, one with any others goes into quarantine and is made anew.

What a journal holds beyond its verified prefix goes with it if it is the rest of one append that never came to its end.
Anything else is damage: then the whole journal moves into quarantine after its prefix has been sealed. Nothing in
quarantine is ever deleted.

However long a segment is, no more of it is in memory than a row group.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from pathlib import Path
from typing import BinaryIO, Final

from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.journal import RECORD_BYTES
from wsresearch.capture.layout import Layout, Segment, Suffix
from wsresearch.capture.parquet import difference, encode
from wsresearch.capture.reading import Reading
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import TableName

__all__ = ["Recovered", "SealCutShort", "Sealed", "recover", "seal"]

_READ_BACK: Final = 1 << 20
"""Bytes of a sealed file that are read back at a time."""


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
        reading = Reading(layout, segment, on_step)
    except FileNotFoundError:
        return None, (), None
    moved: tuple[Path, ...] = ()
    same = True
    with reading:
        if (date := reading.date) is not None:
            path = layout.parquet_path(segment, date)
            # Before anything in them is looked at: behind a link in the place of one of them, nothing is ours to move.
            for folder in (layout.table_dir(segment.table), layout.date_dir(segment.table, date)):
                disk.mkdir(folder)
            if os.path.lexists(path):
                same = _holds(path, encode(segment.table, reading.pieces, reading.metadata))
            else:
                _publish(layout, reading, date, disk=disk, on_step=on_step)
        problem = reading.finish()
    if (date := reading.date) is not None:
        path = layout.parquet_path(segment, date)
        if not same:
            moved += _quarantine(layout, segment, ((path, Suffix.PARQUET),), disk)
            with Reading(layout, segment, on_step) as again:
                _publish(layout, again, date, disk=disk, on_step=on_step)
        # Also where the file had its name before we came: whoever gave it may have been cut off right then.
        for folder in (path.parent, layout.table_dir(segment.table), layout.root):
            on_step()
            disk.fsync_dir(folder)
        on_step()
    if problem:
        files = ((layout.journal_path(segment), Suffix.JOURNAL), (layout.index_path(segment), Suffix.INDEX))
        moved += _quarantine(layout, segment, files, disk)
    else:
        for name in (layout.journal_path(segment), layout.index_path(segment)):
            with suppress(FileNotFoundError):
                disk.unlink(name)
    disk.fsync_dir(layout.journal_dir)
    if date is None:
        return None, moved, problem
    done = Sealed(
        segment=segment,
        path=path,
        rows=reading.rows,
        size_bytes=path.stat().st_size,
        quarantined=moved,
        problem=problem,
    )
    return done, moved, problem


def _publish(layout: Layout, reading: Reading, date: Date, *, disk: Disk, on_step: Callable[[], None]) -> None:
    """Write the Parquet file under a hidden name, check it, and give it its own name.

    Nothing is left of it if the rows turn out to be of several dates.
    """
    segment = reading.segment
    temporary = layout.temporary_path(segment, date)
    with suppress(FileNotFoundError):
        disk.unlink(temporary)
    try:
        written = _written(temporary, encode(segment.table, reading.pieces, reading.metadata), disk)
        reading.finish()
        if reading.date is None:
            disk.unlink(temporary)
            return
        wrong = None if _checksum(temporary) == written else "other bytes"
        if not wrong:
            with Reading(layout, segment, on_step) as again:
                wrong = difference(os.fspath(temporary), segment.table, again.pieces, again.metadata)
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


def _written(path: Path, blocks: Iterable[bytes], disk: Disk) -> tuple[int, int]:
    """Write a file and make it durable; return its size and the CRC-32 of what was to be written."""
    size = crc = 0
    descriptor = disk.create(path)
    try:
        for block in blocks:
            disk.write(descriptor, block)
            size, crc = size + len(block), zlib.crc32(block, crc)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    return size, crc


def _checksum(path: Path) -> tuple[int, int]:
    """Return size and CRC-32 of a file as the disk gives it back."""
    size = crc = 0
    with _from_disk(path) as file:
        while found := file.read(_READ_BACK):
            size, crc = size + len(found), zlib.crc32(found, crc)
    return size, crc


def _holds(path: Path, blocks: Iterable[bytes]) -> bool:
    """Tell whether a file of ours has exactly these bytes, on the disk."""
    if path.is_symlink() or not path.is_file():
        return False
    with _from_disk(path) as file:
        return all(file.read(len(block)) == block for block in blocks) and not file.read(1)


@contextmanager
def _from_disk(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            # Forget what is in memory, so that it is the disk that answers; a hint, and not heeded everywhere.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        yield file


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
