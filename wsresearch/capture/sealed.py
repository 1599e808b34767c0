"""Reading one sealed segment: its footer and its rows, with every check a reader can afford; nothing is
written.

What a whole capture holds, and whether it should hold more, is not asked here.
"""

from __future__ import annotations

import os
import sys
from array import array
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wsresearch.capture.guard import check_guard, checked_tail
from wsresearch.capture.layout import Segment
from wsresearch.capture.window import EVER, Window
from wsresearch.errors import CaptureDamaged, CaptureError
from wsresearch.schema import SCHEMAS, TIME_COLUMN, TableName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Footer", "chosen", "columns_of", "read_footer", "read_sealed"]

_ENCODED: Final = pa.field("symbol", pa.dictionary(pa.int32(), pa.string()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What the footer of a sealed file says of it.

    Attributes
    ----------
    rows
        Rows in the file.
    first, last
        Lowest and highest time in ns since 1970 UTC; None if the statistics do not say.
    size_bytes
        Size of the file.
    """

    rows: int
    first: int | None
    last: int | None
    size_bytes: int


def read_footer(path: Path, segment: Segment) -> Footer:
    """Read the footer of a sealed file and nothing else of it, about 0.1 ms.

    Raises
    ------
    FileNotFoundError
        If it is not there (any more).
    CaptureDamaged
        If it is no Parquet file of this table.
    CaptureError
        If it may not be read.
    """
    with _in_words(path):
        tail = checked_tail(path)
        metadata = pq.read_metadata(pa.BufferReader(tail.content))
        _check_columns(metadata.schema.to_arrow_schema(), path, segment)
        column = metadata.schema.names.index(TIME_COLUMN[segment.table])
        ranges = [_range(metadata.row_group(group), column) for group in range(metadata.num_row_groups)]
    known = [pair for pair in ranges if pair is not None]
    complete = bool(known) and len(known) == len(ranges)
    return Footer(
        rows=metadata.num_rows,
        first=min(first for first, _ in known) if complete else None,
        last=max(last for _, last in known) if complete else None,
        size_bytes=tail.size_bytes,
    )


def read_sealed(
    path: Path,
    segment: Segment,
    *,
    columns: Sequence[str] | None = None,
    window: Window = EVER,
    symbols: Sequence[str] | None = None,
    encoded: bool = False,
) -> pa.Table:
    """Read the rows of a sealed file that lie in `window` and are of `symbols`, page checksums verified.

    Parameters
    ----------
    path, segment
        The file, and whose it is.
    columns
        Which columns, in this order; None for all.
    window, symbols
        Which rows; no symbols means all.
    encoded
        Leave symbols encoded by dictionary, as they are stored: that is several times as fast as writing each out.

    Returns
    -------
    pyarrow.Table
        In the order received. Row groups that cannot hold a row of the window are not read.

    Raises
    ------
    FileNotFoundError, CaptureDamaged, CaptureError
        As `read_footer`; damage in any page read included.
    """
    wanted = list(SCHEMAS[segment.table].names if columns is None else columns)
    needed = [*wanted, *(name for name in _filtered_by(segment.table, window, symbols) if name not in wanted)]
    with _opened(path, segment, encoded=encoded) as file:
        metadata = file.metadata
        time = metadata.schema.names.index(TIME_COLUMN[segment.table])
        groups, rows = [], 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            times = _range(group, time)
            if times is None or window.may_hold(*times):
                groups.append(number)
                rows += group.num_rows
        table = file.read_row_groups(groups, columns=needed)
        if table.num_rows != rows or any(column.length() != rows for column in table.columns):
            raise CaptureDamaged(_damaged(path, f"{table.num_rows} rows where the footer says {rows}"))
    schema = columns_of(segment.table, needed, encoded=encoded)
    table = table.select(needed).cast(schema)
    return chosen(table, segment.table, window=window, symbols=symbols).select(wanted)


def columns_of(name: TableName, columns: Sequence[str], *, encoded: bool = False) -> pa.Schema:
    """Return the schema of some columns of a table, symbols encoded by dictionary or not."""
    fields = [SCHEMAS[name].field(column) for column in columns]
    return pa.schema([_ENCODED if encoded and field.name == _ENCODED.name else field for field in fields])


def chosen(table: pa.Table, name: TableName, *, window: Window, symbols: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of `table` (of the table `name`) that lie in `window` and are of `symbols`.

    Nothing is copied where everything is wanted.
    """
    time = TIME_COLUMN[name]
    mask = None
    if window.bounded and table.num_rows:
        ends = pc.min_max(table[time])
        if not window.holds_all(ends["min"].value, ends["max"].value):
            kind = table.schema.field(time).type
            if window.since is not None:
                mask = pc.greater_equal(table[time], _moment(window.since, kind))
            if window.until is not None:
                before = pc.less(table[time], _moment(window.until, kind))
                mask = before if mask is None else pc.and_(mask, before)
    if symbols is not None:
        listed = pc.is_in(table["symbol"].cast(pa.string()), value_set=_texts(symbols))
        mask = listed if mask is None else pc.and_(mask, listed)
    return table if mask is None else table.filter(mask)


def _moment(ns: int, kind: pa.DataType) -> pa.Scalar:
    """Return an instant as Arrow has it; `pa.scalar` imports pandas, which takes longer than reading ten minutes."""
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(ns.to_bytes(8, sys.byteorder, signed=True))])[0]


