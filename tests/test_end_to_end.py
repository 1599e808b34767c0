"""The promise of the project on real sockets, files and processes: every trade once, every hole known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from benchmarks import two_hundred_faults
from benchmarks.recording import EXPECTED, LOSS_ALLOWED, lost_by_kills, play
from benchmarks.undisturbed import undisturbed
from wsresearch.api import collect
from wsresearch.capture.verify import verify
from wsresearch.lab import Begin, FaultPlan, Tape, start

SPEED = 50.0
"""The same run at ten times the recording's speed is ``python -m benchmarks.recording``."""


@pytest.fixture
def spot(shared: Path) -> Path:
    return shared / "recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz"


def test_nothing_is_lost_when_the_tape_waits(spot: Path, tmp_path: Path) -> None:
    """Twenty random disconnects in a real recording: every row, every id, and every sum exactly as recorded."""
    result = play(spot, tmp_path, speed=SPEED, waits=True)
    assert result.figures() == EXPECTED
    assert result.capture.holes().num_rows == 0
    assert result.capture.outages().num_rows >= 15
    assert verify(result.capture.root).ok


def test_stored_and_holes_are_the_truth_when_the_tape_goes_on(spot: Path, tmp_path: Path) -> None:
    """What was missed while nobody was connected is recorded as holes, each with its exact first and last id."""
    result = play(spot, tmp_path, speed=SPEED, waits=False, seed=2)
    differing = [check for check in result.checks() if not check.agrees]
    assert not differing
    assert result.capture.holes().num_rows > 5
    assert verify(result.capture.root).ok


def test_sigkill_costs_a_tenth_of_a_second_at_most(spot: Path, tmp_path: Path) -> None:
    """Killed again and again: nothing a reader had seen is gone, nothing comes twice, each kill costs under 100 ms."""
    with undisturbed():  # it is the collector that is judged, not what else the machine does
        result = play(spot, tmp_path, speed=SPEED, waits=True, kills=6, seed=3)
    assert not [check for check in result.checks() if not check.agrees]
    stored = set(result.capture.trades(columns=["trade_id"])["trade_id"].to_pylist())
    assert all(kill.seen <= stored for kill in result.kills)
    assert len(result.kills) == 6
    assert max(lost_by_kills(result)) <= LOSS_ALLOWED
    assert verify(result.capture.root).ok
    runs = pc.unique(result.capture.events()["run"]).to_pylist()
    assert runs == list(range(1, 8))


def test_twenty_faults_are_told_as_the_exchange_saw_them(tmp_path: Path) -> None:
    """Every outage found and none invented, causes and holes exact, each phase as long as on the exchange's clock.

    The largest differences are the scheduler's; ``python -m benchmarks.two_hundred_faults`` prints and judges them.
    """
    with undisturbed():
        drill = two_hundred_faults.play(two_hundred_faults.drawn(count=20, seed=2), tmp_path, seed=2)
    differing = [
        f"{check.what}: {check.truth} in truth, {check.disk} on disk" for check in drill.checks() if not check.agrees
    ]
    assert not differing, "\n".join(differing)
    off = drill.differences()
    assert len(off) >= 12
    medians = {phase: np.median([abs(one[phase]) for one in off]) for phase in two_hundred_faults.COMPARED}
    assert max(medians.values()) <= two_hundred_faults.TOLERANCE, medians
    assert verify(drill.capture.root).ok


def test_the_demo_agrees_with_the_truth(tmp_path: Path) -> None:
    """`wsresearch demo`, shortened: resets, a refused period, a stall, garbage and skipped ids, and disk = truth."""
    command = [sys.executable, "-m", "wsresearch", "demo", "--seconds", "12", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(line.endswith("  agrees") for line in done.stdout.splitlines()) == 8
    assert "DIFFERS" not in done.stdout
    for cause in ("reset", "closed 1001", "stalled", "server_shutdown"):
        assert cause in done.stdout
    (picture,) = tmp_path.glob("*/demo.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_missing_id_is_charged_to_who_lost_it(tmp_path: Path) -> None:
    """Garbage, skipped ids, a reset, and a collector held still until its queue overflows: by the exchange's truth."""
    faults = [
        {"at": 1.5, "fault": "garble", "count": 6, "replace": True},
        {"at": 3.5, "fault": "skip_ids", "count": 7, "symbol": "BTCUSDT"},
        {"at": 5.5, "fault": "reset_peer"},
    ]
    tape = Tape.generate(("BTCUSDT", "ETHUSDT"), rate=1000, seed=5, seconds=12)
    with start(tape, faults=FaultPlan.parse(faults), begin=Begin.WITH_FIRST_CLIENT, seed=5) as exchange:
        capture = collect("binance:btcusdt,ethusdt", tmp_path / "c", url=exchange.url, queue_bytes=1 << 16, seed=5)
        pid = capture.status.pid
        assert pid is not None
        try:
            while exchange.status().produced < 8000:
                time.sleep(0.1)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(2.0)
            os.kill(pid, signal.SIGCONT)
            assert exchange.played(60)
            exchange.settled()
        finally:
            capture.stop()
        truth = exchange.truth()
    fate = {
        (row["symbol"], row["trade_id"]): (row["kind"], row["connection"])
        for row in truth.sent.filter(pc.is_valid(truth.sent["trade_id"])).to_pylist()
    }
    expected: Counter[str] = Counter()
    for hole in capture.holes().to_pylist():
        for number in range(hole["first_id"], hole["last_id"] + 1):
            kind, connection = fate[hole["symbol"], number]
            # What was written to the first connection and did not come was destroyed by the reset.
            arrived = "queue" if connection == 2 else "wire"
            expected[{"garbled": "parser", "skipped": "venue"}.get(kind, arrived)] += 1
    sums = capture.report()["losses"]
    assert {who: sums[who] for who in ("wire", "queue", "parser", "venue", "stop")} == {
        who: expected[who] for who in ("wire", "queue", "parser", "venue", "stop")
    }
    assert min(expected[who] for who in ("wire", "queue", "parser", "venue")) > 0
    assert sums["missing"] == pc.sum(capture.holes()["count"]).as_py()
    assert (sums["dropped_elsewhere"], sums["rejected_elsewhere"]) == (0, 0)
