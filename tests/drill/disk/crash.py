"""Every call that changes the disk fails, or is the last: recording, rotating, sealing, retiring, recovering, pruning.

``python -m tests.drill.disk.crash`` lets each call of three stories fail or die in turn (`Point.ONE`), each two of them
(`Point.TWO`), and each call of the recovery that follows each crash (`Point.RECOVERY`); then it samples what a power
loss at each call may leave on the disk (`Point.POWER`), and again during the recovery from that. After every one of
them: no row is wrong, missing or twice; what was made safe is there; a recovery brings everything into Parquet, and
recovering three times is recovering once. A prune leaves all or what is to be left, and what is gone is written down.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from tests.capture.made import MIDNIGHT, NOON, trades
from tests.capture.recorded import NoSync
from tests.drill.disk.children import Tally, in_children
from tests.drill.disk.damage import fast_folder
from tests.drill.disk.simulated import Die, Order, PowerCut, PowerDisk, Refuse, ScriptedDisk
from wsresearch.capture.append import SegmentWriter
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.prune import KEPT, prune
from wsresearch.capture.pruned import read_pruned
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import Recovered, recover, seal
from wsresearch.capture.verify import verify
from wsresearch.capture.writer import AppendError, CaptureWriter, Rotation
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import TableName

__all__ = ["EVERY", "Job", "Left", "Live", "Old", "Point", "crash_points", "ids_of", "jobs", "new_capture", "settle"]

Faults = Mapping[int, Refuse | Die]
EVERY = list(range(1, 13))
"""Ids that the live story records."""
_TRIES = 3
"""How often the live story tries a call that the disk refuses; two faults can meet it at most."""
_REFUSALS = (Refuse(errno.EIO), Refuse(errno.ENOSPC, half=True))


class Point(StrEnum):
    """What a job goes through."""

    ONE = "one call fails or dies"
    TWO = "two calls fail or die"
    RECOVERY = "a crash in the recovery from a crash"
    POWER = "power loss"
    POWER_TWICE = "power loss in the recovery from one"


# -- the stories ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Live:
    """A capture being recorded: what was acknowledged, and what of it was made safe against power loss."""

    told: list[int] = field(default_factory=list)
    safe: list[int] = field(default_factory=list)

    def tell(self, root: Path, disk: RealDisk) -> None:
        """Append, rotate by rows and over midnight, sync, seal each segment as it ends, and end."""
        unsealed: list[Segment] = []
        layout = Layout(root)
        writer = CaptureWriter(root, rotation=Rotation(rows=4), on_finished=unsealed.append, disk=disk)
        plans: list[tuple[list[int], int | list[int]]] = [
            ([1, 2, 3], NOON),
            ([4, 5, 6], NOON + 1),
            ([7, 8, 9], [MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1]),
            ([10], MIDNIGHT + 2),
            ([11, 12], MIDNIGHT + 3),
        ]
        for numbers, times in plans:
            self._append(writer, trades(numbers, times=times))
            self.told += numbers
            if numbers[0] != 4:  # so that a segment ends that was never synced before
                _try(writer.sync)
                self.safe = list(self.told)
            self._seal(layout, unsealed, disk)
        with suppress(OSError):
            writer.close()
        self._seal(layout, unsealed, disk)

    @staticmethod
    def _append(writer: CaptureWriter, batch: pa.RecordBatch) -> None:
        """As the recorder does: what the disk refused is appended again."""
        rest = batch
        for _ in range(_TRIES):
            try:
                writer.append(TableName.TRADES, rest, now_ns=0)
            except AppendError as error:
                rest = error.remaining
            except OSError:
                continue
            else:
                return
        raise AssertionError("the disk refused more often than it was told to")

    @staticmethod
    def _seal(layout: Layout, unsealed: list[Segment], disk: RealDisk) -> None:
        for segment in list(unsealed):
            with suppress(OSError, CaptureDamaged):
                seal(layout, segment, disk=disk)
                unsealed.remove(segment)


def _try(call: Callable[[], None]) -> None:
    for _ in range(_TRIES):
        with suppress(OSError):
            call()
            return
    raise AssertionError("the disk refused more often than it was told to")


class Left:
    """A capture as crashes and damage left it, to be recovered: the second story."""

    ids = (1, 2, 3, 4, 5, 6, 7, 8, 21, 22, 23)

    @staticmethod
    def make(root: Path) -> None:
        """Two journals to seal, a torn and a damaged one, a damaged Parquet file, a temporary one, lone indexes."""
        layout = Layout(root)
        layout.journal_dir.mkdir(mode=0o700)
        for number, batches, finish in (
            (1, [[1, 2], [3]], True),
            (2, [[4], [5]], False),
            (3, [[6], [7, 8], [9]], True),
            (4, [], False),
            (5, [[21, 22], [23]], True),
        ):
            writer = SegmentWriter(layout, Segment(TableName.TRADES, number), carried={}, disk=NoSync())
            for numbers in batches:
                writer.append(trades(numbers))
            writer.finish() if finish else writer.give_up() if batches else writer._close()
        with layout.journal_path(Segment(TableName.TRADES, 2)).open("ab") as file:
            file.write(b"\xff\xff\xff\xff an append that never came to its end")
        third = layout.journal_path(Segment(TableName.TRADES, 3))
        content = bytearray(third.read_bytes())
        content[-40] ^= 1
        third.write_bytes(content)
        kept = {path: path.read_bytes() for path in layout.journal_dir.glob("trades-000000000005.*")}
        sealed = seal(layout, Segment(TableName.TRADES, 5), disk=NoSync())
        assert sealed is not None
        for path, good in kept.items():
            path.write_bytes(good)
        harmed = bytearray(sealed.path.read_bytes())
        harmed[len(harmed) // 3] ^= 1
        sealed.path.write_bytes(harmed)
        (sealed.path.parent / ".trades-000000000001.parquet.tmp").write_bytes(b"PAR1")
        layout.index_path(Segment(TableName.TRADES, 6)).write_bytes(b"")


class Old:
    """A capture to be pruned: sealed segments of two rows, two dates; four may go."""

    ids = tuple(range(1, 2 * (KEPT + 4) + 1))
    left = ids[8:]

    @classmethod
    def make(cls, parent: Path) -> Path:
        """Return a fresh copy, made once for each folder."""
        template = parent / "old"
        if not template.exists():
            root = new_capture(parent)
            layout = Layout(root)
            writer = CaptureWriter(root, rotation=Rotation(rows=2), disk=NoSync())
            for number in cls.ids:
                writer.append(TableName.TRADES, trades([number], times=MIDNIGHT - 5 + number), now_ns=0)
            writer.close()
            for segment in layout.journals(TableName.TRADES):
                seal(layout, segment, disk=NoSync())
            root.rename(template)
        root = parent / "capture"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)
        return root

    @staticmethod
    def prune(root: Path, disk: RealDisk) -> None:
        """Remove what may go."""
        prune(root, before="2026-12-01", yes=True, patience=0.0, disk=disk)

    @classmethod
    def check(cls, root: Path) -> None:
        """All is there, or what is to be left; the record has the rest, and a prune on a good disk ends it."""
        seen = ids_of(root)
        record = read_pruned(Layout(root))
        assert seen == list(cls.ids if record is None else cls.left), f"{seen} beside the record {record}"
        told = verify(root)
        assert told.rows + (0 if record is None else record.rows) == len(cls.ids)
        assert {symbol: (known.first_id, known.last_id) for symbol, known in told.symbols.items()} == {
            "BTCUSDT": (1, 40),
            "ETHUSDT": (3, 39),
        }
        assert len(told.holes) == 13 + 12, told.holes  # every third id is of the other symbol
        assert not [
            problem for problem in told.problems if "no event says so" not in problem and "more ids" not in problem
        ]
        assert recover(root, disk=NoSync()) == Recovered(), "a recovery found something to do"
        for _ in range(3):
            cls.prune(root, NoSync())
            assert ids_of(root) == list(cls.left)
            assert len(Layout(root).parquets(TableName.TRADES)) == KEPT
        assert verify(root).symbols == {
            symbol: replace(known, rows=verify(root).symbols[symbol].rows) for symbol, known in told.symbols.items()
        }


# -- what holds at every moment ---------------------------------------------------------------------------------------


def ids_of(root: Path) -> list[int]:
    rows = Reader(root).trades()
    assert rows.num_rows == 0 or _right(rows), "a row has other values than were written"
    found: list[int] = rows["trade_id"].to_pylist()
    assert found == sorted(set(found)), f"rows are twice or out of order: {found}"
    return found


def _right(rows: pa.Table) -> bool:
    """Compare the values of rows with what is written under their ids, times apart."""
    expected = pa.Table.from_batches([trades(rows["trade_id"].to_pylist())])
    names = ["symbol", "trade_id", "price", "quantity", "side", "connection", "backfilled"]
    return bool(rows.select(names).combine_chunks().equals(expected.select(names).combine_chunks()))


def _tree(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))
    }


def settle(root: Path, seen: list[int]) -> None:
    """Recover: the same rows, all of them in Parquet; then twice more, which changes nothing."""
    done = recover(root, disk=NoSync())
    assert not done.unsealed, f"could not be sealed on a good disk: {done.unsealed}"
    assert ids_of(root) == seen, f"{ids_of(root)} after recovery where a reader saw {seen} before"
    layout = Layout(root)
    assert not layout.journals(TableName.TRADES)
    assert not layout.temporaries(TableName.TRADES)
    before = _tree(root)
    for _ in range(2):
        assert recover(root, disk=NoSync()) == Recovered(), "recovering again found something to do"
        assert _tree(root) == before, "recovering again changed something"
    verify(root)
    for folder, _, names in os.walk(root):
        assert Path(folder).stat().st_mode & 0o777 == 0o700 or folder == str(root), folder
        assert all((Path(folder) / name).stat().st_mode & 0o777 == 0o600 for name in names)


def _go_on(root: Path, seen: list[int]) -> None:
    """The next run records after what is there."""
    with CaptureWriter(root, disk=NoSync()) as writer:
        writer.append(TableName.TRADES, trades([100, 101]), now_ns=0)
        assert ids_of(root) == [*seen, 100, 101]


# -- the points -------------------------------------------------------------------------------------------------------


def new_capture(parent: Path) -> Path:
    root = parent / "capture"
    shutil.rmtree(root, ignore_errors=True)
    create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config={}, disk=NoSync())
    return root


def _live(root: Path, disk: ScriptedDisk) -> Live:
    """Tell the live story as far as it comes."""
    live = Live()
    with suppress(PowerCut):
        live.tell(root, disk)
    disk.release()
    return live


def _recovering(root: Path, disk: ScriptedDisk) -> None:
    with suppress(PowerCut, OSError):
        recover(root, disk=disk)
    disk.release()


def _check_live(parent: Path, faults: Faults) -> int:
    """One run of the live story; return its calls."""
    root = new_capture(parent)
    disk = ScriptedDisk(faults)
    live = _live(root, disk)
    seen = ids_of(root)
    died = any(isinstance(fault, Die) for fault in faults.values())
    assert set(live.told) <= set(seen), f"acknowledged {live.told}, a reader sees {seen}"
    assert seen == EVERY[: len(seen)], f"no prefix of what was recorded: {seen}"
    assert died or seen == EVERY, f"the disk works again, and {seen} is there"
    settle(root, seen)
    _go_on(root, seen)
    return disk.calls


def _check_left(parent: Path, faults: Faults) -> int:
    """One run of the recovery story; return its calls."""
    root = new_capture(parent)
    Left.make(root)
    seen = ids_of(root)
    assert seen == list(Left.ids)
    disk = ScriptedDisk(faults)
    _recovering(root, disk)
    assert ids_of(root) == seen, f"{ids_of(root)} where {seen} was before a recovery that did not come to its end"
    settle(root, seen)
    evidence = sorted(path.name for path in Layout(root).quarantine_dir.iterdir())
    assert evidence[:2] == ["trades-000000000003.arrows.1", "trades-000000000003.idx.1"], evidence
    assert evidence[2:] == ["trades-000000000005.parquet.1"], evidence
    return disk.calls


def _check_pruned(parent: Path, faults: Faults) -> int:
    """One run of the story of a prune; return its calls."""
    root = Old.make(parent)
    disk = ScriptedDisk(faults)
    with suppress(PowerCut, OSError):
        Old.prune(root, disk)
    disk.release()
    Old.check(root)
    return disk.calls


_STORIES = {"live": _check_live, "recovery": _check_left, "prune": _check_pruned}


def _ones(calls: int) -> Iterator[Faults]:
    for at in range(1, calls + 1):
        yield from ({at: fault} for fault in (Die(), Die(half=True), *_REFUSALS, Refuse(errno.EACCES)))


def _twos(calls: int) -> Iterator[Faults]:
    # A refusal makes further calls, so the second fault may come later than the story has calls.
    for first in range(1, calls + 1):
        for second in range(first + 1, calls + 13):
            yield {first: _REFUSALS[0], second: _REFUSALS[1]}
            yield {first: _REFUSALS[1], second: Die(half=True)}


def _in_recovery(parent: Path, at: int) -> Iterator[Faults]:
    """Die at call `at` of the live story, then fail or die at each call of the recovery."""
    for fault in (Die(), Die(half=True), *_REFUSALS):
        step = 1
        while True:
            root = new_capture(parent)
            live = _live(root, ScriptedDisk({at: Die(half=at % 2 == 0)}))
            seen = ids_of(root)
            assert set(live.told) <= set(seen)
            disk = ScriptedDisk({step: fault})
            _recovering(root, disk)
            if disk.calls < step:
                break
            assert ids_of(root) == seen
            settle(root, seen)
            yield {at: Die(), step: fault}
            step += 1


def _power(parent: Path, at: int, states: int, *, twice: bool) -> Iterator[Faults]:
    """Lose the power at call `at`; look at some of the states that may be left, and lose it again recovering."""
    for state in range(states):
        rng = random.Random(at * 1_000_003 + state)
        order = Order.KEPT if state % 2 else Order.ANY
        root = new_capture(parent)
        disk = PowerDisk(root, {at: Die(half=rng.random() < 0.5)})
        live = _live(root, disk)
        left = parent / "left"
        seen = _lost_power(disk, left, rng, order)
        assert set(live.safe) <= set(seen), f"made safe {live.safe}, left {seen}"
        assert set(seen) <= set(EVERY)
        if order is Order.KEPT:
            assert seen == EVERY[: len(seen)], f"no prefix of what was recorded: {seen}"
        if twice:
            disk = PowerDisk(left, {rng.randint(1, 30): Die(half=rng.random() < 0.5)})
            _recovering(left, disk)
            again = parent / "again"
            assert _lost_power(disk, again, rng, order) == seen, "a power loss while recovering took rows"
            shutil.rmtree(left)
            left = again
        settle(left, seen)
        _go_on(left, seen)
        shutil.rmtree(left)
        yield {at: Die()}


def _power_pruning(parent: Path, at: int, states: int) -> Iterator[Faults]:
    """Lose the power at call `at` of a prune, or of the one after it if the disk had refused a call before."""
    for state in range(states):
        rng = random.Random(at * 1_000_003 + state)
        root = Old.make(parent)
        disk = PowerDisk(root, {rng.randint(1, at): Refuse(), at: Die(half=rng.random() < 0.5)})
        for _ in range(2):
            with suppress(PowerCut, OSError):
                Old.prune(root, disk)
        disk.release()
        left = parent / "left"
        _lost_power(disk, left, rng, Order.KEPT if state % 2 else Order.ANY)
        Old.check(left)
        shutil.rmtree(left)
        yield {at: Die()}


def _lost_power(disk: PowerDisk, to: Path, rng: random.Random, order: Order) -> list[int]:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(mode=0o700)
    disk.after_power_loss(to, rng, order)
    return ids_of(to)


# -- jobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Some points of one kind, done in one process: every `stride`-th of a story from `begin` on."""

    point: Point
    story: str
    begin: int
    stride: int
    states: int = 0


