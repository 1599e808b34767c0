"""SIGKILL at random moments of a collector at full speed, and the disk held against the truth of the exchange.

``python -m tests.drill.disk.kill --runs 1000`` starts a real collector process against a local exchange that plays
10,000 trades a second, kills it, starts it again, and so on, and prints what it cost. A kill may cost the rows of one
flush interval and those on their way: `ROWS_ALLOWED`. Everything before the first row lost must be there, value by
value, and the next collector must collect within `SECONDS_ALLOWED` of its start.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from tests.drill.disk.busy import stretch
from wsresearch.api import Capture, make_config
from wsresearch.capture.reader import Reader
from wsresearch.capture.verify import verify
from wsresearch.collect import process
from wsresearch.collect.config import Config
from wsresearch.lab import Begin, Tape, Truth, start

__all__ = ["ROWS_ALLOWED", "SECONDS_ALLOWED", "Kill", "Outcome", "kill_now_and_then", "rows_allowed"]

RATE = 10_000.0
FLUSH = 0.05
ROWS_ALLOWED = 600
"""At 10,000 rows a second and a flush every 50 ms: 500 waiting to be written, and 10 ms of messages on their way.
At another rate as many more or fewer."""
SECONDS_ALLOWED = 3.0
KILLS_PER_CAPTURE = 25
"""A capture is killed this often before it is judged and the next one begins: the truth of an exchange costs memory."""

_EARLY_NS = 5_000_000
"""The clock is read before the signal is sent, so a connection may end earlier than its kill by nothing but noise."""

_COMPARED = ("symbol", "trade_id", "price", "quantity", "side", "trade_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One SIGKILL, and what it cost.

    Attributes
    ----------
    lost
        Rows that the exchange had handed to TCP before the kill and that no reader sees.
    unread
        Those of them that the collector had not read yet, if it was as far behind the exchange as with the last row it
        stored: on a busy machine a process waits for a processor, and the kernel keeps what comes meanwhile.
    to_collecting
        Seconds from asking for the collector that was killed here to the first trade it recorded; None if it was
        killed before.
    stretch
        How busy the machine was, see :func:`tests.drill.disk.busy.stretch`.
    """

    lost: int
    unread: int
    to_collecting: float | None
    stretch: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one capture went through.

    Attributes
    ----------
    wrong
        What is wrong on disk or in what is told of it, on any machine.
    beyond
        Each kill that cost more rows and each start that took longer than allowed. A machine that is busy with
        something else can bring these about: the process that was killed had not been given a processor to read with.
    """

    kills: list[Kill] = field(default_factory=list)
    rows: int = 0
    wrong: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    """One collector: its run, wall times of asking for it and of its end, rows a reader had seen, how busy it was."""

    run: int
    asked_ns: int
    killed_ns: int
    seen: int
    stretch: float


def kill_now_and_then(folder: Path, *, kills: int, seed: int, rate: float = RATE, longest: float = 0.8) -> Outcome:
    """Start and kill a collector again and again, then hold what is stored against the truth.

    Parameters
    ----------
    folder
        Where the capture is made.
    kills
        How often.
    seed
        Of the moments and of the tape.
    rate
        Trades a second.
    longest
        Seconds that a collector lives at most, after it said that it runs.
    """
    rng = random.Random(seed)
    with start(Tape.generate(rate=rate, seed=seed), begin=Begin.WITH_FIRST_CLIENT, seed=seed) as exchange:
        config = make_config(
            "binance:btcusdt",
            folder / "capture",
            url=exchange.url,
            policy="full-jitter(base=0.05, cap=0.2, floor=0.01)",
            reset="message",
            budget="10000/300",
            flush=FLUSH,
            rotate_rows=20_000,  # so that a seal is under way at many of the moments
            seed=seed,
        )
        lives = [_lived(config, rng.uniform(0.02, longest)) for _ in range(kills)]
        last = time.time_ns()
        process.start_detached(config)
        time.sleep(0.5)
        process.stop(config.out)
        outcome = _judged(config.out, exchange.truth(), lives, last)
    for number, cost in enumerate(outcome.kills, start=1):
        if cost.lost > rows_allowed(rate):
            outcome.beyond.append(f"kill {number} cost {cost.lost} rows, at most {rows_allowed(rate):g} are allowed")
        if cost.to_collecting is not None and cost.to_collecting > SECONDS_ALLOWED:
            outcome.beyond.append(
                f"the collector of kill {number} collected after {cost.to_collecting:.2f} s, "
                f"at most {SECONDS_ALLOWED:g} s are allowed"
            )
    return outcome


def rows_allowed(rate: float) -> float:
    """Return how many rows a kill may cost at a rate of trades a second."""
    return ROWS_ALLOWED * rate / RATE


def _lived(config: Config, seconds: float) -> _Life:
    asked_ns = time.time_ns()
    run = process.start_detached(config).run
    time.sleep(seconds)
    seen = Reader(config.out).totals().trades
    victim = process.running(config.out)
    if victim is None:
        raise RuntimeError(f"the collector ended by itself, see {config.out}/collector.log")
    killed_ns = time.time_ns()
    victim.kill()
    victim.wait(10)
    return _Life(run=run, asked_ns=asked_ns, killed_ns=killed_ns, seen=seen, stretch=stretch())


def _judged(root: Path, truth: Truth, lives: list[_Life], last_ns: int) -> Outcome:
    capture = Capture(root)
    stored, events = capture.trades(), capture.events()
    outcome = Outcome(rows=stored.num_rows)
    report = verify(root)
    outcome.wrong += [f"verify: {problem}" for problem in report.problems]
    outcome.wrong += [f"{report.duplicates} duplicates"] if report.duplicates else []
    holes = [(row["symbol"], row["first_id"], row["last_id"]) for row in truth.holes(stored).to_pylist()]
    if holes != [(row["symbol"], row["first_id"], row["last_id"]) for row in capture.holes().to_pylist()]:
        outcome.wrong.append("the holes recorded are not those of the truth")
    sent = truth.sent.filter(pc.equal(truth.sent["kind"], "sent"))
    costs = _costs(stored, sent, truth, outcome)
    firsts = _first_messages(events)
    for number, life in enumerate(lives):
        until = lives[number + 1].asked_ns if number + 1 < len(lives) else last_ns
        next_end = lives[number + 1].killed_ns if number + 1 < len(lives) else sys.maxsize
        # A kernel resets the connections of a killed process at once; a busy exchange may notice a little later.
        mine = [cost for cost in costs if life.killed_ns - _EARLY_NS <= cost.closed_ns < next_end - _EARLY_NS]
        first = firsts.get(life.run)
        outcome.kills.append(
            Kill(
                lost=sum(cost.lost for cost in mine),
                unread=sum(cost.unread(life.killed_ns) for cost in mine),
                to_collecting=None if first is None else (first - life.asked_ns) / 1e9,
                stretch=life.stretch,
            )
        )
        # What a reader had seen is a prefix of what there is: rows are only ever added.
        kept = pc.sum(pc.less(stored["recv_time"].cast(pa.int64()), until)).as_py()
        if kept < life.seen:
            outcome.wrong.append(f"run {life.run}: a reader saw {life.seen} rows, {kept} are left")
    return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """What the end of a connection cost: when it ended, when its lost rows were sent, and how late rows were read."""

    closed_ns: int
    lost_ns: NDArray[np.int64]
    lag_ns: int

    @property
    def lost(self) -> int:
        return len(self.lost_ns)

    def unread(self, killed_ns: int) -> int:
        return int((self.lost_ns > killed_ns - self.lag_ns).sum())


def _costs(stored: pa.Table, sent: pa.Table, truth: Truth, outcome: Outcome) -> list[_Cost]:
    """Return what the end of each connection cost; it must be the end of it that is lost."""
    costs = []
    by_first = {}
    for number in pc.unique(stored["connection"]).to_pylist():
        rows = stored.filter(pc.equal(stored["connection"], number))
        by_first[rows["trade_id"][0].as_py()] = rows
    for row in truth.connections.select(["connection", "closed_ns", "ended_by"]).to_pylist():
        if not row["connection"] or row["closed_ns"] is None:
            continue
        mine = sent.filter(pc.equal(sent["connection"], row["connection"]))
        if not mine.num_rows:
            continue
        rows = by_first.pop(mine["trade_id"][0].as_py(), stored.slice(0, 0))
        same = mine.slice(0, rows.num_rows)
        if any(not _equal(rows[name], same[name]) for name in _COMPARED):
            outcome.wrong.append(f"connection {row['connection']}: what is stored is no prefix of what was sent")
        sent_ns = mine["sent_ns"].to_numpy()
        lag_ns = rows["recv_time"][-1].value - int(sent_ns[rows.num_rows - 1]) if rows.num_rows else 0
        costs.append(_Cost(closed_ns=row["closed_ns"], lost_ns=sent_ns[rows.num_rows :], lag_ns=lag_ns))
    outcome.wrong += [f"rows from id {first} on came over no connection" for first in by_first]
    return costs


def _equal(found: pa.ChunkedArray, expected: pa.ChunkedArray) -> bool:
    return bool(found.combine_chunks().equals(expected.combine_chunks().cast(found.type)))


def _first_messages(events: pa.Table) -> dict[int, int]:
    """Return the wall time (ns) of the first message of each run."""
    found: dict[int, int] = {}
    times = events["time"].cast(pa.int64()).to_pylist()
    for run, kind, at in zip(events["run"].to_pylist(), events["kind"].to_pylist(), times, strict=True):
        if kind == "first_message":
            found.setdefault(run, at)
    return found


def main() -> int:
    """Run it and print what was found; exit code 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="SIGKILLs (default 1000, about an hour)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=RATE, help="trades a second (default 10000)")
    asked = parser.parse_args()
    kills: list[Kill] = []
    rows = 0
    wrong: list[str] = []
    beyond: list[str] = []
    with tqdm(total=asked.runs, unit="kill", file=sys.stderr) as progress:
        for seed in range(asked.seed, asked.seed + -(-asked.runs // KILLS_PER_CAPTURE)):
            with tempfile.TemporaryDirectory(prefix="wsresearch-kill-") as name:
                count = min(KILLS_PER_CAPTURE, asked.runs - len(kills))
                outcome = kill_now_and_then(Path(name), kills=count, seed=seed, rate=asked.rate)
            kills += outcome.kills
            rows += outcome.rows
            wrong += [f"seed {seed}: {what}" for what in outcome.wrong]
            beyond += [f"seed {seed}: {what}" for what in outcome.beyond]
            progress.update(count)
    lost = sorted(kill.lost for kill in kills)
    read = sorted(kill.lost - kill.unread for kill in kills)
    begun = sorted(kill.to_collecting for kill in kills if kill.to_collecting is not None)
    allowed = rows_allowed(asked.rate)
    over = sum(count > allowed for count in lost)
    late = sum(seconds > SECONDS_ALLOWED for seconds in begun)
    print(f"{len(kills)} SIGKILLs at {asked.rate:,.0f} trades/s, flush {FLUSH * 1e3:.0f} ms; {rows:,} rows stored")
    print(f"  rows lost a kill     median {_at(lost, 0.5):,.0f}, p99 {_at(lost, 0.99):,.0f}, most {lost[-1]:,}")
    print(f"  over {allowed:g} rows        {over} of {len(lost)}")
    print(f"  of them it had read  median {_at(read, 0.5):,.0f}, p99 {_at(read, 0.99):,.0f}, most {read[-1]:,}")
    print(f"  over {allowed:g} rows        {sum(count > allowed for count in read)} of {len(read)}")
    print(
        f"  start to collecting  median {_at(begun, 0.5):.2f} s, p99 {_at(begun, 0.99):.2f} s, most {begun[-1]:.2f} s"
    )
    print(f"  over {SECONDS_ALLOWED:g} s             {late} of {len(begun)}")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"  {os.cpu_count()} processors, load average {load}")
    for what in [*(wrong or ["every stored row is right, in order and once; every hole is told"]), *beyond]:
        print(f"  {what}")
    return 1 if wrong or beyond else 0


def _at(ordered: list[int] | list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else float("nan")


if __name__ == "__main__":
    sys.exit(main())
