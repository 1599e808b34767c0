"""Disk: full, limited, read-only, failing, slow.

Each is done to a collector that takes market data from the local exchange: in a process of its own and to a disk of
the kernel's where the kernel can be made to do it, else in a thread, with a disk of ours. What is on disk is judged
against the exchange's account.

Not here: what is found on a disk (``tests/drill/on_files.py``); crash points, power loss, readers
(``tests/drill/disk``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import resource
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Protocol

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.undisturbed import undisturbed
from tests.collect.moodydisk import MoodyDisk
from tests.drill.act import FLUSH, RATE, Act, accounted, exchange, latest, on_processes
from tests.drill.mounts import apart, possible, read_only, tmpfs
from tests.drill.scenario import Facts, Play, Run, Scenario, Section
from tests.drill.sockets import FAST, PATIENCE
from wsresearch.api import make_config
from wsresearch.capture.disk import Disk, RealDisk
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover
from wsresearch.collect.collector import Collector
from wsresearch.lab import Truth

__all__ = ["SCENARIOS"]

_SMALL: Final = 1 << 16
"""Bytes of a queue that is full in a second, the smallest there is."""
_ROOM: Final = 8 << 20
"""Bytes of a disk that holds everything a run records."""
_TOLD: Final = 0.5
"""Seconds after which a status must name a disk that fails."""
_QUIET: Final = 6.5
"""Seconds after which it must say that nothing was written, where nothing else can be told."""


# -- a disk that fails for a while --------------------------------------------------------------------------------

Fails = Callable[[Act, psutil.Process], AbstractContextManager[None]]
"""Lets the disk of a running collector fail, and work again at its end."""


def for_a_while(fails: Fails, *, seconds: float = 2.0, silent: bool = False) -> Callable[[Act], None]:
    """Let the disk fail for about so long, while market data goes on: status and events tell, and it mends by itself.

    With `silent`, nothing at all can be written into the capture: then a status can tell only that nothing is.
    """

    def act(doing: Act) -> None:
        collector = doing.started()
        doing.collecting()
        with fails(doing, collector):
            watched(doing, doing.rng.uniform(0.75, 1.25) * seconds, silent=silent)
        mended(doing)
        doing.stopped()
        told(doing)

    return act


def watched(act: Act, seconds: float, *, silent: bool = False) -> None:
    """Look at the status while the disk fails: it must name it."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        status = act.status()
        cause = "" if status is None else status.cause or ""
        if passed > (_QUIET if silent else _TOLD) and not (cause == "disk" or (silent and "written nothing" in cause)):
            act.problems.append(f"{passed:.1f} s after the disk began to fail the status said {status}")
            return
        time.sleep(0.05)


def mended(act: Act) -> None:
    """Wait until market data is stored again."""
    began = time.monotonic()
    act.collecting(200)
    act.recovery = time.monotonic() - began
    status = act.status()
    act.must(status is not None and status.cause is None, f"with a disk that works again the status says {status}")


def told(act: Act) -> None:
    """Events must say that it began and that it is over; what found no place in the queue is counted."""
    reader = Reader(act.run.root)
    said = [row["detail"] for row in reader.events().to_pylist() if row["cause"] == "disk"]
    act.must(any("fails" in text for text in said), f"no event tells that writing failed: {said}")
    act.must(any("works again" in text for text in said), f"no event tells that it works again: {said}")
    act.must(pc.sum(reader.stats()["dropped"]).as_py(), "nothing was dropped: the queue was never full")


@contextlib.contextmanager
def full(act: Act, _collector: psutil.Process) -> Iterator[None]:
    """Somebody else takes all the room there is, and all that becomes free, and gives it back at the end."""
    over = threading.Event()
    junk = act.run.folder / "junk"

    def fill() -> None:
        with junk.open("wb", buffering=0) as file:
            while not over.is_set():
                try:
                    file.write(bytes(4096))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    over.wait(0.005)

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield
    finally:
        over.set()
        filling.join()
        junk.unlink()


