"""Trades per second and their lag, as a picture."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from tests.notebook.picture import artist, artists, assert_plain, boxes, legend, more, points, ten_thousand, title
from tests.study.eventlog import START_NS, EventLog, days, ns
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.palette import DARK
from wsresearch.notebook.rate import rate
from wsresearch.schema import EVENTS, STATS

NONE = float("nan")


def second(at: float, trades: int, lag: float | None = None, **more_of: int) -> dict[str, Any]:
    """Return a row of the stats that ends so many seconds after the start."""
    row = {"time": START_NS + ns(at), "run": 1, "connection": 1, "trades": trades, "messages": trades, "lag": lag}
    return row | {"rejected": 0, "dropped": 0} | more_of


def stats(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=STATS)


def _seconds(x: NDArray[Any]) -> NDArray[Any]:
    """Return places on the axis in seconds since the start."""
    start = float(mdates.date2num(np.datetime64(START_NS, "ns")))  # type: ignore[no-untyped-call]
    return np.round((np.asarray(x, dtype=np.float64) - start) * 86_400, 3)


def _line(ax: Axes, gid: str) -> list[tuple[float, float]]:
    x, y = np.asarray(artist(ax, gid).get_xydata()).T
    return list(zip(_seconds(x).tolist(), y.tolist(), strict=True))


def _lag(ax: Axes) -> Axes:
    """Return the axes of the lag."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    (beside,) = [other for other in figure.axes if other is not ax]
    return beside


def _log() -> EventLog:
    """Return an outage from 2 to 4 s."""
    log = EventLog()
    log.connect()
    log.wait(1.93)
    log.lost(0.5, cause="closed")
    log.try_to_open(1.0)
    log.opened(0.25)
    log.first_message(0.25)
    return log


_ROWS = (second(1, 30, 0.05), second(2, 60, 0.25), second(3, 0), second(4, 0), second(5, 90, 0.125))


def test_a_second_is_a_step() -> None:
    """What came in a second stands from its beginning to its end; lag has holes where nothing came."""
    ax = rate(_log().table(), stats=stats(*_ROWS))
    assert _line(ax, "rate") == [
        *[(0, 30), (1, 30)],
        *[(1, 60), (2, 60)],
        *[(2, 0), (3, 0)],
        *[(3, 0), (4, 0)],
        *[(4, 90), (5, 90)],
    ]
    late = [(x, y) for x, y in _line(_lag(ax), "lag") if not np.isnan(y)]
    assert late == [(0, 0.05), (1, 0.05), (1, 0.25), (2, 0.25), (4, 0.125), (5, 0.125)]


def test_it_says_what_it_shows() -> None:
    """The title is the finding; every axis has its unit."""
    ax = rate(_log().table(), stats=stats(*_ROWS))
    assert title(ax) == "180 trades in 5.00 s: 36/s on average, at most 90/s"
    assert more(ax) == "lag: median 125 ms, at most 250 ms, as measured with both clocks"
    assert ax.get_xlabel() == "seconds since 2026-11-18 11:06:40.000 UTC"
    assert ax.get_ylabel() == "trades/s"
    assert _lag(ax).get_ylabel() == "lag (ms)"
    assert legend(ax) == ["closed (1)"]
    figure_png(ax.get_figure(root=True))
    assert [label.get_text() for label in _lag(ax).get_yticklabels()] == ["0", "100", "200"]


def test_rate_and_lag_do_not_cross() -> None:
    """One above the other on one time axis: the lag ends below where the rate begins."""
    ax = rate(_log().table(), stats=stats(*_ROWS))
    beside = _lag(ax)
    highest_lag = beside.transData.transform((0, 0.25))[1]
    assert highest_lag < ax.transData.transform((0, 0.0))[1]
    assert beside.get_xlim() == ax.get_xlim()


