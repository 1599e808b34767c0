"""CPU time per trade of each station between socket and sealed file, and bytes per trade, in one run.

``python -m benchmarks.rates [RECORDING]``. Rounds alternate between the stations, and medians are printed, because
machines are noisy; compare the figures of one run with each other, not with those of another.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover
from wsresearch.capture.writer import CaptureWriter
from wsresearch.collect.sequence import Ledger
from wsresearch.lab import Others, Tape
from wsresearch.schema import TableName
from wsresearch.venues import Frames, venue_named
from wsresearch.venues.binance_wire import trade_message

ROUNDS = 5
BATCH = 2_000
NOW_NS = 1_800_000_000 * 10**9


def frames_of(tape: Tape) -> list[Frames]:
    """Blocks of messages as a socket would have brought them."""
    messages = []
    for number, message in enumerate(tape.play()):
        assert message.symbol is not None
        assert message.trade_id is not None
        messages.append(
            trade_message(
                symbol=message.symbol,
                trade_id=message.trade_id,
                price=message.price or "1",
                quantity=message.quantity or "1",
                trade_time=NOW_NS // 10**6 + number,
                event_time=NOW_NS // 10**6 + number,
                buyer_is_maker=bool(message.buyer_is_maker),
                combined=True,
            )
        )
    return [
        Frames.of(messages[at : at + BATCH], [NOW_NS + n for n in range(at, min(at + BATCH, len(messages)))])
        for at in range(0, len(messages), BATCH)
    ]


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds that a piece of work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> int:
    """Measure and print."""
    if len(sys.argv) > 1:
        tape = Tape.from_recording(sys.argv[1], others=Others.SKIP)
        what = Path(sys.argv[1]).name
    else:
        tape = Tape.generate(("BTCUSDT",), rate=1000.0, seed=1, count=100_000)
        what = "100,000 generated trades"
    blocks = frames_of(tape)
    decoder = venue_named("binance").decoder(tape.symbols)
    batches = [decoder.decode(block, connection=1).batch for block in blocks]
    rows = sum(batch.num_rows for batch in batches)
    took: dict[str, list[float]] = {"decode": [], "ids": [], "journal": [], "seal": [], "read back": []}
    size = 0
    for _ in range(ROUNDS):
        took["decode"].append(cpu(lambda: [decoder.decode(block, connection=1) for block in blocks]))
        ledger = Ledger()
        took["ids"].append(cpu(lambda known=ledger: [known.admit(batch, connection=1) for batch in batches]))
        with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
            root = Path(name) / "c"
            create_identity(Layout(root), venue="binance", symbols=list(tape.symbols), config={})

            def journal(root: Path = root) -> None:
                with CaptureWriter(root) as writer:
                    for batch in batches:
                        writer.append(TableName.TRADES, batch, now_ns=NOW_NS)

            took["journal"].append(cpu(journal))
            took["seal"].append(cpu(lambda root=root: recover(root)))
            took["read back"].append(cpu(lambda root=root: Reader(root).trades()))
            size = Reader(root).totals().size_bytes
    print(f"{what} in blocks of {BATCH:,}, median of {ROUNDS} alternating rounds")
    for station, seconds in took.items():
        print(f"  {station:10} {statistics.median(seconds) / rows * 1e6:6.2f} µs of CPU per trade")
    print(f"  on disk    {size / rows:6.2f} bytes per trade")
    return 0


if __name__ == "__main__":
    sys.exit(main())
