"""A day of a collector on one virtual clock, with stops and kills, held against what the world knows."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from tests.capture.faulty import DyingDisk, PowerCut
from tests.simulation.weather import PATTERNS, Kind
from tests.simulation.world import World
from tests.virtual import run_virtually
from wsresearch.api import make_config
from wsresearch.capture.disk import Disk, RealDisk
from wsresearch.capture.reader import Reader
from wsresearch.capture.verify import verify
from wsresearch.collect.collector import Collector
from wsresearch.collect.config import Config
from wsresearch.collect.recorder import Immediately
from wsresearch.errors import NotACapture
from wsresearch.study import holes, outages

__all__ = ["Day", "pace", "simulate"]

_HOUR = 3600.0
_FLUSH = 0.05
_PACES = {1.0: 4.0, 30.0: 0.3}
"""Seconds between two rows of stats, and calls that change the disk in a second of such a run."""


def pace(seed: int) -> float:
    """Seconds between two rows of stats: 1 as for users on every tenth day, 30 on the others.

    Two thirds of the work of a day are 86,400 rows of stats, nearly all alike: where most of them are left out, the
    same time simulates three times as many outages, and more kills strike at something else than a row of stats.
    """
    return 1.0 if seed % 10 == 1 else 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a simulated day came to.

    Attributes
    ----------
    wrong
        One line for everything that ought not to be; empty if all is well.
    fingerprint
        Hash over all events and all stored ids: the same seed gives the same.
    """

    pattern: str
    seed: int
    runs: int = 0
    kills: int = 0
    attempts: int = 0
    outages: int = 0
    trades: int = 0
    missing: int = 0
    lost_in_kills: int = 0
    slowest_stop: float = 0.0
    wrong: tuple[str, ...]
    fingerprint: str = ""


def simulate(pattern: str, seed: int, root: Path, *, seconds: float = 24 * _HOUR, budget: str = "60/300") -> Day:
    """Run a collector through a day of one of :data:`~tests.simulation.weather.PATTERNS`.

    Several times it is stopped, or killed at some call that would change the disk, and started again at once.

    Parameters
    ----------
    pattern, seed
        Together they decide everything; the seed alone, by :func:`pace`, how often a row of stats is written.
    root
        The capture directory, not there yet.
    seconds
        Virtual seconds.
    budget
        Attempts allowed in a sliding window.
    """
    rng = random.Random(f"{pattern} {seed}")
    world = World(PATTERNS[pattern](rng, seconds), rng)
    kills: dict[int, float] = {}
    stops: list[float] = []
    every = pace(seed)
    while seconds - world.base > 60.0:
        lasts = min(rng.expovariate(1 / (4 * _HOUR)) + 1.0, seconds - world.base)
        config = make_config(
            "binance:btcusdt", root, seed=rng.randrange(1 << 32), budget=budget, rotate_age=900.0, flush=_FLUSH
        )
        dies_at = rng.randrange(1, 30 + int(lasts * _PACES[every])) if rng.random() < 0.5 else None
        world.begin()
        tried = len(world.attempts)
        took = run_virtually(_one_run(config, world, every=every, lasts=lasts, dies_at=dies_at))
        if took.stop is None and len(world.attempts) == tried and not _left_a_row(root, world.run):
            world.run -= 1  # killed before its first row, it leaves nothing that could bear its number: the next has it
        elif took.stop is None:
            kills[world.run] = world.base + took.until
        else:
            stops.append(took.stop)
        world.base += took.until + rng.uniform(0.1, 10.0)
    return _judge(pattern, seed, world, root, budget=budget, kills=kills, stops=stops)


def _left_a_row(root: Path, run: int) -> bool:
    try:
        return run in Reader(root).events(columns=["run"])["run"].to_pylist()
    except NotACapture:
        return False


@dataclass(frozen=True, slots=True)
class _Took:
    """When a run ended, and how long the stop took; None if it was killed."""

    until: float
    stop: float | None


class _Disk(RealDisk):
    """A disk that is not waited for: a power cut is not simulated here, and a day has 86,400 seconds."""

    __slots__ = ()

    def fdatasync(self, descriptor: int) -> None:
        pass

    def fsync(self, descriptor: int) -> None:
        pass

    def fsync_dir(self, path: Path) -> None:
        pass


class _Killing(DyingDisk):
    """A disk that is called for the last time at call ``at``: there the process is killed."""

    __slots__ = ("killed",)

    def __init__(self, at: int, killed: Callable[[], None]) -> None:
        super().__init__(at)
        self.killed = killed

    def fail(self) -> None:
        self.killed()
        super().fail()


class _Paced(Collector):
    """A collector whose seconds are longer, where stats rows, rotation and syncing are concerned."""

    def __init__(self, config: Config, *, every: float, transport: World, disk: Disk) -> None:
        super().__init__(config, transport=transport, executors=(Immediately(), Immediately()), disk=disk)
        self._every = every

    async def _tick(self) -> None:
        while True:
            await self._transport.sleep(self._every)
            self._every_second()


