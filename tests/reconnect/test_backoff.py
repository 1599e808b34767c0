"""The delays of every policy: exact where they are fixed, lawful where they are drawn."""

from __future__ import annotations

import asyncio
import math
import pickle
import random
import socket
import statistics
import time
from dataclasses import FrozenInstanceError, dataclass
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import (
    AttemptsExhausted,
    Constant,
    Decorrelated,
    EqualJitter,
    Exponential,
    FullJitter,
    Linear,
    Policy,
)
from wsresearch.reconnect.peers import (
    AdditiveJitter,
    DrawnFirst,
    DrawnStart,
    ProportionalJitter,
    Steps,
    WholeSeconds,
)


@dataclass
class Loaded:
    """A die that always falls the same way: 0 gives a policy's lower bounds, nearly 1 its upper ones."""

    value: float

    def random(self) -> float:
        return self.value


class Untouchable:
    """A source of randomness that a policy without jitter must leave alone."""

    def random(self) -> float:
        raise AssertionError("drew a random number")


LOW, HIGH = Loaded(0.0), Loaded(math.nextafter(1.0, 0.0))


def first(policy: Policy, n: int, rng: object = None) -> list[float]:
    return list(islice(policy.delays(rng or random.Random(7)), n))  # type: ignore[arg-type]


def seconds(low: float = 0.001, high: float = 1000.0) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


@st.composite
def base_and_cap(draw: st.DrawFn) -> dict[str, float]:
    base = draw(seconds(high=100.0))
    return {"base": base, "cap": base * draw(st.floats(1.0, 1000.0))}


@st.composite
def any_policy(draw: st.DrawFn) -> Policy:
    """Every kind of policy, with parameters from all over their ranges."""
    start = draw(seconds(high=100.0))
    cap = start * draw(st.floats(1.0, 1000.0))
    factor = draw(st.floats(1.0, 100.0))
    share = draw(st.floats(0.0, 1.0))
    limit = draw(st.none() | st.integers(1, 50))
    return draw(
        st.sampled_from(
            [
                Constant(delay=start * share, max_attempts=limit),
                Linear(step=start, cap=cap, max_attempts=limit),
                Exponential(base=start, factor=factor, cap=cap, max_attempts=limit),
                FullJitter(base=start, cap=cap, floor=start * share, max_attempts=limit),
                EqualJitter(base=start, cap=cap, max_attempts=limit),
                Decorrelated(base=start, cap=cap, max_attempts=limit),
                ProportionalJitter(start=start, factor=factor, cap=cap, jitter=share, max_attempts=limit),
                AdditiveJitter(
                    start=start,
                    factor=factor,
                    cap=cap,
                    jitter=2 * cap * share,
                    at_once=share > 0.5,
                    max_attempts=limit,
                ),
                DrawnFirst(first=cap * share, start=start, factor=factor, cap=cap, max_attempts=limit),
                DrawnStart(low=start, high=cap, factor=factor, cap=cap, max_attempts=limit),
                WholeSeconds(cap=1.0 + cap, max_attempts=limit),
                Steps(steps=(start, 0.0, cap), max_attempts=limit),
            ]
        )
    )


# -- exact delays --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Constant(delay=2), [2, 2, 2]),
        (Constant(delay=0), [0, 0]),
        (Linear(step=2, cap=7), [2, 4, 6, 7, 7]),
        (Exponential(), [2, 4, 8, 16, 32, 60, 60]),
        (Exponential(base=0.5), [1, 2, 4, 8, 16, 32, 60]),
        (Exponential(base=1, factor=1, cap=60), [1, 1, 1]),
        (Exponential(base=5, factor=100, cap=5), [5, 5]),
        (Steps(steps=(1, 1, 4, 4, 8)), [1, 1, 4, 4, 8, 8, 8]),
    ],
    ids=str,
)
def test_a_policy_without_jitter_gives_exact_delays(policy: Policy, delays: list[float]) -> None:
    """The delays are those of the formula, from attempt 1 on, and no random number is drawn."""
    assert first(policy, len(delays), Untouchable()) == delays


def test_exponential_counts_n_from_one() -> None:
    """The first delay is base times factor, and the ten delays of the seed add up to 362 s."""
    ten = first(Exponential(base=1, factor=2, cap=60), 10)
    assert ten == [min(1000 * 2**n, 60000) / 1000 for n in range(1, 11)]
    assert sum(ten) == 362


@pytest.mark.parametrize(
    ("policy", "low", "high"),
    [
        (FullJitter(base=1, cap=5), [0.1, 0.1, 0.1, 0.1, 0.1], [1, 2, 4, 5, 5]),
        (FullJitter(base=1, cap=5, floor=0), [0, 0, 0, 0, 0], [1, 2, 4, 5, 5]),
        (EqualJitter(base=1, cap=5), [0.5, 1, 2, 2.5, 2.5], [1, 2, 4, 5, 5]),
        (Decorrelated(base=1, cap=20), [1, 1, 1, 1, 1], [3, 9, 20, 20, 20]),
    ],
    ids=str,
)
def test_bounds_of_jitter(policy: Policy, low: list[float], high: list[float]) -> None:
    """Each attempt is drawn between the bounds of its formula."""
    assert first(policy, 5, LOW) == pytest.approx(low)
    assert first(policy, 5, HIGH) == pytest.approx(high)


