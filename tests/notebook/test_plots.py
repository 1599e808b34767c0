"""The pictures together."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.axes import Axes

from tests.notebook.test_rate import second, stats
from tests.study.eventlog import START_NS, days, ns, trades
from wsresearch.notebook import plots
from wsresearch.notebook.canvas import axes_in, new_figure
from wsresearch.notebook.palette import LIGHT
from wsresearch.schema import EVENTS, STATS
from wsresearch.study import compare


@pytest.mark.parametrize(("outages", "palette"), [(0, "dark"), (1, "light"), (40, "dark")])
def test_the_overview_is_one_png_with_both(outages: int, palette: str) -> None:
    """One picture, timeline above gaps against backoff, whatever happened."""
    events = days(outages, span=3600).table()
    png = plots.overview_png(events, trades=trades([START_NS, START_NS + ns(4)]), palette=palette)
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1210, 1177)


def test_the_overview_of_nothing() -> None:
    """An empty capture has an overview that says so."""
    assert plots.overview_png(EVENTS.empty_table()).startswith(b"\x89PNG")


def _compared(events: pa.Table) -> pa.Table:
    """Three policies over what a capture holds, played twice: enough to be drawn."""
    return compare(["full-jitter", "seed", "seed-java-websocket"], events, repetitions=2)


_PLOTS: dict[str, Callable[[Any, Any, Axes], Axes]] = {
    "timeline": lambda events, counted, ax: plots.timeline(events, ax, stats=counted),
    "gaps_vs_backoff": lambda events, _counted, ax: plots.gaps_vs_backoff(events, ax),
    "recovery_phases": lambda events, _counted, ax: plots.recovery_phases(events, ax),
    "gap_distribution": lambda events, _counted, ax: plots.gap_distribution(events, ax),
    "lifetimes": lambda events, counted, ax: plots.lifetimes(events, ax, stats=counted),
    "rate": lambda events, counted, ax: plots.rate(events, ax, stats=counted),
    "survival": lambda events, counted, ax: plots.survival(events, ax, stats=counted),
    "policy_comparison": lambda events, _counted, ax: plots.policy_comparison(_compared(events), ax),
}
_CAPTURES = (
    (EVENTS.empty_table(), STATS.empty_table()),
    (days(5, span=60).table(), stats(second(1, 5, 0.1), second(60, 9, 0.5))),
    (
        days(310, span=86_400).table(),
        stats(*(second(at, at % 7, 0.1) for at in range(1, 1000)), second(1001, 999, 9.0)),
    ),
)


def _pixels(ax: Axes) -> np.ndarray:
    canvas: Any = ax.figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).astype(np.int64)


@pytest.mark.parametrize("name", _PLOTS)
def test_axes_that_are_used_again_show_nothing_of_before(name: str) -> None:
    """A live view empties its axes and draws the next state of the capture into them, which may be another scale."""

    def new_axes() -> Axes:
        return axes_in(new_figure(11, 5, LIGHT), bottom=0, height=5, palette=LIGHT)

    ax = new_axes()
    for at in (0, 1, 2, 0, 2, 1):
        others = [other for other in ax.figure.axes if other is not ax]
        for artist in (*others, *ax.collections, *ax.lines, *ax.patches, *ax.texts):
            artist.remove()
        again, fresh = (_PLOTS[name](*_CAPTURES[at], where) for where in (ax, new_axes()))
        assert np.abs(_pixels(again) - _pixels(fresh)).max() <= 3, at
