"""The published set-up of contending clients: ours against plain loops, in time and in results, in one run.

``python -m benchmarks.contention [--runs 100] [--loop-runs 1]``. The loops are built as the published simulator is:
objects that send each other messages through one heap, each message handled by the method of its receiver. Rounds of
the two alternate. Compared is the CPU time per simulated client: a run with n clients simulates n.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsresearch.reconnect import Constant, Decorrelated, EqualJitter, Exponential, FullJitter, Policy
from wsresearch.study.contention import contention

BASE, CAP = 5.0, 2000.0
DELAY, SPREAD = 10.0, 2.0
CLIENTS = range(10, 191, 10)
SHARED = Path(__file__).resolve().parents[2] / "shared"

# The published bounds are cap and base * 2**n with n from 1: ours begin at what is n = 0 for the jittered ones.
ALGORITHMS: dict[str, tuple[Policy, Callable[[int, float], float]]] = {
    "Exponential": (Exponential(base=BASE, cap=CAP), lambda n, _: min(CAP, BASE * 2**n)),
    "Decorr": (Decorrelated(base=BASE, cap=CAP), lambda _, before: min(CAP, random.uniform(BASE, 3 * before))),
    "EqualJitter": (
        EqualJitter(base=2 * BASE, cap=CAP),
        lambda n, _: (half := min(CAP, BASE * 2**n) / 2) + random.uniform(0, half),
    ),
    "FullJitter": (
        FullJitter(base=2 * BASE, cap=CAP, floor=0),
        lambda n, _: random.uniform(0, min(CAP, BASE * 2**n)),
    ),
    "None": (Constant(delay=0), lambda _n, _: 0.0),
}


Message = tuple[float, int, Callable[..., "Message | None"], Any]
"""When it arrives, a number that parts ties, who handles it, and what it says."""


class Network:
    """Carries messages, each for a time of its own."""

    def __init__(self) -> None:
        self.sent = 0

    def carry(self, at: float, to: Callable[..., Message | None], what: Any) -> Message:
        self.sent += 1
        return at + abs(random.normalvariate(DELAY, SPREAD)), self.sent, to, what


class Row:
    """The server: one row with a version; a write succeeds if it knows the newest."""

    def __init__(self, network: Network) -> None:
        self.network, self.version, self.calls = network, 0, 0

    def read(self, at: float, client: Client) -> Message:
        return self.network.carry(at, client.write, self.version)

    def write(self, at: float, what: tuple[Client, int]) -> Message:
        client, version = what
        self.calls += 1
        won = version == self.version
        if won:
            self.version += 1
        return self.network.carry(at, client.answered, won)


class Client:
    """Reads, writes, and begins again after a delay until its write has succeeded."""

    def __init__(self, row: Row, network: Network, backoff: Callable[[int, float], float]) -> None:
        self.row, self.network, self.backoff = row, network, backoff
        self.attempt, self.before = 0, BASE

    def read(self, at: float) -> Message:
        return self.network.carry(at, self.row.read, self)

    def write(self, at: float, version: int) -> Message:
        return self.network.carry(at, self.row.write, (self, version))

    def answered(self, at: float, won: bool) -> Message | None:
        if won:
            return None
        self.attempt += 1
        self.before = self.backoff(self.attempt, self.before)
        return self.read(at + self.before)


def loop(backoff: Callable[[int, float], float], clients: int) -> tuple[int, float]:
    """Play one run message by message and return its calls and its time."""
    network = Network()
    row = Row(network)
    ahead: list[Message] = []
    for _ in range(clients):
        heapq.heappush(ahead, Client(row, network, backoff).read(0.0))
    now = 0.0
    while ahead:
        now, _, to, what = heapq.heappop(ahead)
        answer = to(now, what)
        if answer is not None:
            heapq.heappush(ahead, answer)
    return row.calls, now


def looped(name: str, runs: int) -> float:
    """Return the CPU seconds per simulated client of the loops."""
    began = time.process_time()
    for clients in CLIENTS:
        for _ in range(runs):
            loop(ALGORITHMS[name][1], clients)
    return (time.process_time() - began) / (sum(CLIENTS) * runs)


def vectorised(name: str, runs: int, seed: int) -> tuple[float, dict[int, tuple[float, float]]]:
    """Return the CPU seconds per simulated client of ours, and mean calls and time by number of clients."""
    began = time.process_time()
    table = contention(ALGORITHMS[name][0], clients=CLIENTS, runs=runs, rng=np.random.default_rng(seed))
    took = (time.process_time() - began) / (sum(CLIENTS) * runs)
    calls, times = (table[column].to_numpy().reshape(-1, runs).mean(axis=1) for column in ("calls", "time"))
    return took, dict(zip(CLIENTS, zip(calls.tolist(), times.tolist(), strict=True), strict=True))


def published(folder: Path) -> dict[tuple[str, int], tuple[float, float]]:
    """Return the mean calls and time of the published simulator by algorithm and number of clients."""
    rows = defaultdict(list)
    for path in sorted(folder.glob("expectations/aws_backoff_simulator_run*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows[row["Algorithm"], int(row["clients"])].append((float(row["calls"]), float(row["time"])))
    return {
        of: (statistics.fmean(c for c, _ in each), statistics.fmean(t for _, t in each)) for of, each in rows.items()
    }


def farthest(means: dict[int, tuple[float, float]], known: Sequence[tuple[int, tuple[float, float]]]) -> str:
    """Say how far the means lie from the published ones at 50 clients and more."""
    off = [(abs(means[n][0] / calls - 1), abs(means[n][1] / took - 1)) for n, (calls, took) in known if n >= 50]
    return f"calls {max(c for c, _ in off):6.2%}  time {max(t for _, t in off):6.2%}"


def main() -> int:
    """Measure and print; exit code 1 if ours is not a hundred times as fast."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="runs of ours for each number of clients")
    parser.add_argument("--loop-runs", type=int, default=1, help="runs of the loops in each round")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds")
    given = parser.parse_args()
    known = published(SHARED)
    ours: dict[str, list[float]] = {name: [] for name in ALGORITHMS}
    theirs: dict[str, list[float]] = {name: [] for name in ALGORITHMS}
    for round_ in range(given.rounds):
        for name in ALGORITHMS:
            theirs[name].append(looped(name, given.loop_runs))
            ours[name].append(vectorised(name, given.runs, round_)[0])
    print(f"10 to 190 clients, {given.runs} runs; µs of CPU per simulated client, median of {given.rounds} rounds")
    for name in ALGORITHMS:
        fast, slow = statistics.median(ours[name]), statistics.median(theirs[name])
        print(f"  {name:12} loops {slow * 1e6:8.1f}  ours {fast * 1e6:6.2f}  {slow / fast:5.0f} times as fast")
    ratio = statistics.median(
        sum(theirs[name][at] for name in ALGORITHMS) / sum(ours[name][at] for name in ALGORITHMS)
        for at in range(given.rounds)
    )
    print(f"  all five together: {ratio:.0f} times as fast")
    if known:
        print(
            "farthest from the published means (three times 100 runs) at 50 clients and more, with 1,000 runs of ours"
        )
        for name in ALGORITHMS:
            means = vectorised(name, 1000, 99)[1]
            print(f"  {name:12} {farthest(means, [(n, known[name, n]) for n in CLIENTS])}")
    return int(ratio < 100)


if __name__ == "__main__":
    sys.exit(main())
