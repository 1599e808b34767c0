"""The policies that reproduce other clients, against what those clients' own tests expect."""

from __future__ import annotations

import json
import random
import statistics
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Exponential, FullJitter, Policy
from wsresearch.reconnect.peers import (
    AdditiveJitter,
    DrawnFirst,
    DrawnStart,
    ProportionalJitter,
    Steps,
    WholeSeconds,
)
from wsresearch.reconnect.reset import Reset

MS = 1e-3


@pytest.fixture
def expected(shared: Path) -> dict[str, Any]:
    text = (shared / "expectations" / "peer_expectations.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def first(policy: Policy, n: int, seed: int = 1) -> list[float]:
    return list(islice(policy.delays(random.Random(seed)), n))


def many(policy: Policy, n: int) -> list[list[float]]:
    """Ten thousand streaks from one generator: draws of neighbouring seeds would not be independent."""
    rng = random.Random(1)
    return [list(islice(policy.delays(rng), n)) for _ in range(10_000)]


# The mean of 10,000 uniform draws from [0, b] strays from b / 2 by 0.6 % in one standard error: four of them.
FOUR_SIGMA = 0.023


def nautilus(
    *, initial_ms: float, max_ms: float = 60_000, factor: float = 2.0, jitter_ms: float = 0, immediate: bool = False
) -> AdditiveJitter:
    return AdditiveJitter(
        start=initial_ms * MS, factor=factor, cap=max_ms * MS, jitter=jitter_ms * MS, at_once=immediate
    )


# -- nautilus_trader -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "policy", "delays_ms"),
    [
        ("no_jitter_growth", nautilus(initial_ms=100, max_ms=1600), [100, 200, 400, 800, 1600, 1600]),
        ("factor_1_5", nautilus(initial_ms=100, max_ms=200, factor=1.5), [100, 150, 200, 200]),
        ("cap", nautilus(initial_ms=500, max_ms=1000, factor=3), [500, 1000, 1000]),
        ("immediate_first", nautilus(initial_ms=100, max_ms=1600, immediate=True), [0, 100, 200]),
    ],
)
def test_nautilus_delays(name: str, policy: Policy, delays_ms: list[float]) -> None:
    """Without jitter the delays are exact."""
    assert [delay / MS for delay in first(policy, len(delays_ms))] == pytest.approx(delays_ms)


def test_nautilus_cases_as_shared(expected: dict[str, Any]) -> None:
    """Every case of its own tests that lists delays is reproduced."""
    cases = [case for case in expected["nautilus_trader_backoff"]["cases"] if "delays_ms" in case]
    assert len(cases) == 4
    for case in cases:
        policy = nautilus(
            initial_ms=case["initial_ms"],
            max_ms=case["max_ms"],
            factor=case["factor"],
            jitter_ms=case["jitter_ms"],
            immediate=case["immediate_first"],
        )
        got = [delay / MS for delay in first(policy, len(case["delays_ms"]))]
        assert got == pytest.approx(case["delays_ms"]), case["name"]


@pytest.mark.parametrize(
    ("immediate", "sequence_ms"),
    [(True, [0, 100, 0]), (False, [100, 100, 100])],
    ids=["reset_restores_immediate_first", "reset"],
)
def test_nautilus_reset(immediate: bool, sequence_ms: list[float]) -> None:
    """A reset is a new streak: the delays begin anew, the immediate attempt included."""
    policy = nautilus(initial_ms=100, immediate=immediate)
    streak = policy.delays(random.Random(1))
    got = [next(streak)]
    if immediate:
        got.append(next(streak))
    got += [first(policy, 1)[0] for _ in range(3 - len(got))]
    assert [delay / MS for delay in got] == pytest.approx(sequence_ms)


def test_nautilus_current_delay() -> None:
    """Before any call 100 ms are next, after one 200, after two 400, after a reset 100."""
    streak = nautilus(initial_ms=100).delays(random.Random(1))
    nexts = [next(streak) / MS for _ in range(3)]
    assert [*nexts, first(nautilus(initial_ms=100), 1)[0] / MS] == pytest.approx([100, 200, 400, 100])


def test_nautilus_jitter_bounds() -> None:
    """The first of 100 ms with 50 ms of jitter lies between 100 and 150, on average at 125."""
    drawn = [delay / MS for (delay,) in many(nautilus(initial_ms=100, max_ms=1000, jitter_ms=50), 1)]
    assert 100 <= min(drawn) < 101
    assert 149 < max(drawn) <= 150
    assert statistics.fmean(drawn) == pytest.approx(125, rel=0.01)