@pytest.mark.parametrize(
    ("policy", "attempt", "mean"),
    [
        (FullJitter(base=1, cap=16), 5, (0.1 + 16) / 2),
        (FullJitter(base=1, cap=16, floor=0), 1, 0.5),
        (EqualJitter(base=1, cap=16), 3, 3.0),
        (Decorrelated(base=1, cap=100), 1, 2.0),
    ],
    ids=str,
)
def test_mean_of_jitter(policy: Policy, attempt: int, mean: float) -> None:
    """Over many streaks the mean is that of a uniform draw, so the floor heaps nothing up."""
    rng = random.Random(1)
    drawn = [first(policy, attempt, rng)[-1] for _ in range(4000)]
    assert statistics.fmean(drawn) == pytest.approx(mean, rel=0.04)


def test_the_floor_is_an_end_of_the_interval_and_no_clamp() -> None:
    """No two of a thousand clients get the floor itself: a floor does not synchronise them."""
    rng = random.Random(3)
    drawn = [next(FullJitter(base=1, cap=30, floor=0.9).delays(rng)) for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert min(drawn) > 0.9


# -- laws ----------------------------------------------------------------------------------------------------


@given(any_policy(), st.integers())
def test_same_seed_same_delays(policy: Policy, seed: int) -> None:
    """A run can be repeated: delays depend on the policy and the seed only."""
    assert first(policy, 20, random.Random(seed)) == first(policy, 20, random.Random(seed))


@given(any_policy(), st.integers(0, 2**32))
def test_every_delay_is_a_finite_number_of_seconds(policy: Policy, seed: int) -> None:
    """With random.Random and with a NumPy generator alike, and there are max_attempts of them."""
    for rng in (random.Random(seed), np.random.default_rng(seed)):
        delays = first(policy, 60, rng)
        assert len(delays) == (policy.max_attempts or 60)
        assert all(type(delay) is float and 0.0 <= delay < math.inf for delay in delays)


@given(base_and_cap(), st.floats(0.0, 1.0, exclude_max=True))
def test_jitter_scales_with_the_delay_and_comes_after_the_clamp(given: dict[str, float], u: float) -> None:
    """The same luck means the same share of the bound, at the first attempt as at the cap."""
    bounds = first(Exponential(base=given["base"] / 2, cap=given["cap"]), 15)
    full = first(FullJitter(**given, floor=0.0), 15, Loaded(u))
    equal = first(EqualJitter(**given), 15, Loaded(u))
    assert full == pytest.approx([u * bound for bound in bounds])
    assert equal == pytest.approx([(1 + u) / 2 * bound for bound in bounds])


@given(base_and_cap(), st.floats(0.0, 1.0), st.integers())
def test_jitter_stays_within_its_bounds(given: dict[str, float], share: float, seed: int) -> None:
    """Never below the floor, never above the bound of the attempt, exactly and not nearly."""
    floor = given["base"] * share
    bounds = first(FullJitter(**given, floor=0.0), 20, HIGH)
    caps = first(Exponential(base=given["base"] / 2, cap=given["cap"]), 20)
    delays = first(FullJitter(**given, floor=floor), 20, random.Random(seed))
    assert all(floor <= delay <= cap for delay, cap in zip(delays, caps, strict=True))
    assert all(given["base"] <= delay <= given["cap"] for delay in first(Decorrelated(**given), 20))
    assert bounds == sorted(bounds)


@given(any_policy().filter(lambda policy: not isinstance(policy, Steps | AdditiveJitter | DrawnFirst)))
def test_the_base_never_shrinks(policy: Policy) -> None:
    """With the jitter held still, each delay is at least the one before it."""
    for rng in (LOW, Loaded(0.5)):
        delays = first(policy, 40, rng)
        if isinstance(policy, ProportionalJitter):  # its first delay has no jitter
            delays = delays[1:]
        if not isinstance(policy, Decorrelated):  # its luck moves the next base
            assert delays == sorted(delays)


@pytest.mark.parametrize(
    ("policy", "cap"),
    [
        (Exponential(factor=1.618, cap=5), 5.0),
        (Linear(step=0.01, cap=5), 5.0),
        (FullJitter(base=1, cap=5), 5.0),
        (EqualJitter(base=1, cap=5), 5.0),
        (Decorrelated(base=1, cap=5), 5.0),
        (ProportionalJitter(start=0.1, factor=2, cap=5, jitter=0), 5.0),
        (AdditiveJitter(start=0.1, factor=2, cap=5, jitter=0), 5.0),
        (WholeSeconds(cap=4), 5.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1025, 2000, 10_000])
def test_thousands_of_attempts_do_not_overflow(policy: Policy, cap: float, n: int) -> None:
    """An outage of days ends at the cap, not in an OverflowError."""
    assert next(islice(policy.delays(HIGH), n - 1, None)) == pytest.approx(cap, rel=1e-12)


# -- values --------------------------------------------------------------------------------------------------


@given(any_policy())
def test_a_policy_is_a_value(policy: Policy) -> None:
    """Equal, hashable and picklable by its parameters, and immutable."""
    copy = pickle.loads(pickle.dumps(policy))
    assert copy == policy
    assert hash(copy) == hash(policy)
    with pytest.raises(FrozenInstanceError):
        policy.max_attempts = 3  # type: ignore[misc]


def test_ints_and_floats_make_the_same_policy() -> None:
    """FullJitter(base=1) and FullJitter(base=1.0) are one policy with one text."""
    assert FullJitter(base=1, cap=30) == FullJitter(base=1.0, cap=30.0) == FullJitter()
    assert str(FullJitter(base=1)) == "full-jitter(base=1.0, cap=30.0, floor=0.1)"
    assert str(Exponential(max_attempts=10)) == "exponential(base=1.0, factor=2.0, cap=60.0, max_attempts=10)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(delay=-1), "delay must be a number at least 0 and at most 1000000000, not '-1'"),
        (lambda: Constant(delay=math.nan), "delay must be .*, not 'nan'"),
        (lambda: Constant(delay=math.inf), "delay must be .*, not 'inf'"),
        (lambda: Constant(delay=10**400), "delay must be"),
        (lambda: Constant(delay="5"), "delay must be .*, not '5'"),
        (lambda: Constant(delay=True), "delay must be .*, not 'True'"),
        (lambda: Linear(step=0), "step must be a number above 0 and"),
        (lambda: Linear(step=5, cap=4), r"cap must be a number at least 5 \(step\) and .*, not '4'"),
        (lambda: Exponential(base=0), "base must be a number above 0"),
        (lambda: Exponential(factor=0.5), "factor must be a number at least 1 and at most 100, not '0.5'"),
        (lambda: Exponential(factor=150), "factor must be a number at least 1 and at most 100, not '150'"),
        (lambda: Exponential(base=2, cap=1), r"cap must be a number at least 2 \(base\)"),
        (
            lambda: FullJitter(base=0.05),
            r"floor must be a number at least 0 and at most 0.05 \(base\), not '0.1'",
        ),
        (lambda: EqualJitter(cap=0.5), r"cap must be a number at least 1 \(base\)"),
        (lambda: Decorrelated(base=math.nan), "base must be"),
        (lambda: ProportionalJitter(jitter=1.5), "jitter must be a number at least 0 and at most 1"),
        (lambda: AdditiveJitter(at_once=1), "at_once must be True or False, not 1"),
        (lambda: DrawnStart(low=6), r"high must be a number at least 6 \(low\)"),
        (lambda: WholeSeconds(cap=0.5), "cap must be a number at least 1"),
        (lambda: Steps(steps=()), "steps must be a tuple of at least one delay"),
        (lambda: Steps(steps=(1, -1)), "each of steps must be a number at least 0"),
        (lambda: Constant(max_attempts=0), "max_attempts must be a whole number from 1"),
        (lambda: Constant(max_attempts=2.5), "max_attempts must be a whole number from 1"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value_and_range(make: object, message: str) -> None:
    """One line says which parameter, which value, and what would be allowed."""
    with pytest.raises(UsageError, match=message) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


# -- with websockets -----------------------------------------------------------------------------------------


def test_websockets_takes_a_policy_as_it_is() -> None:
    """`async for` over connect() follows the policy and ends with an error that says what happened."""
    with socket.socket() as taken:  # bound but not listening: every attempt is refused
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        policy = FullJitter(base=0.002, cap=0.01, floor=0.001, max_attempts=4)

        async def follow() -> None:
            async for _ in connect(url, reconnect_delays=policy, proxy=None):
                pytest.fail("connected to a port where nobody listens")

        began = time.monotonic()
        with pytest.raises(AttemptsExhausted, match=r"no attempt of full-jitter.*max_attempts=4.* has succeeded"):
            asyncio.run(follow())
        assert 4 * 0.001 <= time.monotonic() - began < 10


def test_each_call_of_a_policy_is_a_new_streak() -> None:
    """The library calls the policy once per streak; two streaks of one policy do not share a position."""
    policy = Exponential(max_attempts=2)
    one, two = policy(), policy()
    assert [next(one), next(one), next(two)] == [2, 4, 2]
    with pytest.raises(AttemptsExhausted):
        next(one)
    assert next(two) == 4


def test_calling_a_policy_leaves_the_shared_generator_alone() -> None:
    """The random numbers of the surrounding program are not disturbed."""
    before = random.getstate()
    list(islice(FullJitter()(), 5))
    assert random.getstate() == before
