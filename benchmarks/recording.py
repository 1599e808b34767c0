"""A real recording through the exchange, disconnects and kills included, and the disk held against the truth.

``python -m benchmarks.recording RECORDING`` plays it at ten times its speed three times (the tape waiting for the
collector, the tape going on without it, and with the collector killed fifty times) and prints what was found.
The tests run the same code faster.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc

from wsresearch.api import Capture, make_config
from wsresearch.capture.verify import verify
from wsresearch.collect import process
from wsresearch.collect.config import Config
from wsresearch.demo import Check, against_truth
from wsresearch.lab import Begin, ExchangeProcess, FaultClock, FaultPlan, Others, Tape, Truth, start

EXPECTED = {
    "rows": 19_904,
    "first id": 3_735_683_259,
    "last id": 3_735_703_162,
    "sum of quantities": Decimal("437.91552000"),
    "sum of price × quantity": Decimal("27006929.5910348"),
    "sells": 10_811,
}
"""What the recording ``spot-btcusdt-trade-2024-08-08.txt.gz`` holds, by whoever recorded it."""

SECONDS = 650.0
"""How long the recording is at its own speed."""

LOSS_ALLOWED = 0.1
"""Seconds of rows that a SIGKILL may cost."""


@dataclass
class Result:
    """What a run left behind."""

    capture: Capture
    truth: Truth
    kills: list[Kill] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """The figures of :data:`EXPECTED`, from disk."""
        trades = self.capture.trades()
        pairs = zip(trades["price"].to_pylist(), trades["quantity"].to_pylist(), strict=True)
        return {
            "rows": trades.num_rows,
            "first id": pc.min(trades["trade_id"]).as_py(),
            "last id": pc.max(trades["trade_id"]).as_py(),
            "sum of quantities": sum(trades["quantity"].to_pylist(), Decimal(0)),
            "sum of price × quantity": sum((price * quantity for price, quantity in pairs), Decimal(0)),
            "sells": pc.sum(pc.equal(trades["side"], "sell")).as_py(),
        }

    def checks(self) -> list[Check]:
        """The disk against the truth of the exchange."""
        return list(against_truth(self.truth, self.capture))


@dataclass
class Kill:
    """One SIGKILL: when, and which ids a reader had seen just before."""

    at_ns: int
    seen: set[int]


def play(
    recording: Path, folder: Path, *, speed: float, waits: bool, disconnects: int = 20, kills: int = 0, seed: int = 1
) -> Result:
    """Play a recording to a collector of its own process, with random disconnects and kills on the way."""
    tape = Tape.from_recording(recording, speed=speed, others=Others.SKIP)
    plan = FaultPlan.random(seed=seed, count=disconnects, seconds=0.95 * SECONDS / speed, after=0.02 * SECONDS / speed)
    clock = FaultClock.TAPE if waits else FaultClock.REAL
    begin = Begin.WITH_FIRST_CLIENT
    with start(tape, faults=plan, waits=waits, begin=begin, fault_clock=clock, seed=seed) as exchange:
        config = make_config(
            "binance:btcusdt",
            folder / "capture",
            url=exchange.url,
            policy="full-jitter(base=0.1, cap=0.5, floor=0.01)",
            reset="message",
            budget="10000/300",
            seed=seed,
        )
        done = _kill_now_and_then(config, exchange, kills, seed, most=1.6 * SECONDS / speed / kills) if kills else []
        if process.running(config.out) is None:
            process.start_detached(config)
        try:
            if not exchange.played(20 * SECONDS / speed + 60):
                raise TimeoutError(f"the tape did not end: {exchange.status()}")
            exchange.settled()
        finally:
            process.stop(config.out)
        return Result(Capture(config.out), exchange.truth(), done)


def _kill_now_and_then(config: Config, exchange: ExchangeProcess, count: int, seed: int, *, most: float) -> list[Kill]:
    """Start the collector, let it collect a little, read what it shows, kill it; again and again."""
    rng = random.Random(seed)
    kills = []
    while len(kills) < count and not exchange.status().has_played:
        process.start_detached(config)
        time.sleep(rng.uniform(0.05, most))
        seen = set(Capture(config.out).trades(columns=["trade_id"])["trade_id"].to_pylist())
        victim = process.running(config.out)
        assert victim is not None, "the collector ended by itself"
        kills.append(Kill(time.time_ns(), seen))
        victim.kill()
        victim.wait(10)
    return kills


def lost_by_kills(result: Result) -> list[float]:
    """Return for each kill how many seconds of rows it cost: from the first row lost to the kill.

    Only what was sent on a connection that the kill ended counts; what disconnects and absence cost are holes too,
    and are checked as such.
    """
    stored = set(result.capture.trades(columns=["trade_id"])["trade_id"].to_pylist())
    rows = result.truth.connections.select(["connection", "closed_ns", "ended_by"]).to_pylist()
    ended = {row["connection"]: row for row in rows if row["connection"] and row["ended_by"] == "client"}
    sent = result.truth.sent
    costs = []
    for kill in result.kills:
        cost = 0.0
        for connection, row in ended.items():
            # The kernel resets the connection of a killed process at once, and the exchange notes it.
            if not row["closed_ns"] or not -5e6 < row["closed_ns"] - kill.at_ns < 3e8:
                continue
            mine = sent.filter(pc.and_(pc.equal(sent["connection"], connection), pc.less(sent["sent_ns"], kill.at_ns)))
            missing = [
                at
                for at, number in zip(mine["sent_ns"].to_pylist(), mine["trade_id"].to_pylist(), strict=True)
                if number not in stored
            ]
            if missing:
                cost = max(cost, (kill.at_ns - min(missing)) / 1e9)
        costs.append(cost)
    return costs


def main() -> int:
    """Run the three and print what was found; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    well = True
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name:
        folder = Path(name)
        print(f"{asked.recording.name} at {asked.speed:g} times its speed, seed {asked.seed}")
        waiting = play(asked.recording, folder / "waits", speed=asked.speed, waits=True, seed=asked.seed)
        print(f"\n20 disconnects, the tape waits ({_told(waiting)}):")
        for what, disk in waiting.figures().items():
            well &= disk == EXPECTED[what]
            print(f"  {what:26} {disk!s:>22}  {'as recorded' if disk == EXPECTED[what] else f'NOT {EXPECTED[what]}'}")
        going_on = play(asked.recording, folder / "goes-on", speed=asked.speed, waits=False, seed=asked.seed)
        print(f"\n20 disconnects, the tape goes on ({_told(going_on)}):")
        well &= _print(going_on)
        killed = play(
            asked.recording, folder / "killed", speed=asked.speed, waits=True, kills=asked.kills, seed=asked.seed
        )
        costs = sorted(lost_by_kills(killed))
        ids = set(killed.capture.trades(columns=["trade_id"])["trade_id"].to_pylist())
        unseen = sum(len(kill.seen - ids) for kill in killed.kills)
        print(f"\n20 disconnects and {len(killed.kills)} SIGKILLs, the tape waits ({_told(killed)}):")
        well &= _print(killed) and unseen == 0 and costs[-1] <= LOSS_ALLOWED and len(costs) == asked.kills
        print(f"  rows a reader had seen and that are gone   {unseen}")
        print(f"  rows lost per kill: median {costs[len(costs) // 2] * 1e3:.0f} ms, most {costs[-1] * 1e3:.0f} ms")
    print("\nall as it should be" if well else "\nNOT as it should be")
    return 0 if well else 1


def _told(result: Result) -> str:
    """How many of the planned disconnects met an open connection, and how many outages the capture tells of."""
    met = pc.sum(pc.greater(result.truth.faults["connection"], 0)).as_py()
    return f"{met} met an open connection, {result.capture.outages().num_rows} outages recorded"


def _print(result: Result) -> bool:
    checks = result.checks()
    for check in checks:
        disk = len(check.disk) if isinstance(check.disk, tuple) else check.disk
        print(f"  {check.what:42} {disk!s:>22}  {'agrees' if check.agrees else f'DIFFERS from {check.truth}'}")
    verdict = verify(result.capture.root)
    print(f"  verify: {'all is well' if verdict.ok else verdict.problems}")
    return verdict.ok and all(check.agrees for check in checks)


if __name__ == "__main__":
    sys.exit(main())
