"""Which encodings a sealed file should have: bytes a trade and CPU a trade of each choice, side by side.

``python -m benchmarks.encodings [--rounds 5] [--rows 1000000]``. The trades are those of the real recording where it
stands beside the project, repeated with their quantities, sides and gaps shuffled and other ids and times; else those
of the load. Each line changes one thing of what `wsresearch.capture.parquet` does. "alone" lines tell what a column
of its own takes, as it is.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import Figure, median
from benchmarks.rates import recorded_batch
from wsresearch.capture import parquet
from wsresearch.schema import TRADES

_DAY_NS: Final = 86_400 * 10**9


def trades(rows: int) -> list[pa.Table]:
    """Return so many trades as row groups."""
    batch = recorded_batch()
    count = batch.num_rows
    rng = np.random.default_rng(1)
    recv = np.asarray(batch["recv_time"].cast(pa.int64()))
    lag = recv - np.asarray(batch["trade_time"].cast(pa.int64())) * 1000
    gaps = np.diff(recv, prepend=recv[0])
    begin = recv[0] // _DAY_NS * _DAY_NS
    parts = []
    for number in range(-(-rows // count)):
        order = pa.array(rng.permutation(count))
        recv_ns = begin + np.cumsum(rng.permutation(gaps))
        begin = int(recv_ns[-1])
        trade_us = (recv_ns - rng.permutation(lag)) // 10**6 * 1000
        columns = {name: batch[name] for name in TRADES.names}
        columns |= {name: batch[name].take(order) for name in ("quantity", "side")}
        columns["trade_id"] = pa.array(np.asarray(batch["trade_id"]) + number * count)
        columns["recv_time"] = pa.array(recv_ns).view(TRADES.field("recv_time").type)
        columns |= {name: pa.array(trade_us).view(TRADES.field(name).type) for name in ("trade_time", "event_time")}
        parts.append(pa.RecordBatch.from_arrays([columns[name] for name in TRADES.names], schema=TRADES))
    table = pa.Table.from_batches(parts).slice(0, rows).combine_chunks()
    return [table.slice(at, parquet.ROW_GROUP_ROWS) for at in range(0, rows, parquet.ROW_GROUP_ROWS)]


def choices() -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Return what to compare: options of the Parquet writer and the columns written."""
    now = parquet.writer_options(TRADES)
    every = TRADES.names
    tried = {"as it is": now, "pyarrow's defaults with zstd": {"compression": "zstd"}}
    tried |= {f"zstd level {level}": now | {"compression_level": level} for level in (1, 6, 9)}
    tried["lz4"] = now | {"compression": "lz4", "compression_level": None}
    tried["without statistics"] = now | {"write_statistics": False}
    numbers = [field.name for field in TRADES if not pa.types.is_decimal(field.type)]
    tried["without those of decimals"] = now | {"write_statistics": numbers}
    tried["pages of version 2"] = now | {"data_page_version": "2.0"}
    for column in ("price", "quantity"):
        rest = [name for name in now["use_dictionary"] if name != column]
        tried[f"{column} plain"] = now | {"use_dictionary": rest}
        split = now["column_encoding"] | {column: "BYTE_STREAM_SPLIT"}
        tried[f"{column} by byte streams"] = now | {"use_dictionary": rest, "column_encoding": split}
    for column in ("trade_time", "recv_time", "connection"):
        encodings = {name: how for name, how in now["column_encoding"].items() if name != column}
        words = [*now["use_dictionary"], column]
        tried[f"{column} by dictionary"] = now | {"use_dictionary": words, "column_encoding": encodings}
    compared = {name: (options, every) for name, options in tried.items()}
    for column in every:
        options = dict(now)
        options["use_dictionary"] = [name for name in now["use_dictionary"] if name == column]
        options["column_encoding"] = {name: how for name, how in now["column_encoding"].items() if name == column}
        compared[f"{column} alone"] = (options, [column])
    return compared


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    groups = trades(options.rows)
    compared = choices()
    written: dict[str, list[float]] = {name: [] for name in compared}
    read: dict[str, list[float]] = {name: [] for name in compared}
    size = {}
    for _ in range(options.rounds):
        for name, (how, columns) in compared.items():
            some = [group.select(columns) for group in groups]
            sink = pa.BufferOutputStream()
            began = time.process_time()
            with pq.ParquetWriter(sink, some[0].schema, **how) as writer:
                for group in some:
                    writer.write_table(group, row_group_size=parquet.ROW_GROUP_ROWS)
            written[name].append(time.process_time() - began)
            content = sink.getvalue()
            size[name] = content.size / options.rows
            began = time.process_time()
            pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read(use_threads=False)
            read[name].append(time.process_time() - began)
    print(f"{options.rows:,} trades, median of {options.rounds} alternating rounds")
    print(f"{'':32} {'bytes a trade':>14} {'CPU s per million: writing':>27} {'reading':>8}")
    for name in compared:
        write, back = (median(took[name]) / options.rows * 1e6 for took in (written, read))
        print(f"{name:32} {size[name]:14.2f} {write:27.3f} {back:8.3f}")
    bytes_a_trade = size["as it is"]
    Figure(
        what="bytes per trade in sealed Parquet, long segment made of the real recording",
        target="12",
        value=f"{bytes_a_trade:.1f}",
        reached=bytes_a_trade <= 12,
    ).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
