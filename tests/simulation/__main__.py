"""``python -m tests.simulation``: many simulated days of each pattern, as a table; exit code 1 if one went wrong.

``python -m tests.simulation --pattern everything --first-seed 17 --seeds 1`` repeats one of them. Seed by seed, every
pattern has its day; what goes wrong is told at once. Interrupted, it tells what it has, and how to go on.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from tests.simulation.day import Day, simulate
from tests.simulation.weather import PATTERNS

# Memory where there is some: what is simulated is the order of calls, not the speed of a disk.
_FAST = Path("/dev/shm")
_ENDS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A day that is asked for."""

    pattern: str
    seed: int
    hours: float

    @property
    def again(self) -> str:
        """The command that repeats it."""
        hours = "" if self.hours == 24.0 else f" --hours {self.hours:g}"
        name = shlex.quote(self.pattern)
        return f"python -m tests.simulation --pattern {name} --first-seed {self.seed} --seeds 1{hours}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A day that was simulated, what it cost, and where it broke off if the simulation itself failed."""

    job: _Job
    day: Day
    cpu: float
    trace: str = ""


def _one(job: _Job) -> _Done:
    """Simulate one day; a defect that breaks it off is a day that went wrong, and must not cost the others."""
    folder = Path(tempfile.mkdtemp(prefix="wsresearch-day-", dir=_FAST if _FAST.is_dir() else None))
    began = time.process_time()
    trace = ""
    try:
        day = simulate(job.pattern, job.seed, folder / "capture", seconds=job.hours * 3600)
    except Exception as exc:  # noqa: BLE001 - told with its trace as soon as the day is handed back
        trace = traceback.format_exc()
        day = Day(pattern=job.pattern, seed=job.seed, wrong=(f"broke off: {type(exc).__name__}: {exc}",))
    finally:
        shutil.rmtree(folder)
    return _Done(job=job, day=day, cpu=time.process_time() - began, trace=trace)


def _prepare() -> None:
    logging.disable(logging.CRITICAL)  # thousands of outages, each told in a line
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a group that is interrupted: a day begun is ended
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="simulated days of a collector, held against what the world knows",
    )
    parser.add_argument("--pattern", choices=list(PATTERNS), help="only this one")
    parser.add_argument("--seeds", type=int, default=200, help="days of each pattern (default 200)")
    parser.add_argument("--first-seed", type=int, default=0, help="number of the first day (default 0)")
    parser.add_argument("--hours", type=float, default=24.0, help="virtual hours of a day (default 24)")
    parser.add_argument("--jobs", type=int, default=2, help="days at once, a process each (default 2)")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="append each day to FILE, a line of JSON each; repeat none that is there",
    )
    asked = parser.parse_args()
    for name in ("seeds", "hours", "jobs"):
        if getattr(asked, name) <= 0:
            parser.error(f"--{name} {getattr(asked, name)} is not positive")
    return asked


def _kept(path: Path | None) -> list[_Done]:
    if path is None or not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            told = json.loads(line)
            day = Day(**told["day"] | {"wrong": tuple(told["day"]["wrong"])})
            found.append(_Done(job=_Job(**told["job"]), day=day, cpu=told["cpu"], trace=told["trace"]))
        except (ValueError, KeyError, TypeError) as exc:
            raise SystemExit(f"{path}, line {number} is no day ({exc}): remove it, or give another --keep") from exc
    return found


