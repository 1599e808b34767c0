"""The judge of the drill finds what it is there for: each planted defect makes a run fail, and says as what."""

from __future__ import annotations

import asyncio
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
from wsresearch.collect import status
from wsresearch.collect.intake import Intake
from wsresearch.collect.leaving import Leaving
from wsresearch.collect.recorder import Recorder
from wsresearch.collect.sequence import Ledger
from wsresearch.collect.transport import WebSocketLink
from wsresearch.reconnect import causes, lifecycle
from wsresearch.reconnect.causes import Cause, Failure, Severity, Verdict, classify, in_words


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


@pytest.mark.parametrize(
    "name",
    ["HTTP 429, 418 or 503, Retry-After in seconds", "HTTP 429, 418 or 503, Retry-After as a date", "close 1013"],
)
def test_a_request_to_wait_that_is_not_heeded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Who is told to stay away and follows its policy instead is back too early, by the server's clock."""
    monkeypatch.setattr(lifecycle, "classify", lambda failure, **told: replace(classify(failure, **told), at_least=0.0))
    assert "were asked for" in found(named(name))


@pytest.mark.parametrize(
    "name", ["HTTP 400, 401, 403, 404 or 426", "a redirect to another server", "an expired certificate"]
)
def test_a_permanent_failure_that_is_tried_again(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A run that ends as it should, but only after three attempts, has asked the server twice too often."""
    seen: list[Failure] = []

    def patient(failure: Failure, **told: Any) -> Verdict:
        seen.append(failure)
        verdict = classify(failure, **told)
        return verdict if len(seen) >= 3 else Verdict(severity=Severity.TRANSIENT)

    monkeypatch.setattr(lifecycle, "classify", patient)
    assert "accepted 3 connections, expected 1" in found(named(name))


@pytest.mark.parametrize(
    "name",
    ["HTTP 200 instead of 101, thrice", "a wrong Sec-WebSocket-Accept, thrice", "close 4001, thrice",
     "broken frames, thrice"],
)  # fmt: skip
def test_a_fourth_strike(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Three strikes are three, not twelve."""
    monkeypatch.setattr(causes, "STRIKES", 12)
    assert "accepted 12 connections, expected 3" in found(named(name))


def test_another_protocol_that_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers is no WebSocket server: it may become one, so a third time is no end."""
    strict = {**causes._BY_CAUSE, Cause.NOT_WEBSOCKET: causes._three_strikes("x")}
    monkeypatch.setattr(causes, "_BY_CAUSE", strict)
    told = found(named("a banner of another protocol, again and again"))
    assert "exit code 3, expected 0" in told
    assert "accepted 3 connections, expected 9" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("x", "no sentence for people"),
        ("not_websocket", "no sentence for people"),
        ("this was not what was expected", "the same as of"),
    ],
)
def test_a_cause_that_is_not_in_words(monkeypatch: pytest.MonkeyPatch, words: str, told: str) -> None:
    """A letter, a code, or the same sentence for everything: nobody learns from it what happened."""
    monkeypatch.setattr(status, "in_words", lambda _cause: words)
    assert told in found(named("a banner of another protocol"))


def test_words_that_tell_of_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another protocol's banner it must be said that no WebSocket server answered."""
    vague = {Cause.NOT_WEBSOCKET: "the attempt failed for some reason"}
    monkeypatch.setattr(status, "in_words", lambda cause: vague.get(cause) or in_words(cause))
    assert "never says 'not a WebSocket server'" in found(named("a banner of another protocol"))


@pytest.mark.parametrize("detail", ["", "\x1b[31m"])
def test_an_end_without_a_detail(monkeypatch: pytest.MonkeyPatch, detail: str) -> None:
    """A connection that ended tells how, in text that can be printed."""
    columns = lifecycle._columns
    monkeypatch.setattr(lifecycle, "_columns", lambda failure: {**columns(failure), "detail": detail})
    monkeypatch.setattr("wsresearch.collect.chronicle.safe", str)
    assert "lost by reset, has the detail" in found(named("RST"))


def test_a_last_word_that_is_not_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event that ends a run for good says why, and how to mend it."""
    monkeypatch.setattr(lifecycle, "in_words", lambda _cause: "x")
    assert "its last event says only" in found(named("a redirect to another server"))


def test_an_old_connection_that_is_only_said_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes go past the reader straight into the queue: a replaced connection whose TCP stays open is still heard."""
    monkeypatch.setattr(WebSocketLink, "abort", lambda self: None)
    assert "rows are stored that were not sent" in found(named("an old connection that still delivers"))


def test_what_two_connections_deliver_stored_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that lets everything pass stores what a replaced connection brings again."""
    admit = Ledger.admit
    monkeypatch.setattr(Ledger, "admit", lambda self, batch, **told: replace(admit(self, batch, **told), batch=batch))
    assert "60 rows are stored that were not sent, or twice" in found(
        named("an old connection that delivers the same, late")
    )


def test_rows_of_another_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that bears the number of the connection before is told."""
    digest = Intake.digest
    monkeypatch.setattr(Intake, "digest", lambda self, most, **told: digest(self, most, **told | {"connection": 1}))
    assert "60 rows bear another connection" in found(named("an old connection that delivers the same, late"))


@pytest.mark.parametrize("name", ["acks", "flapping for minutes"])
def test_a_stop_that_takes_long(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On virtual time too, a stop has two seconds."""
    goodbye = Leaving.say_goodbye

    async def long(*args: Any) -> None:
        await asyncio.sleep(3)
        await goodbye(*args)

    monkeypatch.setattr(Leaving, "say_goodbye", long)
    assert "stopping took 3" in found(named(name))


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
