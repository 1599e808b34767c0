"""What else lies in a capture directory: temporary files, quarantine, files that are not ours; none is opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsresearch.capture.layout import Layout, Segment, Suffix
from wsresearch.schema import TableName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wsresearch.capture.check import Findings

__all__ = ["look_around"]

_NAMED: Final = 5
"""Files named one by one before the rest is counted."""


def look_around(layout: Layout, present: Collection[Segment], findings: Findings) -> None:
    """Say what lies about.

    A foreign Parquet file beside ours is a problem: ``SELECT * FROM 'trades/**/*.parquet'`` would read it. So is a
    journal in quarantine, and a Parquet file there whose segment is nowhere else: rows may be lost. All else is a note.

    Parameters
    ----------
    layout
        Which capture.
    present
        Segments that were found and read.
    findings
        Where to say it.
    """
    for table in TableName:
        folder = layout.table_dir(table)
        if folder.is_symlink():
            findings.problems.append(f"{folder.name} is a symbolic link, which is never followed: put the folder there")
            continue
        # Looked at before ours are listed: a file sealed meanwhile is then among them, one renamed meanwhile is gone.
        there = list(_files(folder))
        temporaries = set(layout.temporaries(table))
        ours = temporaries | set(layout.parquets(table))
        foreign = [path for path in there if path not in ours and os.path.lexists(path)]
        for path in sorted(temporaries):
            findings.notes.append(f"{_short(layout, path)}: left by a seal that did not end, or is under way")
        _foreign(layout, foreign, findings)
        for segment in sorted({*layout.indexes(table)} - {*layout.journals(table)}):
            findings.notes.append(f"{segment}: an index without its journal; the next start settles it")
    _foreign(layout, [path for path in _files(layout.journal_dir) if not _is_journal(path)], findings)
    _quarantine(layout, present, findings)


def _quarantine(layout: Layout, present: Collection[Segment], findings: Findings) -> None:
    kinds: dict[Segment, set[Suffix]] = {}
    for segment, suffix, _ in layout.quarantined():
        kinds.setdefault(segment, set()).add(suffix)
    for segment, found in sorted(kinds.items()):
        if found != {Suffix.PARQUET}:
            findings.problems.append(
                f"{segment}: its damaged journal is in quarantine; rows behind its verified part may be lost"
            )
        elif segment not in present:
            findings.problems.append(f"{segment}: is only in quarantine, as a damaged Parquet file")
        else:
            findings.notes.append(f"{segment}: a damaged Parquet file of it is in quarantine; it was made anew")


def _foreign(layout: Layout, paths: list[Path], findings: Findings) -> None:
    harmful = [path for path in paths if path.suffix == ".parquet" and not path.name.startswith(".")]
    for path in harmful[:_NAMED]:
        findings.problems.append(
            f"{_short(layout, path)}: is no file of this capture, but tools that read all Parquet files read it too"
        )
    harmless = [path for path in paths if path not in set(harmful)]
    findings.notes.extend(f"{_short(layout, path)}: is no file of this capture" for path in harmless[:_NAMED])
    for rest, where in ((harmful[_NAMED:], findings.problems), (harmless[_NAMED:], findings.notes)):
        if rest:
            where.append(f"{len(rest)} more such files, the first is {_short(layout, rest[0])}")


def _is_journal(path: Path) -> bool:
    parsed = Segment.parse(path.name)
    return parsed is not None and parsed[1] is not Suffix.PARQUET and not path.is_symlink()


def _files(folder: Path) -> Iterator[Path]:
    """Yield whatever is no folder, links not followed, in the order of the names."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        yield from (Path(where) / name for name in sorted([*names, *links]))


def _short(layout: Layout, path: Path) -> str:
    return repr(os.fspath(path.relative_to(layout.root)))