def test_nautilus_never_exceeds_max() -> None:
    """However wide the jitter, no delay is above the cap, and at the cap they still differ."""
    at_the_cap = first(nautilus(initial_ms=100, max_ms=1000, jitter_ms=500), 110)[10:]
    assert max(at_the_cap) <= 1.0
    assert min(at_the_cap) >= 0.5
    assert len(set(at_the_cap)) > 90


def test_nautilus_jitter_wider_than_max() -> None:
    """Jitter wider than the cap gives neither a zero delay nor one above the cap."""
    delays = [streak[-1] / MS for streak in many(nautilus(initial_ms=10, max_ms=50, jitter_ms=100), 4)]
    assert min(delays) > 0
    assert max(delays) <= 50
    # The base is 0 then, so half of U(0, 100) is cut to the cap and a tenth is raised to the initial delay.
    assert delays.count(50) / len(delays) == pytest.approx(0.5, abs=0.02)
    assert delays.count(10) / len(delays) == pytest.approx(0.1, abs=0.012)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 0.0},
        {"start": 1.0, "cap": 0.5},
        {"factor": 0.5},
        {"factor": 150.0},
        {"cap": 2**64 * 1e-9},
    ],
    ids=str,
)
def test_nautilus_invalid(wrong: dict[str, float]) -> None:
    """What it rejects is rejected here."""
    with pytest.raises(UsageError):
        AdditiveJitter(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("initial_ms", "max_ms"), [(1, 10), (1, 60_000), (777, 60_000), (5000, 60_000)])
@pytest.mark.parametrize("factor", [1.1, 10.0])
@pytest.mark.parametrize("jitter_ms", [0, 1000])
def test_nautilus_property_ranges(initial_ms: float, max_ms: float, factor: float, jitter_ms: float) -> None:
    """Over the ranges of its property tests every delay lies between the initial one and the cap."""
    policy = nautilus(initial_ms=initial_ms, max_ms=max_ms, factor=factor, jitter_ms=jitter_ms)
    assert all(initial_ms * MS <= delay <= max_ms * MS for delay in first(policy, 100))


# -- websockets ----------------------------------------------------------------------------------------------

WEBSOCKETS_DELAYS = [3.1, 5.0158, 8.11556, 13.13098, 21.24593, 34.37592, 55.62023, 89.99354, 90.0]


def test_websockets_delays() -> None:
    """A random first delay below 5 s, then from 3.1 s on by 1.618 up to 90 s."""
    draws = []
    for drawn, *rest in many(DrawnFirst(), 11):
        assert rest == pytest.approx([*WEBSOCKETS_DELAYS, 90.0], abs=6e-6)
        draws.append(drawn)
    assert min(draws) >= 0
    assert max(draws) < 5
    assert statistics.fmean(draws) == pytest.approx(2.5, rel=FOUR_SIGMA)


def test_websockets_as_shared(expected: dict[str, Any]) -> None:
    """Defaults, exact delays, and the whole seconds that its own test looks at."""
    peer = expected["websockets"]
    defaults = peer["defaults"]
    policy = DrawnFirst(
        first=defaults["initial_delay"],
        start=defaults["min_delay"],
        factor=defaults["factor"],
        cap=defaults["max_delay"],
    )
    assert policy == DrawnFirst()
    after_first = first(policy, 1 + len(peer["then_exact"]))[1:]
    assert after_first == pytest.approx(peer["then_exact"], abs=6e-6)
    assert [int(delay) for delay in after_first] == peer["then_int_expected_by_test"]


def test_websockets_follows_the_library_itself() -> None:
    """The installed library's own generator and ours agree after the drawn first delay."""
    from websockets.client import backoff

    assert first(DrawnFirst(), 15)[1:] == list(islice(backoff(), 15))[1:]


# -- gRPC ----------------------------------------------------------------------------------------------------

GRPC_BASES = [1.0, 1.6, 2.56, 4.096, 6.5536, 10.48576, 16.777216, 26.843546, 42.949673, 68.719477, 109.951163, 120, 120]


def test_grpc_base_sequence() -> None:
    """Without jitter: from 1 s by 1.6 to 120 s, 531.5 s for the thirteen tries of its interoperability test."""
    bases = first(ProportionalJitter(jitter=0), 13)
    assert bases == pytest.approx(GRPC_BASES)
    assert sum(bases) == pytest.approx(531.536, abs=1e-3)


