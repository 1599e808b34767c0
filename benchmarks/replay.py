"""Does a replay of the true policy bracket what was observed? A hundred collectors on virtual time, each with a seed.

``python -m benchmarks.replay [--seeds 100] [--first 0] [--span 1800]``. Each seed is another venue that goes up and
down at random and another collector, with one of six policies. Its outages are replayed with the policy it really had.
Printed are in how many runs the observed median time to recovery lies inside

- the interval of ``compare`` (luck, and which outages happened to happen, from the early bound to the late one),
- the narrower one of luck alone over just these outages,

and how wide the two bounds and the intervals are, in shares of the observed median. No network, no real time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from tests.study.playedvenue import RandomVenue, collected
from wsresearch.reconnect.presets import parse_policy
from wsresearch.study import outages
from wsresearch.study.policies import compare
from wsresearch.study.replay import replay

POLICIES = (
    ("full-jitter", "stable:60"),
    ("full-jitter(base=1, cap=30, floor=0)", "message"),
    ("equal-jitter", "message"),
    ("decorrelated", "stable:60"),
    ("exponential(base=0.5)", "message"),
    ("constant(delay=5)", "open"),
)


def seconds(table: pa.Table) -> np.ndarray:
    """Times to recovery; what never came is infinite."""
    return np.asarray(table["seconds"].fill_null(np.inf).to_numpy())


def number(value: float | None) -> float:
    """A null of the comparison: later than any."""
    return np.inf if value is None else value


def one(root: Path, seed: int, *, span: float) -> dict[str, float]:
    """Run one collector, replay its outages, and say where the observed median lies."""
    policy, reset = POLICIES[seed % len(POLICIES)]
    events, _ = collected(root, RandomVenue(seed=seed, span=span, every=2.0), policy=policy, reset=reset, seed=seed)
    lost = outages(events)
    # One whose end was not seen is longer than all others; half of them are over all the same.
    silence = np.where(lost["censored"].to_numpy(zero_copy_only=False), np.inf, lost["silence"].to_numpy())
    observed = float(np.median(silence))
    rules = {"reset": reset, "seed": seed, "repetitions": 100}
    (row,) = compare([parse_policy(policy)], events, **rules).to_pylist()
    table = replay(events, policy, **rules)
    count = len(lost)
    early, late = (
        np.median(seconds(table.filter(pc.equal(table["server"], bound))).reshape(-1, count), axis=1)
        for bound in ("early", "late")
    )
    low, high = float(np.quantile(early, 0.025)), float(np.quantile(late, 0.975))
    return {
        "outages": count,
        "observed": observed,
        "inside": row["median_low"] <= observed <= number(row["median_high"]),
        "by luck alone": low <= observed <= high,
        "bounds": (number(row["median_late"]) - row["median_early"]) / observed,
        "interval": (number(row["median_high"]) - row["median_low"]) / observed,
        "luck": (high - low) / observed,
    }


def main() -> int:
    """Print the figures; the exit code is 1 if fewer than 95 of 100 are bracketed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--span", type=float, default=1800.0)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wsresearch-replay-") as folder:
        seeds = tqdm(range(asked.first, asked.first + asked.seeds), unit="run")
        runs = [one(Path(folder) / str(seed), seed, span=asked.span) for seed in seeds]

    def middle(name: str) -> float:
        return float(np.median([run[name] for run in runs]))

    inside, luck = (int(sum(run[name] for run in runs)) for name in ("inside", "by luck alone"))
    print(f"{asked.seeds} runs of {asked.span:g} virtual seconds, {middle('outages'):.0f} outages each (median)")
    print(f"  bracketed by the interval of compare: {inside} of {asked.seeds}")
    print(f"  bracketed by luck alone:              {luck} of {asked.seeds}")
    print(f"  from the early to the late median:    {middle('bounds'):.2f} of the observed one (median)")
    print(f"  width of the interval of compare:     {middle('interval'):.2f}")
    print(f"  width of the interval of luck alone:  {middle('luck'):.2f}")
    print(f"  {time.monotonic() - began:.0f} s")
    return 0 if inside >= 0.95 * asked.seeds else 1


if __name__ == "__main__":
    sys.exit(main())