def test_an_outage_is_shaded_where_it_was() -> None:
    """In the colour of its cause, with its mark; one outside of the stats is not there."""
    log = _log()
    log.wait(100)
    log.lost(1.0, cause="reset")
    ax = rate(log.table(), stats=stats(*_ROWS), palette="dark")
    ((left, right, low, high),) = boxes(ax, "shade:closed")
    assert (_seconds(np.array([left, right])).tolist(), low, high) == ([2.0, 4.0], 0.0, 1.0)
    assert _seconds(points(ax, "outages:closed")[:, 0]).tolist() == [3.0]
    assert not artists(ax, "shade:reset")
    assert to_hex(artist(ax, "outages:closed").get_facecolor()[0]) == DARK.causes[0]


def test_losses_are_marked() -> None:
    """In the middle of their second, and counted."""
    rows = [second(1, 9, rejected=2), second(2, 9, dropped=400), second(3, 9, rejected=1, dropped=1)]
    ax = rate(EVENTS.empty_table(), stats=stats(*rows))
    assert _seconds(points(ax, "dropped")[:, 0]).tolist() == [1.5, 2.5]
    assert _seconds(points(ax, "rejected")[:, 0]).tolist() == [0.5, 2.5]
    assert legend(ax) == ["messages dropped (2 s)", "trades rejected (2 s)"]
    assert more(ax) == "401 messages dropped; 3 trades rejected"


def test_time_in_which_no_collector_ran_is_empty() -> None:
    """A run begins a second before its first row; between two runs there is no line and no time that counts."""
    rows = [second(1, 10), second(2, 10), second(100, 20, run=2), second(101, 20, run=2)]
    ax = rate(EVENTS.empty_table(), stats=stats(*rows))
    assert title(ax) == "60 trades in 4.00 s: 15/s on average, at most 20/s"
    line = _line(ax, "rate")
    assert [x for x, y in line if not np.isnan(y)] == [0, 1, 1, 2, 99, 100, 100, 101]
    assert [np.isnan(y) for _, y in line].count(True) == 1


def test_the_length_of_a_second_is_what_it_was() -> None:
    """A collector that was suspended for 4 s writes one row for them; the last row of a run is a short one."""
    rows = [second(1, 10), second(5, 40), second(5.75, 10)]
    ax = rate(EVENTS.empty_table(), stats=stats(*reversed(rows)))
    assert [(x, round(y, 3)) for x, y in _line(ax, "rate")] == [
        (0, 10),
        (1, 10),
        (1, 10),
        (5, 10),
        (5, 13.333),
        (5.75, 13.333),
    ]


def test_a_day_is_thinned_without_losing_a_spike() -> None:
    """86,400 rows become 900 pieces; the single highest second, the only lag and the only silence are on the page."""
    draw = np.random.default_rng(3)
    count = 86_400
    traded, lag = draw.poisson(40, count), draw.lognormal(-3, 0.3, count)
    traded[50_000], traded[60_000], lag[70_000], lag[10] = 900, 0, 9.0, 1e-4
    end = START_NS + (1 + np.arange(count)) * 10**9
    columns: dict[str, Any] = {name: pa.array(np.zeros(count, dtype=np.int64)) for name in ("rejected", "dropped")}
    table = pa.table(
        columns
        | {
            "time": pa.array(end, pa.timestamp("ns", tz="UTC")),
            "run": pa.array(np.ones(count, dtype=np.int32)),
            "trades": pa.array(traded),
            "lag": pa.array(lag),
        }
    )
    figure_png(rate(EVENTS.empty_table(), stats=table).get_figure(root=True))
    costs = []
    for _ in range(5):
        began = time.process_time()
        ax = rate(EVENTS.empty_table(), stats=table)
        figure_png(ax.get_figure(root=True))
        costs.append(time.process_time() - began)
    # About 70 ms where this was written.
    assert min(costs) < 0.4
    surface = np.vstack([path.vertices for path in artist(ax, "rate:range").get_paths()])
    assert (surface[:, 1].min(), surface[:, 1].max()) == (0, 900)
    late = np.vstack([path.vertices for path in artist(_lag(ax), "lag:range").get_paths()])
    assert (late[:, 1].min(), late[:, 1].max()) == (1e-4, 9.0)
    line = np.asarray(artist(ax, "rate").get_xydata())
    assert len(line) == 1800
    assert line[::2, 1].sum() * 96 == pytest.approx(traded.sum())
    assert ax.get_xlabel().endswith("line: mean of 1 min 36 s, surface: least to highest second")
    assert title(ax).endswith("at most 900/s")