def test_grpc_jitter() -> None:
    """The first delay is exactly 1 s; each later one is within a fifth of its base, on average the base."""
    streaks = many(ProportionalJitter(), 13)
    for base, delays in zip(GRPC_BASES, zip(*streaks, strict=True), strict=True):
        if base == 1.0:
            assert set(delays) == {1.0}
            continue
        assert base * 0.8 <= min(delays) < base * 0.81
        assert base * 1.19 < max(delays) <= base * 1.2
        assert statistics.fmean(delays) == pytest.approx(base, rel=0.01)


def test_grpc_as_shared(expected: dict[str, Any]) -> None:
    """The parameters and the sequence of the published algorithm."""
    peer = expected["grpc_connection_backoff"]
    params = peer["params"]
    policy = ProportionalJitter(
        start=params["INITIAL_BACKOFF_s"],
        factor=params["MULTIPLIER"],
        cap=params["MAX_BACKOFF_s"],
        jitter=params["JITTER"],
    )
    assert policy == ProportionalJitter()
    bases = first(ProportionalJitter(jitter=0), len(peer["base_sequence_s"]))
    assert bases == pytest.approx(peer["base_sequence_s"])
    assert sum(bases) == pytest.approx(peer["cumulative_s"], abs=1e-3)


# -- reconnecting-websocket and partysocket --------------------------------------------------------------------


def fixed_start(*, low: float, cap: float, factor: float) -> DrawnStart:
    return DrawnStart(low=low, high=low, factor=factor, cap=cap)


def test_reconnecting_websocket_grow_factor() -> None:
    """From 100 ms by 2 up to 1 s."""
    delays = first(fixed_start(low=0.1, cap=1.0, factor=2.0), 6)
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def delays_and_retries(policy: Policy, reset: Reset, lives: list[float]) -> tuple[list[float], list[int]]:
    """Follow policy and reset rule through connections that live so many seconds each."""
    streak, delays, retries, count = policy.delays(random.Random(1)), [], [], 0
    for alive in lives:
        if reset.is_due(opened=True, messages=True, alive=alive):
            streak, count = policy.delays(random.Random(1)), 0
        delays.append(next(streak))
        count += 1
        retries.append(count)
    return delays, retries


def test_reconnecting_websocket_min_uptime() -> None:
    """A connection that lived for the minimum uptime returns the delay to its start, a shorter one does not."""
    delays, retries = delays_and_retries(
        fixed_start(low=0.1, cap=2.0, factor=2.0), Reset(seconds=0.5), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    )
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 0.1, 0.1])
    assert retries == [1, 2, 3, 4, 1, 1]


def test_reconnecting_websocket_as_shared(expected: dict[str, Any]) -> None:
    """Both of its tests, with the numbers as they stand there."""
    peer = expected["reconnecting_websocket_4.4.0"]
    case = peer["grow_factor_test"]
    policy = fixed_start(low=case["min"] * MS, cap=case["max"] * MS, factor=case["factor"])
    assert [delay / MS for delay in first(policy, len(case["delays"]))] == pytest.approx(case["delays"])

    case = peer["min_uptime_test"]
    delays, retries = delays_and_retries(
        fixed_start(low=case["min"] * MS, cap=case["max"] * MS, factor=case["factor"]),
        Reset(seconds=case["minUptime"] * MS),
        [after * MS for after in case["server_closes_after_ms"]],
    )
    assert [delay / MS for delay in delays] == pytest.approx(case["delays"])
    assert retries == case["retryCount"]


def test_partysocket_draws_its_start_once_a_streak() -> None:
    """1 to 5 s, on average 3; every later delay follows from the first by 1.3, up to 10 s."""
    starts = []
    for start, *rest in many(DrawnStart(), 12):
        assert rest == pytest.approx([min(start * 1.3**k, 10.0) for k in range(1, 12)])
        starts.append(start)
    assert min(starts) >= 1
    assert max(starts) < 5
    assert statistics.fmean(starts) == pytest.approx(3.0, rel=FOUR_SIGMA)


# -- python-binance ------------------------------------------------------------------------------------------


def test_python_binance_rounds_to_whole_seconds() -> None:
    """1 + U(0, min(60, 2**n - 1)), rounded: 1..2, 1..4, 1..8, …, 1..61 seconds."""
    streaks = many(WholeSeconds(), 8)
    highs = [2, 4, 8, 16, 32, 61, 61, 61]
    for high, delays in zip(highs, zip(*streaks, strict=True), strict=True):
        assert all(delay == int(delay) for delay in delays)
        assert (min(delays), max(delays)) == (1, high)
        assert statistics.fmean(delays) == pytest.approx(1 + (high - 1) / 2, rel=FOUR_SIGMA)


