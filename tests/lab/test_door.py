"""The door: which fault meets a client, and the venue's own limit on attempts."""

from __future__ import annotations

import pytest

from wsresearch.lab.door import Answer, Door
from wsresearch.lab.faults import Flap, Http, StallHandshake
from wsresearch.lab.parameters import FlapHow, HttpTarget


def _door(*, enforce_limits: bool = False) -> Door:
    return Door(enforce_limits=enforce_limits)


def test_an_open_door() -> None:
    """Without faults everybody comes in."""
    assert _door().on_upgrade(0.0) is None
    assert _door().on_rest() is None
    assert _door().on_accept() is None


@pytest.mark.parametrize(
    ("given", "sent"), [(2, "2"), (0.2, "1"), (0, "0"), ("Wed, 21 Oct 2026 07:28:00 GMT",) * 2, (None, None)]
)
def test_retry_after(given: float | str | None, sent: str | None) -> None:
    """Retry-After is whole seconds, never fewer than asked for, or the text of a date."""
    door = _door()
    door.begin(Http(status=429, retry_after=given, body="slow down"))
    answer = door.on_upgrade(0.0)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.headers.get("Retry-After")) == (429, b"slow down", sent)


def test_streams_and_rest_apart() -> None:
    """A fault can be about one of the two, or both."""
    door = _door()
    rest = Http(status=418, on=HttpTarget.REST)
    door.begin(rest)
    assert door.on_upgrade(0.0) is None
    assert door.on_rest() is not None
    door.end(rest)
    door.begin(Http(status=503, on=HttpTarget.BOTH))
    assert door.on_upgrade(0.0) is not None
    assert door.on_rest() is not None


def test_the_latest_fault_counts() -> None:
    """Of two faults in force the later one meets the client; when it ends, the other again."""
    door = _door()
    stall, flap = StallHandshake(), Flap()
    door.begin(stall)
    door.begin(flap)
    assert door.on_upgrade(0.0) is flap
    door.end(flap)
    assert door.on_upgrade(0.0) is stall


def test_ended_before_a_word_is_said() -> None:
    """Only the flaps that accept TCP alone act there."""
    door = _door()
    door.begin(Flap(how=FlapHow.CLOSE))
    assert door.on_accept() is None
    door.begin(Flap(how=FlapHow.ACCEPT_EOF))
    assert door.on_accept() is not None


def test_300_attempts_in_five_minutes() -> None:
    """The 301st attempt within 5 minutes is told how long to wait, and is let in after that."""
    door = _door(enforce_limits=True)
    assert all(door.on_upgrade(float(n) / 10) is None for n in range(300))
    answer = door.on_upgrade(100.0)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "200")
    assert door.on_upgrade(300.0) is None
    assert all(_door().on_upgrade(0.0) is None for _ in range(400)), "not enforced unless asked for"
