"""A link that goes down: exchange and collector each in a network namespace of its own, and what joins them breaks.

Nothing says that the link is gone: no FIN, no RST, no refusal. What is sent meanwhile is lost, and the exchange goes on
sending. Namespaces and cable are made for each run and are gone with it: a namespace has no name, it lives as long as
its descriptor or a process in it. Where none may be made, for want of rights or of ``ip``, the scenarios are not played
and say why.

Not here: loss of some packets and delays of all, for which the kernel needs netem; the local exchange plays slow and
stuttering paths instead (``tests/drill/while_open.py``).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.undisturbed import undisturbed
from tests.drill.act import Act, ended, trade_of
from tests.drill.scenario import Facts, NotPlayed, Play, Run, Scenario, Section
from tests.drill.sockets import FAST
from wsresearch.api import make_config
from wsresearch.capture.reader import Reader
from wsresearch.lab import ExchangeProcess, Tape, Truth, start

__all__ = ["SCENARIOS"]

RATE: Final = 1000.0
_SERVER, _CLIENT, _NET = "10.77.0.1", "10.77.0.2", "10.77.0.0/30"
_NEW_NETWORK: Final = 0x40000000
"""CLONE_NEWNET of Linux's sched.h."""
_ESTABLISHED: Final = "01"
_EARLY_NS: Final = 50_000_000
"""What was sent so shortly before the link was cut may have been on its way."""


# -- namespaces ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _away(call: str, *arguments: int) -> Iterator[None]:
    """Leave this thread's network namespace by a system call, and return to it at the end."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _called(call, *arguments)
        try:
            yield
        finally:
            _called("setns", home, _NEW_NETWORK)
    finally:
        os.close(home)


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Be in a namespace, with this thread and with the processes that it starts meanwhile."""
    with _away("setns", namespace, _NEW_NETWORK):
        yield


def _called(name: str, *arguments: int) -> None:
    # Of the os module only from Python 3.12 on.
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _made() -> int:
    with _away("unshare", _NEW_NETWORK):
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Two namespaces and the cable between them; each end is called ``cable``."""

    server: int
    client: int

    def at_server(self, *words: str) -> None:
        """Run ``ip`` where the exchange is."""
        self._ip(self.server, *words)

    def at_client(self, *words: str) -> None:
        """Run ``ip`` where the collector is."""
        self._ip(self.client, *words)

    @staticmethod
    def _ip(namespace: int, *words: str) -> None:
        with inside(namespace):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make two namespaces and join them."""
    with contextlib.ExitStack() as stack:
        ends = []
        for _ in range(2):
            ends.append(_made())
            stack.callback(os.close, ends[-1])
        net = Network(server=ends[0], client=ends[1])
        there = f"/proc/{os.getpid()}/fd/{net.client}"
        net.at_server(*f"link add cable type veth peer name cable netns {there}".split())
        for at, address in ((net.at_server, _SERVER), (net.at_client, _CLIENT)):
            at(*f"address add {address}/30 dev cable".split())
            at("link", "set", "cable", "up")
        yield net


@cache
def _why_not() -> str | None:
    if shutil.which("ip") is None:
        return "there is no ip command (iproute2)"
    try:
        with network():
            return None
    except OSError as error:
        return f"no network namespaces can be made here: {error}"


def possible() -> None:
    """See whether networks can be made.

    Raises
    ------
    NotPlayed
        If not, with the reason.
    """
    if (why := _why_not()) is not None:
        raise NotPlayed(why)


# -- what breaks --------------------------------------------------------------------------------------------------

Cut = Callable[[Network, random.Random], AbstractContextManager[None]]


@contextlib.contextmanager
def link_down(net: Network, _rng: random.Random) -> Iterator[None]:
    """The exchange's end goes down, so the collector's loses its carrier."""
    net.at_server("link", "set", "cable", "down")
    try:
        yield
    finally:
        net.at_server("link", "set", "cable", "up")


@contextlib.contextmanager
def no_route(net: Network, rng: random.Random) -> Iterator[None]:
    """The collector's route is removed, or replaced by one that refuses: what connect says of it differs."""
    refusals = [("delete",), ("replace", "unreachable"), ("replace", "prohibit"), ("replace", "blackhole")]
    net.at_client("route", *rng.choice(refusals), _NET)
    try:
        yield
    finally:
        net.at_client("route", "replace", _NET, "dev", "cable", "scope", "link", "src", _CLIENT)


@contextlib.contextmanager
def black_hole(net: Network, _rng: random.Random) -> Iterator[None]:
    """Whatever the exchange sends vanishes; what is sent to it arrives."""
    # What is looked up here would vanish too, and connect would hear of an unreachable host instead of nothing.
    for at, address in ((net.at_client, _SERVER), (net.at_server, _CLIENT)):
        at("neighbour", "change", address, "dev", "cable", "nud", "permanent")
    net.at_server("route", "add", "blackhole", f"{_CLIENT}/32")
    try:
        yield
    finally:
        net.at_server("route", "delete", "blackhole", f"{_CLIENT}/32")


# -- playing ------------------------------------------------------------------------------------------------------


def on_link(cut: Cut, *failures: str, seconds: tuple[float, float], **options: Any) -> Play:
    """Return how a scenario is played with a link that is cut for so many seconds, drawn between two.

    `failures` are the causes that an attempt may fail with meanwhile.
    """

    def play(run: Run) -> Facts:
        tape = Tape.generate(("BTCUSDT", "ETHUSDT"), rate=RATE, seed=run.seed)
        with undisturbed(), network() as net, contextlib.ExitStack() as stack:
            with inside(net.server):
                venue = stack.enter_context(start(tape, host=_SERVER))
            told = {**FAST, "flush": 0.05, "url": venue.url, "seed": run.seed} | options
            act = Act(run, make_config("binance:btcusdt,ethusdt", run.root, **told))
            with ended(act):
                return _played(act, venue, net, cut(net, run.rng), seconds=run.rng.uniform(*seconds), failures=failures)

    return play


