"""``make bench``: every measurement, one after the other; recordings are used where they stand beside the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RECORDING = Path(__file__).resolve().parents[2] / "shared/recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz"


def main() -> int:
    """Run them; the exit code is the worst."""
    recording = [str(RECORDING)] if RECORDING.exists() else []
    jobs = [
        ["benchmarks.rates", *recording],
        ["benchmarks.hundred_million", "--rows", "10000000"],
        ["benchmarks.contention"],
        ["benchmarks.storm"],
        ["benchmarks.replay", "--seeds", "20", "--span", "900"],
        ["benchmarks.two_hundred_faults"],
        ["benchmarks.noticed"],
    ]
    if recording:
        jobs.append(["benchmarks.recording", *recording])
    else:
        print("no recording beside the project: only generated trades are measured")
    jobs.append(["benchmarks.panel"])
    return max(subprocess.run([sys.executable, "-m", *job], check=False).returncode for job in jobs)


if __name__ == "__main__":
    sys.exit(main())
