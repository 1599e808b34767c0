"""What a sealed segment looks like as Parquet bytes, and whether such bytes hold what a journal holds; no file here.

The encodings were chosen by ``benchmarks.encodings``, which changes one thing at a time on a long segment made of real
trades: pyarrow's defaults take twice the bytes; higher levels of zstd win little and cost much; a price by dictionary
wins over a plain one where prices return, as they do in a segment of minutes, and a quantity wins by far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from wsresearch.capture.guard import guarded
from wsresearch.schema import SCHEMAS, TableName

__all__ = ["ROW_GROUP_ROWS", "difference", "encode", "regroup", "writer_options"]

ROW_GROUP_ROWS: Final = 131_072
"""Rows of a row group. Smaller ones repeat their dictionaries (65,536: 6 % larger files), larger ones cost memory
while sealing (131,072 rows of trades are 12 MB) and leave a reader less to skip."""

_ZSTD_LEVEL: Final = 3


def encode(name: TableName, blocks: Iterable[pa.Table], metadata: Mapping[bytes, bytes]) -> memoryview:
    """Return the Parquet file of a segment.

    The same rows and metadata give the same bytes, whatever pieces they come in.

    Parameters
    ----------
    name
        Which table.
    blocks
        The rows, in pieces of `ROW_GROUP_ROWS` as `regroup` makes them: each becomes a row group.
    metadata
        Key/value pairs for the schema.
    """
    sink = pa.BufferOutputStream()
    schema = SCHEMAS[name].with_metadata(dict(metadata))
    with pq.ParquetWriter(sink, schema, **writer_options(schema)) as writer:
        for block in blocks:
            # In one piece: where pages end would otherwise depend on how the rows had come.
            writer.write_table(block.cast(schema).combine_chunks(), row_group_size=ROW_GROUP_ROWS)
    return memoryview(guarded(memoryview(sink.getvalue()).cast("B")))


def regroup(batches: Iterable[pa.RecordBatch], name: TableName) -> Iterator[pa.Table]:
    """Put batches together into tables of exactly `ROW_GROUP_ROWS` rows, the last one with the rest."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        rest = batch
        while rows + rest.num_rows >= ROW_GROUP_ROWS:
            waiting.append(rest.slice(0, ROW_GROUP_ROWS - rows))
            yield pa.Table.from_batches(waiting, SCHEMAS[name])
            rest = rest.slice(ROW_GROUP_ROWS - rows)
            waiting, rows = [], 0
        if rest.num_rows:
            waiting.append(rest)
            rows += rest.num_rows
    if waiting:
        yield pa.Table.from_batches(waiting, SCHEMAS[name])


def difference(
    content: bytes | memoryview, name: TableName, blocks: Iterable[pa.Table], metadata: Mapping[bytes, bytes]
) -> str | None:
    """Say how Parquet bytes differ from the rows and metadata they should hold; None if they do not.

    Every page checksum and every value is checked, floats bit by bit.
    """
    schema = SCHEMAS[name].with_metadata(dict(metadata))
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(schema, check_metadata=True):
                return "another schema or other metadata"
            groups = 0
            for block in blocks:
                if groups == file.num_row_groups:
                    return f"only {groups} row groups"
                if not _same(file.read_row_group(groups), block):
                    return f"other values in row group {groups}"
                groups += 1
            return None if groups == file.num_row_groups else f"{file.num_row_groups} row groups instead of {groups}"
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"it cannot be read: {' '.join(str(error).split())[:200]}"


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


def _same(found: pa.Table, expected: pa.Table) -> bool:
    return found.num_rows == expected.num_rows and all(
        _bits(found[name]).equals(_bits(expected[name])) for name in expected.column_names
    )


def _bits(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    # NaN is not equal to itself, and 0.0 is equal to -0.0
    return column.combine_chunks().view(pa.int64()) if pa.types.is_float64(column.type) else column
