"""``python -m tests.simulation``: many simulated days of each pattern, as a table; exit code 1 if one went wrong.

``python -m tests.simulation --pattern everything --first-seed 17 --seeds 1`` repeats one of them.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tqdm import tqdm

from tests.simulation.day import Day, simulate
from tests.simulation.weather import PATTERNS

# Memory where there is some: what is simulated is the order of calls, not the speed of a disk.
_FAST = Path("/dev/shm")


def _one(pattern: str, seed: int, hours: float) -> Day:
    logging.disable(logging.CRITICAL)  # thousands of outages, each told in a line
    folder = Path(tempfile.mkdtemp(prefix="wsresearch-day-", dir=_FAST if _FAST.is_dir() else None))
    try:
        return simulate(pattern, seed, folder / "capture", seconds=hours * 3600)
    finally:
        shutil.rmtree(folder)


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description="simulated days of a collector, held against what the world knows")
    parser.add_argument("--pattern", choices=list(PATTERNS), help="only this one")
    parser.add_argument("--seeds", type=int, default=200, help="days of each pattern (default 200)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=24.0, help="virtual hours of a day (default 24)")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    patterns = [asked.pattern] if asked.pattern else list(PATTERNS)
    jobs = [(name, asked.first_seed + n, asked.hours) for n in range(asked.seeds) for name in patterns]
    days: dict[str, list[Day]] = {name: [] for name in patterns}
    with ProcessPoolExecutor(asked.processes) as pool, tqdm(total=len(jobs), unit="day", file=sys.stderr) as bar:
        for job in [pool.submit(_one, *job) for job in jobs]:
            day = job.result()
            days[day.pattern].append(day)
            for what in day.wrong:
                tqdm.write(f"{day.pattern}, seed {day.seed}: {what}")
            bar.update()
    columns = ("runs", "kills", "attempts", "outages", "trades", "missing", "lost_in_kills")
    print(f"{asked.seeds} days of {asked.hours:g} virtual hours of each pattern, seeds from {asked.first_seed}\n")
    print(f"{'pattern':18}{'days':>6}" + "".join(f"{name.replace('_', ' '):>15}" for name in columns), end="")
    print(f"{'slowest stop':>15}{'went wrong':>12}")
    for name, rows in days.items():
        sums = "".join(f"{sum(getattr(day, column) for day in rows):15,}" for column in columns)
        slowest, wrong = max(day.slowest_stop for day in rows), sum(bool(day.wrong) for day in rows)
        print(f"{name:18}{len(rows):6}{sums}{slowest:13.2f} s{wrong:12}")
    every = [day for rows in days.values() for day in rows]
    median = statistics.median(day.outages for day in every)
    print(
        f"\n{sum(bool(day.wrong) for day in every)} of {len(every)} days went wrong; {median:g} outages a day, median"
    )
    return int(any(day.wrong for day in every))


if __name__ == "__main__":
    sys.exit(main())
