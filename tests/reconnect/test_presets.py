"""Presets wait as their originals do, and every policy can be written down and read back."""

from __future__ import annotations

import contextlib
import json
import random
import re
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Constant, Exponential, FullJitter, Linear, Policy
from wsresearch.reconnect.peers import AdditiveJitter, Steps
from wsresearch.reconnect.presets import POLICIES, PRESETS, parse_policy
from wsresearch.reconnect.reset import Reset

NAMES = [
    "seed",
    "websockets",
    "grpc",
    "tardis",
    "cryptofeed",
    "nautilus",
    "unicorn_binance",
    "python_binance",
    "partysocket",
    "phoenix",
]


def first(name: str, n: int, seed: int = 1) -> list[float]:
    return list(islice(PRESETS[name].policy.delays(random.Random(seed)), n))


# -- presets -------------------------------------------------------------------------------------------------


def test_all_presets_are_there() -> None:
    """The ten presets that the command line promises, in that order."""
    assert list(PRESETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_where_it_comes_from(name: str) -> None:
    """Its source names a repository and a file, so that the numbers can be checked."""
    source = PRESETS[name].source
    assert name == "seed" or re.search(r"[\w-]+/[\w-]+.*\.(py|rs|ts|js|md)", source)


@pytest.mark.parametrize(
    ("name", "reset"),
    [
        ("seed", "message"),
        ("websockets", "open"),
        ("grpc", "open"),
        ("tardis", "message"),
        ("cryptofeed", "open"),
        ("nautilus", "open"),
        ("unicorn_binance", "open"),
        ("python_binance", "open"),
        ("partysocket", "stable:5"),
        ("phoenix", "open"),
    ],
)
def test_a_preset_resets_as_the_original(name: str, reset: str) -> None:
    """The reset rule belongs to the preset: it decides more than the delays."""
    assert str(PRESETS[name].reset) == reset


@pytest.mark.parametrize(
    ("name", "delays"),
    [
        ("seed", [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]),
        ("tardis", [1, 2, 4, 8, 16, 32, 32]),
        ("cryptofeed", [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]),
        ("phoenix", [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2, 5, 5, 5]),
    ],
)
def test_exact_presets(name: str, delays: list[float]) -> None:
    """Presets without jitter give the delays of the original."""
    assert first(name, len(delays)) == delays


@pytest.mark.parametrize(("name", "attempts"), [("seed", 10), ("cryptofeed", 10), ("python_binance", 4)])
def test_presets_that_give_up(name: str, attempts: int) -> None:
    """Those that stop trying stop after as many attempts; the others go on for ever."""
    assert len(first(name, 1000)) == attempts
    assert PRESETS[name].policy.max_attempts == attempts


def test_tardis_as_shared(shared: Path) -> None:
    """The delays noted from the source of tardis-node."""
    peers = json.loads((shared / "expectations" / "peer_expectations.json").read_text(encoding="utf-8"))
    delays = [delay / 1000 for delay in peers["tardis_node_realtimefeed"]["delays_ms"]]
    assert first("tardis", len(delays)) == delays


def test_nautilus_defaults_as_shared(shared: Path) -> None:
    """The defaults of its WebSocket client; its first attempt is made at once."""
    peers = json.loads((shared / "expectations" / "peer_expectations.json").read_text(encoding="utf-8"))
    defaults = peers["nautilus_trader_backoff"]["defaults_websocket_client"]
    policy = PRESETS["nautilus"].policy
    assert policy == AdditiveJitter(
        start=defaults["delay_initial_ms"] / 1000,
        factor=defaults["factor"],
        cap=defaults["delay_max_ms"] / 1000,
        jitter=defaults["jitter_ms"] / 1000,
        at_once=True,
    )
    delays = first("nautilus", 12)
    bases = [0.0, *(min(2 * 1.5**k, 29.9) for k in range(11))]
    assert all(base <= delay <= base + 0.1 for base, delay in zip(bases[1:], delays[1:], strict=True))
    assert delays[0] == 0.0


def test_unicorn_binance_polls_once_a_second() -> None:
    """Its watcher wakes within a second of the failure and then once a second: no backoff at all."""
    firsts = [first("unicorn_binance", 1, seed)[0] for seed in range(500)]
    assert 0 <= min(firsts) < 0.02
    assert 0.98 < max(firsts) < 1
    assert first("unicorn_binance", 100)[1:] == [1.0] * 99


def test_a_preset_cannot_be_changed() -> None:
    """A preset is the same for everybody in the process."""
    with pytest.raises(TypeError):
        PRESETS["seed"] = PRESETS["grpc"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        PRESETS["seed"].reset = Reset()  # type: ignore[misc]


# -- text ----------------------------------------------------------------------------------------------------


@st.composite
def any_policy(draw: st.DrawFn) -> Policy:
    """Any policy that text can name, built from numbers that are awkward to write."""
    small, factor = draw(st.floats(1e-9, 1.0)), draw(st.floats(1.0, 100.0))
    large = draw(st.floats(2.0, 1e9))
    kind = draw(st.sampled_from(list(POLICIES.values())))
    limits = draw(st.none() | st.integers(1, 10**9))
    numbers = {
        "delay": small,
        "step": small,
        "base": small,
        "start": small,
        "low": small,
        "floor": small / 3,
        "jitter": small / 7,
        "first": large,
        "high": large,
        "factor": factor,
        "cap": large,
        "at_once": draw(st.booleans()),
        "steps": tuple(draw(st.lists(st.floats(0.0, 1e9), min_size=1, max_size=5))),
    }
    names = [name for name in kind.__dataclass_fields__ if name in numbers]
    return kind(max_attempts=limits, **{name: numbers[name] for name in names})


@given(any_policy())
def test_text_round_trip(policy: Policy) -> None:
    """What str() writes, parse_policy() reads back as the same policy, to the last digit."""
    assert parse_policy(str(policy)) == policy


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_read_by_its_name(name: str) -> None:
    """The name alone gives the preset's policy, and its text gives it too."""
    assert parse_policy(name) == PRESETS[name].policy
    assert parse_policy(str(PRESETS[name].policy)) == PRESETS[name].policy


@pytest.mark.parametrize(
    ("text", "args", "policy"),
    [
        ("full-jitter", None, FullJitter(base=1, cap=30, floor=0.1)),
        ("full-jitter", {"base": "2", "cap": "9", "floor": "0"}, FullJitter(base=2, cap=9, floor=0)),
        ("constant", {"delay": "3"}, Constant(delay=3)),
        ("linear", {"step": "2", "cap": "8"}, Linear(step=2, cap=8)),
        ("exponential", {"base": "1", "factor": "3", "cap": "90"}, Exponential(base=1, factor=3, cap=90)),
        ("exponential( cap = 8 )", {"max_attempts": "3"}, Exponential(cap=8, max_attempts=3)),
        ("exponential(cap=8)", {"cap": "9"}, Exponential(cap=9)),
        ("constant()", None, Constant()),
        ("seed", {"base": "0.01", "cap": "0.2"}, Exponential(base=0.01, cap=0.2, max_attempts=10)),
        ("seed", {"max_attempts": "none"}, Exponential()),
        ("nautilus", {"at_once": "false"}, AdditiveJitter(at_once=False)),
        ("steps", {"steps": "0.5/1/2"}, Steps(steps=(0.5, 1, 2))),
        ("  full-jitter\n", None, FullJitter()),
    ],
)
def test_names_and_arguments_of_the_command_line(text: str, args: dict[str, str] | None, policy: Policy) -> None:
    """`--policy NAME` with any number of `--policy-arg name=seconds`; arguments replace a preset's numbers."""
    assert parse_policy(text, args) == policy


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("full-jiter", None, r"no policy called 'full-jiter'; did you mean full-jitter\? \(choices: constant, linear"),
        ("full_jitter", None, r"did you mean full-jitter\?"),
        ("Seed", None, r"did you mean seed\?"),
        ("zzz", None, r"no policy called 'zzz' \(choices: .*phoenix\)"),
        ("", None, "no policy called ''"),
        ("constant", {"dely": "3"}, r"no parameter of constant called 'dely'; did you mean delay\? \(choices: delay"),
        ("phoenix", {"base": "3"}, r"no parameter of phoenix called 'base' .*\(choices: max_attempts, steps\)"),
        ("constant", {"delay": "1_000"}, "delay must be a decimal number such as 1.5, not '1_000'"),
        ("constant", {"delay": "nan"}, "delay must be a decimal number"),
        ("constant", {"delay": "٣"}, "delay must be a decimal number"),
        ("constant", {"delay": "1e999"}, "delay must be a decimal number"),
        ("constant", {"delay": "-1"}, "delay must be a number at least 0"),
        ("constant", {"max_attempts": "2.5"}, "max_attempts must be a whole number such as 10, not '2.5'"),
        ("nautilus", {"at_once": "yes"}, "at_once must be true or false, not 'yes'"),
        ("steps", {"steps": "1//2"}, "steps must be a decimal number such as 1.5, not ''"),
        ("constant(delay=1", None, "policy must be a name or name"),
        ("constant(delay=1))", None, "policy must be a name or name"),
        ("constant(5)", None, "written name=value, each once, not '5'"),
        ("constant(delay=1, delay=2)", None, "written name=value, each once, not 'delay=2'"),
        ("full-jitter", {"base": "60"}, r"cap must be a number at least 60 \(base\)"),
    ],
)
def test_wrong_text_is_answered_in_one_line(text: str, args: dict[str, str] | None, message: str) -> None:
    """What is wrong, with which value, what the choices are, and the nearest of them."""
    with pytest.raises(UsageError, match=message) as caught:
        parse_policy(text, args)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3))
def test_any_text_is_a_policy_or_a_usage_error(text: str, args: dict[str, str]) -> None:
    """Nothing that can be typed gives a traceback."""
    for candidate in (text, f"full-jitter({text})"):
        with contextlib.suppress(UsageError):
            assert isinstance(parse_policy(candidate, args), Policy)