def test_one_wild_second_does_not_hide_the_others() -> None:
    """The axes become logarithmic then; no trade at all still has its place."""
    rows = [*(second(at, 10, 0.05) for at in range(1, 20)), second(20, 5000, 8.0), second(21, 0)]
    ax = rate(EVENTS.empty_table(), stats=stats(*rows))
    assert ax.get_yscale() == "symlog"
    assert _lag(ax).get_yscale() == "log"
    assert _lag(ax).get_ylabel() == "lag (s)"
    bottom, ten, top = (ax.transAxes.inverted().transform(ax.transData.transform((0, y)))[1] for y in (0, 10, 5000))
    assert bottom == pytest.approx(0.39)
    assert top == pytest.approx(0.93)
    assert ten - bottom > 0.1
    figure_png(ax.get_figure(root=True))
    assert rate(EVENTS.empty_table(), stats=stats(*_ROWS)).get_yscale() == "linear"


def test_clocks_that_differ_give_a_negative_lag() -> None:
    """It is measured with two clocks, so that can be, and is told as it is."""
    ax = rate(EVENTS.empty_table(), stats=stats(second(1, 5, -0.5), second(2, 5, -0.25), second(3, 5, -0.75)))
    assert more(ax) == "lag: median −500 ms, at most −250 ms, as measured with both clocks"
    assert _lag(ax).get_yscale() == "linear"
    figure_png(ax.get_figure(root=True))


def test_ten_thousand_outages_are_counted() -> None:
    """A strip on top instead of as many shades."""
    ax = rate(ten_thousand(), stats=stats(second(1, 5, 0.1), second(7 * 86_400, 7, 0.1)))
    assert not artists(ax, "shade")
    assert len(boxes(ax, "outages")) == 180
    assert any(text.get_text().startswith("outages, at most\n") for text in ax.texts)
    assert len(ax.get_children()) < 40


@pytest.mark.parametrize("found", [None, STATS.empty_table()])
def test_no_second_is_a_picture_too(found: pa.Table | None) -> None:
    """A collector that has just begun, or stats that were not kept."""
    ax = rate(_log().table(), stats=found)
    assert title(ax) == "No second has been counted yet"
    assert figure_png(ax.get_figure(root=True))


@pytest.mark.parametrize("trades", [0, 1])
def test_one_second_is_a_picture_too(trades: int) -> None:
    """With nothing in it as well."""
    ax = rate(EVENTS.empty_table(), stats=stats(second(1, trades)))
    assert figure_png(ax.get_figure(root=True))
    assert title(ax).startswith(f"{trades} trade")


class _Capture:
    """As much of a capture as the picture asks for."""

    def events(self) -> pa.Table:
        return _log().table()

    def stats(self) -> pa.Table:
        return stats(*_ROWS)


def test_a_capture_will_do_and_axes_can_be_used_again() -> None:
    """A live view draws into the same axes for days, and nothing of the picture before stays."""
    ax = rate(_Capture())
    figure = ax.get_figure(root=True)
    assert figure is not None
    before = figure_png(figure)
    figure.clear()
    again = figure.add_axes((0.1, 0.2, 0.8, 0.7))
    assert rate(_Capture(), again, title="$x$") is again
    assert title(again) == "$x$"
    assert len(figure.axes) == 2
    assert figure_png(figure) != before


def test_hostile_text_is_only_text() -> None:
    """A cause is shown letter by letter."""
    log = days(3, span=10, causes=("_$\\frac{1}{0}$ <b>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m\n" + "x" * 300,))
    ax = rate(log.table(), stats=stats(second(1, 5), second(20, 5)))
    figure_png(ax.get_figure(root=True))
    assert_plain(ax)
    assert legend(ax)[0].startswith("$\\frac{1}{0}$ <b>")


def test_what_is_no_table_is_refused() -> None:
    """The message names the column."""
    with pytest.raises(UsageError, match="the stats table has no column 'lag'"):
        rate(_log().table(), stats=stats(*_ROWS).drop_columns(["lag"]))
