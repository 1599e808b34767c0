"""Gaps and missing ids in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.hundred_million import WAYS, compare, make
from tests.study.eventlog import START_NS, ns, trades
from wsresearch.api import Capture
from wsresearch.errors import UsageError
from wsresearch.schema import TRADES
from wsresearch.study import MISSING, SYMBOLS, gaps, sweep

ROWS = st.lists(st.tuples(st.sampled_from("AB"), st.integers(-5, 40)), max_size=60)


def _table(rows: list[tuple[str, int | None]]) -> pa.Table:
    told = [
        {"symbol": symbol, "trade_id": number, "recv_time": START_NS + ns(at), "connection": 1}
        for at, (symbol, number) in enumerate(rows)
    ]
    return pa.Table.from_pylist(told, schema=TRADES)


def _reader(table: pa.Table, size: int = 7, *, encoded: bool = True) -> pa.RecordBatchReader:
    """Return the rows as `Capture.batches` gives them."""
    if encoded:
        symbol = pa.field("symbol", pa.dictionary(pa.int32(), pa.string()))
        table = table.set_column(0, symbol, table["symbol"].cast(symbol.type))
    return pa.RecordBatchReader.from_batches(table.schema, table.combine_chunks().to_batches(max_chunksize=size))


@settings(deadline=None)
@given(rows=ROWS, size=st.integers(1, 20), encoded=st.booleans())
def test_what_is_missing_is_what_is_not_there(rows: list[tuple[str, int]], size: int, encoded: bool) -> None:
    """Against sets, one by one: ids late, twice and out of order, in batches of any size."""
    swept = sweep(_reader(_table(rows), size, encoded=encoded))
    assert (swept.missing.schema, swept.symbols.schema) == (MISSING, SYMBOLS)
    missing: dict[str, list[int]] = {}
    for row in swept.missing.to_pylist():
        assert row["count"] == row["last_id"] - row["first_id"] + 1 > 0
        missing.setdefault(row["symbol"], []).extend(range(row["first_id"], row["last_id"] + 1))
    told = {row["symbol"]: row for row in swept.symbols.to_pylist()}
    assert list(told) == sorted({symbol for symbol, _ in rows})
    for symbol, row in told.items():
        ids = [number for name, number in rows if name == symbol]
        absent = sorted(set(range(min(ids), max(ids) + 1)) - set(ids))
        assert missing.get(symbol, []) == absent
        assert row == {
            "symbol": symbol,
            "rows": len(ids),
            "first_id": min(ids),
            "last_id": max(ids),
            "missing": len(absent),
            "repeated": len(ids) - len(set(ids)),
        }


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, 3000), max_size=40))
def test_gaps_are_those_of_the_other_function(rows: list[int]) -> None:
    """One pass or two, batches or a table in any order: the same silences, and how long connections delivered."""
    times = [START_NS + ns(at / 1000) for at in rows]
    table = trades(times)
    swept = sweep(table, longer_than=0.2)
    assert swept.gaps.equals(gaps(table, longer_than=0.2))
    lengths = np.diff(np.sort(times))
    assert swept.ordinary == len(lengths)
    assert swept.watched == pytest.approx(lengths.sum() / 1e9)
    assert swept.longest.tolist() == np.sort(lengths).tolist()


def test_without_ids_nothing_is_said_to_be_missing() -> None:
    """A symbol with a row without id: null, not 0; the symbol beside it is told as ever."""
    rows: list[tuple[str, int | None]] = [("A", 1), ("B", 5), ("A", None), ("B", 8), ("A", 9)]
    swept = sweep(_reader(_table(rows), 2))
    first, second = swept.symbols.to_pylist()
    assert first == {"symbol": "A", "rows": 3} | dict.fromkeys(["first_id", "last_id", "missing", "repeated"])
    assert (second["missing"], second["repeated"]) == (2, 0)
    assert swept.missing["symbol"].to_pylist() == ["B"]


def test_nothing_and_one_row() -> None:
    """Nothing to compare with is not an error."""
    for table in (TRADES.empty_table(), _table([("A", 7)])):
        swept = sweep(_reader(table))
        assert (len(swept.gaps), len(swept.missing), swept.ordinary, swept.watched) == (0, 0, 0, 0.0)
        assert swept.symbols["missing"].to_pylist() == [0] * len(table)


def test_backfilled_rows_are_no_messages_but_they_are_ids() -> None:
    """What came over REST later fills its hole, and no silence."""
    late = _table([("A", 2)]).set_column(8, "connection", pa.array([0], pa.int32()))
    table = pa.concat_tables([_table([("A", 1), ("A", 3)]), late])
    swept = sweep(_reader(table), longer_than=0.5)
    assert swept.missing.num_rows == 0
    assert swept.gaps["seconds"].to_pylist() == [1.0]


def test_ids_at_the_ends_of_int64_and_absurd_counts() -> None:
    """Nothing overflows: a count is as large as a column can say."""
    swept = sweep(_table([("A", 2**63 - 1), ("A", -(2**63)), ("B", 2**62), ("B", 1)]))
    assert swept.missing["count"].to_pylist() == [2**63 - 1, 2**62 - 2]
    assert swept.symbols["missing"].to_pylist() == [2**63 - 1, 2**62 - 2]


def test_ids_in_any_disorder_are_joined_as_they_come() -> None:
    """A hundred thousand ids, shuffled: no run is longer than a few, and none is kept longer than needed."""
    ids = np.random.default_rng(3).permutation(np.arange(100_000))
    ids = ids[ids % 1000 != 999]
    table = pa.table(
        {
            "symbol": ["A"] * len(ids),
            "trade_id": ids,
            "recv_time": pa.array(START_NS + np.arange(len(ids))).cast(pa.timestamp("ns", tz="UTC")),
            "connection": pa.array(np.ones(len(ids), dtype=np.int32)),
        }
    )
    swept = sweep(_reader(table, 5_000))
    assert swept.missing["first_id"].to_pylist() == list(range(999, 99_000, 1000))
    assert set(swept.missing["count"].to_pylist()) == {1}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("symbol", pa.nulls(2, pa.string()), "column 'symbol' of the trades table has a null"),
        ("recv_time", pa.nulls(2, pa.timestamp("ns", tz="UTC")), "column 'recv_time' of the trades table has a null"),
        ("connection", pa.nulls(2, pa.int32()), "column 'connection' of the trades table has a null"),
        ("trade_id", pa.array(["1", "x"]), "column 'trade_id' of the trades table is string"),
    ],
)
def test_wrong_input_names_the_column(column: str, value: pa.Array, message: str) -> None:
    """One line says which column is wrong; nothing is computed from half a table."""
    table = _table([("A", 1), ("A", 2)])
    with pytest.raises(UsageError, match=message):
        sweep(table.set_column(table.schema.get_field_index(column), column, value))
    with pytest.raises(UsageError, match=f"no column '{column}'"):
        sweep(table.drop_columns([column]))


def test_a_capture_of_sealed_segments_beside_duckdb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The benchmark, shortened: each way finds exactly the gaps and holes that were made, across segments and days."""
    truth = make(tmp_path / "capture", 200_000, seed=3, segment=60_000)
    assert min(truth.values()) > 0
    for way, find in WAYS.items():
        assert find(tmp_path / "capture") == truth, way
    assert Capture(tmp_path / "capture").totals().trades == 200_000
    compare(tmp_path / "capture", truth, rows=200_000, rounds=1, ways=["ours"])
    told = capsys.readouterr().out
    assert "as made" in told
    assert "NOT AS MADE" not in told