# -- tenacity and stamina, where a general policy says the same -------------------------------------------------


TENACITY_EXACT = {
    "wait_exponential()": (Exponential(base=0.5, cap=1e6), [1, 2, 4, 8, 16, 32, 64, 128]),
    "wait_exponential(max=40)": (Exponential(base=0.5, cap=40), [1, 2, 4, 8, 16, 32, 40, 40]),
    "wait_exponential(max=50,multiplier=1)": (Exponential(base=0.5, cap=50), [1, 2, 4, 8, 16, 32, 50, 50]),
    "wait_chain(1,2,3) sleeps": (Steps(steps=(1, 2, 3)), [1, 2, 3, 3]),
}


@pytest.mark.parametrize("name", TENACITY_EXACT)
def test_tenacity_exact(name: str) -> None:
    """Policies of this package reproduce tenacity's waits of the same shape."""
    policy, delays = TENACITY_EXACT[name]
    assert first(policy, len(delays)) == delays


def test_tenacity_exact_as_shared(expected: dict[str, Any]) -> None:
    """The delays above are those of its own tests."""
    for name, (_, delays) in TENACITY_EXACT.items():
        assert expected["tenacity_9_2_1"][name] == delays


TENACITY_UPPER = [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_tenacity_random_exponential() -> None:
    """Full jitter without a floor: between 0 and the bound, the mean half of it."""
    streaks = many(FullJitter(base=0.5, cap=60, floor=0), 9)
    for upper, delays in zip(TENACITY_UPPER, zip(*streaks, strict=True), strict=True):
        assert min(delays) >= 0
        assert max(delays) <= upper
        assert statistics.fmean(delays) == pytest.approx(upper / 2, rel=FOUR_SIGMA)


def test_tenacity_random_exponential_as_shared(expected: dict[str, Any]) -> None:
    """Bounds and means as its own test has them, over as many draws."""
    peer = expected["tenacity_9_2_1"]
    assert peer["wait_random_exponential(0.5,60) upper bounds n=1..9"] == TENACITY_UPPER
    streaks = many(FullJitter(base=0.5, cap=60, floor=0), 9)[:4000]
    for n, (mean, eps) in peer["wait_random_exponential(0.5,60) means over 4000 draws (n: mean,eps)"].items():
        assert statistics.fmean(streak[int(n) - 1] for streak in streaks) == pytest.approx(mean, abs=eps)


TENACITY_JITTER = [[1, 2], [2, 3], [4, 5], [8, 9], [16, 17], [32, 33], 60, 60, 60]


def test_tenacity_exponential_jitter() -> None:
    """Within the published ranges; at the cap ours still spreads where tenacity's is 60 s exactly."""
    delays = first(AdditiveJitter(start=1, factor=2, cap=60, jitter=1), len(TENACITY_JITTER))
    for delay, allowed in zip(delays, TENACITY_JITTER, strict=True):
        low, high = allowed if isinstance(allowed, list) else (allowed - 1, allowed)
        assert low <= delay <= high


def test_tenacity_exponential_jitter_as_shared(expected: dict[str, Any]) -> None:
    """The ranges above are those of its own tests."""
    assert expected["tenacity_9_2_1"]["wait_exponential_jitter(max=60) ranges"] == TENACITY_JITTER


STAMINA = {"wait_initial": 0.1, "wait_max": 5.0, "wait_jitter": 1.0, "wait_exp_base": 2}


def test_stamina() -> None:
    """Never above its maximum wait, and no overflow in attempts that only a stuck program reaches."""
    assert max(first(AdditiveJitter(start=0.1, factor=2, cap=0.42, jitter=1), 9)) <= 0.42
    policy = AdditiveJitter(
        start=STAMINA["wait_initial"], factor=STAMINA["wait_exp_base"], cap=STAMINA["wait_max"], jitter=0
    )
    for n in (1025, 2000, 10_000):
        assert next(islice(policy.delays(random.Random(1)), n - 1, None)) == 5.0


def test_stamina_as_shared(expected: dict[str, Any]) -> None:
    """The numbers above are its defaults."""
    assert STAMINA.items() <= expected["stamina"]["defaults"].items()
