"""How long connections lived, as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from tests.notebook.picture import artist, artists, assert_plain, legend, more, points, ten_thousand, title
from tests.study.eventlog import START_NS, EventLog, days, ns
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.lifetimes import lifetimes
from wsresearch.notebook.palette import DARK, LIGHT, cause_looks
from wsresearch.notebook.timeline import timeline
from wsresearch.schema import EVENTS
from wsresearch.study import connections


def _log() -> EventLog:
    """Return lives of 10.02, 0.5 and 5.125 s that were lost, the second without a message, and one we stopped."""
    log = EventLog()
    log.connect()
    log.wait(9)
    log.lost(1.0, cause="reset")
    log.try_to_open(0.0)
    log.opened(0.5)
    log.lost(0.5, cause="closed")
    log.try_to_open(0.0)
    log.opened(0.5)
    log.first_message(0.125)
    log.wait(4)
    log.lost(1.0, cause="reset")
    log.try_to_open(0.0)
    log.opened(0.5)
    log.first_message(0.5)
    log.wait(1.5)
    log.add("stopped")
    return log


def _all(ax: Axes) -> list[list[float]]:
    """Return the marks of all connections."""
    return sorted([x, y] for one in artists(ax, "ended:") + artists(ax, "censored") for x, y in one.get_offsets())


def test_each_life_is_a_row_from_the_shortest() -> None:
    """The mark stands at the age at the end, in the look of the cause; an open end is an open mark."""
    ax = lifetimes(_log().table())
    assert points(ax, "ended:reset") == pytest.approx(np.array([[5.125, 3.0], [10.02, 4.0]]))
    assert points(ax, "ended:closed").tolist() == [[0.5, 1.0]]
    assert points(ax, "censored").tolist() == [[2.0, 2.0]]
    assert to_hex(artist(ax, "censored").get_facecolor()[0]) == LIGHT.background
    bars = [segment[:, 0].tolist() for one in artists(ax, "lives") for segment in one.get_segments()]
    assert sorted(bars) == [pytest.approx([ax.get_xlim()[0], life]) for life in (0.5, 2.0, 5.125, 10.02)]
    lengths = [text.get_text() for text in artists(ax, "length")]
    assert lengths == ["500 ms", "> 2.00 s", "5.12 s", "10.0 s"]


def test_it_says_what_it_shows() -> None:
    """The title is the finding and claims nothing about the ones that would have lived longer."""
    ax = lifetimes(_log().table())
    assert title(ax) == "3 of 4 connections were lost, half of them within 5.12 s"
    assert more(ax) == (
        "lost after 500 ms to 10.0 s; 1 connection that we ended or that goes on, at 2.00 s; "
        "1 delivered no market message"
    )
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "life of a connection from its opening (s, min, h, d; logarithmic)"
    assert {"1 s", "10 s"} <= {label.get_text() for label in ax.get_xticklabels()}
    assert legend(ax) == ["reset (2)", "closed (1)", "open end: ended by us, or goes on (1)"]


def test_a_life_left_of_the_axis_is_told() -> None:
    """Lives of less than a millisecond stand at its mark, and the mark says that they may be shorter."""
    log = _log()
    log.try_to_open(0.0)
    log.opened(0.5)
    log.lost(430e-6, cause="closed")
    log.try_to_open(0.0)
    ax = lifetimes(log.table())
    assert points(ax, "ended:closed")[:, 0].tolist() == [1e-3, 0.5]
    assert "lost after 430 µs" in more(ax)
    assert (ax.get_xticks()[0], ax.get_xticklabels()[0].get_text()) == (1e-3, "≤ 1 ms")
    assert ax.get_xlim()[0] < 1e-3


def test_a_cause_looks_as_on_the_timeline() -> None:
    """Whoever reads both pictures learns the colours once: the order is that of the outages."""
    log = EventLog()
    log.connect()
    log.lost(1.0, cause="reset")
    # Of an outage in which three connections broke, the timeline has only the first cause.
    for cause in ("early", "late"):
        log.try_to_open(0.0)
        log.opened(0.5)
        log.lost(0.5, cause=cause)
    log.try_to_open(0.0)
    log.opened(0.5)
    log.first_message(0.5)
    log.wait(5)
    log.lost(1.0, cause="closed")
    looks = cause_looks(["reset", "closed", "early", "late"], DARK)
    ax = lifetimes(log.table(), palette="dark")
    for cause, look in looks.items():
        assert to_hex(artist(ax, f"ended:{cause}").get_facecolor()[0]) == look.colour
    shown = artists(timeline(log.table(), palette="dark"), "outages:closed")[0]
    assert to_hex(shown.get_facecolor()[0]) == looks["closed"].colour


@pytest.mark.parametrize("count", [61, 200, 10_000])
def test_many_connections_are_lanes(count: int) -> None:
    """Each life is there, in the lane of its cause, rising from the shortest to the longest; few artists hold all."""
    events = ten_thousand() if count == 10_000 else days(count, span=60.0 * count).table()
    ax = lifetimes(events)
    lives = connections(events)["life"].to_numpy()
    np.testing.assert_allclose([x for x, _ in _all(ax)], np.sort(lives))
    for one in artists(ax, "ended:"):
        at = np.asarray(one.get_offsets())
        assert (np.diff(at[:, 0]) >= 0).all()
        assert (np.diff(at[:, 1]) > 0).all()
        assert len({round(y) for y in at[:, 1]}) == 1
    assert [text.get_text() for text in artists(ax, "lane")] == ["reset", "closed", "stalled", "eof", "open end"]
    assert len(ax.get_children()) < 70


def test_many_causes_share_a_lane() -> None:
    """A server that gives a new reason each time makes no picture of a thousand lanes."""
    log = days(300, span=3600, causes=tuple(f"reason {at:03}" for at in range(100)))
    ax = lifetimes(log.table())
    assert len(_all(ax)) == 301
    names = [text.get_text() for text in artists(ax, "lane")]
    assert len(names) == 9
    assert names[-2].endswith("other causes")
    assert len(legend(ax)) <= 14
    assert legend(ax)[-1].endswith("more")
    figure_png(ax.get_figure(root=True))


def test_near_a_day_the_limit_is_a_line() -> None:
    """At 24 h venues end a connection; for lives of minutes that is no news."""
    log = EventLog()
    log.connect()
    log.wait(86_300)
    log.lost(1.0, cause="closed")
    ax = lifetimes(log.table())
    assert artist(ax, "24 h").get_xdata() == [86_400, 86_400]
    assert "24 h, a venue's limit" in legend(ax)
    assert not artists(lifetimes(_log().table()), "24 h")


def test_stats_tell_how_long_the_last_run_has_lived() -> None:
    """A connection without trouble has no events for hours and is as old as the newest row."""
    log = EventLog()
    log.connect()
    stats = pa.table(
        {
            "time": pa.array([START_NS + ns(3600.05)], pa.timestamp("ns", tz="UTC")),
            "run": pa.array([1], pa.int32()),
            "connection": pa.array([1], pa.int32()),
            "messages": pa.array([5], pa.int64()),
        }
    )
    ax = lifetimes(log.table(), stats=stats)
    assert points(ax, "censored").tolist() == [[3600.0, 1.0]]
    assert title(ax) == "1 connection, none lost"
    assert more(ax) == "1 connection that we ended or that goes on, at 1 h"


def test_nothing_and_no_time_at_all_are_pictures_too() -> None:
    """Without a connection the axes say so; a life of 0 s stands at the edge of the logarithm."""
    assert title(lifetimes(EVENTS.empty_table())) == "No connection"
    log = EventLog()
    log.start()
    log.try_to_open(0.0)
    log.opened(0.1)
    log.lost(0.0)
    ax = lifetimes(log.table())
    assert points(ax, "ended:reset").tolist() == [[0.001, 1.0]]
    assert [text.get_text() for text in artists(ax, "length")] == ["0 s"]
    assert title(ax) == "1 of 1 connection was lost, after 0 s"
    assert figure_png(ax.get_figure(root=True))


HOSTILE = "_$\\frac{1}{0}$ <b>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m\n" + "x" * 300


@pytest.mark.parametrize("count", [3, 100])
def test_hostile_text_is_only_text(count: int) -> None:
    """A cause is shown letter by letter and cut to the room that there is."""
    ax = lifetimes(days(count, span=600, causes=(HOSTILE, "reset")).table())
    figure_png(ax.get_figure(root=True))
    assert_plain(ax)
    assert any(text.startswith("$\\frac{1}{0}$ <b>") for text in legend(ax))
    names = [text.get_text() for text in artists(ax, "lane")]
    assert max(map(len, names), default=0) <= 15


def test_what_is_no_table_is_refused() -> None:
    """The message says what to give instead."""
    wrong: Any = 3
    with pytest.raises(UsageError, match=r"not int; give capture\.events\(\)"):
        lifetimes(wrong)
