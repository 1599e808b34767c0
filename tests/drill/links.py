"""A link that goes down: exchange and collector each in a network namespace of its own, and what joins them breaks.

Nothing says that the link is gone: no FIN, no RST, no refusal. What is sent meanwhile is lost, and the exchange goes on
sending. Namespaces and cable are made for each run and are gone with it: a namespace has no name, it lives as long as
its descriptor or a process in it. Where none may be made, for want of rights or of ``ip``, the scenarios are not played
and say why.

Not here: a link that only loses, damages or delays some of what it carries (``tests/drill/weather.py``).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
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
from tests.drill.namespaces import CLIENT, NET, SERVER, Network, addressed, inside, namespaces
from tests.drill.scenario import Facts, NotPlayed, Play, Run, Scenario, Section
from tests.drill.sockets import FAST
from wsresearch.api import make_config
from wsresearch.capture.reader import Reader
from wsresearch.lab import ExchangeProcess, Tape, Truth, start

__all__ = ["DEFAULTS", "QUICK", "SCENARIOS", "Costs", "Cut", "on_link", "possible"]

RATE: Final = 1000.0
_ESTABLISHED: Final = "01"
_SHORTEST: Final = 100
"""Bytes that a trade takes on the wire at least."""
_LOOKS: Final = 0.02
"""Seconds between two looks at the status and at the connections: each takes milliseconds, which the others need."""


# -- a cable ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cable(_rng: random.Random) -> Iterator[Network]:
    """Make two namespaces and join them."""
    with namespaces() as net:
        there = f"/proc/{os.getpid()}/fd/{net.client}"
        net.at_server(*f"link add cable type veth peer name cable netns {there}".split())
        addressed(net)
        yield net


Joined = Callable[[random.Random], AbstractContextManager[Network]]
"""Makes a network."""


def possible(joined: Joined) -> Callable[[], None]:
    """Return what sees, once, whether such a network can be made; if not it raises :class:`NotPlayed` and says why."""

    @cache
    def why_not() -> str | None:
        if shutil.which("ip") is None:
            return "there is no ip command (iproute2)"
        try:
            with joined(random.Random()):
                return None
        except OSError as error:
            return f"no two network namespaces can be joined here: {error}"

    def prepare() -> None:
        if (why := why_not()) is not None:
            raise NotPlayed(why)

    return prepare


# -- what breaks --------------------------------------------------------------------------------------------------

Cut = Callable[[Any, random.Random], AbstractContextManager[None]]
"""Takes the network, of the kind it knows."""


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
    net.at_client("route", *rng.choice(refusals), NET)
    try:
        yield
    finally:
        net.at_client("route", "replace", NET, "dev", "cable", "scope", "link", "src", CLIENT)


@contextlib.contextmanager
def black_hole(net: Network, _rng: random.Random) -> Iterator[None]:
    """Whatever the exchange sends vanishes; what is sent to it arrives."""
    # What is looked up here would vanish too, and connect would hear of an unreachable host instead of nothing.
    for at, address in ((net.at_client, SERVER), (net.at_server, CLIENT)):
        at("neighbour", "change", address, "dev", "cable", "nud", "permanent")
    net.at_server("route", "add", "blackhole", f"{CLIENT}/32")
    try:
        yield
    finally:
        net.at_server("route", "delete", "blackhole", f"{CLIENT}/32")


# -- playing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a bad link may cost.

    Attributes
    ----------
    lost
        How many connections it may cost, each by unanswered pings; none: then no row either.
    failures
        Causes that an attempt may fail with meanwhile.
    is_silent
        Whether no market data can come before the link is well.
    """

    lost: range = range(1, 2)
    failures: Collection[str] = ()
    is_silent: bool = True


def on_link(
    cut: Cut,
    costs: Costs,
    *,
    seconds: tuple[float, float],
    joined: Joined = cable,
    stops: bool = False,
    check: Callable[[Reader], list[str]] = lambda _: [],
    **options: Any,
) -> Play:
    """Return how a scenario is played with a link that is bad for some seconds.

    Parameters
    ----------
    cut
        Makes it bad, and well again at its end.
    costs
        What that may cost.
    seconds
        How long it is bad: drawn between these.
    joined
        Makes the network.
    stops
        Whether the collector is stopped while it is bad.
    check
        Finds more that is wrong in the capture, in words.
    **options
        Of the collector, besides :data:`FAST`.
    """

    def play(run: Run) -> Facts:
        tape = Tape.generate(("BTCUSDT", "ETHUSDT"), rate=RATE, seed=run.seed)
        with undisturbed(), joined(run.rng) as net, contextlib.ExitStack() as stack:
            with inside(net.server):
                venue = stack.enter_context(start(tape, host=SERVER))
            told = {**FAST, "flush": 0.05, "url": venue.url, "seed": run.seed} | options
            act = Act(run, make_config("binance:btcusdt,ethusdt", run.root, **told))
            with ended(act):
                bad = cut(net, run.rng)
                return _played(act, venue, net, bad, costs, seconds=run.rng.uniform(*seconds), stops=stops, check=check)

    return play


