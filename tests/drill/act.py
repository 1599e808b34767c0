"""A collector of its own process against the local exchange, as a scenario has it in hand; what befalls it is not here.

Not here either: a collector of this process (``tests/drill/sockets.py``), one in a network of its own
(``tests/drill/links.py``).
"""

from __future__ import annotations

import atexit
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.undisturbed import undisturbed
from tests.drill.scenario import Facts, Play, Run, Trade
from tests.drill.soak import most_live
from tests.drill.sockets import FAST, PATIENCE
from wsresearch.api import make_config
from wsresearch.capture.reader import Reader
from wsresearch.collect import process
from wsresearch.collect.config import Config
from wsresearch.collect.status import Status, read_status
from wsresearch.errors import NotACapture
from wsresearch.lab import ExchangeProcess, Tape, Truth, start

__all__ = [
    "IN_FLIGHT",
    "LOST",
    "Act",
    "accounted",
    "complaints",
    "ended",
    "exchange",
    "latest",
    "on_processes",
    "trade_of",
]

RATE: Final = 1000.0
"""Trades a second."""
LOST: Final = 100
"""Rows that a SIGKILL may cost, one with another: 60 that were not yet flushed, and 40, those of 40 ms, in sockets.

The first is the rule of 600 rows at 10,000 a second with a flush of 50 ms. 75 kills, one at a time beside a busy loop
and much other work, cost 18 in the median and 46 at most. [measured]"""
WORST: Final = 400
"""Rows that one of them may cost: it may come while a disk is waited for, or another of the same priority, such as a
run beside it. Beside much other work, two runs at a time, the dearest of some 100 kills cost 332; of 76 without
real-time priority 311, and 31 in the median. [measured]"""
IN_FLIGHT: Final = 40
"""Rows that leaving a connection at once may cost: those on their way. 27 times that cost any, 5 and at most 18."""

FLUSH: Final = 0.05
_COMPLAINT: Final = re.compile(r"Traceback|^\S+ \S+ (ERROR|CRITICAL) |\bdefect\b|Fatal Python error", re.MULTILINE)
_FEW: Final = 3
"""Descriptors or threads that may be more after a while: what is opened when it is first needed."""
_LOOKS: Final = 5
_LIVED: Final = 1.0
"""Seconds between two looks from which on a growth is told."""


class Act:
    """What a scenario does to a background collector, and what it finds out on the way.

    Attributes
    ----------
    cuts
        How often the collector was killed or told to leave its connection.
    cost, worst
        How many rows that may cost, one with another and a single one.
    since
        The exchange's connection after which those of this scenario come.
    """

    def __init__(self, run: Run, config: Config) -> None:
        self.run = run
        self.rng = run.rng
        self.config = config
        self.stop: float | None = None
        self.recovery: float | None = None
        self.cuts = 0
        self.cost, self.worst = LOST, WORST
        self.since = 0
        self.problems: list[str] = []
        self.causes: set[str] = set()
        self._held: tuple[psutil.Process, float, tuple[int, int]] | None = None

    def started(self) -> psutil.Process:
        """Start a collector; return its process."""
        return psutil.Process(process.start_detached(self.config).pid)

    def status(self) -> Status | None:
        with contextlib.suppress(NotACapture):
            status = read_status(self.run.root)
            if status.cause and status.in_words:
                self.causes.add(status.cause)
            return status
        return None

    def collecting(self, more: int = 20) -> None:
        """Wait until the run has stored so many more trades."""
        status = self.status()
        before = 0 if status is None or status.pid is None else status.trades
        self.until(lambda: (now := self.status()) is not None and now.trades >= before + more, "more trades")
        self._look()

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"never came about: {what}; {self.status()}")
            time.sleep(0.01)

    def stopped(self) -> bool:
        """Stop the collector as the command does; return whether there was one."""
        self._look()
        began = time.monotonic()
        was = process.stop(self.run.root)
        self.stop = max(self.stop or 0.0, time.monotonic() - began)
        self.status()
        return was

    def killed(self, victim: psutil.Process) -> None:
        victim.kill()
        self.cuts += 1
        # Its first thread is a zombie while others are still in a call to the disk, and hold the lock.
        self.until(lambda: not process._lives(victim) and _threads(victim) <= 1, "the end of a killed process")
        self.status()

    def must(self, truth: object, what: str) -> None:
        if not truth:
            self.problems.append(what)

    def _look(self) -> None:
        """Hold what the collector has open now against what it had when first looked at."""
        found = process.running(self.run.root)
        if found is None:
            return
        with contextlib.suppress(psutil.Error):  # it is leaving
            since = self._held if self._held and self._held[0] == found else None
            if since is None:
                self._held = found, time.monotonic(), _holds(found)
            elif time.monotonic() - since[1] > _LIVED:
                for what, before, now in zip(("descriptors", "threads"), since[2], _holds(found), strict=True):
                    self.must(now <= before + _FEW, f"the collector held {before} {what} and holds {now}")