@contextlib.contextmanager
def limited(act: Act, collector: psutil.Process) -> Iterator[None]:
    """No file of the collector's may grow beyond some bytes; with more, its journals would just be short ones.

    With less the note in the lock would have no room, and a status nothing to go by.
    """
    most = act.rng.choice([1024, 2048])
    before = resource.prlimit(collector.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def nothing_new(act: Act, _collector: psutil.Process) -> Iterator[None]:
    """Read-only: what is open can be written, and no file be made or sealed, so it fails with the next segment."""
    with read_only(act.run.root):
        time.sleep(_ROWS / RATE)
        yield


_ROWS: Final = 500
"""Of a segment, where it must end soon."""


def mounted() -> None:
    possible()
    exchange()  # in the namespace of everybody: it stays


def on_small_disk(act: Callable[[Act], None], **options: Any) -> Play:
    """Return how a scenario is played on a disk of its own, small and nobody else's."""

    def play(run: Run) -> Facts:
        def alone() -> Facts:
            place = run.folder / "disk"
            with tmpfs(place, size=_ROOM):
                facts = on_processes(act, **options)(replace(run, folder=place))
                shutil.copytree(facts.root, run.root)
            return replace(facts, root=run.root)

        return apart(alone)

    return play


# -- a disk of ours, below a collector in a thread ----------------------------------------------------------------


class Moody(Disk, Protocol):
    """A disk that can be made to work at once, so that a collector which waits for it can end.

    ``waited`` are the seconds that the thread which waited longest has waited for it so far.
    """

    @property
    def waited(self) -> float: ...

    def mend(self) -> None: ...


class Here:
    """A collector of this process, in a thread and on a disk of ours; entered and left it has run and stopped."""

    def __init__(self, act: Act, disk: Moody) -> None:
        self._act = act
        self._disk = disk
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._collect()))
        self._stop: Callable[[], object] = lambda: None
        self.exit_code: int | None = None

    async def _collect(self) -> None:
        async with Collector(self._act.config, disk=self._disk) as collector:
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(collector.stop)
            self._begun.set()
            self.exit_code = await collector.run()

    def __enter__(self) -> Here:
        self._thread.start()
        self._act.must(self._begun.wait(PATIENCE), "the collector did not begin")
        return self

    def __exit__(self, *_exc: object) -> None:
        began, before = time.monotonic(), self._disk.waited
        self._stop()
        self._thread.join(PATIENCE)
        # A call that the disk does not return from is waited for, since leaving could lose what it writes.
        self._act.stop = max(0.0, time.monotonic() - began - (self._disk.waited - before))
        if self._thread.is_alive():
            self._act.problems.append(f"the collector did not end in {PATIENCE:g} s")
            self._disk.mend()  # nothing of it may reach into the next scenario
            self._thread.join(PATIENCE)


def on_disk_of_ours(
    disk: Callable[[random.Random], Any],
    act: Callable[[Act, Any], None],
    *,
    may_lose: int | None = 0,
    check: Callable[[Act, Truth], None] = lambda *_: None,
    **options: Any,
) -> Play:
    """Return how a scenario is played with a collector of this process; what it left is sealed as a stop does."""

    def play(run: Run) -> Facts:
        venue = exchange()
        settings = {**FAST, "flush": FLUSH, "url": venue.url, "seed": run.seed} | options
        doing = Act(run, make_config("binance:btcusdt,ethusdt", run.root, **settings))
        doing.since = latest(venue.truth())
        mine = disk(run.rng)
        with undisturbed(), Here(doing, mine):
            act(doing, mine)
        recover(run.root)
        doing.status()
        truth = venue.truth()
        check(doing, truth)
        return accounted(doing, truth, may_lose=may_lose)

    return play


_ERRORS: Final = (errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ESTALE, errno.ENOSPC)


class RefusingDisk(MoodyDisk):
    """A disk that refuses for a while."""

    waited = 0.0

    def mend(self) -> None:
        self.error = None


def refusing(act: Act, disk: RefusingDisk) -> None:
    """Each call that changes something is refused for a while, a write perhaps half done."""
    act.collecting()
    disk.half = act.rng.random() < 0.5
    disk.error = act.rng.choice(_ERRORS)
    watched(act, act.rng.uniform(1.5, 2.5))
    disk.mend()
    mended(act)