def crash_points(job: Job) -> Tally:
    """Go through the points of a job."""
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=fast_folder()) as name:
        parent = Path(name)
        calls = _STORIES[job.story](parent, {})
        kind = f"{job.point} ({job.story})"
        done = _points(job, parent, calls)
        while True:
            try:
                faults = next(done, None)
            except (AssertionError, OSError, CaptureDamaged, PowerCut) as error:
                tally.wrong.append(f"{job}: {type(error).__name__}: {error}"[:500])
                tally.add(kind, points=1, wrong=1)
                break
            if faults is None:
                break
            tally.add(kind, points=1, wrong=0)
    return tally


def _points(job: Job, parent: Path, calls: int) -> Iterator[Faults]:
    """Yield what was gone through."""
    check = _STORIES[job.story]
    mine = range(1 + job.begin, calls + 1, job.stride)
    lists: dict[Point, Iterable[Faults]] = {Point.ONE: _ones(calls), Point.TWO: _twos(calls)}
    if job.point in lists:
        for number, faults in enumerate(lists[job.point]):
            if number % job.stride == job.begin:
                try:
                    check(parent, faults)
                except (AssertionError, OSError, CaptureDamaged, PowerCut) as error:
                    raise AssertionError(f"{faults}: {error}") from error
                yield faults
    elif job.point is Point.RECOVERY:
        for at in mine:
            yield from _in_recovery(parent, at)
    elif job.story == "prune":
        for at in mine:
            yield from _power_pruning(parent, at, job.states)
    else:
        for at in mine:
            yield from _power(parent, at, job.states, twice=job.point is Point.POWER_TWICE)


