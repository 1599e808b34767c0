"""The published herd, and how long a million clients through an outage of a minute take, and how much memory.

``python -m benchmarks.storm [--clients 1000000] [--outage 60]``. Each storm is played in a process of its own, so that
the peak of its memory is its own; the same seed twice has to give the same bytes. A storm runs on one core, and what is
judged is its CPU time, for other work on the machine makes the clock on the wall run ahead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks.figures import peak_bytes
from wsresearch.reconnect import AdditiveJitter, Constant, EqualJitter, Exponential, FullJitter, Policy
from wsresearch.study import Admission, Member, storm
from wsresearch.study.admission import BINANCE

SECONDS, GIGABYTES = 60.0, 4.0
"""What a million clients may take."""


def cases(clients: int) -> dict[str, dict[str, object]]:
    """Servers that take a hundred seconds for all, or have no limit, and who comes."""
    queued = {"accept_rate": clients / 100, "queue": clients // 100}
    return {
        "everybody at once": {"mix": "full-jitter"},
        "accept rate and queue": {"mix": "full-jitter", "admission": Admission(**queued)},
        "no jitter": {"mix": "tardis", "admission": Admission(**queued)},
        "retry after, limit per address": {
            "mix": [Member(client=FullJitter())],
            "admission": Admission(**queued, retry_after=10, per_address=BINANCE, clients_per_address=10),
        },
        "with the listings": {
            "mix": "full-jitter=0.4,seed-okhttp=0.3,seed-java-websocket=0.3",
            "admission": Admission(**queued),
        },
        "every second": {"mix": [Member(client=Constant(delay=1))], "admission": Admission(**queued)},
    }


HERD: dict[str, Policy] = {
    "no jitter": Exponential(base=0.5, cap=16),
    "full jitter": FullJitter(base=1, cap=16, floor=0),
    "equal jitter": EqualJitter(base=1, cap=16),
    "clamp(exp) + U(0, 1)": AdditiveJitter(start=1, factor=2, cap=17, jitter=1),
}


def herd() -> None:
    """Print how many of ten thousand come back in the busiest 100 ms after a minute, attempts taking no time."""
    print("10,000 clients, base 1 s, cap 16 s, server gone for 60 s: most back in 100 ms, median of 5 seeds")
    for name, policy in HERD.items():
        found = [storm(policy, clients=10_000, outage=60, rng=np.random.default_rng(at), link=0) for at in range(5)]
        print(f"  {name:32} {statistics.median(each.busiest_back for each in found):12,}")


def play(name: str, clients: int, outage: float) -> None:
    """Play one storm and print what it took as JSON."""
    given = cases(clients)[name]
    began, cpu = time.perf_counter(), time.process_time()
    found = storm(clients=clients, outage=outage, rng=np.random.default_rng(1), **given)  # type: ignore[arg-type]
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    told = json.dumps(found.as_json()).encode()
    (whole,) = found.total.to_pylist()
    peak = peak_bytes() / 1e9
    print(
        json.dumps(
            {
                "took": took,
                "cpu": cpu,
                "peak": peak,
                "attempts": whole["attempts"],
                "digest": hashlib.sha256(told).hexdigest(),
            }
        )
    )


def child(name: str, clients: int, outage: float) -> dict[str, float]:
    """Play one storm in a process of its own."""
    arguments = ["--clients", str(clients), "--outage", str(outage), "--one", name]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.storm", *arguments], capture_output=True, text=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> int:
    """Measure and print; exit code 1 if a storm takes too long, too much memory, or differs from itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--outage", type=float, default=60.0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        play(given.one, given.clients, given.outage)
        return 0
    herd()
    print(f"{given.clients:,} clients, server gone for {given.outage:g} s")
    well = True
    digests = set()
    for name in cases(given.clients):
        it = child(name, given.clients, given.outage)
        digests.add(it["digest"])
        print(
            f"  {name:32} {it['attempts']:12,} attempts  {it['took']:6.1f} s  {it['cpu']:6.1f} s of CPU"
            f"  {it['peak']:5.2f} GB",
            flush=True,
        )
        well = well and it["cpu"] <= SECONDS and it["peak"] <= GIGABYTES
    first = next(iter(cases(given.clients)))
    same = child(first, given.clients, given.outage)["digest"] in digests
    print(f"  the same seed gives the same bytes: {'yes' if same else 'NO'}")
    return int(not (well and same))


if __name__ == "__main__":
    sys.exit(main())
