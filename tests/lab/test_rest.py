"""REST: what a backfill can ask for, answered from what the tape produced, received or not."""

from __future__ import annotations

import itertools
import json
import random
from decimal import Decimal
from typing import Any

import pytest

from wsresearch.lab.disturb import Disturber
from wsresearch.lab.door import Answer
from wsresearch.lab.faults import Duplicate, Garble, Reorder, SkipIds
from wsresearch.lab.market import Market
from wsresearch.lab.recorder import Recorder
from wsresearch.lab.rest import Rest

NOW = 1_723_161_254.25
TRADES = list(Market(count=2_500, first_ids={"BTCUSDT": 5_000}, seed=2).trades())


def _rest(*, weight_limit: int | None = None, skip: int = 0) -> Rest:
    recorder, disturber = Recorder(), Disturber(random.Random(1))
    if skip:
        disturber.begin(SkipIds(count=skip))
        disturber.begin(Garble(count=5, replace=True))
        disturber.begin(Duplicate(count=5))
        disturber.begin(Reorder(count=5))
    for trade in TRADES:
        recorder.produced(disturber.passed([trade]), int(NOW * 1e9) + trade.due_ns)
    return Rest(trades=recorder.trades, symbols=("BTCUSDT",), weight_limit=weight_limit)


def _get(rest: Rest, query: str, now: float = NOW) -> tuple[Answer, Any]:
    answer = rest.answer(f"/api/v3/{query}", now)
    assert answer.headers["Content-Type"] == "application/json"
    return answer, json.loads(answer.body)


def test_trades_by_id() -> None:
    """A page of trades from an id on, in the shape of the venue."""
    answer, rows = _get(_rest(), "historicalTrades?symbol=BTCUSDT&fromId=5010&limit=3")
    assert answer.status == 200
    assert [row["id"] for row in rows] == [5010, 5011, 5012]
    trade = TRADES[10]
    assert rows[0] | {"time": 0} == {
        "id": 5010,
        "price": trade.price,
        "qty": trade.quantity,
        "quoteQty": f"{Decimal(trade.price) * Decimal(trade.quantity):.8f}",
        "time": 0,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }
    assert rows[0]["time"] == trade.matched_us(int(NOW * 1e9) + trade.due_ns) // 1_000


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [("", 7_000, 500), ("&limit=1000", 6_500, 1_000), ("&limit=5000", 6_500, 1_000), ("&fromId=1", 5_000, 500)],
)
def test_how_much_is_answered(query: str, first: int, count: int) -> None:
    """500 trades unless asked otherwise, 1000 at most, the latest ones without `fromId`."""
    _, rows = _get(_rest(), f"historicalTrades?symbol=BTCUSDT{query}")
    assert (rows[0]["id"], len(rows)) == (first, count)


def test_beyond_the_end() -> None:
    """Asking past the last id gives an empty list, as does a symbol that has not traded."""
    assert _get(_rest(), "historicalTrades?symbol=BTCUSDT&fromId=9999999")[1] == []
    empty = Rest(trades=Recorder().trades, symbols=("BTCUSDT",), weight_limit=None)
    assert _get(empty, "historicalTrades?symbol=BTCUSDT")[1] == []
    assert _get(empty, "aggTrades?symbol=BTCUSDT&fromId=1")[1] == []


def test_what_exists_is_what_rest_knows() -> None:
    """Skipped ids are in no answer; garbled, doubled and reordered trades are, once, in order of id."""
    _, rows = _get(_rest(skip=3), "historicalTrades?symbol=BTCUSDT&fromId=0&limit=1000")
    assert [row["id"] for row in rows] == list(range(5_003, 6_003))


def test_aggregated_trades_add_up() -> None:
    """Aggregates cover every id once, in order, with the sums of their trades, and are numbered from 1."""
    rest = _rest()
    rows: list[dict[str, Any]] = []
    while page := _get(rest, f"aggTrades?symbol=BTCUSDT&fromId={len(rows) + 1}&limit=700")[1]:
        rows += page
    assert [row["a"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0]["f"] == 5_000
    assert rows[-1]["l"] == 7_499
    assert all(a["l"] + 1 == b["f"] for a, b in itertools.pairwise(rows))
    assert sum(Decimal(row["q"]) for row in rows) == sum(Decimal(t.quantity) for t in TRADES)
    for row in rows:
        covered = TRADES[row["f"] - 5_000 : row["l"] - 5_000 + 1]
        assert {(t.price, t.buyer_is_maker) for t in covered} == {(row["p"], row["m"])}
    assert len(rows) < len(TRADES), "orders that filled at one price became one"


def test_time_and_limits_are_told() -> None:
    """The clock of the venue, its limits, and a ping."""
    rest = _rest(weight_limit=6_000)
    assert _get(rest, "time")[1] == {"serverTime": 1_723_161_254_250}
    assert _get(rest, "ping")[1] == {}
    assert _get(rest, "exchangeInfo")[1]["rateLimits"][0]["limit"] == 6_000


def test_weights() -> None:
    """Weight is counted by the minute; beyond the limit comes 429, then a ban of two minutes, then peace."""
    rest = _rest(weight_limit=60)
    ask = "historicalTrades?symbol=BTCUSDT&limit=1"
    answers = [_get(rest, ask)[0] for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 429, 418]
    assert answers[1].headers["X-MBX-USED-WEIGHT-1M"] == "50"
    assert answers[2].headers["Retry-After"] == str(60 - 14)
    assert answers[3].headers["Retry-After"] == "120"
    assert _get(rest, ask, NOW + 119)[0].status == 418
    assert _get(rest, ask, NOW + 180)[0].status == 200


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("historicalTrades", 400, -1102),
        ("historicalTrades?symbol=XYZ", 400, -1121),
        ("aggTrades?symbol=BTCUSDT&fromId=-1", 400, -1100),
        ("aggTrades?symbol=BTCUSDT&fromId=1e5", 400, -1100),
        ("aggTrades?symbol=BTCUSDT&limit=0", 400, -1100),
        ("aggTrades?symbol=BTCUSDT&fromId=99999999999999999999", 400, -1100),
        ("klines?symbol=BTCUSDT", 404, -1),
    ],
)
def test_bad_requests(query: str, status: int, code: int) -> None:
    """What the venue would refuse is refused with its code."""
    answer, document = _get(_rest(), query)
    assert (answer.status, document["code"]) == (status, code)