def _played(
    act: Act,
    venue: ExchangeProcess,
    net: Network,
    cut: AbstractContextManager[None],
    *,
    seconds: float,
    failures: Collection[str],
) -> Facts:
    with inside(net.client):
        collector = act.started()
    with _counted(collector.pid) as live:
        act.collecting(100)
        time.sleep(act.rng.uniform(0, 0.5))
        cut_ns = time.time_ns()
        with cut:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                act.status()
                time.sleep(0.01)
        back_ns = time.time_ns()
        act.collecting(100)
        venue.settled()
        act.stopped()
    events = Reader(act.run.root).events().select(["time", "kind", "cause", "connection"]).to_pylist()
    lost = [row for row in events if row["kind"] == "lost"]
    act.must([row["cause"] for row in lost] == ["ping_timeout"], f"not lost once, by unanswered pings: {lost}")
    failed = {row["cause"] for row in events if row["kind"] == "attempt_failed"}
    act.must(failed <= set(failures), f"attempts failed by {sorted(failed)}")
    firsts = [row["time"].value for row in events if row["kind"] == "first_message" and row["connection"] > 1]
    act.must(firsts and firsts[0] > back_ns, "market data came over a link that was down")
    sent, unsure = _accounts(venue.truth(), since_ns=cut_ns - _EARLY_NS)
    return Facts(
        root=act.run.root,
        sent=[trade_of(row) for row in sent.to_pylist()],
        unsure={trade_of(row).row() for row in unsure.to_pylist()},
        exit_code=0,
        causes=act.causes,
        most_live=max(live, default=0),
        stop=act.stop,
        recovery=(firsts[0] - back_ns) / 1e9 if firsts else None,
        noticed=(lost[0]["time"].value - cut_ns) / 1e9 if lost else None,
        problems=act.problems,
    )


def _accounts(truth: Truth, *, since_ns: int) -> tuple[pa.Table, pa.Table]:
    """Return what was sent, and of that what went over the link that was cut, since then, and over no other."""
    sent = truth.expected()
    later = truth.sent.filter(pc.greater(truth.sent["connection"], 1)).select(["symbol", "trade_id"])
    cut = sent.filter(pc.and_(pc.equal(sent["connection"], 1), pc.greater_equal(sent["sent_ns"], since_ns)))
    return sent, cut.join(later, ["symbol", "trade_id"], join_type="left anti")


@contextlib.contextmanager
def _counted(pid: int) -> Iterator[list[int]]:
    """Count again and again how many connections are open in the namespace of a process, which has it for itself."""
    counts: list[int] = []
    over = threading.Event()

    def count() -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            while not over.wait(0.005):
                rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
                counts.append(len({row.split()[1] for row in rows if row.split()[3] == _ESTABLISHED}))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()


# -- the table ----------------------------------------------------------------------------------------------------

_PINGS: Final[dict[str, Any]] = {
    "ping_interval": 0.3,
    "ping_timeout": 0.3,
    "open_timeout": 0.5,
    "policy": "full-jitter(base=0.3, cap=0.5, floor=0.2)",
}
_DEFAULTS: Final[dict[str, Any]] = {
    "ping_interval": 5.0,
    "ping_timeout": 5.0,
    "open_timeout": 10.0,
    "idle_timeout": 30.0,
    "policy": "full-jitter(base=1, cap=30)",
    "reset": "stable:60",
    "budget": "60/300",
}
_SHORT: Final = (2.3, 2.6)
"""Long enough to be noticed and for an attempt to fail, too short for a neighbour to be given up (3 s)."""
_LONG: Final = (15.0, 15.0)


def p(name: str, injected: str, play: Play, *causes: str, **told: Any) -> Scenario:
    return Scenario(
        name=name,
        section=Section.OPEN,
        injected=injected,
        play=play,
        causes=frozenset(causes),
        truth="lost by unanswered pings, mended once it is back; every id sent meanwhile is stored or in a hole",
        prepare=possible,
        **told,
    )


_SOON: Final[dict[str, Any]] = {"within": 2.0, "recovers": 2.5}
_LATE: Final[dict[str, Any]] = {"within": 12.0, "recovers": 35.0, "any_cause": True, "long": True}

SCENARIOS = (
    p("link down", "the cable between collector and exchange is dead for two seconds: no FIN, no RST",
      on_link(link_down, "open_timeout", seconds=_SHORT, **_PINGS), "ping_timeout", "open_timeout", **_SOON),
    p("no route", "the collector's route is removed, or replaced by one that refuses, while it is connected",
      on_link(no_route, "unreachable", seconds=_SHORT, **_PINGS), "ping_timeout", "unreachable", **_SOON),
    p("black hole", "what the exchange sends vanishes, while what is sent to it arrives",
      on_link(black_hole, "open_timeout", seconds=_SHORT, **_PINGS), "ping_timeout", "open_timeout", **_SOON),
    p("link down for 15 s", "the same with the default options",
      on_link(link_down, "unreachable", "open_timeout", seconds=_LONG, **_DEFAULTS), **_LATE),
    p("no route for 15 s", "the same with the default options",
      on_link(no_route, "unreachable", seconds=_LONG, **_DEFAULTS), **_LATE),
    p("black hole for 15 s", "the same with the default options",
      on_link(black_hole, "open_timeout", seconds=_LONG, **_DEFAULTS), **_LATE),
)  # fmt: skip