async def _one_run(config: Config, world: World, *, every: float, lasts: float, dies_at: int | None) -> _Took:
    loop = asyncio.get_running_loop()
    # What dies in one task is no news to the others: for them all, time ends at the same moment.
    loop.set_exception_handler(lambda _loop, told: None if isinstance(told.get("exception"), PowerCut) else _fail(told))
    asked = died = None

    def kill() -> None:
        nonlocal died
        if died is None:
            died, world.gone = loop.time(), True
            run.cancel()

    def stop() -> None:
        nonlocal asked
        asked, world.leaving = loop.time(), True
        collector.stop()

    async def life() -> None:
        async with collector:
            loop.call_at(lasts, stop)
            await collector.run()

    disk = _Disk() if dies_at is None else _Killing(dies_at, kill)
    collector = _Paced(config, every=every, transport=world, disk=disk)
    run = asyncio.create_task(life())
    await asyncio.wait({run})
    if died is not None:
        return _Took(died, None)
    run.result()
    return _Took(loop.time(), 0.0 if asked is None else loop.time() - asked)


def _fail(told: dict[str, object]) -> None:
    raise AssertionError(told)


def _judge(
    pattern: str, seed: int, world: World, root: Path, *, budget: str, kills: dict[int, float], stops: list[float]
) -> Day:
    wrong: list[str] = []
    check: Callable[[bool, str], None] = lambda right, what: None if right else wrong.append(what)  # noqa: E731
    reader = Reader(root)
    events, stored = reader.events(), reader.trades()["trade_id"].to_pylist()
    sent = [(number, at) for told in world.told for number, at in zip(told.ids, told.at, strict=True)]
    # A kill takes what was not yet written: what arrived within a flush before it, and nothing else.
    unwritten = {number for number, at in sent if any(at <= kill <= at + 2 * _FLUSH for kill in kills.values())}
    expected = [number for number, _ in sent]
    kept = set(stored)
    lost = [number for number in expected if number not in kept]
    check(stored == [number for number in expected if number in kept], "stored rows differ from those sent")
    check(set(lost) <= unwritten, f"sent, not stored, and no kill explains it: {sorted(set(lost) - unwritten)[:5]}")

    missing = sorted(set(range(min(stored, default=0), max(stored, default=-1) + 1)) - kept)
    told = [number for row in holes(events).to_pylist() for number in range(row["first_id"], row["last_id"] + 1)]
    check(told == missing, f"holes tell {len(told)} ids, {len(missing)} are missing")
    check(world.most_live <= 1, f"{world.most_live} connections lived at once")
    check(max(stops, default=0.0) <= 2.0, f"a stop took {max(stops, default=0.0):.3f} s")
    most, window = (int(part) for part in budget.split("/"))
    for first, after in zip(world.attempts, world.attempts[most:], strict=False):
        right = after - first >= window - 1e-6 or _misplaced(world, first, after)
        check(right, f"{most + 1} attempts within {after - first:.1f} s")
    _judge_outages(world, outages(events).to_pylist(), kills, check)
    verdict = verify(root)
    check(verdict.as_json()["ok"], f"verify: {verdict.as_json()['problems'][:3]}")
    table = events.set_column(1, "time", pc.cast(events["time"], "int64"))
    document = json.dumps([table.to_pylist(), stored], sort_keys=True)
    return Day(
        pattern=pattern,
        seed=seed,
        runs=world.run,
        kills=len(kills),
        attempts=len(world.attempts),
        outages=len(outages(events)),
        trades=len(stored),
        missing=len(missing),
        lost_in_kills=len(lost),
        slowest_stop=max(stops, default=0.0),
        wrong=tuple(dict.fromkeys(wrong)),
        fingerprint=hashlib.sha256(document.encode()).hexdigest()[:16],
    )


def _misplaced(world: World, first: float, after: float) -> bool:
    """Whether a run began in a stretch of attempts after the clock had been set: no budget can be asked for then.

    A run places the attempts of those before it by a wall clock, which an attempt bears from the beginning of the one
    before it in its run, or of the run. Where that was set meanwhile by an hour, nobody can know better.
    """
    restarts = [began for began in world.began if first < began <= after]
    anchored = max(at for at in [*world.began, *(at for at in world.attempts if at < first)] if at <= first)
    steps = [spell.begin for spell in world.spells if spell.kind is Kind.CLOCK]
    return bool(restarts) and any(anchored <= step <= restarts[-1] for step in steps)


def _judge_outages(
    world: World, found: list[dict[str, object]], kills: Container[int], check: Callable[[bool, str], None]
) -> None:
    """Every connection that had delivered and was lost is one outage, as long as the world says, and no other is."""
    delivered = [told for told in world.told if told.ids]
    truth: defaultdict[int, list[float | None]] = defaultdict(list)
    for told, after in zip(delivered, [*delivered[1:], None], strict=True):
        if told.lost:
            over = after is not None and after.run == told.run
            truth[told.run].append(after.at[0] - told.at[-1] if over else None)
    recorded: defaultdict[int, list[float | None]] = defaultdict(list)
    for row in found:
        recorded[row["run"]].append(None if row["censored"] else row["silence"])
    for run in range(1, world.run + 1):
        true, told = truth[run], recorded[run]
        if run in kills:  # the last row that a killed run would have written may be one of these
            true = true[: len(told)]
            if told and told[-1] is None:
                true = [*true[:-1], None]
        same = len(true) == len(told) and all(
            (a is None) == (b is None) and abs((a or 0) - (b or 0)) < 1e-6 for a, b in zip(true, told, strict=True)
        )
        check(same, f"run {run}: outages of {told} s are recorded, {true} s in truth")
