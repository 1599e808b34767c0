"""Silences between neighbouring messages."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.study.eventlog import START_NS, EventLog, ns, trades
from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study import GAPS, gaps, outages

TIMES = st.lists(st.integers(0, 5_000).map(lambda milliseconds: START_NS + milliseconds * 1_000_000), max_size=60)


@settings(deadline=None)
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


def test_a_gap_names_its_neighbours() -> None:
    """Which trades were the last before and the first after it, of whichever symbol; null where that is not known."""
    first = trades([START_NS, START_NS + ns(1)], symbol="BTCUSDT")
    second = trades([START_NS + ns(5)], symbol="ETHUSDT")
    both = pa.concat_tables([first, second])
    (row,) = gaps(both).to_pylist()
    neighbours = ("symbol_before", "id_before", "symbol_after", "id_after")
    assert [row[name] for name in neighbours] == ["BTCUSDT", 1, "ETHUSDT", 0]
    (row,) = gaps(both.select(["recv_time", "connection"])).to_pylist()
    assert [row[name] for name in neighbours] == [None] * 4


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 5_000), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    per_symbol=st.booleans(),
)
def test_batch_by_batch_is_the_same(times: list[int], cuts: list[int], per_symbol: bool) -> None:
    """Wherever the batches end, what is found does not change: a silence between two batches is one as any other."""
    rows = sorted(times)
    stream = [trades([START_NS + ns(t / 1000)], symbol="AB"[t % 2], connection=1 + (t > 2500)) for t in rows]
    table = pa.concat_tables([TRADES.empty_table(), *stream])
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    batches = [batch for a, b in pairwise(edges) for batch in table.slice(a, b - a).combine_chunks().to_batches()]
    reader = pa.RecordBatchReader.from_batches(TRADES, batches)
    assert gaps(reader, longer_than=0.01, per_symbol=per_symbol).equals(
        gaps(table, longer_than=0.01, per_symbol=per_symbol)
    )


def test_chances_do_not_depend_on_batches() -> None:
    """The recent law reaches back over the ends of batches, and over changes of connection, which it leaves out."""
    length = np.random.default_rng(3).lognormal(-3, 1.5, 6000)

    def with_a_change_that_took(seconds: float) -> pa.Table:
        length[3000] = seconds
        times = START_NS + np.cumsum((length * 1e9).astype(np.int64))
        return pa.concat_tables([trades(times[:3000].tolist()), trades(times[3000:].tolist(), connection=2)])

    table = with_a_change_that_took(500.0)
    whole = gaps(table, longer_than=1.0)
    reader = pa.RecordBatchReader.from_batches(TRADES, table.combine_chunks().to_batches(max_chunksize=257))
    assert gaps(reader, longer_than=1.0).equals(whole)
    assert whole["chance"].null_count == sum(length[1:201] > 1)
    short = gaps(with_a_change_that_took(1.5), longer_than=1.0)
    change = whole["connection_after"].to_pylist().index(2)
    assert whole["chance"][change + 1 :].equals(short["chance"][change + 1 :])
    assert whole["chance"][change].as_py() < short["chance"][change].as_py()


def test_a_chance_is_a_chance() -> None:
    """Calibration on a seeded stream whose rate changes by the minute: a share of p has a chance of p or less."""
    draw = np.random.default_rng(7)
    rate = np.repeat(draw.choice([0.02, 0.05, 0.2], 8), 10_000)  # seconds, a level for ten thousand messages
    length = draw.exponential(rate)
    times = START_NS + np.cumsum((length * 1e9).astype(np.int64))
    found = gaps(trades(times.tolist()).select(["recv_time", "connection"]), longer_than=0.0)
    settled = np.asarray(found["chance"])[2_000:].reshape(-1)
    # Right after a change of the rate the law is still the old one: those are left out, as a user would forgive.
    inside = np.arange(len(settled)) % 10_000 < 7_900
    for chance, within in ((0.1, 0.1), (0.01, 0.2), (0.001, 0.6)):
        assert (settled[inside] <= chance).mean() == pytest.approx(chance, rel=within)


def test_once_in_says_how_often_such_a_gap_comes() -> None:
    """Ten messages a second and one silence of 2 s: as long as a day or more, by the law of what came before."""
    draw = np.random.default_rng(5)
    length = draw.exponential(0.1, 5000)
    length[4000] = 2.0
    times = START_NS + np.cumsum((length * 1e9).astype(np.int64))
    (row,) = gaps(trades(times.tolist()), longer_than=1.99).to_pylist()
    # P(X > 2) = e^-20, one of 4.9e8 silences of 0.1 s each: 5e7 s; a tail fitted to 200 values is right to two orders.
    assert 1e5 < row["once_in"] < 1e10
    assert row["chance"] < 1e-5


def test_a_silence_after_a_burst_at_one_instant_has_a_chance() -> None:
    """All messages of the recent past came at one instant: nothing is known of longer silences, and nothing is NaN."""
    times = [START_NS] * 3000 + [START_NS + ns(2)]
    (row,) = gaps(trades(times)).to_pylist()
    assert row["chance"] == pytest.approx(1 / 2001)
    assert row["once_in"] == 0


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_stepped_clock_is_undone(step: float) -> None:
    """The clock is set an hour forward or back in an outage: its gap is what passed, no row is out of place."""
    log = EventLog()
    log.connect()
    before = [log.now, log.now + ns(0.5), log.now + ns(1.0)]
    log.wait(1.0)
    log.lost(0.5)
    log.wall_offset = ns(step)
    log.try_to_open(2.0)
    log.opened(0.3)
    log.first_message(0.2)
    after = [log.now + ns(step), log.now + ns(step + 0.5)]
    table = pa.concat_tables([trades(before), trades(after, connection=2)])
    lost = outages(log.table())
    found = gaps(table, longer_than=0.4, outages=lost)
    assert found["seconds"].to_pylist() == pytest.approx([0.5, 0.5, 3.0, 0.5], abs=1e-6)
    assert found["outage"].to_pylist() == [0, 0, 1, 0]
    assert found["end"].cast(pa.int64()).to_pylist()[2] == after[0]
    reader = pa.RecordBatchReader.from_batches(TRADES, table.combine_chunks().to_batches())
    assert gaps(reader, longer_than=0.4, outages=lost).equals(found)


def test_batches_out_of_order_are_an_error() -> None:
    """A stream cannot be put in order; the message says which column and what to do."""
    table = trades([START_NS + ns(1), START_NS])
    with pytest.raises(UsageError, match=r"column 'recv_time' of the trades goes back by 1 s within connection 1"):
        gaps(pa.RecordBatchReader.from_batches(TRADES, table.to_batches()))


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
        ("btc/trades", 1.0, "trades must be an Arrow table, not str"),
    ],
)
def test_wrong_input_is_an_error_that_names_it(table: pa.Table, longer_than: float, message: str) -> None:
    """One line says which value or column is wrong."""
    with pytest.raises(UsageError, match=message):
        gaps(table, longer_than=longer_than)
