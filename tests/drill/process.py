"""Time and process: clocks that step, signals, kills, parents that leave, stops and starts of every kind."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from tests.collect.rawserver import frame, http
from tests.collect.test_process import PARENT
from tests.drill.act import IN_FLIGHT, Act, exchange, on_processes
from tests.drill.reaching import drop_by_drop
from tests.drill.scenario import Play, Scenario, Section, Venue
from tests.drill.sockets import PATIENCE, Scene, on_sockets
from tests.drill.virtually import Opens, Refuses, on_virtual_time
from tests.simnet import SimTransport
from wsresearch.api import collect
from wsresearch.collect import process
from wsresearch.errors import CaptureBusy
from wsresearch.reconnect.actions import State
from wsresearch.reconnect.causes import Cause, Failure

__all__ = ["SCENARIOS"]

# -- signals, kills, starts and stops ------------------------------------------------------------------------------


def frozen(least: float, most: float) -> Callable[[Act], None]:
    """SIGSTOP for longer than a timeout, then SIGCONT: what lies in the socket is read before judging."""

    def act(doing: Act) -> None:
        collector = doing.started()
        doing.collecting()
        collector.suspend()
        time.sleep(doing.rng.uniform(least, most))
        collector.resume()
        doing.collecting(500)
        doing.stopped()

    return act


def killed(act: Act) -> None:
    """SIGKILL at any moment, once or twice; the next run goes on where the files end."""
    for _ in range(act.rng.randint(1, 2)):
        collector = act.started()
        time.sleep(act.rng.uniform(0, 0.6))
        act.killed(collector)
    began = time.monotonic()
    act.started()
    act.collecting(1)
    act.recovery = time.monotonic() - began
    act.collecting()
    act.stopped()


def signalled(*numbers: signal.Signals) -> Callable[[Act], None]:
    """The signal ends the run politely, at any moment."""

    def act(doing: Act) -> None:
        collector = doing.started()
        if doing.rng.random() < 0.7:
            doing.collecting()
        began = time.monotonic()
        collector.send_signal(doing.rng.choice(numbers))
        doing.until(lambda: not process._lives(collector), "its end")
        doing.stop = time.monotonic() - began

    return act


def parent_gone(act: Act) -> None:
    """Its parent is interrupted, hung up, terminated, then killed with all its children: the capture goes on."""
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(act.run.root), exchange().url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        for number in act.rng.sample([signal.SIGINT, signal.SIGHUP, signal.SIGTERM], 3):
            os.killpg(parent.pid, number)
        for child in (*psutil.Process(parent.pid).children(recursive=True), psutil.Process(parent.pid)):
            child.kill()
        parent.wait(PATIENCE)
    act.collecting()
    found = process.running(act.run.root)
    act.must(found is not None and found.pid == pid, "the collector went with its parent")
    act.stopped()


def started_twice(act: Act) -> None:
    first = act.started()
    if act.rng.random() < 0.5:
        act.collecting(1)
    try:
        process.start_detached(act.config)
    except CaptureBusy as exc:
        act.must(str(first.pid) in str(exc), f"the refusal names no pid: {exc}")
    else:
        act.problems.append("a second collector on one directory was not refused")
    act.collecting()
    act.stopped()


def stopped_twice(act: Act) -> None:
    act.must(process.stop(act.run.root) is False, "stopping what never ran claims that it did")
    act.started()
    act.collecting()
    act.must(act.stopped(), "the stop found nobody")
    act.must(process.stop(act.run.root) is False, "the second stop claims that somebody ran")


def from_threads(act: Act) -> None:
    errors: list[BaseException] = []
    go = threading.Barrier(3)

    def begin() -> None:
        go.wait()
        try:
            collect("binance:btcusdt,ethusdt", act.run.root, url=exchange().url)
        except BaseException as exc:  # noqa: BLE001 - told below
            errors.append(exc)

    threads = [threading.Thread(target=begin) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    act.problems += [f"a start failed: {error!r}" for error in errors]
    act.collecting()
    act.stopped()
    status = act.status()
    act.must(status is not None and status.run == 1, f"more than one run began: {status}")


def restarted(least: int, most: int, *, kills: float) -> Callable[[Act], None]:
    """Stopped or killed, again and again, at any moment; `kills` is the share of those killed."""

    def act(doing: Act) -> None:
        number = 0
        for _ in range(doing.rng.randint(least, most)):
            collector = doing.started()
            number += 1
            time.sleep(doing.rng.uniform(0, 0.4))
            if stops := doing.rng.random() >= kills:
                doing.stopped()
            else:
                doing.killed(collector)
            status = doing.status()
            if status is not None and status.run == number - 1 and not stops:
                number -= 1  # killed before its first row it leaves nothing that could bear its number
            doing.must(status is not None and status.run == number, f"after start {number} the status says {status}")
        doing.started()
        doing.collecting()
        doing.stopped()

    return act


def pestered(act: Act) -> None:
    """SIGUSR1 again and again, from the first moment on: never the end; what was on the way is a hole."""
    collector = act.started()
    act.cuts = act.rng.randint(3, 8)
    act.cost = act.worst = IN_FLIGHT
    for _ in range(act.cuts):
        collector.send_signal(signal.SIGUSR1)
        time.sleep(act.rng.uniform(0, 0.1))
    act.collecting()
    act.stopped()


# -- clocks -------------------------------------------------------------------------------------------------------


class SteppingClock(SimTransport):
    """A wall clock that somebody sets, an hour forward or back, a few times."""

    def __init__(self, venue: Any, rng: random.Random) -> None:
        super().__init__(venue)
        self._steps = sorted((rng.uniform(0, 25), rng.choice([-1, 1]) * 3600 * 10**9) for _ in range(rng.randint(1, 4)))

    def wall_ns(self) -> int:
        return super().wall_ns() + sum(step for at, step in self._steps if at <= self.now())


def now_and_then_lost(rng: random.Random, venue: Venue) -> Callable[[int, float], Opens | Refuses]:
    reset = Failure(cause=Cause.RESET, detail="connection reset by the peer", close_by="peer")

    def meet(number: int, now: float) -> Opens | Refuses:
        if number % 3 == 0:
            return Refuses()
        script = [(rng.uniform(0, 0.3), trade.wire()) for trade in venue.told(rng.randrange(1, 30))]
        return Opens(script=[*script, *([(1.0, reset)] if now < 25 else [])])

    return meet


def seconds_are_seconds(_attempts: Sequence[float], events: Sequence[dict[str, Any]]) -> list[str]:
    """However the wall clock steps, a duration is one."""
    odd = [row["waited"] for row in events if row["waited"] is not None and not 0 <= row["waited"] < 60]
    return [f"durations that no step can have taken: {odd}"] if odd else []


# -- stopping, from any state -------------------------------------------------------------------------------------


async def anything(scene: Scene) -> None:
    """Be slow, silent, rude, busy or well, until the client leaves."""
    match scene.rng.choice(["mute", "slow", "429", "reset", "silent", "busy", "deaf", "goodbye"]):
        case "mute":
            await scene.peer.forever()
        case "slow":
            await drop_by_drop(scene)
        case "429":
            await scene.peer.asked()
            await scene.peer.said(http(429, Retry_After="60"))
        case "reset":
            scene.peer.reset()
        case "silent":
            await scene.open()
            await scene.gone()
        case "busy":
            await _has(scene)
            while scene._listener is not None and not scene._listener.done():
                trades = scene.venue.told(scene.rng.randrange(1, 200))
                await scene.peer.said(b"".join(frame(1, trade.wire()) for trade in trades))
                await asyncio.sleep(0)
        case "deaf":
            await _has(scene)
            await scene.tell()
            await scene.deaf()
            await asyncio.sleep(PATIENCE)
        case "goodbye":  # takes leave of the client and keeps TCP open
            await _has(scene)
            await scene.tell()
            await scene.mute()


async def _has(scene: Scene) -> None:
    """Open, and wait until the collector has the connection: a stop before that finds it connecting.

    Its answer to a ping does not tell: its library answers as soon as the upgrade is done, milliseconds earlier.
    """
    await scene.open()
    while scene.stage.collector.status.state is not State.OPEN:  # noqa: ASYNC110 - told to nobody
        await asyncio.sleep(0.001)


# -- the table ----------------------------------------------------------------------------------------------------


def p(name: str, injected: str, play: Play, *causes: str, **told: Any) -> Scenario:
    return Scenario(name=name, section=Section.PROCESS, injected=injected, play=play, causes=frozenset(causes), **told)


_OWN: dict[str, Any] = {"prepare": exchange}
_KILLED = "a verified prefix of what was sent, everything after the restart, and every missing id in a hole"

SCENARIOS = (
    p("the wall clock steps", "an hour forward or back, a few times, between and within connections",
      on_virtual_time(now_and_then_lost, seconds=40, net=SteppingClock, check=seconds_are_seconds), "reset", "refused",
      truth="every row stored once, every duration what it was"),
    p("SIGSTOP", "the process is stopped for longer than idle and ping timeout, then goes on",
      on_processes(frozen(1.2, 1.8), idle_timeout=0.8, ping_interval=0.5, ping_timeout=0.5),
      truth="nothing is lost, no connection either", **_OWN),
    p("SIGSTOP for 15 s", "the same with the default pings, and an idle timeout that is over by then",
      on_processes(frozen(15, 15), idle_timeout=10.0, ping_interval=5.0, ping_timeout=5.0),
      truth="nothing is lost, no connection either", long=True, **_OWN),
    p("SIGKILL", "killed at any moment, once or twice, and started again", on_processes(killed), truth=_KILLED,
      recovers=3.0, **_OWN),
    p("SIGTERM, SIGINT, SIGHUP", "the signal comes at any moment",
      on_processes(signalled(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)), truth="every row sent is stored", **_OWN),
    p("parent gone", "its parent is interrupted, hung up, terminated and killed", on_processes(parent_gone), **_OWN),
    p("double start", "two collectors on one directory", on_processes(started_twice), **_OWN),
    p("stop before start, double stop", "stops with nobody to stop", on_processes(stopped_twice), **_OWN),
    p("start from several threads", "three threads collect at one moment", on_processes(from_threads), **_OWN),
    p("restarts", "stopped or killed and started again, a few times", on_processes(restarted(2, 4, kills=0.5)),
      truth=_KILLED, **_OWN),
    p("a hundred restarts", "the same a hundred times, one in ten by SIGKILL",
      on_processes(restarted(100, 100, kills=0.1)), truth=_KILLED, long=True, **_OWN),
    p("reconnect now, again and again", "SIGUSR1 from the first moment on", on_processes(pestered), any_cause=True,
      truth="stored + holes = sent; the run goes on", **_OWN),
    p("stop at any moment", "stop is asked for while connecting, backing off, told to stay away, open, busy, ignored",
      on_sockets(anything, times=(1 << 20, 1 << 20), stops=lambda rng: rng.choice([0.0, rng.uniform(0, 0.5)])),
      truth="stopped within 2 s, everything sealed, every row sent is stored", any_cause=True),
)  # fmt: skip
