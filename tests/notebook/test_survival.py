"""The survival picture: the line, the layers and the words are the estimates of the study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.notebook.picture import artist, artists, assert_plain, boxes, legend, more, points, ten_thousand, title
from tests.study.eventlog import EventLog, days
from tests.study.test_survival import log_of_lives
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.survival import survival
from wsresearch.schema import EVENTS
from wsresearch.study.connections import connections
from wsresearch.study.incidence import incidence
from wsresearch.study.outages import outages
from wsresearch.study.survival import survival as estimate


def line_at(ax: Axes, gid: str, x: float) -> float:
    """The height of a step line at a place."""
    xs, ys = (np.asarray(each) for each in artist(ax, gid).get_data())
    return float(ys[np.searchsorted(xs, x, side="right") - 1])


def test_the_line_is_the_estimate_and_ends_where_watching_ended() -> None:
    """At each age the share that lives longer; beyond the oldest connection nothing is claimed."""
    events = log_of_lives((10, "reset"), (20, "reconnect"), (30, "closed"), (40, "closed")).table()
    ax = survival(events)
    for age, share in ((5, 1.0), (15, 0.8), (25, 0.8), (35, 8 / 15), (45, 4 / 15), (400, 4 / 15)):
        assert line_at(ax, "survival", age) == pytest.approx(share)
    assert max(artist(ax, "survival").get_xdata()) == 500
    assert points(ax, "censored").tolist() == [[20, pytest.approx(0.8)], [500, pytest.approx(4 / 15)]]
    assert title(ax) == "Half of 5 connections live longer than 40.0 s"
    assert more(ax).endswith("2 not seen to end, counted as far as seen (ticks)")


def test_layers_and_line_add_up() -> None:
    """What is above the line is what has ended, cut into its causes: no gap and no overlap."""
    events = days(200, span=86_400.0).table()
    ax = survival(events)
    table = connections(events)
    parts = incidence(table)
    for age in (60.0, 300.0, 1000.0):
        layers = [
            (top, bottom)
            for name in ("reset", "closed", "stalled", "eof")
            for left, right, bottom, top in boxes(ax, f"ended:{name}")
            if left <= age < right
        ]
        assert max(top for top, _ in layers) == pytest.approx(1)
        assert min(bottom for _, bottom in layers) == pytest.approx(line_at(ax, "survival", age))
        share = sum(top - bottom for top, bottom in layers)
        rows = [row for row in parts.to_pylist() if row["seconds"] <= age]
        last = {row["cause"]: row["incidence"] for row in rows}
        assert share == pytest.approx(sum(last.values()))
    assert legend(ax)[:3] == ["share that lives longer", "its 95 % interval", "not seen to end"]


def test_of_outages_each_cause_is_a_line() -> None:
    """The thick line is all of them, a thin one those that began by one cause."""
    events = days(200, span=86_400.0).table()
    ax = survival(events, of="outages", palette="dark")
    curve = estimate(outages(events), by="cause")
    for cause in ("reset", "closed", "stalled", "eof"):
        of = curve.filter(np.array(curve["group"].to_pylist()) == cause)
        middle = float(of["seconds"].to_numpy()[len(of) // 2])
        assert line_at(ax, f"survival:{cause}", middle) == pytest.approx(of["survival"].to_numpy()[len(of) // 2])
    assert title(ax).startswith("Half of 200 outages are over within")


@pytest.mark.parametrize("of", ["connections", "outages"])
def test_many_few_and_none_are_pictures(of: str) -> None:
    """Ten thousand, one and no row at all; few artists hold all."""
    assert title(survival(EVENTS.empty_table(), of=of)) == f"No {of[:-1]}"
    one = survival(days(1, span=600).table(), of=of)
    assert figure_png(one.get_figure(root=True)).startswith(b"\x89PNG")
    ax = survival(ten_thousand(), of=of)
    assert len(ax.get_children()) < 60


def test_when_none_was_lost_it_says_how_many_still_live() -> None:
    """No median is made up: the title tells what is known."""
    log = EventLog()
    log.connect()
    log.wait(100)
    log.add("stopped", cause="stop")
    ax = survival(log.table())
    assert title(ax) == "100 % of 1 connection still live after 1 min 40 s"
    assert not artists(ax, "ended:")


def test_the_limit_is_the_readers() -> None:
    """An end at 24 h is the venue's clock and no failure, unless the reader says there is no limit."""
    events = log_of_lives((86_390, "closed"), (50_000, "closed")).table()
    # The connection that we stopped at 500 s is out of it by then: one of the two others ended.
    assert "ended by closed: 50 %" in legend(survival(events))
    assert "ended by closed: 100 %" in legend(survival(events, limit=None))


def test_many_causes_share_a_layer_and_stay_text() -> None:
    """A server that gives a hundred reasons makes seven layers; hostile text is shown letter by letter."""
    hostile = "_$\\frac{1}{0}$ <b>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m"
    log = days(300, span=3600, causes=(hostile, *(f"reason {at:03}" for at in range(100))))
    for of in ("connections", "outages"):
        ax = survival(log.table(), of=of)
        figure_png(ax.get_figure(root=True))
        assert_plain(ax)
        assert len(legend(ax)) <= 14
    layers = {one.get_gid() for one in artists(survival(log.table()), "ended:")}
    assert len(layers) == 7
    assert "ended:other causes" in layers


def test_what_cannot_be_drawn_is_told() -> None:
    """The message says what to give instead."""
    wrong: Any = 3
    with pytest.raises(UsageError, match=r"not int; give capture\.events\(\)"):
        survival(wrong)
    with pytest.raises(UsageError, match="survival is of connections or of outages, not of 'trades'"):
        survival(EVENTS.empty_table(), of="trades")
