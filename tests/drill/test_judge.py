"""The judge of the drill finds what it is there for: each planted defect makes a run fail, and says as what."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.drill.judge import drilled
from tests.drill.links import QUICK, Costs, link_down, on_link
from tests.drill.scenario import Facts, NotPlayed, Run, Scenario, Section
from tests.drill.table import SCENARIOS
from tests.drill.weather import Weather, path, weather
from wsresearch.collect.intake import Intake
from wsresearch.collect.recorder import Recorder
from wsresearch.collect.transport import WebSocketLink


def named(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


def found(scenario: Scenario) -> str:
    """What a judge says of a run with a planted defect."""
    verdict = drilled(scenario, 1)
    assert not verdict.is_well
    return "\n".join(verdict.problems)


def test_a_row_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row that is decoded and not stored is a lost one."""
    write = Recorder.trades
    monkeypatch.setattr(
        Recorder, "trades", lambda self, batch, **told: write(self, batch.slice(0, max(1, len(batch) - 1)), **told)
    )
    assert "not stored" in found(named("late rows"))


def test_a_row_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stored twice are duplicates."""
    write = Recorder.trades

    def twice(self: Recorder, batch: Any, *, written: Callable[[], None], **told: Any) -> None:
        write(self, batch, written=lambda: None, **told)
        write(self, batch, written=written, **told)

    monkeypatch.setattr(Recorder, "trades", twice)
    assert "twice" in found(named("acks"))


def test_a_hole_that_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing id without its event is a wrong hole."""
    monkeypatch.setattr(Intake, "note_news", lambda self, heard, **told: None)
    assert "holes told" in found(named("a missing key"))


def test_a_connection_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled connection that is not dropped is a second live one, and leaks."""
    monkeypatch.setattr(WebSocketLink, "abort", lambda self: None)
    assert "connections were open at one time" in found(named("open but silent"))


def test_another_cause_another_exit_code_another_time() -> None:
    """What was expected and did not come about is told."""
    scenario = named("refused")
    assert "expected ['eof']" in found(replace(scenario, causes=frozenset({"eof"})))
    assert "exit code 0" in found(replace(scenario, ends=3))
    assert "recovery took" in found(replace(scenario, recovers=0.0))
    assert "error events" in found(replace(scenario, notes=frozenset({"overflow"})))


@pytest.mark.parametrize("what", ["descriptor", "thread", "log", "raised in a thread", "raised"])
def test_what_is_left_behind(what: str) -> None:
    """A descriptor, a thread, an error in the log, an exception that nobody caught: each fails the run."""
    scenario = named("acks")
    left: list[Any] = []
    end = threading.Event()

    def play(run: Run) -> Facts:
        facts = scenario.play(run)
        match what:
            case "descriptor":
                left.append(os.open(os.devnull, os.O_RDONLY))
            case "thread":
                left.append(threading.Thread(target=end.wait))
                left[0].start()
            case "log":
                logging.getLogger("wsresearch").error("a defect")
            case "raised in a thread":
                thread = threading.Thread(target=lambda: 1 / 0)
                thread.start()
                thread.join()
            case "raised":
                raise ValueError("a defect")
        return facts

    try:
        told = found(replace(scenario, play=play))
    finally:
        end.set()
        if what == "descriptor":
            os.close(left[0])
    words = {"descriptor": "1 descriptors", "thread": "1 threads", "raised in a thread": "ZeroDivisionError"}
    assert words.get(what, "a defect") in told


def test_a_dead_link_that_is_not_noticed() -> None:
    """Without pings a dead link looks quiet; that it comes back in time is no excuse."""
    scenario = replace(named("link down"), play=on_link(link_down, Costs(), seconds=(1.0, 1.0)), causes=frozenset())
    verdict = drilled(scenario, 1)
    if verdict.not_played:
        pytest.skip(verdict.not_played)
    assert "not lost as expected, by unanswered pings: []" in "\n".join(verdict.problems)


@pytest.mark.parametrize(("lost", "told"), [(1e-9, "it never happened"), (1.0, "not lost as expected")])
def test_weather_that_does_not_strike_or_strikes_too_hard(lost: float, told: str) -> None:
    """A fault that did not happen proves nothing; one that may cost no connection and does is found."""
    play = on_link(
        weather(Weather(lost=lost)), Costs(lost=range(1), is_silent=False), seconds=(1.0, 1.0), joined=path, **QUICK
    )
    verdict = drilled(replace(named("20 % of packets lost"), play=play), 1)
    if verdict.not_played:
        pytest.skip(verdict.not_played)
    assert told in "\n".join(verdict.problems)


def test_what_cannot_be_played_is_no_success_and_says_why() -> None:
    """A scenario that this machine does not allow is told as not played, and nothing of it is run."""

    def refused() -> None:
        raise NotPlayed("no network namespaces can be made here")

    def play(run: Run) -> Facts:
        raise AssertionError("played")

    scenario = Scenario(name="x", section=Section.OPEN, injected="", play=play, prepare=refused)
    verdict = drilled(scenario, 1)
    assert verdict.not_played == "no network namespaces can be made here"
    assert not verdict.is_well
