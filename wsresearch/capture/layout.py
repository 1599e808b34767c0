"""The names in a capture directory: one type formats them and reads them back; no file is opened here.

A name that this module would not have written itself is never ours, whatever stands beside it, and a symbolic
link is never followed: a directory that a stranger may have touched cannot lead us out of the capture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - "date" is the word for the values
from enum import StrEnum
from pathlib import Path
from typing import Final

from wsresearch.errors import CaptureDamaged
from wsresearch.schema import TableName

__all__ = ["Layout", "Segment", "Suffix"]

_DIGITS: Final = 12
_LAST_NUMBER: Final = 10**_DIGITS - 1
_NAME: Final = re.compile(rf"({'|'.join(TableName)})-([0-9]{{{_DIGITS}}})(\.arrows|\.idx|\.parquet)")
_DATE: Final = re.compile(r"date=([0-9]{4}-[0-9]{2}-[0-9]{2})")
_QUARANTINED: Final = re.compile(r"(.+)\.([1-9][0-9]{0,8})")
_HIDDEN: Final = "."
_TEMPORARY: Final = ".tmp"


class Suffix(StrEnum):
    """What a file of a segment is."""

    JOURNAL = ".arrows"
    INDEX = ".idx"
    PARQUET = ".parquet"


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One segment of one table; segments sort by table, then in the order in which they were begun.

    Parameters
    ----------
    table
        The table whose rows it holds.
    number
        Rises for ever, one series per table; 0 to 999,999,999,999 so that names sort as numbers do.

    Raises
    ------
    ValueError
        If the number does not fit into the twelve digits of a file name.
    """

    table: TableName
    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.number <= _LAST_NUMBER:
            raise ValueError(f"segment number {self.number} is outside 0 to {_LAST_NUMBER}")

    def __str__(self) -> str:
        return f"{self.table}-{self.number:0{_DIGITS}d}"

    def name(self, suffix: Suffix) -> str:
        """File name of this segment, as ``trades-000000000012.arrows``."""
        return f"{self}{suffix}"

    @classmethod
    def parse(cls, name: str) -> tuple[Segment, Suffix] | None:
        """Segment and kind that a file name stands for, None if the name is not one of ours."""
        match = _NAME.fullmatch(name)
        return (cls(TableName(match[1]), int(match[2])), Suffix(match[3])) if match else None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything in the capture directory `root` lies.

    Lists are taken from the directory at the moment of the call and hold only regular files with names of
    ours; a folder that does not exist holds nothing.
    """

    root: Path

    @property
    def journal_dir(self) -> Path:
        """Folder of the journals and their indexes."""
        return self.root / "journal"

    @property
    def quarantine_dir(self) -> Path:
        """Folder of whatever failed a check; nothing in it is ever deleted."""
        return self.root / "quarantine"

    @property
    def lock(self) -> Path:
        """File whose OS lock is held for the life of a run."""
        return self.root / "lock"

    @property
    def identity(self) -> Path:
        """File that makes a directory a capture."""
        return self.root / "capture.json"

    @property
    def pruned(self) -> Path:
        """File that says what was removed on purpose."""
        return self.root / "pruned.json"

    def table_dir(self, table: TableName) -> Path:
        """Folder of a table's date folders."""
        return self.root / table

    def date_dir(self, table: TableName, date: Date) -> Path:
        """Folder of a table's sealed segments of one UTC date."""
        return self.table_dir(table) / f"date={date.isoformat()}"

    def journal_path(self, segment: Segment) -> Path:
        """Data file of a segment's journal: an Arrow IPC stream."""
        return self.journal_dir / segment.name(Suffix.JOURNAL)

    def index_path(self, segment: Segment) -> Path:
        """Index of a segment's journal. It is made before the data file and removed after it."""
        return self.journal_dir / segment.name(Suffix.INDEX)

    def parquet_path(self, segment: Segment, date: Date) -> Path:
        """Sealed file of a segment whose rows are all of `date` (UTC)."""
        return self.date_dir(segment.table, date) / segment.name(Suffix.PARQUET)

    def temporary_path(self, segment: Segment, date: Date) -> Path:
        """Hidden file that becomes `parquet_path`; ``*.parquet`` does not match it."""
        return self.date_dir(segment.table, date) / f"{_HIDDEN}{segment.name(Suffix.PARQUET)}{_TEMPORARY}"

    def journals(self, table: TableName) -> list[Segment]:
        """Segments that have a journal data file, oldest first."""
        return self._in_journal_dir(table, Suffix.JOURNAL)

    def indexes(self, table: TableName) -> list[Segment]:
        """Segments that have an index, with or without its data file, oldest first."""
        return self._in_journal_dir(table, Suffix.INDEX)

    def sealed(self, table: TableName) -> list[tuple[int, Date]]:
        """Segment number and date folder of each sealed file of a table, by number.

        Numbers and dates, not paths: of the nine thousand files that a month leaves, a reader wants three.
        """
        found = []
        for date, folder in self._date_dirs(table):
            for entry in _files(folder):
                match = _NAME.fullmatch(entry.name)
                if match and match[1] == table and match[3] == Suffix.PARQUET:
                    found.append((int(match[2]), date))
        return sorted(found)

    def parquets(self, table: TableName) -> list[Path]:
        """Sealed files of a table in the order of their segments."""
        return [self.parquet_path(Segment(table, number), date) for number, date in self.sealed(table)]

    def temporaries(self, table: TableName) -> list[Path]:
        """Files left by a seal that did not come to its end."""
        found = []
        for _, folder in self._date_dirs(table):
            for entry in _files(folder):
                if entry.name.startswith(_HIDDEN) and entry.name.endswith(_TEMPORARY):
                    parsed = Segment.parse(entry.name.removeprefix(_HIDDEN).removesuffix(_TEMPORARY))
                    if parsed and parsed[0].table is table and parsed[1] is Suffix.PARQUET:
                        found.append(Path(entry.path))
        return sorted(found)

    def quarantined(self) -> list[tuple[Segment, Suffix, Path]]:
        """Files of segments in quarantine; foreign files and samples kept there are not among them."""
        found = []
        for entry in _files(self.quarantine_dir):
            match = _QUARANTINED.fullmatch(entry.name)
            parsed = Segment.parse(match[1]) if match else None
            if parsed:
                found.append((*parsed, Path(entry.path)))
        return sorted(found)

    def quarantine_path(self, segment: Segment, suffix: Suffix) -> Path:
        """First free name in quarantine for a file of a segment: its own name, then ``.1``, ``.2``, …"""
        number = 1
        while os.path.lexists(path := self.quarantine_dir / f"{segment.name(suffix)}.{number}"):
            number += 1
        return path

    def next_segment(self, table: TableName) -> Segment:
        """First segment after all that ever left a trace: in journals, sealed files or quarantine.

        Raises
        ------
        CaptureDamaged
            If the twelve digits of a segment number are used up, which only a forged name can do.
        """
        seen = [0]
        seen += [segment.number for segment in self.journals(table)]
        seen += [segment.number for segment in self.indexes(table)]
        seen += [segment.number for segment, _, _ in self.quarantined() if segment.table is table]
        seen += [number for number, _ in self.sealed(table)]
        if max(seen) >= _LAST_NUMBER:
            raise CaptureDamaged(
                f"{str(self.root)!r} holds {Segment(table, _LAST_NUMBER)}, the last possible segment: "
                "move that file away, no capture writes so many"
            )
        return Segment(table, max(seen) + 1)

    def _in_journal_dir(self, table: TableName, suffix: Suffix) -> list[Segment]:
        found = (Segment.parse(entry.name) for entry in _files(self.journal_dir))
        return sorted(item[0] for item in found if item and item[0].table is table and item[1] is suffix)

    def _date_dirs(self, table: TableName) -> Iterator[tuple[Date, Path]]:
        for entry in _entries(self.table_dir(table)):
            if entry.is_dir(follow_symlinks=False) and (date := _date_of(entry.name)):
                yield date, Path(entry.path)


def _date_of(name: str) -> Date | None:
    """Date that a folder is named after, None if it is another folder."""
    match = _DATE.fullmatch(name)
    if match is None:
        return None
    try:
        return Date.fromisoformat(match[1])
    except ValueError:
        return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in _entries(folder) if entry.is_file(follow_symlinks=False))
