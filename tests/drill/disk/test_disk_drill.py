"""The drill of the disk in short: what the scripts beside this file do by the thousand and by the million."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from tests.drill.disk import crash, damage, kernels, kill, straced
from tests.drill.disk.children import Tally, in_children
from tests.drill.disk.crash import Job, Live, Point
from tests.drill.disk.readers import READERS, read_while_recording
from tests.drill.disk.simulated import Die, Order, PowerCut, PowerDisk, ScriptedDisk
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.errors import CaptureDamaged


def test_no_damage_gives_a_wrong_row_an_exception_or_a_signal() -> None:
    """Thousands of journals and hundreds of Parquet files, harmed in every way, in processes of their own."""
    kinds = len(damage.JOURNAL_DAMAGES) * len(damage.specimens())
    tally = in_children(damage.damaged_journals, [range(30 * kinds)], workers=1)
    tally.merge(in_children(damage.damaged_parquets, [range(210)], workers=1))
    assert tally.wrong == []
    assert tally.total("runs") == 30 * kinds + 210
    assert set(tally.counts) == {*damage.JOURNAL_DAMAGES, *(f"Parquet: {kind}" for kind in damage.PARQUET_DAMAGES)}
    assert tally.total("whole") < 0.2 * tally.total("runs"), "most damage must reach what was written"


def _ends(how: str) -> Tally:
    """A job that ends as it is told."""
    if how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "exit":
        raise SystemExit(7)
    tally = Tally()
    tally.add(how, runs=1)
    return tally


def test_a_job_that_ends_by_a_signal_is_seen() -> None:
    """The drill can fail: a process that dies is named, with what it was doing, and takes no other with it."""
    tally = in_children(_ends, ["well", "signal", "exit", "well"], workers=2)
    assert sorted(tally.wrong) == ["exit: the process ended by exit code 7", "signal: the process ended by SIGSEGV"]
    assert tally.total("runs") == 2
    assert tally.table("how").splitlines()[-1].split() == ["together", "2"]


def test_calls_that_the_kernel_fails_or_kills_at() -> None:
    """A few crash points with ``strace -e inject``: what our own layer of faults says of the kernel is true."""
    try:
        points = [(story, call) for story in straced.STORIES for call in straced.calls_of(story)]
    except straced.NotTraced as why:
        pytest.skip(str(why))
    assert {"openat", "write", "fsync", "fdatasync", "rename", "unlink", "mkdir"} <= {call.name for _, call in points}
    for number, (story, call) in enumerate(random.Random(3).sample(points, 4)):
        straced.injected(story, call, kill=number % 2 == 0)


@pytest.mark.parametrize("job", crash.jobs(parts=1, every=29, states=6), ids=lambda job: f"{job.point} ({job.story})")
def test_no_crash_loses_or_doubles_a_row(job: Job) -> None:
    """A stride through all crash points: calls that fail or die, alone, in pairs, in recovery, with power lost."""
    stride = job.stride * {Point.TWO: 10}.get(job.point, 1)
    if job.story == "prune":  # it asks the disk a tenth as often
        stride = {Point.ONE: 5, Point.TWO: 35}.get(job.point, 1)
    tally = crash.crash_points(replace(job, stride=stride))
    assert tally.wrong == []
    assert tally.total("points") >= 12


class Forgetful(PowerDisk):
    """A disk on which one of the three ways to make something safe does nothing."""

    __slots__ = ("_forgets",)

    def __init__(self, root: Path, at: int, forgets: str) -> None:
        super().__init__(root, {at: Die()})
        self._forgets = forgets

    def fdatasync(self, descriptor: int) -> None:
        if self._forgets != "fdatasync":
            super().fdatasync(descriptor)

    def fsync(self, descriptor: int) -> None:
        if self._forgets != "fsync":
            super().fsync(descriptor)

    def fsync_dir(self, path: Path) -> None:
        if self._forgets != "fsync_dir":
            super().fsync_dir(path)


@pytest.mark.parametrize("forgets", ["fdatasync", "fsync", "fsync_dir"])
def test_the_model_of_power_loss_sees_a_sync_that_is_left_out(tmp_path: Path, forgets: str) -> None:
    """The drill can fail: without any one of the three calls, rows that were made safe are lost in some state."""
    lost = 0
    for at in range(20, 90, 3):
        root, left = tmp_path / f"{at}", tmp_path / f"{at}-left"
        create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config={})
        disk = Forgetful(root, at, forgets)
        live = Live()
        with suppress(PowerCut):
            live.tell(root, disk)
        disk.release()
        left.mkdir()
        disk.after_power_loss(left, random.Random(at), Order.ANY)
        lost += not set(live.safe) <= set(_ids_if_any(left))
    assert lost > 0


def _ids_if_any(root: Path) -> list[int]:
    try:
        found: list[int] = Reader(root).trades()["trade_id"].to_pylist()
    except CaptureDamaged:
        return []
    return found


def test_a_power_disk_keeps_what_was_synced_and_may_lose_the_rest(tmp_path: Path) -> None:
    """The model itself: safe bytes and names are in every state, others in some and not in all."""
    root = tmp_path / "disk"
    root.mkdir()
    (root / "old").write_bytes(b"old")
    disk = PowerDisk(root)
    folder = root / "folder"
    disk.mkdir(folder)
    first = disk.create(folder / "first")
    disk.write(first, b"safe")
    disk.fsync(first)
    disk.write(first, b"unsafe")
    disk.fsync_dir(folder)
    disk.fsync_dir(root)
    disk.write(disk.create(folder / "second"), b"unsafe")
    disk.rename(root / "old", root / "new")
    disk.release()
    states = set()
    for seed in range(300):
        left = tmp_path / str(seed)
        left.mkdir()
        disk.after_power_loss(left, random.Random(seed), Order.ANY if seed % 2 else Order.KEPT)
        files = {str(path.relative_to(left)): path.read_bytes() for path in left.rglob("*") if path.is_file()}
        assert files["folder/first"].startswith(b"safe")
        assert files.get("old", files.get("new")) == b"old"
        assert ("old" in files) != ("new" in files)
        states.add(tuple(sorted(files.items())))
    names = [frozenset(name for name, _ in state) for state in states]
    assert len(set(names)) == 4
    contents = {dict(state)["folder/first"] for state in states}
    assert {b"safe", b"safeunsafe", b"safeuns"} <= contents


def test_eight_readers_while_all_is_written_rotated_sealed_and_recovered(tmp_path: Path) -> None:
    """Two minutes in a hurry: every answer of every reader is a whole prefix, and no reader dies."""
    tally = read_while_recording(tmp_path / "capture", minutes=2, seconds=6, seed=4)
    assert tally.wrong == []
    assert tally.counts["write"]["kills"] > 0
    assert tally.counts["write"]["segments"] > 4
    assert all(tally.counts[role]["rows"] == 6000 for role in READERS), tally.table("process")
    assert all(tally.counts[role]["reads"] > 1 for role in READERS), tally.table("process")


def test_a_collector_killed_at_random_moments_loses_the_end_and_nothing_else(tmp_path: Path) -> None:
    """Real processes at a thousand trades a second: what is stored is a prefix of what was sent, every hole is told.

    Every kill is judged by ``make drill-disk``. Here, beside other tests, a collector that waits for a processor cannot
    read what the exchange sends, nor write, nor start in time: the kill in the middle is judged, and by seconds that
    are as long as the machine makes them.
    """
    outcome = kill.kill_now_and_then(tmp_path, kills=3, seed=1, rate=1000.0, longest=1.0)
    assert outcome.wrong == []
    assert outcome.rows > 100
    assert len(outcome.kills) == 3
    assert median(cost.lost / cost.stretch for cost in outcome.kills) <= kill.rows_allowed(1000.0), outcome.kills
    begun = [cost.to_collecting / cost.stretch for cost in outcome.kills if cost.to_collecting is not None]
    assert median(begun) <= kill.SECONDS_ALLOWED, outcome.kills


def test_kernels_come_and_go_and_the_capture_goes_on(tmp_path: Path) -> None:
    """A real kernel interrupted, restarted and shut down: one collector, no outage, no row lost, attached again.

    Each attaching is judged by ``make drill-disk``. Here, beside other tests, a kernel waits for a processor as well:
    the one in the middle of three is judged, and by seconds that are as long as the machine makes them.
    """
    outcome = kernels.disturb_kernels(tmp_path / "capture", interrupts=2, restarts=2, shutdowns=1, seed=1)
    assert outcome.wrong == []
    assert outcome.rows > 100
    each = zip(outcome.attached, outcome.stretch, strict=True)
    assert median(took / stretch for took, stretch in each) < kernels.SECONDS_ALLOWED, outcome


def test_the_disk_of_the_drill_asks_for_every_call_of_the_seam() -> None:
    """A call that is added to the seam and forgotten here would never fail in any drill."""
    changing = {name for name in vars(RealDisk) if not name.startswith("_")} - {"links"}
    assert changing <= set(vars(ScriptedDisk))
    assert changing - {"close"} <= set(vars(PowerDisk))
