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
    """Exponential silences of 0.1 s: a timeout of 1.5 s raises e^-15 × 864,000 alarms a day; a day shows none."""
    lengths = np.random.default_rng(2).exponential(0.1, 900_000)
    told = staleness(_swept(lengths), NO_OUTAGES, timeouts=[1.0, 1.5, 2.0])
    one, two, _ = told.table.to_pylist()
    assert one["per_day_fitted"] == pytest.approx(np.exp(-10) * 864_000, rel=1.0)
    assert two["per_day_fitted"] < 1 < two["per_day_most"]
    assert two["per_day_fitted_most"] >= np.exp(-15) * 864_000
    assert not told.measured
    # 1.5 s would do by the law, but the law is not so sure.
    assert two["per_day_fitted_most"] > 1
    assert told.idle_timeout == 2.0
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
    # Ten minutes say nothing of a day: that is said, and nothing is recommended.
    assert (told.measured, told.idle_timeout, told.row) == (False, None, None)
    assert told.why == "it takes 24 h to tell a rate of 1 false alarm a day"
    # An alarm every ten seconds they can tell of.
    often = staleness(sweep(trades(times)), NO_OUTAGES, tolerated=8640.0)
    assert (often.measured, often.why) == (True, None)


@pytest.mark.parametrize(
    ("lengths", "asked", "why"),
    [
        (np.ones(3600), {"tolerated": 2.0}, "it takes 12 h to tell a rate of 2 false alarms a day"),
        (np.full(500, 200.0), {}, "of 1,000 silences that a law of longer ones is fitted to there are 500"),
        (np.full(9000, 10.0), {"timeouts": [5.0, 7.0]}, "even 7 s may raise more than 1 false alarm a day"),
    ],
)
def test_why_nothing_is_recommended(lengths: Any, asked: dict[str, Any], why: str) -> None:
    """Too little time, too few silences, or no candidate that is long enough: which of them, and what it would take."""
    told = staleness(_swept(lengths), NO_OUTAGES, **asked)
    assert (told.idle_timeout, told.why) == (None, why)


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