def _texts(texts: Sequence[str]) -> pa.Array:
    """Return texts as Arrow has them; `pa.array` imports pandas too."""
    encoded = [text.encode() for text in texts]
    ends = array("i", accumulate(map(len, encoded), initial=0))
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(encoded)))


def _filtered_by(name: TableName, window: Window, symbols: Sequence[str] | None) -> list[str]:
    return [
        *([TIME_COLUMN[name]] if window.bounded else []),
        *(["symbol"] if symbols is not None else []),
    ]


def _range(group: pq.RowGroupMetaData, column: int) -> tuple[int, int] | None:
    """Lowest and highest time of a row group, None if its statistics do not say."""
    statistics = group.column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return int(statistics.min_raw), int(statistics.max_raw)


@contextmanager
def _opened(path: Path, segment: Segment, *, encoded: bool = False) -> Iterator[pq.ParquetFile]:
    """Open a sealed file and check its schema; whatever goes wrong inside becomes an error of ours."""
    with _in_words(path):
        check_guard(path)  # before Arrow parses the footer: see there what a flipped bit can do
        by_dictionary = [_ENCODED.name] if encoded else []
        with pq.ParquetFile(os.fspath(path), page_checksum_verification=True, read_dictionary=by_dictionary) as file:
            _check_columns(file.schema_arrow, path, segment, encoded=encoded)
            yield file


def _check_columns(found: pa.Schema, path: Path, segment: Segment, *, encoded: bool = False) -> None:
    if not found.equals(columns_of(segment.table, SCHEMAS[segment.table].names, encoded=encoded)):
        raise CaptureDamaged(_damaged(path, f"its columns are not those of {segment.table}"))


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes an error of ours, but for a file that has gone."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        text = str(error).splitlines()[0] if str(error) else repr(error)
        if isinstance(error, OSError) and error.errno is not None:
            todo = ": give yourself permission to read it" if isinstance(error, PermissionError) else ""
            raise CaptureError(f"{os.fspath(path)!r} cannot be read ({error.strerror or text}){todo}") from error
        raise CaptureDamaged(_damaged(path, text)) from error


def _damaged(path: Path, why: str) -> str:
    return (
        f"{os.fspath(path)!r} is damaged ({why}): run `wsresearch verify` on the capture to see what else is, "
        "then bring the file back from a copy or move it away; no row of it is returned"
    )
