"""CPU time per trade of each station between a block of messages and the sealed file, and bytes per trade, in one run.

``python -m benchmarks.rates [--rounds 5]``. The messages are the real recording where it stands beside the project,
else generated ones. Rounds alternate between the stations, and medians are printed, because machines are noisy;
compare the figures of one run with each other, not with those of another.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks.figures import Figure, median
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover
from wsresearch.capture.writer import CaptureWriter
from wsresearch.collect.sequence import Ledger
from wsresearch.lab import Tape
from wsresearch.schema import TableName
from wsresearch.venues import Frames, binance_columns, venue_named
from wsresearch.venues.binance_wire import trade_message

RECORDING: Final = (
    Path(__file__).resolve().parents[2] / "shared/recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz"
)
BATCH: Final = 2_048
SIZES: Final = (16, 64, 128, 256, 512, 2_048, 4_096)
NOW_NS: Final = 1_800_000_000 * 10**9


def recorded() -> tuple[str, Frames]:
    """Return what the messages are, and the messages."""
    if RECORDING.exists():
        with gzip.open(RECORDING, "rb") as lines:
            pairs = [line.rstrip(b"\n").split(b" ", 1) for line in lines]
        return RECORDING.name, Frames.of([raw for _, raw in pairs], [int(when) for when, _ in pairs])
    tape = Tape.generate(("BTCUSDT",), rate=1000.0, seed=1, count=20_000)
    messages = [
        trade_message(
            symbol=message.symbol or "",
            trade_id=message.trade_id or 0,
            price=message.price or "1",
            quantity=message.quantity or "1",
            trade_time=NOW_NS // 10**6 + number,
            event_time=NOW_NS // 10**6 + number,
            buyer_is_maker=bool(message.buyer_is_maker),
            combined=True,
        )
        for number, message in enumerate(tape.play())
    ]
    return "20,000 generated trades", Frames.of(messages, [NOW_NS + 10**6 * n for n in range(len(messages))])


def recorded_batch() -> pa.RecordBatch:
    """Return the trades of `recorded` as rows."""
    return decoder().decode(recorded()[1], connection=1).batch


def decoder() -> Any:
    """Return a new decoder of what was recorded."""
    return venue_named("binance").decoder(["BTCUSDT"])


def blocks_of(frames: Frames, size: int) -> list[Frames]:
    """Cut messages into blocks as a socket would have brought them."""
    return [frames[at : at + size] for at in range(0, len(frames), size)]


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds that a piece of work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def by_column_and_one_by_one(frames: Frames, rounds: int) -> None:
    """Print what decoding takes by either road, and from which block size on the columns win."""
    usual = binance_columns.WORTHWHILE
    took: dict[tuple[int, int], list[float]] = {(size, least): [] for size in SIZES for least in (1, 10**9)}
    reader = decoder()
    try:
        for _ in range(rounds):
            for (size, least), costs in took.items():
                binance_columns.WORTHWHILE = least
                blocks = blocks_of(frames[:8192], size)
                costs.append(cpu(lambda blocks=blocks: [reader.decode(block, connection=1) for block in blocks]) / 8192)
    finally:
        binance_columns.WORTHWHILE = usual
    print(f"decoding, µs a message, by block size; columns are used from {usual} on")
    print(f"{'messages a block':>18} {'by column':>10} {'one by one':>11}")
    for size in SIZES:
        columns, one = (median(took[size, least]) * 1e6 for least in (1, 10**9))
        print(f"{size:18,} {columns:10.2f} {one:11.2f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    what, frames = recorded()
    by_column_and_one_by_one(frames, options.rounds)
    blocks = blocks_of(frames, BATCH)
    reader = decoder()
    batches = [reader.decode(block, connection=1).batch for block in blocks]
    rows = sum(batch.num_rows for batch in batches)
    took: dict[str, list[float]] = {"decode": [], "ids": [], "journal": [], "seal": [], "read": []}
    size = 0
    for _ in range(options.rounds):
        took["decode"].append(cpu(lambda: [reader.decode(block, connection=1) for block in blocks]))
        ledger = Ledger({"BTCUSDT": batches[0]["trade_id"][0].as_py() - 1})
        took["ids"].append(cpu(lambda known=ledger: [known.admit(batch, connection=1) for batch in batches]))
        with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
            root = Path(name) / "c"
            create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config={})

            def journal(root: Path = root) -> None:
                with CaptureWriter(root) as writer:
                    for batch in batches:
                        writer.append(TableName.TRADES, batch, now_ns=NOW_NS)

            took["journal"].append(cpu(journal))
            took["seal"].append(cpu(lambda root=root: recover(root)))
            took["read"].append(cpu(lambda root=root: Reader(root).trades()))
            size = Reader(root).totals().size_bytes
    print(f"\n{what} in blocks of {BATCH:,}, median of {options.rounds} alternating rounds")
    for station, seconds in took.items():
        print(f"  {station:10} {median(seconds) / rows * 1e6:6.2f} µs of CPU per trade")
    print(f"  on disk    {size / rows:6.2f} bytes per trade")
    Figure(
        what=f"bytes per trade in sealed Parquet, {what}",
        target="12",
        value=f"{size / rows:.1f}",
        reached=size / rows <= 12,
    ).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