class SlowDisk(RealDisk):
    """A disk that takes its time for each write and each flush, from some moment on."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = random.Random(rng.random())
        self._waits: defaultdict[int, float] = defaultdict(float)
        self.slow = False

    @property
    def waited(self) -> float:
        return max(self._waits.values(), default=0.0)

    def _wait(self) -> None:
        if self.slow:
            began = time.monotonic()
            time.sleep(self._rng.uniform(0.3, 0.5))
            self._waits[threading.get_ident()] += time.monotonic() - began

    def mend(self) -> None:
        self.slow = False

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        self._wait()
        super().write(descriptor, content)

    def fdatasync(self, descriptor: int) -> None:
        self._wait()
        super().fdatasync(descriptor)


def slow(seconds: float) -> Callable[[Act, SlowDisk], None]:
    """Writing takes longer than the time in which the next write is due; it does to the end."""

    def act(doing: Act, disk: SlowDisk) -> None:
        doing.collecting()
        disk.slow = True
        time.sleep(seconds)

    return act


_LATE: Final = 0.25
"""Seconds after its sending in which a message must have been received."""


def received_in_time(act: Act, truth: Truth) -> None:
    """What was sent was received at once, however long it then took to be stored."""
    ids = ["symbol", "trade_id"]
    stored = Reader(act.run.root).trades(columns=[*ids, "recv_time"])
    both = stored.join(truth.expected().select([*ids, "sent_ns"]), ids, join_type="inner")
    lag = pc.max(pc.subtract(both["recv_time"].cast(pa.int64()), both["sent_ns"])).as_py() / 1e9
    act.must(lag <= _LATE, f"a message was received {lag:.2f} s after it was sent, at most {_LATE:g} s are allowed")


# -- the table ----------------------------------------------------------------------------------------------------


def p(name: str, injected: str, play: Play, **told: Any) -> Scenario:
    return Scenario(
        name=name, section=Section.DISK, injected=injected, play=play, **{"truth": _WHOLE, "prepare": exchange} | told
    )


_WHOLE: Final = "every row sent is stored"
_DROPPED: Final = "what found no place in the queue is counted and is a hole, all else is stored; it goes on by itself"
_FAILING: Final[dict[str, Any]] = {"truth": _DROPPED, "notes": frozenset({"disk", "overflow"}), "recovers": 3.0}

SCENARIOS = (
    p("disk full", "somebody takes all room for seconds, then gives it back",
      on_small_disk(for_a_while(full), may_lose=None, queue_bytes=_SMALL), prepare=mounted, **_FAILING),
    p("file size limit", "RLIMIT_FSIZE of the running collector, lifted after seconds",
      on_processes(for_a_while(limited), may_lose=None, queue_bytes=_SMALL), **_FAILING),
    p("read-only", "no file can be made any more, so it fails with the next segment; after seconds one can",
      on_small_disk(for_a_while(nothing_new, silent=True), may_lose=None, queue_bytes=_SMALL, rotate_rows=_ROWS),
      prepare=mounted, **_FAILING),
    p("read-only for 9 s", "the same for longer, until a status says that nothing is written",
      on_small_disk(for_a_while(nothing_new, seconds=9.0, silent=True), may_lose=None, queue_bytes=_SMALL,
                    rotate_rows=_ROWS), prepare=mounted, long=True, **_FAILING),
    p("EIO, EACCES, EPERM and others", "each call that changes something is refused for seconds, writes half done",
      on_disk_of_ours(lambda _: RefusingDisk(), refusing, may_lose=None, queue_bytes=_SMALL), **_FAILING),
    p("slow writes", "each write and each flush takes 0.3 to 0.5 s, for three seconds and to the end",
      on_disk_of_ours(SlowDisk, slow(3.0), check=received_in_time),
      truth="what is received is stored; beside the disk's own time a stop takes no more than two seconds"),
    p("slow writes for 15 s", "the same for longer",
      on_disk_of_ours(SlowDisk, slow(15.0), check=received_in_time), long=True),
)  # fmt: skip
