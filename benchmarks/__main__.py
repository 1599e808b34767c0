"""``make bench``: every measurement, one after the other; recordings are used where they stand beside the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RECORDING = Path(__file__).resolve().parents[2] / "shared/recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz"


def main() -> int:
    """Run them; the exit code is the worst."""
    recording = [str(RECORDING)] if RECORDING.exists() else []
    jobs = [["benchmarks.rates", *recording]]
    jobs += [[f"benchmarks.{name}"] for name in ("framing", "trickle", "latency", "recovery", "overload")]
    if recording:
        jobs.append(["benchmarks.recording", *recording])
    else:
        print("no recording beside the project: only generated trades are measured")
    return max(subprocess.run([sys.executable, "-m", *job], check=False).returncode for job in jobs)


if __name__ == "__main__":
    sys.exit(main())
