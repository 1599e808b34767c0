"""Idle timeouts: false alarms against silence saved."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from tests.study.eventlog import START_NS, EventLog, trades
from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study import OUTAGES, STALENESS, outages, staleness, sweep

NO_OUTAGES = OUTAGES.empty_table()
A_DAY = 86_400


def _swept(lengths: Any) -> Any:
    """A sweep over messages so many seconds apart, of one connection."""
    times = START_NS + np.concatenate(([0], np.cumsum((np.asarray(lengths) * 1e9).astype(np.int64))))
    table = trades([START_NS]).take(pa.array(np.zeros(len(times), dtype=np.int64)))
    received = pa.array(times).cast(pa.timestamp("ns", tz="UTC"))
    return sweep(table.set_column(TRADES.get_field_index("recv_time"), TRADES.field("recv_time"), received))


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40),
    timeouts=st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_false_alarms_are_counted_and_bounded(lengths: list[int], timeouts: list[int]) -> None:
    """Against a loop, and against scipy's chi-square for the exact Poisson bound."""
    told = staleness(_swept(lengths), NO_OUTAGES, timeouts=timeouts)
    assert told.table.schema == STALENESS
    days = sum(lengths) / A_DAY
    for row in told.table.to_pylist():
        count = sum(length > row["idle_timeout"] for length in lengths)
        assert row["false_alarms"] == count
        assert row["per_day"] == pytest.approx(count / days)
        assert row["per_day_most"] == pytest.approx(chi2.ppf(0.95, 2 * (count + 1)) / 2 / days)
    assert told.table["idle_timeout"].to_pylist() == sorted(set(timeouts))


def test_three_days_without_an_alarm_are_needed_to_bound_one_a_day() -> None:
    """The rule of three: three days of messages a second apart bound the rate, two do not."""
    for days, measured in ((3.01, True), (2.0, False)):
        told = staleness(_swept(np.ones(int(days * A_DAY))), NO_OUTAGES, timeouts=[2.0, 5.0])
        assert told.measured is measured
    three = staleness(_swept(np.ones(3 * A_DAY)), NO_OUTAGES, timeouts=[2.0])
    assert three.table["per_day_most"][0].as_py() == pytest.approx(1.0, abs=0.01)


def test_what_would_have_been_saved() -> None:
    """A stall noticed after 30 s that cost trades, a reset noticed at once: 20 s saved by a timeout of 10 s."""
    log = EventLog()
    log.connect()
    for detect, cause, lost in (
        (30.0, "stalled", 100),
        (0.5, "reset", 10),
        (30.0, "stalled", 0),
        (12.0, "ping_timeout", 5),
    ):
        log.wait(100)
        log.lost(detect, cause=cause)
        log.try_to_open(0.0)
        log.opened(0.1)
        log.first_message(0.1)
        if lost:
            log.hole(1000 * log.outages, 1000 * log.outages + lost - 1, cause="outage", outage=log.outages)
    told = staleness(_swept(np.ones(1000)), outages(log.table()), timeouts=[0.4, 10.0, 29.0, 30.0])
    assert told.table["stalls"].to_pylist() == [3, 2, 1, 0]
    assert told.table["saved"].to_pylist() == pytest.approx([29.6 + 0.1 + 11.6, 20 + 2, 1, 0])
    # The stall in which no trade was missed was the market's silence: a false alarm of the timeout in force.
    assert told.table["false_alarms"].to_pylist() == [1001, 1, 1, 0]


def test_the_fitted_law_goes_on_where_the_record_ends() -> None:
    """Exponential silences of 0.1 s: a timeout of 2 s raises e^-20 × 864,000 alarms a day, and an hour shows none."""
    told = staleness(_swept(np.random.default_rng(2).exponential(0.1, 36_000)), NO_OUTAGES, timeouts=[1.0, 2.0, 4.0])
    one, two, _ = told.table.to_pylist()
    assert one["per_day_fitted"] == pytest.approx(np.exp(-10) * 864_000, rel=1.0)
    assert two["per_day_fitted"] < 1 < two["per_day_most"]
    assert two["per_day_fitted_most"] >= np.exp(-20) * 864_000
    assert not told.measured
    # 2 s would do by the law, but an hour does not make sure of that.
    assert two["per_day_fitted_most"] > 1
    assert told.idle_timeout == 4.0
    assert told.row == told.table.to_pylist()[2]


