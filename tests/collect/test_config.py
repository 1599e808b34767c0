"""What a collector is asked to do: checked when it is written down, and the same after a journey as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.collect.config import Config
from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Constant, Exponential, FullJitter
from wsresearch.reconnect.budget import Budget
from wsresearch.reconnect.reset import Reset
from wsresearch.venues import parse_stream


def config(**options: Any) -> Config:
    return Config(**({"stream": parse_stream("binance:btcusdt,ethusdt"), "out": Path("data")} | options))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("idle_timeout", [0, -1, math.nan, math.inf, "30", None, 90_000, True]),
        ("open_timeout", [0, 1e6, "10", True]),
        ("ping_interval", [0, math.inf]),
        ("ping_timeout", [0, None]),
        ("flush", [0, 2]),
        ("rotate_age", [0.5, math.inf]),
        ("duration", [0, -1, math.nan, math.inf, "5", True]),
        ("max_attempts", [0, -1, 1.5, "3", True]),
        ("queue_bytes", [0, 1000, 1e6, None]),
        ("rotate_rows", [0, None, 2.5]),
        ("seed", [-1, "x", 0.5, 2**64]),
        ("url", ["", "host:80", "http://h", "ws://u:pw@h", "ws://h/path", "ws://h?key=s3cret", "ws://h:0", 5]),
        ("policy", ["full-jitter", None]),
        ("reset", ["open", None]),
        ("budget", ["60/300", 60]),
        ("stream", ["binance:btcusdt", None]),
        ("out", ["data"]),
    ],
)
def test_a_value_out_of_range(name: str, values: list[Any]) -> None:
    """A wrong value is refused before anything happens, in one line that names the option and never a secret."""
    for value in values:
        with pytest.raises(UsageError) as caught:
            config(**{name: value})
        text = str(caught.value)
        assert name.replace("_", "-") in text
        assert "\n" not in text
        assert "s3cret" not in text
        assert "pw" not in text


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "url": st.sampled_from(["ws://127.0.0.1:9443", "wss://h"]),
            "policy": st.sampled_from([Constant(delay=1.5), Exponential(base=1, factor=2, cap=60, max_attempts=10)])
            | st.builds(FullJitter, base=st.floats(0.1, 5), cap=st.floats(5, 100)),
            "reset": st.sampled_from([Reset(), Reset.parse("open"), Reset.parse("message"), Reset.parse("stable:7.5")]),
            "budget": st.builds(Budget, attempts=st.integers(1, 999), window=st.floats(1, 1e4)),
            "max_attempts": st.none() | st.integers(1, 1000),
            "idle_timeout": st.floats(0.1, 1000),
            "duration": st.none() | st.floats(0.001, 1e9),
            "rotate_rows": st.integers(1, 10**9),
            "seed": st.none() | st.integers(0, 2**63 - 1),
        },
    )
)
def test_there_and_back_as_json(options: dict[str, Any]) -> None:
    """A configuration that travels to the background process arrives as it left."""
    asked = config(**options)
    assert Config.from_json(json.loads(json.dumps(asked.as_json()))) == asked


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"stream": None},
        {"stream": "nowhere:btcusdt"},
        {"policy": 5},
        {"policy": "hope"},
        {"reset": "never"},
        {"budget": "many"},
        {"out": None},
        {"idle_timeout": "30"},
    ],
)
def test_a_document_that_is_none(change: dict[str, Any]) -> None:
    """A configuration that was edited by hand and is wrong is refused in one line, never with a traceback."""
    with pytest.raises(UsageError) as caught:
        Config.from_json(config().as_json() | change)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="stream, out"):
        Config.from_json({})


def test_what_differs_is_named() -> None:
    """Attaching with other arguments tells which, how long to run included; the directory is no difference."""
    running = json.loads(json.dumps(config(duration=5.0).kept()))
    assert config(out=Path("elsewhere"), duration=5).differences(running) == []
    assert config(duration=60).differences(running) == ["duration 60 (running: 5.0)"]
    assert config().differences(running) == ["duration None (running: 5.0)"]
    told = config(idle_timeout=5.0, policy=Constant(delay=1), duration=5).differences(running)
    assert told == [
        "policy constant(delay=1.0) (running: full-jitter(base=1.0, cap=30.0, floor=0.1))",
        "idle-timeout 5.0 (running: 30.0)",
    ]


def test_what_is_kept_can_be_moved() -> None:
    """capture.json says everything but where it lies: the directory may be renamed."""
    assert "out" not in config().kept()


def test_the_target_is_the_venues_path_on_the_given_host() -> None:
    """`--url` replaces scheme, host and port; the venue makes the path."""
    assert config(url="ws://127.0.0.1:1").target.startswith("ws://127.0.0.1:1/stream?streams=btcusdt@trade")
    assert config().target.startswith("wss://")


def test_a_run_tells_what_was_studied() -> None:
    """The first event of a run names policy, reset rule and budget, so that runs can be told apart later."""
    text = config(max_attempts=7).in_short
    for part in ("full-jitter", "stable:60", "60/300", "max_attempts=7", "binance:btcusdt,ethusdt"):
        assert part in text
