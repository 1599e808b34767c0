"""The truth: what should be there, asked after the fact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.lab.disturb import Item, Kind
from wsresearch.lab.message import Message
from wsresearch.lab.parameters import Garbage
from wsresearch.lab.recorder import Recorder
from wsresearch.lab.truth import CONNECTIONS, FAULT_ROWS, SENT, Truth, missing_runs

NOW = 1_723_161_254_087_896_568


def _item(trade_id: int, kind: Kind = Kind.SENT, symbol: str = "BTCUSDT") -> Item:
    message = Message(
        due_ns=0, stream="s", symbol=symbol, trade_id=trade_id, price="61837.63000000", quantity="0.00002000"
    )
    garbage = Garbage.EMPTY if kind in (Kind.GARBLED, Kind.GARBAGE) else None
    return Item(message=message, kind=kind, garbage=garbage)


def _truth(*steps: tuple[Item, tuple[int, ...]]) -> Truth:
    recorder = Recorder()
    for item, connections in steps:
        row = recorder.produced([item], NOW)
        for connection in connections:
            recorder.delivered(connection, [row])
    return recorder.snapshot()


def test_nothing_yet() -> None:
    """An exchange that has done nothing has empty tables of the right types."""
    truth = Recorder().snapshot()
    assert (truth.sent.schema, truth.faults.schema, truth.connections.schema) == (SENT, FAULT_ROWS, CONNECTIONS)
    assert truth.expected().num_rows == truth.produced().num_rows == truth.holes(truth.expected()).num_rows == 0


def test_expected_and_produced() -> None:
    """Expected is what was sent as it should be; produced is all that exists at the venue."""
    truth = _truth(
        (_item(1), (1,)),
        (_item(2), ()),  # nobody was there
        (_item(3, Kind.GARBLED), (1,)),
        (_item(4, Kind.SKIPPED), ()),
        (_item(5), (1, 2)),  # two connections at once
        (_item(5, Kind.DUPLICATE), (1, 2)),
        (_item(7), (2,)),
        (_item(6), (2,)),  # out of order
        (_item(8, Kind.GARBAGE), (2,)),
    )
    assert truth.expected()["trade_id"].to_pylist() == [1, 5, 7, 6]
    assert truth.produced()["trade_id"].to_pylist() == [1, 2, 3, 5, 7, 6]
    assert truth.expected()["connection"].to_pylist() == [1, 1, 2, 2]
    assert truth.sent["connection"].to_pylist() == [1, 0, 1, 0, 1, 2, 1, 2, 2, 2, 2]
    assert truth.sent["trade_id"].to_pylist()[-1] is None, "garbage stands for no trade"


def test_rows_have_the_types_of_a_capture() -> None:
    """Prices are exact, times are UTC, the side is the taker's: comparable with a capture as they are."""
    row = _truth((_item(1), (1,))).expected().to_pylist()[0]
    assert str(row["price"]) == "61837.630000000000000000"
    assert row["side"] == "buy"
    assert row["trade_time"].timestamp() == 1_723_161_254.087


def test_holes() -> None:
    """Holes lie between the first and the last stored id; skipped ids count, as a client cannot tell."""
    steps = [(_item(n, Kind.SKIPPED if n == 5 else Kind.SENT), (1,)) for n in range(1, 11)]
    steps += [(_item(n, symbol="AUSDT"), (1,)) for n in (100, 101, 102)]
    truth = _truth(*steps)
    stored = pa.table({"symbol": ["BTCUSDT"] * 4 + ["AUSDT"] * 2, "trade_id": [2, 3, 6, 9, 100, 102]})
    assert truth.holes(stored).to_pylist() == [
        {"symbol": "AUSDT", "first_id": 101, "last_id": 101},
        {"symbol": "BTCUSDT", "first_id": 4, "last_id": 5},
        {"symbol": "BTCUSDT", "first_id": 7, "last_id": 8},
    ]


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_stored_and_holes_are_the_truth(ids: set[int], stored: set[int]) -> None:
    """Within the ends of what is stored, stored ids and holes together are all ids, and share none."""
    stored &= ids
    runs = missing_runs(np.array(sorted(ids), np.int64), np.array(sorted(stored), np.int64))
    filled = [n for first, last in runs for n in sorted(ids) if first <= n <= last]
    inside = {n for n in ids if stored and min(stored) <= n <= max(stored)}
    assert sorted([*filled, *stored]) == sorted(inside)
    assert not set(filled) & stored


def test_many_messages() -> None:
    """Packing in blocks changes nothing, and 100,000 rows take little memory."""
    recorder = Recorder()
    for start in range(0, 100_000, 500):
        first = recorder.produced([_item(n) for n in range(start, start + 500)], NOW)
        recorder.delivered(1, range(first, first + 500))
    truth = recorder.snapshot()
    assert truth.expected()["trade_id"].to_pylist() == list(range(100_000))
    assert truth.sent.nbytes < 15_000_000


def test_saved_and_loaded(tmp_path: Path) -> None:
    """The truth reaches another process as three Arrow files."""
    truth = _truth((_item(1), (1,)), (_item(2, Kind.GARBLED), ()))
    truth.save(tmp_path)
    loaded = Truth.load(tmp_path)
    assert loaded.sent.equals(truth.sent)
    assert loaded.faults.equals(truth.faults)
    assert loaded.connections.equals(truth.connections)


def test_no_truth_there(tmp_path: Path) -> None:
    """A folder without one is refused in words."""
    with pytest.raises(UsageError, match="holds no truth"):
        Truth.load(tmp_path)
