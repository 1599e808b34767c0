"""Silences between neighbouring messages."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.eventlog import START_NS, EventLog, ns, trades
from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study import GAPS, gaps, outages

TIMES = st.lists(st.integers(0, 5_000).map(lambda milliseconds: START_NS + milliseconds * 1_000_000), max_size=60)


@given(times=TIMES, longer_than=st.sampled_from([0.0, 0.001, 0.2, 1.0]))
def test_every_longer_silence_and_no_other(times: list[int], longer_than: float) -> None:
    """Against a loop over the sorted times; the order of the rows does not matter."""
    found = gaps(trades(times), longer_than=longer_than).to_pylist()
    want = [(b - a) / 1e9 for a, b in zip(sorted(times), sorted(times)[1:], strict=False)]
    assert [row["seconds"] for row in found] == [seconds for seconds in want if seconds > longer_than]


def test_gaps_in_full() -> None:
    """A silence inside a connection and one across two; a gap of just 1 s is not longer than 1 s."""
    first = trades([START_NS, START_NS + ns(1), START_NS + ns(3)], connection=1)
    second = trades([START_NS + ns(10)], connection=2, symbol="ETHUSDT")
    table = gaps(pa.concat_tables([first, second]))
    assert table.schema == GAPS
    inside, across = table.to_pylist()
    assert (inside["seconds"], inside["connection_before"], inside["connection_after"]) == (2, 1, 1)
    assert (across["seconds"], across["connection_before"], across["connection_after"]) == (7, 1, 2)
    assert {row["symbol"] for row in (inside, across)} == {None}
    assert {row["outage"] for row in (inside, across)} == {None}


def test_per_symbol_looks_at_each_symbol_alone() -> None:
    """A quiet symbol is silent although another one trades."""
    busy = trades([START_NS + ns(t) for t in range(11)], symbol="BTCUSDT")
    quiet = trades([START_NS, START_NS + ns(10)], symbol="AAVEUSDT")
    both = pa.concat_tables([busy, quiet])
    assert gaps(both).num_rows == 0
    (row,) = gaps(both, per_symbol=True).to_pylist()
    assert (row["symbol"], row["seconds"]) == ("AAVEUSDT", 10)
    assert gaps(both, per_symbol=True, longer_than=0.5)["symbol"].to_pylist() == ["AAVEUSDT"] + ["BTCUSDT"] * 10


def test_backfilled_rows_fill_no_silence() -> None:
    """What came over REST afterwards does not undo that the stream was silent."""
    stream = trades([START_NS, START_NS + ns(5)])
    late = trades([START_NS + ns(2)], connection=0)
    late = late.set_column(9, "backfilled", pa.array([True]))
    assert gaps(pa.concat_tables([stream, late]))["seconds"].to_pylist() == [5]


def test_an_outage_explains_the_gap_it_lies_in() -> None:
    """Gaps across outages carry the number of the outage, ordinary silences a 0, each outage one gap only."""
    draw = random.Random(4)
    log = EventLog()
    log.connect()
    times = [log.now]
    want = []
    for _ in range(200):
        quiet = draw.choice([0.3, 2.5])
        log.wait(quiet)
        if quiet > 1:
            want.append(0)
        times.append(log.now)
        log.lost(draw.uniform(0.6, 1))
        log.try_to_open(draw.uniform(0.6, 2))
        log.opened(0.1)
        log.first_message(0.1)
        want.append(log.outages)
        times.append(log.now)
    found = gaps(trades(times), outages=outages(log.table()))
    assert found["outage"].to_pylist() == want


def test_a_gap_with_two_outages_is_explained_by_the_longer() -> None:
    """Seen from a quiet symbol, several outages may lie in one silence."""
    log = EventLog()
    log.connect()
    for waited in (1.0, 9.0, 2.0):
        log.wait(1)
        log.lost(0.1)
        log.try_to_open(waited)
        log.opened(0.1)
        log.first_message(0.1)
    quiet = trades([START_NS, log.now + ns(1)])
    assert gaps(quiet, outages=outages(log.table()))["outage"].to_pylist() == [2]


def test_no_trade_and_one_trade_have_no_gap() -> None:
    """Nothing to compare with is not an error, with outages or without."""
    log = EventLog()
    log.connect()
    log.lost(1.0)
    for table in (TRADES.empty_table(), trades([START_NS])):
        for per_symbol in (False, True):
            assert gaps(table, per_symbol=per_symbol, outages=outages(log.table())).equals(GAPS.empty_table())


@pytest.mark.parametrize(
    ("table", "longer_than", "message"),
    [
        (trades([START_NS]), -1.0, "longer_than is -1.0"),
        (trades([START_NS]), float("nan"), "longer_than is nan"),
        (trades([START_NS]).drop_columns(["recv_time"]), 1.0, "the trades table has no column 'recv_time'"),
        (pa.table({"recv_time": pa.nulls(1), "connection": [1]}), 1.0, "column 'recv_time' of the trades table has"),
        (pa.table({"recv_time": [0], "connection": pa.nulls(1)}), 1.0, "column 'connection' of the trades table has"),
    ],
)
def test_wrong_input_is_an_error_that_names_it(table: pa.Table, longer_than: float, message: str) -> None:
    """One line says which value or column is wrong."""
    with pytest.raises(UsageError, match=message):
        gaps(table, longer_than=longer_than)