def jobs(*, parts: int, every: int = 1, states: int = 20) -> list[Job]:
    """Return all jobs, each kind in so many parts, of which one in `every` is done."""
    kinds = [
        (Point.ONE, "live"),
        (Point.ONE, "recovery"),
        (Point.TWO, "live"),
        (Point.TWO, "recovery"),
        (Point.ONE, "prune"),
        (Point.TWO, "prune"),
        (Point.RECOVERY, "live"),
        (Point.POWER, "live"),
        (Point.POWER, "prune"),
        (Point.POWER_TWICE, "live"),
    ]
    return [
        Job(point=point, story=story, begin=part * every, stride=parts * every, states=states)
        for point, story in kinds
        for part in range(parts)
    ]


def main() -> int:
    """Go through all points and print a table; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="states looked at for each power loss (default 200)")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th point (default 1: all)")
    parser.add_argument("--point", choices=[point.name for point in Point], action="append", help="only these kinds")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    chosen = {Point[name] for name in asked.point or Point.__members__}
    todo = [job for job in jobs(parts=8, every=asked.every, states=asked.runs) if job.point in chosen]
    tally = in_children(crash_points, todo, workers=asked.workers, told="jobs")
    print(tally.table("crash points"))
    for what in tally.wrong[:50]:
        print(what)
    print("NOT as it should be" if tally.wrong else "no row wrong, missing or twice; three recoveries are one")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
