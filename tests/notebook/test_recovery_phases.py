"""What outages were made of, as a picture."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.notebook.picture import artist, artists, assert_plain, boxes, legend, more, points, ten_thousand, title
from tests.study.eventlog import EventLog, days
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.palette import DARK, PHASES
from wsresearch.notebook.recovery_phases import recovery_phases
from wsresearch.schema import EVENTS
from wsresearch.study import outages


def _log() -> EventLog:
    """Return an outage of 4 s with all phases, one of 1 s without delay, and one that goes on."""
    log = EventLog()
    log.connect()
    log.wait(5)
    log.lost(0.5, cause="reset")
    log.try_to_open(2.0)
    log.opened(0.5)
    log.first_message(1.0)
    log.wait(5)
    log.lost(0.75, cause="closed")
    log.try_to_open(0.0)
    log.opened(0.125)
    log.first_message(0.125)
    log.wait(5)
    log.lost(1.0, cause="reset")
    log.try_to_open(4.0)
    log.failed(1.0)
    log.add("stopped")
    return log


def test_each_outage_is_a_stack_of_its_phases() -> None:
    """In the order of time, each phase on the one before it, in seconds."""
    ax = recovery_phases(_log().table())
    stacks = {phase: [(low, high) for _, _, low, high in boxes(ax, f"phase:{phase}")] for phase in PHASES}
    assert stacks == {
        "detect": [(0.0, 0.5), (0.0, 0.75), (0.0, 1.0)],
        "backoff": [(0.5, 2.5), (0.75, 0.75), (1.0, 5.0)],
        "connect": [(2.5, 3.0), (0.75, 0.875), (5.0, 6.0)],
        "first_message": [(3.0, 4.0), (0.875, 1.0), (6.0, 6.0)],
    }
    middles = [(left + right) / 2 for left, right, _, _ in boxes(ax, "phase:detect")]
    assert middles == pytest.approx([0, 1, 2])


def test_it_says_what_it_shows() -> None:
    """The title is the finding, both axes say what they are, the legend has medians and totals."""
    ax = recovery_phases(_log().table())
    assert title(ax) == "Backoff took 55 % of 11.0 s of silence"
    assert more(ax) == (
        "detect 20 %, connect 15 %, first message 10 %; the median of 2 recoveries: 2.50 s; "
        "1 whose end was not seen (arrow head)"
    )
    assert ax.get_xlabel() == "number of the outage, in the order of time"
    assert ax.get_ylabel() == "silence of market data (s)"
    assert legend(ax) == [
        "detect: median 625 ms, total 2.25 s",
        "backoff: median 1.00 s, total 6.00 s",
        "connect: median 312 ms, total 1.62 s",
        "first message: median 562 ms, total 1.12 s",
    ]
    assert [text.get_text() for text in artists(ax, "length")] == ["4.00 s", "1.00 s", "> 6.00 s"]


def test_a_censored_outage_has_an_arrow_head() -> None:
    """It was at least that long; its neighbours have none."""
    assert points(recovery_phases(_log().table()), "censored").tolist() == [[2.0, 6.0]]
    assert points(recovery_phases(days(5, span=60).table()), "censored").tolist() == []


@pytest.mark.parametrize("count", [41, 200, 10_000])
def test_many_outages_are_groups_of_equally_many(count: int) -> None:
    """Ten groups by length and all together: in each column the shares of its silence, exactly, 100 % in all."""
    events = ten_thousand() if count == 10_000 else days(count, span=60.0 * count).table()
    ax = recovery_phases(events)
    lost = outages(events)
    phases = np.column_stack([lost[phase].to_numpy() for phase in PHASES])
    groups = [*np.array_split(np.argsort(lost["silence"].to_numpy(), kind="stable"), 10), np.arange(count)]
    drawn = np.array([[high - low for _, _, low, high in boxes(ax, f"phase:{phase}")] for phase in PHASES]).T
    expected = np.array([100 * phases[of].sum(axis=0) / phases[of].sum() for of in groups])
    np.testing.assert_allclose(drawn, expected, atol=1e-9)
    np.testing.assert_allclose(drawn.sum(axis=1), 100)
    assert ax.get_ylabel() == "share of the silence (%)"
    assert [label.get_text() for label in ax.get_xticklabels()][:2] == ["0–10 %", "10–20 %"]
    assert len(artists(ax, "median")) == 11
    # A group whose outages were seen to their end has no arrow head.
    assert not len(points(ax, "censored"))
    assert len(ax.get_children()) < 120


def test_a_group_that_holds_a_censored_outage_says_so() -> None:
    """The longest group and all together."""
    log = days(60, span=3600)
    log.wait(5)
    log.delivered = True
    log.lost(1000.0)
    log.add("stopped")
    ax = recovery_phases(log.table())
    assert [x for x, _ in points(ax, "censored").tolist()] == pytest.approx([9, 10.7])
    assert "1 whose end was not seen (arrow head)" in more(ax)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_and_one_are_pictures_too(count: int) -> None:
    """Without an outage the axes say so; a single one is no broad block."""
    ax = recovery_phases(days(count, span=600).table(), palette="dark")
    assert figure_png(ax.get_figure(root=True))
    if count:
        ((left, right, _, _),) = boxes(ax, "phase:backoff")
        assert right - left < (ax.get_xlim()[1] - ax.get_xlim()[0]) / 6
        assert to_hex(artist(ax, "phase:connect").get_facecolor()[0]) == DARK.phases["connect"]
    else:
        assert title(ax) == "No outage"
        assert title(recovery_phases(EVENTS.empty_table())) == "No outage"


def test_an_outage_of_no_length_is_no_error() -> None:
    """A clock too coarse to see it gives 0 s; nothing is divided by that."""
    for count in (1, 50):
        log = EventLog()
        log.connect()
        for _ in range(count):
            log.lost(0.0)
            log.try_to_open(0.0)
            log.opened(0.0)
            log.first_message(0.0)
        assert figure_png(recovery_phases(log.table()).get_figure(root=True))


def test_it_draws_into_given_axes_and_only_plain_text() -> None:
    """``ax=`` is drawn on and returned; what a server wrote appears nowhere."""
    below = Figure().subplots(2, 1)[1]
    log = days(3, span=60, causes=("_$\\frac{1}{0}$\N{RIGHT-TO-LEFT OVERRIDE}",))
    assert recovery_phases(log.table(), below, title="mine $x$") is below
    assert title(below) == "mine $x$"
    assert_plain(below)
    with pytest.raises(UsageError, match=r"not str; give capture\.events\(\)"):
        recovery_phases("data/btc")
