"""Generated tapes: the same for every seed, at the rate that was asked for, and shaped like trades."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsresearch.errors import TapeError
from wsresearch.lab.market import Market
from wsresearch.lab.message import Message


def _trades(**options: object) -> list[Message]:
    return list(Market(**options).trades())  # type: ignore[arg-type]


def test_same_seed_same_trades() -> None:
    """A run can be repeated: the seed decides every trade, and another seed decides otherwise."""
    first = _trades(symbols=("BTCUSDT", "ETHUSDT"), rate=500, seed=7, count=2_000)
    assert first == _trades(symbols=("BTCUSDT", "ETHUSDT"), rate=500, seed=7, count=2_000)
    assert first != _trades(symbols=("BTCUSDT", "ETHUSDT"), rate=500, seed=8, count=2_000)


@pytest.mark.parametrize("rate", [50.0, 2_000.0])
def test_the_rate_is_kept_in_the_long_run(rate: float) -> None:
    """Asking for so many trades a second gives them, on average over many bursts."""
    seconds = 100_000 / rate
    counts = [len(_trades(rate=rate, seed=seed, seconds=seconds)) for seed in range(3)]
    # One run of 100,000 has a standard deviation of about 1.1 % (Hawkes, branching 0.5, two trades an order).
    assert np.mean(counts) == pytest.approx(100_000, rel=0.03)


def test_arrivals_are_bursty() -> None:
    """The variance of counts is well above that of a Poisson process, as it is on a real exchange."""
    due = [message.due_ns for message in _trades(rate=200, seed=1, seconds=100)]
    counts = np.histogram(due, bins=100, range=(0, 100e9))[0]
    assert counts.var() / counts.mean() > 3


@settings(max_examples=30, deadline=None)
@given(
    symbols=st.lists(st.sampled_from(["BTCUSDT", "ETHUSDT", "SOLUSDT", "ABC_1"]), min_size=1, unique=True),
    rate=st.floats(0.5, 50_000),
    seed=st.integers(0, 2**63),
)
def test_laws_of_a_market(symbols: list[str], rate: float, seed: int) -> None:
    """Whatever is asked for: times never step back, ids of a symbol rise by one, prices and sizes are positive."""
    trades = _trades(symbols=tuple(symbols), rate=rate, seed=seed, count=300)
    assert len(trades) == 300
    assert all(a.due_ns <= b.due_ns for a, b in itertools.pairwise(trades))
    for symbol in symbols:
        ids = [trade.trade_id for trade in trades if trade.symbol == symbol]
        assert ids == list(range(ids[0], ids[0] + len(ids))) if ids else True
    assert all(float(t.price) > 0 and float(t.quantity) > 0 for t in trades)
    assert all(len(t.price.split(".")[1]) == len(t.quantity.split(".")[1]) == 8 for t in trades)


def test_sizes_have_a_heavy_tail() -> None:
    """A few trades carry much of the volume."""
    sizes = np.sort([float(trade.quantity) for trade in _trades(count=10_000)])
    assert sizes[-100:].sum() / sizes.sum() > 0.25


def test_first_ids_can_be_chosen() -> None:
    """A tape can begin where another ended."""
    trades = _trades(symbols=("btcusdt", "ETHUSDT"), first_ids={"btcusdt": 42}, count=50)
    assert next(t.trade_id for t in trades if t.symbol == "BTCUSDT") == 42


def test_the_end_by_time() -> None:
    """With `seconds`, nothing is due at or after them."""
    assert max(t.due_ns for t in _trades(rate=5_000, seconds=0.5)) < 0.5e9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"symbols": ()}, "symbols"),
        ({"symbols": ("BTCUSDT", "btcusdt")}, "symbols"),
        ({"symbols": ("../x",)}, "'../X'"),
        ({"rate": 0}, "rate 0"),
        ({"rate": float("nan")}, "rate nan"),
        ({"rate": 1e9}, "rate"),
        ({"seconds": -1}, "seconds -1"),
        ({"count": 0}, "count 0"),
        ({"first_ids": {"ETHUSDT": 1}}, "ETHUSDT"),
        ({"first_ids": {"BTCUSDT": -1}}, "first id -1"),
    ],
)
def test_what_is_no_market(options: dict[str, object], says: str) -> None:
    """A value that is out of range is named."""
    with pytest.raises(TapeError, match=says):
        Market(**options)  # type: ignore[arg-type]
