"""The soak: a collector that runs on and on with a fault every few seconds; does it grow, leak, lose or double?

``python -m tests.drill.soak [--minutes 60] [--every 10] [--rate 1000] [--seed 1]`` starts a collector as a user does,
in a process of its own that is nobody's child, against the local exchange in another one. The faults are those of
``benchmarks.two_hundred_faults``, every kind as often as any other, in an order drawn from the seed. Segments are
short, so that sealing is part of what is soaked. Every few seconds memory, descriptors and threads of the collector
are read from ``/proc``, and its files are counted.

At the end everything is held against the exchange's truth, and what the process holds against what it held before.
The slope of memory is that of Theil and Sen, the median of the slopes between all pairs of samples after warm-up, with
its 95 % interval (Sen, J. Am. Stat. Assoc. 63, 1968; ``scipy.stats.theilslopes``): seals that come and go do not
move it. In less than half an hour noise alone is steeper than what is allowed, so there it is told and not judged.

Not here: causes and phases of each outage (``benchmarks.two_hundred_faults``), faults of disk and process.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import pyarrow.compute as pc
from scipy import stats
from tqdm import tqdm

from benchmarks.two_hundred_faults import KINDS
from tests.drill.judge import STOP, left_over
from wsresearch.api import Capture, make_config
from wsresearch.capture.verify import verify
from wsresearch.collect import process
from wsresearch.demo import against_truth
from wsresearch.lab import Begin, FaultPlan, Tape, Truth, start

__all__ = ["Finding", "Sample", "Soaked", "findings", "held", "most_live", "planned", "soaked"]

SLOPE: Final = 1.0
"""MB an hour that memory may grow after warm-up, at the upper end of the interval."""
JUDGED: Final = 1800.0
"""Seconds after warm-up from which on the slope is judged."""
WARM_UP: Final = 1 / 6
"""Of the run."""
KEPT: Final = 0.5
"""Descriptors or threads by which the mean may be higher at the end: one that is kept is told from chance by it."""
PAUSE: Final = 5.0
"""Seconds between two samples at most; a short run has a hundred of them all the same."""

_DEFECTS: Final = frozenset({"internal", "disk", "damaged", "unknown"})
"""Causes of `error` events that no fault of the exchange can bring about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the collector held at one moment: seconds since its start, bytes, and counts."""

    at: float
    memory: int
    descriptors: int
    threads: int
    disk: int
    journals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What a soak left behind.

    Attributes
    ----------
    capture, truth
        The two accounts.
    samples
        Of the collector, in order.
    planned
        How many faults there were to be.
    stop
        Seconds from the wish to stop to everything sealed.
    """

    capture: Capture
    truth: Truth
    samples: Sequence[Sample]
    planned: int
    stop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is looked at: what it must be, what it is, and whether that will do."""

    what: str
    must: str
    found: str
    is_well: bool


def planned(*, seconds: float, every: float, seed: int) -> FaultPlan:
    """Draw the faults: one in each `every` seconds but the last, somewhere in its first third."""
    rng = random.Random(seed)
    kinds: list[Mapping[str, Any]] = []
    entries = []
    for number in range(1, int(seconds / every)):
        if not kinds:
            kinds = [fault for _, fault in rng.sample(KINDS, len(KINDS))]
        entries.append({**kinds.pop(), "at": round((number + rng.uniform(0, 0.3)) * every, 6)})
    return FaultPlan.parse(entries)


def soaked(folder: Path, *, seconds: float, every: float, rate: float, seed: int, told: bool = False) -> Soaked:
    """Run it.

    Parameters
    ----------
    folder
        Where the capture is made.
    seconds, every
        How long, and seconds between two faults.
    rate
        Trades a second.
    seed
        Of the faults and of the tape.
    told
        Show a progress bar.

    Raises
    ------
    RuntimeError
        If the collector ends by itself.
    """
    plan = planned(seconds=seconds, every=every, seed=seed)
    pause = min(PAUSE, seconds / 100)
    tape = Tape.generate(("BTCUSDT", "ETHUSDT"), rate=rate, seed=seed)
    with start(tape, faults=plan, begin=Begin.WITH_FIRST_CLIENT, seed=seed) as exchange:
        config = make_config(
            "binance:btcusdt,ethusdt",
            folder / "capture",
            url=exchange.url,
            policy="full-jitter(base=0.2, cap=1, floor=0.05)",
            reset="message",
            budget="100000/300",
            idle_timeout=2.0,  # everything is noticed and mended before the next fault
            open_timeout=1.0,
            ping_interval=1.0,
            ping_timeout=1.0,
            rotate_age=every,
            rotate_rows=max(1000, round(rate * every / 2)),
            seed=seed,
        )
        pid = process.start(config).pid
        try:
            bar = tqdm(total=round(seconds), unit="s", file=sys.stderr, disable=not told, miniters=1)
            with bar:
                samples = list(_sampled(psutil.Process(pid), config.out, seconds=seconds, pause=pause, bar=bar))
            exchange.settled()
        finally:
            asked = time.monotonic()
            process.stop(config.out)
            stop = time.monotonic() - asked
        truth = exchange.truth()
    return Soaked(capture=Capture(config.out), truth=truth, samples=samples, planned=len(plan), stop=stop)


def _sampled(
    collector: psutil.Process, root: Path, *, seconds: float, pause: float, bar: tqdm[Any]
) -> Iterator[Sample]:
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        try:
            with collector.oneshot():
                memory, threads = collector.memory_info().rss, collector.num_threads()
            descriptors = collector.num_fds()
        except psutil.Error as exc:
            raise RuntimeError(f"the collector ended by itself after {now:.0f} s, see {root}/collector.log") from exc
        files = [path for path in root.rglob("*") if path.is_file()]
        yield Sample(
            at=now,
            memory=memory,
            descriptors=descriptors,
            threads=threads,
            disk=sum(map(_size, files)),
            journals=sum(path.suffix == ".arrows" for path in files),
        )
        bar.update(round(now) - bar.n)
        bar.set_postfix_str(f"{memory / 1e6:.1f} MB, {descriptors} descriptors, {threads} threads", refresh=False)
        time.sleep(max(0.0, min(pause, seconds - now)))


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # sealed meanwhile
        return path.stat().st_size
    return 0


def most_live(truth: Truth) -> int:
    """Return the most WebSockets that were open at one time, each until its TCP connection was gone."""
    rows = truth.connections.filter(pc.greater(truth.connections["connection"], 0)).to_pylist()
    begun = [(row["opened_ns"], 1) for row in rows if row["opened_ns"]]
    ended = [(row["closed_ns"], -1) for row in rows if row["opened_ns"] and row["closed_ns"]]
    return int(np.cumsum([step for _, step in sorted([*begun, *ended])]).max(initial=0))


def held(samples: Sequence[Sample]) -> list[Finding]:
    """Say whether memory, descriptors and threads are after warm-up what they were at its end."""
    warm = [one for one in samples if one.at >= WARM_UP * samples[-1].at]
    hours = np.array([one.at for one in warm]) / 3600
    memory = np.array([one.memory for one in warm]) / 1e6
    line = stats.theilslopes(memory, hours, alpha=0.95)
    judged = warm[-1].at - warm[0].at >= JUDGED
    span = f"median {np.median(memory):.1f} MB, {memory.min():.1f} to {memory.max():.1f}"
    slope = f"{line.slope:+.2f} ({line.low_slope:+.2f} to {line.high_slope:+.2f}) MB/h; {span}"
    found = [
        Finding(
            what="memory after warm-up",
            must=f"under {SLOPE:+g} MB/h" + ("" if judged else ", not judged: too short"),
            found=slope,
            is_well=not judged or bool(line.high_slope < SLOPE),
        )
    ]
    third = max(1, len(warm) // 3)
    for what in ("descriptors", "threads"):
        counts = np.array([getattr(one, what) for one in warm])
        # Journals and sockets come and go, so single samples differ by some; what is kept is in all of them, and
        # lifts the mean by at least one.
        early, late = counts[:third].mean(), counts[-third:].mean()
        found.append(
            Finding(
                what=f"{what}, mean of the last third",
                must=f"less than {early + KEPT:.2f}, {KEPT:g} over the first",
                found=f"{late:.2f}; {counts.min()} to {counts.max()}",
                is_well=bool(late < early + KEPT),
            )
        )
    return found


def findings(soaked: Soaked) -> list[Finding]:
    """Hold what a soak left behind against what must be."""
    capture, truth = soaked.capture, soaked.truth
    struck = len(pc.unique(truth.faults["at"]))
    found = [_exactly("faults", soaked.planned, struck), *held(soaked.samples)]
    most = max(one.journals for one in soaked.samples)
    disk = max(one.disk for one in soaked.samples)
    sealed = len(list((capture.root / "trades").rglob("*.parquet")))
    found.append(_exactly("journals and temporary files at the end", 0, len(left_over(capture.root))))
    for check in against_truth(truth, capture):
        mine, theirs = (len(it) if isinstance(it, tuple) else it for it in (check.disk, check.truth))
        must, told = (f"{it:,}" if isinstance(it, int) else str(it) for it in (theirs, mine))
        found.append(Finding(what=check.what, must=must, found=told, is_well=check.agrees))
    live = most_live(truth)
    found.append(Finding(what="connections at one time", must="at most 1", found=str(live), is_well=live <= 1))
    report = verify(capture.root)
    wrong = [*report.problems, *([f"{report.duplicates} duplicates"] if report.duplicates else [])]
    told = (
        "; ".join(wrong) or f"all is well; {disk / 1e6:,.1f} MB, {sealed:,} segments of trades, journals {most} at most"
    )
    found.append(Finding(what="verify", must="no problem", found=told, is_well=report.ok and not wrong))
    events = capture.events()
    errors = events.filter(pc.equal(events["kind"], "error"))
    causes = _DEFECTS & set(errors["cause"].to_pylist())
    found.append(
        Finding(what="errors of its own", must="none", found=", ".join(sorted(causes)) or "none", is_well=not causes)
    )
    runs = sorted(pc.unique(events["run"]).to_pylist())
    found.append(Finding(what="runs", must="[1]", found=str(runs), is_well=runs == [1]))
    stop = f"{soaked.stop:.2f} s"
    found.append(Finding(what="stop", must=f"within {STOP:g} s", found=stop, is_well=soaked.stop <= STOP))
    return found


def _exactly(what: str, must: int, found: int) -> Finding:
    return Finding(what=what, must=f"{must:,}", found=f"{found:,}", is_well=found == must)


def main() -> int:
    """Soak, judge, print; exit code 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two faults (10)")
    parser.add_argument("--rate", type=float, default=1000.0, help="trades a second (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of faults and tape (1)")
    parser.add_argument("--out", type=Path, help="where the capture lies meanwhile (the folder for such things)")
    asked = parser.parse_args()
    if not asked.minutes * 60 >= 3 * asked.every > 0:
        parser.error(
            f"{asked.minutes:g} minutes with a fault every {asked.every:g} s: give time for two faults at least"
        )
    if asked.out is not None and not asked.out.is_dir():
        parser.error(f"{asked.out} is no folder")
    with tempfile.TemporaryDirectory(prefix="wsresearch-soak-", dir=asked.out) as name:
        result = soaked(
            Path(name), seconds=asked.minutes * 60, every=asked.every, rate=asked.rate, seed=asked.seed, told=True
        )
        found = findings(result)
        trades = result.capture.status.trades
    print(
        f"{asked.minutes:g} minutes at {asked.rate:,.0f} trades/s, seed {asked.seed}: {result.planned} faults", end=""
    )
    print(f", {trades:,} trades stored, {len(result.samples)} samples\n")
    wide = max(len(one.what) for one in found)
    for one in found:
        print(f"{one.what:{wide}}  {'well ' if one.is_well else 'WRONG'}  {one.found}  (must be: {one.must})")
    well = all(one.is_well for one in found)
    print("\nall as it should be" if well else "\nNOT as it should be")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
