"""Make ``data/sample``: three minutes of the local exchange's market, its faults, and what a collector wrote of them.

``python -m benchmarks.make_sample [DIRECTORY]``. Nothing in it is compressed in time or edited afterwards: it is what
the collector wrote, without ``lock`` and ``collector.log``, which tell of a process and not of a capture.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from wsresearch.api import Capture, collect
from wsresearch.capture.verify import verify
from wsresearch.demo import against_truth
from wsresearch.lab import Begin, ExchangeProcess, FaultPlan, Tape, start
from wsresearch.notebook.plots import overview_png
from wsresearch.reconnect.backoff import FullJitter

SAMPLE: Final = Path(__file__).resolve().parents[1] / "data/sample"
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
RATE: Final = 150.0
SECONDS: Final = 190.0
PAUSE: Final = (96.0, 4.0)
"""When the collector is stopped, and for how long: a capture may span several runs."""

# One of each kind that a capture of real days meets, far enough apart to be told from its neighbours.
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"at": 12.0, "fault": "reset_peer"},
    {"at": 22.0, "fault": "close", "code": 1001, "reason": "going away"},
    {"at": 33.0, "fault": "refuse", "for": 9.0},
    {"at": 57.0, "fault": "garble", "count": 6},
    {"at": 62.0, "fault": "silence", "for": 6.0},
    {"at": 76.0, "fault": "skip_ids", "count": 9, "symbol": "BTCUSDT"},
    {"at": 82.0, "fault": "server_shutdown", "delay": 2.0},
    {"at": 108.0, "fault": "http", "status": 503, "retry_after": 4, "for": 3.0},
    {"at": 123.0, "fault": "duplicate", "count": 5},
    {"at": 126.0, "fault": "reorder", "count": 4, "symbol": "ETHUSDT"},
    {"at": 132.0, "fault": "timeout", "for": 2.5},
    {"at": 144.0, "fault": "flap", "for": 3.0},
    {"at": 160.0, "fault": "half_open"},
    {"at": 177.0, "fault": "close", "code": 1012, "reason": "service restart"},
)

# What the collector writes for its own process; a capture is whole without it.
OF_A_PROCESS: Final = ("lock", "collector.log")


def record(directory: Path) -> bool:
    """Collect into a directory; return whether it agrees with what the exchange knows it sent."""
    tape = Tape.generate(SYMBOLS, rate=RATE, seed=23, seconds=SECONDS)
    with start(tape, faults=FaultPlan.parse(FAULTS), begin=Begin.WITH_FIRST_CLIENT, seed=23) as exchange:
        capture = collect(
            f"binance:{','.join(SYMBOLS).lower()}",
            directory,
            url=exchange.url,
            policy=FullJitter(base=0.5, cap=8.0),
            reset="stable:8",
            idle_timeout=3.0,
            ping_interval=2.0,
            ping_timeout=2.0,
            rotate_age=60.0,
            duration=SECONDS + 60.0,
            seed=23,
        )
        try:
            _wait(PAUSE[0], capture, exchange)
            capture.stop()
            time.sleep(PAUSE[1])
            capture.start()
            _wait(SECONDS, capture, exchange)
            exchange.settled()
            # Outages are sealed with the next second of stats.
            time.sleep(1.5)
        finally:
            capture.stop()
        checks = list(against_truth(exchange.truth(), capture))
    for check in checks:
        print(f"{check.what:44} {'agrees' if check.agrees else f'DIFFERS: {check.truth} is not {check.disk}'}")
    return all(check.agrees for check in checks)


def _wait(seconds: float, capture: Capture, exchange: ExchangeProcess) -> None:
    """Wait, and say from time to time what is going on."""
    began = time.monotonic()
    while time.monotonic() - began < seconds and not exchange.status().has_played:
        time.sleep(1.0)
        if int(time.monotonic() - began) % 10 == 0:
            print(capture.status, file=sys.stderr)


def main() -> int:
    """Record, check, and put it in the place of the sample; exit code 1 leaves the old one as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=SAMPLE)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
        fresh = Path(name) / "sample"
        agrees = record(fresh)
        for left in OF_A_PROCESS:
            (fresh / left).unlink(missing_ok=True)
        found = verify(fresh)
        for line in (*found.problems, *found.notes):
            print(line)
        if not (agrees and found.ok):
            print(f"{asked.directory} is left as it was")
            return 1
        (fresh / "demo.png").write_bytes(overview_png(Capture(fresh)))
        if asked.directory.exists():
            shutil.rmtree(asked.directory)
        shutil.copytree(fresh, asked.directory)
    size = sum(path.stat().st_size for path in asked.directory.rglob("*") if path.is_file())
    print(f"{asked.directory}: {found.rows:,} trades, {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