@contextmanager
def _days(jobs: list[_Job], processes: int) -> Iterator[Iterator[_Done]]:
    """Simulate days, each handed on when it is done; on an interruption only what has begun is ended."""
    pool = ProcessPoolExecutor(processes, initializer=_prepare)
    try:
        waiting: list[Future[_Done]] = [pool.submit(_one, job) for job in jobs]
        yield (future.result() for future in as_completed(waiting))
    finally:
        pool.shutdown(cancel_futures=True)  # once: a second call, such as that of a `with`, takes the cancelling back


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let an interruption wait, so that a day is both kept and counted, or neither."""
    told: list[int] = []
    before = {each: signal.signal(each, lambda number, _: told.append(number)) for each in _ENDS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if told:
        raise KeyboardInterrupt


def main() -> int:
    """Simulate and print."""
    asked = _parse()
    for told in _ENDS:  # the first is ignored in what a shell starts in the background
        signal.signal(told, signal.default_int_handler)
    patterns = [asked.pattern] if asked.pattern else list(PATTERNS)
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    wanted = [_Job(pattern=name, seed=seed, hours=asked.hours) for seed in seeds for name in patterns]
    known = {done.job: done for done in _kept(asked.keep)}
    done = [known[job] for job in wanted if job in known]
    missing = [job for job in wanted if job not in known]
    left = Counter(job.seed for job in missing)
    began = time.monotonic()
    # A terminal sees the bar move; a log gets a line of it a minute.
    bar = tqdm(total=len(wanted), initial=len(done), unit="day", mininterval=0.5 if sys.stderr.isatty() else 60.0)
    try:
        with bar, _days(missing, asked.jobs) as coming:
            for each in coming:
                with _uninterrupted():
                    _take(each, done, asked.keep)
                left[each.job.seed] -= 1
                wrong = sum(bool(one.day.wrong) for one in done)
                bar.set_postfix_str(f"{wrong} wrong, through with seeds below {min(+left, default=seeds.stop)}")
                bar.update()
    except KeyboardInterrupt:
        first = min(+left, default=seeds.stop)
        keep = "the same --keep" if asked.keep else f"--first-seed {first} --seeds {seeds.stop - first}"
        print(f"interrupted after {len(done)} of {len(wanted)} days; go on with {keep}\n", file=sys.stderr)
    if not done:
        return 130
    _print_table(done, patterns, asked, seconds=time.monotonic() - began)
    if any(each.day.wrong for each in done):
        return 1
    return 0 if len(done) == len(wanted) else 130


def _take(each: _Done, done: list[_Done], keep: Path | None) -> None:
    done.append(each)
    if keep:
        with keep.open("a") as file:
            file.write(json.dumps(asdict(each)) + "\n")
    for what in each.day.wrong:
        tqdm.write(f"{each.day.pattern}, seed {each.day.seed}: {what}\n{each.trace}    {each.job.again}")


def _print_table(done: list[_Done], patterns: list[str], asked: argparse.Namespace, *, seconds: float) -> None:
    columns = ("runs", "kills", "attempts", "outages", "trades", "missing", "lost_in_kills")
    print(f"{asked.seeds} days of {asked.hours:g} virtual hours of each pattern, seeds from {asked.first_seed}\n")
    print(f"{'pattern':18}{'days':>6}" + "".join(f"{name.replace('_', ' '):>15}" for name in columns), end="")
    print(f"{'slowest stop':>15}{'went wrong':>12}")
    for name in patterns:
        rows = [each.day for each in done if each.day.pattern == name]
        sums = "".join(f"{sum(getattr(day, column) for day in rows):15,}" for column in columns)
        slowest, wrong = max((day.slowest_stop for day in rows), default=0.0), sum(bool(day.wrong) for day in rows)
        print(f"{name:18}{len(rows):6}{sums}{slowest:13.2f} s{wrong:12}")
    wrong = [each for each in done if each.day.wrong]
    median = statistics.median(each.day.outages for each in done)
    print(f"\n{len(wrong)} of {len(done)} days went wrong; {median:g} outages a day, median")
    cpu = [each.cpu for each in done]
    print(f"{statistics.mean(cpu):.1f} CPU s a day, mean, {max(cpu):.1f} at most; {seconds / 60:.1f} minutes")
    for each in wrong:
        print(f"again: {each.job.again}")


if __name__ == "__main__":
    sys.exit(main())