def _played(
    act: Act,
    venue: ExchangeProcess,
    net: Network,
    cut: AbstractContextManager[None],
    costs: Costs,
    *,
    seconds: float,
    stops: bool,
    check: Callable[[Reader], list[str]],
) -> Facts:
    with inside(net.client):
        collector = act.started()
    with _counted(collector.pid) as live:
        act.until(lambda: (now := act.status()) is not None and now.state == "open", "an open connection")
        time.sleep(act.rng.uniform(0.1, 0.6))
        cut_ns = time.time_ns()
        under_way = _unanswered(net)
        with cut:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                act.status()
                time.sleep(_LOOKS)
            if stops:
                act.stopped()
            mending_ns = time.time_ns()
        back_ns = time.time_ns()
        if not stops:
            act.collecting(100)
            act.stopped()
    reader = Reader(act.run.root)
    act.problems += check(reader)
    events = reader.events().select(["time", "kind", "cause", "connection"]).to_pylist()
    lost = [row for row in events if row["kind"] == "lost"]
    causes = {row["cause"] for row in lost}
    expected = len(lost) in costs.lost and causes <= {"ping_timeout"}
    act.must(expected, f"not lost as expected, by unanswered pings: {lost}")
    failed = {row["cause"] for row in events if row["kind"] == "attempt_failed"}
    act.must(failed <= set(costs.failures), f"attempts failed by {sorted(failed)}")
    firsts = [row["time"].value for row in events if row["kind"] == "first_message" and row["connection"] > 1]
    if costs.is_silent:
        act.must(firsts and firsts[0] > mending_ns, "market data came over a link that was down")
    sent, unsure = _accounts(venue.truth(), cut_ns, under_way=under_way, is_last_whole=not stops)
    return Facts(
        root=act.run.root,
        sent=[trade_of(row) for row in sent.to_pylist()],
        unsure={trade_of(row).row() for row in unsure.to_pylist()},
        exit_code=0,
        causes=act.causes,
        most_live=max(live, default=0),
        stop=act.stop,
        recovery=max(0.0, (firsts[-1] - back_ns) / 1e9) if firsts and not stops else None,
        noticed=(lost[0]["time"].value - cut_ns) / 1e9 if lost else None,
        problems=act.problems,
    )


def _unanswered(net: Network) -> int:
    """Return how many bytes of the exchange's are under way: sent, and not acknowledged by the collector's kernel."""
    with inside(net.server):
        return sum(int(row[4].partition(":")[0], 16) for row in _established("thread-self"))


def _established(process: int | str) -> list[list[str]]:
    """Return the words of each open connection in the namespace of a process, as proc(5) has them."""
    rows = [row.split() for row in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if row[3] == _ESTABLISHED]


def _accounts(truth: Truth, cut_ns: int, *, under_way: int, is_last_whole: bool) -> tuple[pa.Table, pa.Table]:
    """Return what was sent, and of that what may have been lost: over a connection that is not whole, since the cut.

    Whole is the last one, unless it was left while the link was bad. Lost may also be what was under way at the cut,
    which on a busy machine can be more than the few milliseconds of a cable.
    """
    sent = truth.expected()
    before = sent["sent_ns"].filter(pc.less(sent["sent_ns"], cut_ns))
    since_ns = before[max(0, len(before) - under_way // _SHORTEST - 1)].as_py()
    last = (pc.max(truth.sent["connection"]).as_py() or 0) + (not is_last_whole)
    sure = truth.sent.filter(pc.equal(truth.sent["connection"], last)).select(["symbol", "trade_id"])
    late = sent.filter(pc.and_(pc.less(sent["connection"], last), pc.greater_equal(sent["sent_ns"], since_ns)))
    return sent, late.join(sure, ["symbol", "trade_id"], join_type="left anti")


@contextlib.contextmanager
def _counted(pid: int) -> Iterator[list[int]]:
    """Count again and again how many connections are open in the namespace of a process, which has it for itself."""
    counts: list[int] = []
    over = threading.Event()

    def count() -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            while not over.wait(_LOOKS):
                counts.append(len({row[1] for row in _established(pid)}))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()


# -- the table ----------------------------------------------------------------------------------------------------

QUICK: Final[dict[str, Any]] = {
    "ping_interval": 0.3,
    "ping_timeout": 0.3,
    "open_timeout": 0.5,
    "policy": "full-jitter(base=0.3, cap=0.5, floor=0.2)",
}
DEFAULTS: Final[dict[str, Any]] = {
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


def _once(*failures: str) -> Costs:
    return Costs(failures=failures)


def p(name: str, injected: str, play: Play, *causes: str, **told: Any) -> Scenario:
    return Scenario(
        name=name,
        section=Section.OPEN,
        injected=injected,
        play=play,
        causes=frozenset(causes),
        truth="lost by unanswered pings, mended once it is back; every id sent meanwhile is stored or in a hole",
        prepare=_POSSIBLE,
        **told,
    )


_POSSIBLE: Final = possible(cable)
_SOON: Final[dict[str, Any]] = {"within": 2.0, "recovers": 2.5}
_LATE: Final[dict[str, Any]] = {"within": 12.0, "recovers": 35.0, "any_cause": True, "long": True}

SCENARIOS = (
    p("link down", "the cable between collector and exchange is dead for two seconds: no FIN, no RST",
      on_link(link_down, _once("open_timeout"), seconds=_SHORT, **QUICK), "ping_timeout", "open_timeout", **_SOON),
    p("no route", "the collector's route is removed, or replaced by one that refuses, while it is connected",
      on_link(no_route, _once("unreachable"), seconds=_SHORT, **QUICK), "ping_timeout", "unreachable", **_SOON),
    p("black hole", "what the exchange sends vanishes, while what is sent to it arrives",
      on_link(black_hole, _once("open_timeout"), seconds=_SHORT, **QUICK), "ping_timeout", "open_timeout", **_SOON),
    p("link down for 15 s", "the same with the default options",
      on_link(link_down, _once("unreachable", "open_timeout"), seconds=_LONG, **DEFAULTS), **_LATE),
    p("no route for 15 s", "the same with the default options",
      on_link(no_route, _once("unreachable"), seconds=_LONG, **DEFAULTS), **_LATE),
    p("black hole for 15 s", "the same with the default options",
      on_link(black_hole, _once("open_timeout"), seconds=_LONG, **DEFAULTS), **_LATE),
)  # fmt: skip
