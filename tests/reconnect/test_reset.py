"""What returns a policy to its first delay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.reconnect.reset import Reset, ResetOn


@pytest.mark.parametrize(
    ("rule", "opened", "messages", "alive", "due"),
    [
        ("open", False, False, 0.0, False),
        ("open", True, False, 0.0, True),
        ("message", False, False, 0.0, False),
        ("message", True, False, 3600.0, False),
        ("message", True, True, 0.0, True),
        ("stable:60", True, True, 59.999, False),
        ("stable:60", True, True, 60.0, True),
        ("stable:60", True, False, 61.0, True),
        ("stable:60", False, False, 61.0, False),
    ],
)
def test_when_a_reset_is_due(rule: str, opened: bool, messages: bool, alive: float, due: bool) -> None:
    """An accepting and closing server resets `open` only, a silent one never resets `message`."""
    assert Reset.parse(rule).is_due(opened=opened, messages=messages, alive=alive) is due


def test_the_default_is_a_minute_of_stability() -> None:
    """Nobody has to say stable:60, and only that kind of rule proves stability."""
    assert Reset() == Reset.parse("stable:60")
    assert Reset().proves_stability
    assert not Reset.parse("open").proves_stability
    assert not Reset.parse("message").proves_stability


@given(st.sampled_from(["open", "message"]) | st.floats(1e-9, 1e9).map(lambda s: f"stable:{s!r}"))
def test_text_round_trip(text: str) -> None:
    """What str() writes, parse() reads back, to the last digit."""
    rule = Reset.parse(text)
    assert Reset.parse(str(rule)) == rule


@pytest.mark.parametrize("text", ["open", "message", "stable:60", "stable:0.5"])
def test_text_is_written_as_people_write_it(text: str) -> None:
    """stable:60 stays stable:60."""
    assert str(Reset.parse(text)) == text


def test_rules_without_a_length_are_equal() -> None:
    """A length that means nothing makes no difference."""
    assert Reset(on=ResetOn.OPEN, seconds=5) == Reset(on=ResetOn.OPEN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("never", "reset rule must be open, message or stable:SECONDS .*, not 'never'"),
        ("stable", "reset rule must be"),
        ("open:5", "reset rule must be"),
        ("", "reset rule must be"),
        ("stable:", "seconds of stable must be a decimal number"),
        ("stable:soon", "seconds of stable must be a decimal number such as 1.5, not 'soon'"),
        ("stable:0", "seconds of stable must be a number above 0"),
        ("stable:-1", "seconds of stable must be a number above 0"),
        ("stable:inf", "seconds of stable must be a decimal number"),
    ],
)
def test_wrong_text_is_answered_in_one_line(text: str, message: str) -> None:
    """What is wrong, with which value, and which forms there are."""
    with pytest.raises(UsageError, match=message):
        Reset.parse(text)
