"""What a sealed segment looks like as Parquet bytes, and whether such bytes hold what a journal holds; no file here.

The encodings were chosen by ``benchmarks.encodings``, which changes one thing at a time on a long segment made of real
trades: pyarrow's defaults take twice the bytes; higher levels of zstd win little and cost much; a price by dictionary
wins over a plain one where prices return, as they do in a segment of minutes, and a quantity wins by far.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from wsresearch.capture.guard import guarded
from wsresearch.schema import SCHEMAS, TableName

__all__ = ["PIECE_ROWS", "ROW_GROUP_ROWS", "difference", "encode", "regroup", "writer_options"]

PIECE_ROWS: Final = 8_192
"""Rows that are handled at a time: trades of 0.7 MB. A multiple of what the library encodes at a time (1,024), so that
where pages end does not depend on it."""

ROW_GROUP_ROWS: Final = 8 * PIECE_ROWS
"""Rows of a row group, which lies in memory while it is encoded: 6 MB of trades. Larger ones repeat their dictionaries
less often (131,072 rows: 5 % smaller files), but leave a reader less to skip."""

_ZSTD_LEVEL: Final = 3

_GATHERED: Final = 1 << 18
"""Encoded bytes that are gathered without the interpreter: for each page it would have to be waited for."""


def encode(name: TableName, pieces: Iterable[pa.Table], metadata: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Encode a segment, a row group at a time, and yield the bytes of its Parquet file in their order.

    The same rows and metadata give the same bytes, whatever batches they came in.

    Parameters
    ----------
    name
        Which table.
    pieces
        The rows, in pieces of `PIECE_ROWS` as `regroup` makes them.
    metadata
        Key/value pairs for the schema.
    """
    schema = SCHEMAS[name].with_metadata(dict(metadata))
    made = _Made()
    sink = pa.BufferedOutputStream(pa.PythonFile(made, "w"), _GATHERED)
    # Each in one piece: where pages end would otherwise depend on how its rows had come.
    ready = (piece.cast(schema).combine_chunks() for piece in pieces)
    with pq.ParquetWriter(sink, schema, **writer_options(schema)) as writer:
        # A row of events or stats takes several times what a trade does, and they are never so many.
        together = ROW_GROUP_ROWS // PIECE_ROWS if name is TableName.TRADES else 1
        while group := list(islice(ready, together)):
            writer.write_table(pa.concat_tables(group), row_group_size=ROW_GROUP_ROWS)
            group.clear()
            yield from made.taken()
    sink.flush()
    yield guarded(b"".join(made.taken()))  # the footer is written at the end, whatever is in front of it


def regroup(batches: Iterable[pa.RecordBatch], name: TableName) -> Iterator[pa.Table]:
    """Put batches together into tables of exactly `PIECE_ROWS` rows, the last one with the rest."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        rest = batch
        while rows + rest.num_rows >= PIECE_ROWS:
            waiting.append(rest.slice(0, PIECE_ROWS - rows))
            rest = rest.slice(PIECE_ROWS - rows)
            piece, waiting, rows = pa.Table.from_batches(waiting, SCHEMAS[name]), [], 0
            yield piece
        if rest.num_rows:
            waiting.append(rest)
            rows += rest.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting, SCHEMAS[name])


def difference(path: str, name: TableName, pieces: Iterable[pa.Table], metadata: Mapping[bytes, bytes]) -> str | None:
    """Say how a Parquet file differs from the rows and metadata it should hold; None if it does not.

    Every page checksum and every value is checked, floats bit by bit.

    Parameters
    ----------
    path
        The file, of which it is known that it has the bytes that were written: a damaged footer can end the process.
    name, pieces, metadata
        As of `encode`.
    """
    schema = SCHEMAS[name].with_metadata(dict(metadata))
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            if not file.schema_arrow.equals(schema, check_metadata=True):
                return "another schema or other metadata"
            stored = _stored(file)
            for piece in pieces:
                group, found = next(stored, (file.num_row_groups, None))
                if found is None:
                    return f"only {group} row groups"
                if not _same(found, piece):
                    return f"other values in row group {group}"
            group, found = next(stored, (0, None))
            return None if found is None else f"more values in row group {group}"
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"it cannot be read: {' '.join(str(error).split())[:200]}"


def _stored(file: pq.ParquetFile) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Read a file in the pieces in which it was written, each with the number of its row group."""
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(PIECE_ROWS, row_groups=[group], use_threads=False):
            yield group, batch


class _Made(io.RawIOBase):
    """Where the library writes to: keeps blocks until they are taken."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self._blocks.append(bytes(block))
        return len(block)

    def taken(self) -> list[bytes]:
        blocks, self._blocks = self._blocks, []
        return blocks


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Encodings by type: what rises or hardly changes as differences, what repeats by dictionary.

    Floats and booleans stay plain: a dictionary takes all NaN for one. `store_decimal_as_integer` would change
    nothing, it ends at 18 digits and ours have 38.
    """
    deltas = {
        field.name: "DELTA_BINARY_PACKED"
        for field in schema
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type)
    }
    repeated = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_decimal(field.type)]
    return {
        "compression": "zstd",
        "compression_level": _ZSTD_LEVEL,
        "use_dictionary": repeated,
        "column_encoding": deltas,
        "write_statistics": True,
        "write_page_checksum": True,
    }


def _same(found: pa.RecordBatch, expected: pa.Table) -> bool:
    return found.num_rows == expected.num_rows and all(
        _bits(pa.chunked_array([found[name]])).equals(_bits(expected[name])) for name in expected.column_names
    )


def _bits(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    # NaN is not equal to itself, and 0.0 is equal to -0.0
    return column.combine_chunks().view(pa.int64()) if pa.types.is_float64(column.type) else column