def _threads(victim: psutil.Process) -> int:
    try:
        return victim.num_threads()
    except psutil.NoSuchProcess:
        return 0


def _holds(collector: psutil.Process) -> tuple[int, int]:
    """Return the fewest descriptors and threads in some looks: journals and seals come and go, what is kept stays."""
    looks = []
    for _ in range(_LOOKS):
        looks.append((collector.num_fds(), collector.num_threads()))
        time.sleep(0.01)
    return min(fds for fds, _ in looks), min(threads for _, threads in looks)


@contextlib.contextmanager
def ended(act: Act) -> Iterator[None]:
    """Kill what still runs at the end, and say so; ask for the status once more; read what the log complains of."""
    try:
        yield
    finally:
        if (left := process.running(act.run.root)) is not None:
            act.problems.append("a collector was still running at the end")
            act.killed(left)
    act.status()
    act.problems += complaints(act.run.root)


def complaints(root: Path) -> list[str]:
    """Return each different line of a capture's log, where stderr ends too, that tells of a defect."""
    lines = [
        line
        for path in sorted(root.glob("collector.log*"))
        for line in path.read_text(errors="replace").splitlines()
        if _COMPLAINT.search(line)
    ]
    # Their times and numbers differ: one of a kind is enough.
    different = {re.sub(r"\d+", "0", line): line for line in lines}
    return [f"the collector's log: {line}" for line in different.values()]


@cache
def exchange() -> ExchangeProcess:
    """One exchange for all runs of this process; its tape stands still while nobody can take market data."""
    with undisturbed():
        running = start(Tape.generate(("BTCUSDT", "ETHUSDT"), rate=RATE, seed=1), waits=True)
    atexit.register(running.stop)
    return running


def on_processes(act: Callable[[Act], None], *, may_lose: int | None = 0, **options: Any) -> Play:
    """Return how a scenario is played with a collector of its own process; what still runs at its end is killed.

    Parameters
    ----------
    act
        What is done to it.
    may_lose
        As in the facts, beyond what kills and cuts may cost.
    **options
        Of the collector, besides :data:`FAST`.
    """

    def play(run: Run) -> Facts:
        venue = exchange()
        told = {**FAST, "flush": FLUSH, "url": venue.url, "seed": run.seed} | options
        doing = Act(run, make_config("binance:btcusdt,ethusdt", run.root, **told))
        doing.since = latest(venue.truth())
        # What is judged is the collector, not what else this machine does.
        with undisturbed(), ended(doing):
            act(doing)
        return accounted(doing, venue.truth(), may_lose=may_lose)

    return play


def accounted(act: Act, truth: Truth, *, may_lose: int | None = 0) -> Facts:
    """Return the facts: the exchange's account of the connections that came since, and what was found out."""
    mine, since = truth.expected(), act.since
    mine = mine.filter(pc.greater(mine["connection"], since))
    connections = truth.connections.filter(pc.greater(truth.connections["connection"], since))
    ends = {"stopped": 0, "failed": 3, "gave_up": 4}
    problems = list(act.problems)
    allowed = act.worst + (act.cuts - 1) * act.cost if act.cuts else 0
    if act.cuts:
        problems += [
            f"{lost} rows of connection {connection - since} are missing, a cut may cost {act.worst}"
            for connection, lost in lost_each(mine, act.run.root).items()
            if lost > act.worst
        ]
    return Facts(
        root=act.run.root,
        sent=[trade_of(row) for row in mine.to_pylist()],
        exit_code=ends.get(read_status(act.run.root).state),
        causes=act.causes,
        most_live=most_live(Truth(sent=truth.sent, faults=truth.faults, connections=connections)),
        stop=act.stop,
        recovery=act.recovery,
        may_lose=None if may_lose is None else may_lose + allowed,
        problems=problems,
    )


def latest(truth: Truth) -> int:
    """Return the number of the newest connection, 0 if there was none."""
    return pc.max(truth.connections["connection"]).as_py() or 0


def lost_each(sent: pa.Table, root: Path) -> dict[int, int]:
    """Return how many rows of each connection that lost any are not stored."""
    stored = Reader(root).trades(columns=["symbol", "trade_id"])
    missing = sent.select(["symbol", "trade_id", "connection"]).join(
        stored, ["symbol", "trade_id"], join_type="left anti"
    )
    return {row["values"]: row["counts"] for row in pc.value_counts(missing["connection"]).to_pylist()}


def trade_of(row: dict[str, Any]) -> Trade:
    """Return the trade that a row of the exchange's truth tells of."""
    return Trade(
        symbol=row["symbol"],
        trade_id=row["trade_id"],
        price=str(row["price"]),
        quantity=str(row["quantity"]),
        maker=row["side"] == "sell",
        at_ms=round(row["trade_time"].timestamp() * 1000),
    )
