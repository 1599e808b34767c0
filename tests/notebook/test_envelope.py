"""Rows of the stats as steps, thinned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.notebook.envelope import envelope, read_seconds
from wsresearch.schema import STATS


def _stats(times: list[float], **columns: list[Any]) -> pa.Table:
    count = len(times)
    zeros = {"trades": [0] * count, "rejected": [0] * count, "dropped": [0] * count, "lag": [None] * count}
    rows = zeros | {"time": [round(at * 1e9) for at in times], "run": [1] * count} | columns
    return pa.table({name: pa.array(values, STATS.field(name).type) for name, values in rows.items()})


def test_a_row_tells_of_the_time_since_the_row_before_it() -> None:
    """The first row of a run of a second; runs do not overlap."""
    seconds = read_seconds(_stats([10, 11, 13.5, 14, 20], run=[1, 1, 1, 2, 2], trades=[4, 5, 5, 1, 3]))
    assert (seconds.start / 1e9).tolist() == [9, 10, 11, 13.5, 14]
    assert (seconds.end / 1e9).tolist() == [10, 11, 13.5, 14, 20]
    assert seconds.rate.tolist() == [4, 5, 2, 2, 0.5]


def test_two_rows_at_one_instant_are_no_infinite_rate() -> None:
    """A clock that stood still, or stepped back, gives a rate all the same."""
    assert read_seconds(_stats([10, 10], trades=[4, 5])).rate.tolist() == [9]
    assert read_seconds(_stats([10, 10], run=[1, 2], trades=[4, 5])).rate.tolist() == [4, 50]


def test_what_is_unknown_is_no_zero() -> None:
    """A lag that was not measured is NaN, a count that is null is none."""
    seconds = read_seconds(_stats([1, 2], lag=[0.5, None], dropped=[None, 3]))
    assert seconds.lag[0] == 0.5
    assert np.isnan(seconds.lag[1])
    assert seconds.dropped.tolist() == [0, 3]


def test_an_empty_table_has_no_seconds() -> None:
    """And no envelope either."""
    seconds = read_seconds(_stats([]))
    assert len(seconds) == 0
    assert len(envelope(seconds, seconds.lag, most=5)) == 0


@given(
    st.lists(
        st.tuples(st.floats(0.001, 100), st.one_of(st.none(), st.floats(-1e6, 1e6)), st.integers(0, 9)),
        min_size=1,
        max_size=80,
    ),
    st.integers(1, 20),
)
def test_thinning_loses_no_extreme_and_no_trade(rows: list[tuple[float, float | None, int]], most: int) -> None:
    """Highest and least value, their unknown ones, the sum, the order and the extent stay what they were."""
    times = np.cumsum([step for step, _, _ in rows]).tolist()
    seconds = read_seconds(_stats(times, lag=[lag for _, lag, _ in rows], trades=[n for _, _, n in rows]))
    assert seconds.trades.sum() == sum(count for _, _, count in rows)
    assert seconds.end[-1] == round(times[-1] * 1e9)
    values = seconds.lag
    pieces = envelope(seconds, values, most=most)
    assert len(pieces) <= max(most, 0)
    assert (pieces.start[0], pieces.end[-1]) == (seconds.start[0], seconds.end[-1])
    assert (np.diff(pieces.end) > 0).all()
    known = values[~np.isnan(values)]
    if not len(known):
        assert np.isnan(pieces.high).all()
        assert np.isnan(pieces.mean).all()
        return
    assert np.nanmax(pieces.high) == known.max()
    assert np.nanmin(pieces.low) == known.min()
    assert np.nanmax(pieces.mean) <= known.max() + 1e-6
    assert pieces.exact == (len(seconds) <= most)


def test_a_splinter_of_a_second_is_no_spike() -> None:
    """The last row of a run may be 10 ms long: it is told with the second before it, in every sum, and not alone."""
    seconds = read_seconds(
        _stats(
            [10, 11, 11.01, 20, 20.3, 20.6, 21.6],
            run=[1, 1, 1, 2, 2, 2, 2],
            trades=[100, 100, 5, 10, 3, 4, 10],
            dropped=[0, 0, 7, 0, 0, 0, 0],
            lag=[0.1, 0.2, 0.3, None, None, 0.5, 0.1],
        )
    )
    assert (seconds.end / 1e9).tolist() == [10, 11.01, 20.6, 21.6]
    assert seconds.trades.tolist() == [100, 105, 17, 10]
    assert seconds.dropped.tolist() == [0, 7, 0, 0]
    assert np.nanmax(seconds.lag) == 0.5
    assert seconds.rate.max() < 104
