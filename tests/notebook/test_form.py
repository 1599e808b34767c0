"""What a person fills in, and what is made of it."""

from __future__ import annotations

import pytest

from wsresearch.api import make_config
from wsresearch.errors import UsageError
from wsresearch.notebook.form import MOST_PARAMETERS, POLICY_NAMES, Form, parameters_of, reset_of
from wsresearch.reconnect.presets import parse_policy


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_the_parameters_shown_are_those_of_the_policy(policy: str) -> None:
    """Every policy and preset: what stands in its fields, read back, is that policy."""
    parameters = parameters_of(policy)
    given = {name: text for name, text in parameters.items() if text}
    assert parse_policy(policy, given) == parse_policy(policy)
    assert len(parameters) <= MOST_PARAMETERS


def test_a_form_becomes_a_configuration() -> None:
    """Symbols may be separated by commas or blanks; an empty field leaves the default."""
    form = Form.filled(
        symbols=" btcusdt, ethusdt solusdt ",
        directory=" data/x ",
        policy="equal-jitter",
        parameters={"base": "2", "cap": "", "max_attempts": " 7 "},
        idle_timeout="12.5",
    )
    stream, out, options = form.arguments()
    config = make_config(stream, out, **options)
    assert str(config.stream) == "binance:btcusdt,ethusdt,solusdt"
    assert str(config.policy) == "equal-jitter(base=2.0, cap=30.0, max_attempts=7)"
    assert (str(config.out), config.url, config.idle_timeout, str(config.reset)) == ("data/x", None, 12.5, "stable:60")


def test_a_preset_brings_its_reset_rule() -> None:
    """Unless another one is filled in."""
    assert Form.filled(policy="nautilus").reset == reset_of("nautilus") == "open"
    assert Form.filled(policy="nautilus", reset="stable:5").reset == "stable:5"
    assert reset_of("full-jitter") == "stable:60"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"symbols": " , "}, "symbols is empty"),
        ({"directory": " "}, "directory is empty"),
        ({"idle_timeout": "soon"}, "idle-timeout must be a decimal number such as 1.5, not 'soon'"),
        ({"parameters": {"base": "-1"}}, "base must be a number above 0"),
        ({"parameters": {"cap": "many"}}, "cap must be a decimal number"),
        ({"reset": "never"}, "reset rule must be open, message or stable:SECONDS"),
    ],
)
def test_what_is_wrong_is_named(texts: dict[str, object], words: str) -> None:
    """The message says which field it is and what belongs there."""
    with pytest.raises(UsageError, match=words):
        Form.filled(**texts).arguments()


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"symbol": "btcusdt"}, r"the form has no symbol; fill in venue, symbols, directory"),
        ({"venue": "nowhere"}, r"unknown venue 'nowhere'; choose one of binance"),
        ({"policy": "hope"}, r"there is no policy called 'hope'"),
        ({"parameters": {"bas": "1"}}, r"full-jitter has no parameter bas; choose from base, cap, floor"),
    ],
)
def test_what_cannot_be_filled_in_is_refused(texts: dict[str, object], words: str) -> None:
    """A field, venue, policy or parameter that there is not; the message names the choices."""
    with pytest.raises(UsageError, match=words):
        Form.filled(**texts)
