"""The volume of what is missing, estimated from its neighbours."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from tests.study.eventlog import EventLog
from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study import outages
from wsresearch.study.volume import lost_volumes


def _trades(quantity: dict[int, float], *, symbol: str = "BTCUSDT") -> pa.Table:
    rows = [
        {"symbol": symbol, "trade_id": number, "quantity": Decimal(f"{size:.6f}")} for number, size in quantity.items()
    ]
    return pa.Table.from_pylist(rows, schema=TRADES)


def _hole(first: int, last: int, symbol: str = "BTCUSDT") -> dict[str, object]:
    return {"symbol": symbol, "first_id": first, "last_id": last, "count": last - first + 1}


def test_number_missing_times_mean_size_with_the_error_of_a_prediction() -> None:
    """By hand: 10 missing, neighbours 1, 2, 3 and 6: mean 3, s² = 14/3, error √(14/3 · 10 · (1 + 10/4))."""
    trades = _trades({8: 1.0, 9: 2.0, 20: 3.0, 21: 6.0, 5000: 1000.0})
    [(volume, error)] = lost_volumes([_hole(10, 19)], trades)
    assert volume == pytest.approx(30.0)
    assert error == pytest.approx((14 / 3 * 10 * 3.5) ** 0.5)


def test_the_error_covers_the_truth() -> None:
    """Heavy-tailed sizes, 300 holes with known truth: within two standard errors nineteen times of twenty."""
    draw = np.random.default_rng(11)
    covered, ratio = 0, []
    for _ in range(300):
        sizes = draw.lognormal(-3, 1.2, 1200)
        hole = range(550, 550 + int(draw.integers(1, 100)))
        seen = _trades({n: s for n, s in enumerate(sizes.tolist()) if n not in hole})
        [(volume, error)] = lost_volumes([_hole(hole[0], hole[-1])], seen)
        assert volume is not None
        assert error is not None
        truth = float(sizes[hole[0] : hole[-1] + 1].sum())
        covered += abs(truth - volume) <= 2 * error
        ratio.append(truth / volume)
    assert 0.90 <= covered / 300 <= 0.99
    assert np.mean(ratio) == pytest.approx(1, abs=0.1)


def test_batches_and_tables_give_the_same() -> None:
    """Gone through piece by piece, in whatever order, the neighbours are the same."""
    trades = _trades({n: 1 + n % 7 for n in range(3000) if not 1000 <= n < 1100})
    missing = [_hole(1000, 1099), _hole(3500, 3600), _hole(1, 2, "ETHUSDT")]
    whole = lost_volumes(missing, trades)
    shuffled = trades.take(pa.array(np.random.default_rng(2).permutation(len(trades))))
    pieces = pa.RecordBatchReader.from_batches(TRADES, shuffled.to_batches(max_chunksize=101))
    assert lost_volumes(missing, pieces) == whole
    assert whole[1:] == [(None, None), (None, None)]


def test_an_outage_tells_its_volume() -> None:
    """In the ledger, by symbol; null where nothing is known of a symbol's trades."""
    log = EventLog()
    log.connect()
    log.lost(0.1)
    log.try_to_open(0.0)
    log.opened(0.1)
    log.first_message(0.1)
    log.hole(10, 19, cause="outage", outage=1)
    log.hole(5, 5, symbol="ETHUSDT", cause="outage", outage=1)
    (row,) = outages(log.table(), trades=_trades({8: 2.0, 9: 2.0, 20: 2.0})).to_pylist()
    assert [(each["symbol"], each["volume"], each["volume_error"]) for each in row["holes"]] == [
        ("BTCUSDT", 20.0, 0.0),
        ("ETHUSDT", None, None),
    ]


def test_ends_of_the_numbers_do_not_overflow() -> None:
    """A hole at the ends of int64 has no neighbours beyond them."""
    trades = _trades({-5: 1.0, 5: 1.0})
    assert lost_volumes([_hole(-(2**63), -10), _hole(10, 2**63 - 1)], trades) == [
        (pytest.approx(2.0**63), pytest.approx(0.0)),
        (pytest.approx(2.0**63), pytest.approx(0.0)),
    ]


def test_wrong_tables_name_the_column() -> None:
    """A missing column, and a null where there is never one."""
    trades = _trades({1: 1.0})
    with pytest.raises(UsageError, match="no column 'quantity'"):
        lost_volumes([_hole(2, 3)], trades.drop_columns(["quantity"]))
    nulls = trades.set_column(3, "quantity", pa.nulls(1, TRADES.field("quantity").type))
    with pytest.raises(UsageError, match="column 'quantity' of the trades table has a null"):
        lost_volumes([_hole(2, 3)], nulls)