def test_nothing_watched_is_no_rate() -> None:
    """Without trades, and with too few for a law: null, never 0 or NaN, and nothing is recommended."""
    told = staleness(sweep(TRADES.empty_table()), NO_OUTAGES)
    assert told.idle_timeout is None
    assert told.row is None
    for name in ("false_alarms", "per_day", "per_day_most", "per_day_fitted", "per_day_fitted_most"):
        assert told.table[name].null_count == len(told.table)
    few = staleness(_swept([1.0] * 10), NO_OUTAGES)
    assert few.table["per_day_fitted"].null_count == len(few.table)
    assert few.table["false_alarms"].null_count == 0


def test_more_alarms_than_are_kept_are_not_counted_wrongly() -> None:
    """Of a stream that is silent for 1.5 s all the time, nobody says that there were 10,000 false alarms."""
    told = staleness(_swept(np.concatenate((np.full(15_000, 1.5), np.full(20, 3.0)))), NO_OUTAGES, timeouts=[1.0, 2.0])
    assert told.table["false_alarms"].to_pylist() == [None, 20]


@pytest.mark.parametrize(
    ("recording", "silences"),
    [("spot-btcusdt-trade-2024-08-08", 2), ("usdm-btcusdt-trade-2024-07-18", 4)],
)
def test_on_recorded_traffic(shared: Path, recording: str, silences: int) -> None:
    """Silences of 2.0 s and more without any disconnect: 2 s would raise false alarms, what is recommended not one."""
    times = []
    with gzip.open(shared / f"recordings/binance/{recording}.txt.gz", "rt") as lines:
        for line in lines:
            received, message = line.split(" ", 1)
            if json.loads(message)["data"].get("e") == "trade":
                times.append(int(received))
    lengths = np.diff(times) / 1e9
    assert (lengths > 2.0).sum() == silences
    told = staleness(sweep(trades(times)), NO_OUTAGES)
    rows = {row["idle_timeout"]: row for row in told.table.to_pylist()}
    assert rows[2.0]["false_alarms"] == silences
    assert rows[2.0]["per_day"] == pytest.approx(silences / (lengths.sum() / A_DAY))
    # Ten minutes are no three days: that is said, and the law is asked, with its own error.
    assert not told.measured
    assert told.idle_timeout is not None
    assert told.idle_timeout > lengths.max()
    assert told.row is not None
    assert told.row["per_day_fitted_most"] <= 1 < told.row["per_day_most"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"timeouts": [0.0]}, "0.0 is no timeout"),
        ({"timeouts": [float("nan")]}, "nan is no timeout"),
        ({"timeouts": []}, "timeouts is empty"),
        ({"tolerated": -1.0}, "-1.0 is no timeout or rate"),
    ],
)
def test_wrong_use_is_one_line(asked: dict[str, Any], message: str) -> None:
    """Which value is wrong."""
    with pytest.raises(UsageError, match=message):
        staleness(_swept([1.0]), NO_OUTAGES, **asked)


def test_a_wrong_table_names_the_column() -> None:
    """A column that is missing, and lengths that are none."""
    with pytest.raises(UsageError, match="no column 'detect'"):
        staleness(_swept([1.0]), NO_OUTAGES.drop_columns(["detect"]))
    log = EventLog()
    log.connect()
    log.lost(1.0)
    table = outages(log.table())
    nan = table.set_column(table.schema.get_field_index("detect"), "detect", pa.array([float("nan")]))
    with pytest.raises(UsageError, match="column 'detect'"):
        staleness(_swept([1.0]), nan)
