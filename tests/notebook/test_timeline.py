"""What the collector did over time, as a picture."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.notebook.picture import artists, assert_plain, legend, more, ten_thousand, title
from tests.study.eventlog import START_NS, EventLog, ns, trades
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.palette import DARK, LIGHT
from wsresearch.notebook.timeline import timeline
from wsresearch.schema import EVENTS


def _marks(ax: Axes, gid: str) -> int:
    return sum(len(artist.get_offsets()) for artist in artists(ax, gid) if isinstance(artist, PathCollection))


def _spans(ax: Axes, gid: str) -> list[tuple[float, float]]:
    """Return the extents of boxes in seconds since the start."""
    start = float(mdates.date2num(np.datetime64(START_NS, "ns")))  # type: ignore[no-untyped-call]
    found = []
    for artist in artists(ax, gid):
        assert isinstance(artist, PolyCollection)
        for path in artist.get_paths():
            x = (path.vertices[:, 0] - start) * 86_400
            found.append((round(float(x.min()), 3), round(float(x.max()), 3)))
    return sorted(found)


def _log() -> EventLog:
    log = EventLog()
    log.connect()
    log.wait(9.93)
    log.lost(1.0, cause="stalled")
    log.try_to_open(2.0)
    log.failed(0.5)
    log.try_to_open(3.0)
    log.opened(0.5)
    log.first_message(0.0)
    log.hole(1, 50, cause="outage", outage=1)
    log.wait(3.0)
    log.hole(70, 70, cause="connection")
    log.wait(10.0)
    return log


def test_states_and_outages_are_where_they_happened() -> None:
    """Each lane shows its stretches of time, the shade the outage from the last message to the next."""
    ax = timeline(_log().table())
    assert _spans(ax, "lane:open") == [(0.05, 11.0), (17.0, 20.0)]
    assert _spans(ax, "lane:backing off") == [(11.0, 13.0), (13.5, 16.5)]
    assert _spans(ax, "lane:connecting") == [(0.0, 0.05), (13.0, 13.5), (16.5, 17.0)]
    assert _spans(ax, "lane:not running") == []
    assert _spans(ax, "shade") == [(10.0, 17.0)]
    assert _marks(ax, "outages:stalled") == 1
    assert len(artists(ax, "attempts:opened")[0].get_segments()) == 2
    assert _marks(ax, "attempts:failed") == 1
    assert _marks(ax, "holes") == 2


def test_it_says_what_it_shows() -> None:
    """The title is the finding, the axis has its unit, the lanes their names and shares."""
    ax = timeline(_log().table())
    assert title(ax) == "1 outage in 20.0 s: 7.07 s without data (35 %)"
    assert more(ax) == "cause: stalled"
    assert ax.get_xlabel() == "seconds since 2026-11-18 11:06:40.000 UTC"
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["outages", "open", "connecting", "backing off", "not running", "ids lost"]
    assert legend(ax) == [
        "stalled (1)",
        "attempt",
        "failed attempt",
        "ids lost across an outage",
        "ids lost elsewhere",
    ]
    words = [text.get_text() for text in ax.texts]
    assert {"3 attempts,\n1 failed", "51 ids\nin 2 holes", "7.00 s", "25 %"} <= set(words)


def test_a_longer_capture_has_a_clock() -> None:
    """Over minutes and days the axis shows UTC, whatever the machine's time zone."""
    log = EventLog()
    log.connect()
    log.wait(2 * 86_400)
    log.add("stopped")
    ax = timeline(log.table())
    figure_png(ax.get_figure(root=True))
    assert ax.get_xlabel() == "time (UTC), 2026-11-18 to 2026-11-20"
    assert "12:00" in [label.get_text() for label in ax.get_xticklabels()]


def test_an_outage_without_an_end_is_hollow_and_said_to_be() -> None:
    """A censored outage is drawn up to where it was last seen; its length is a lower bound."""
    log = EventLog()
    log.connect()
    log.wait(9.93)
    log.lost(1.0, cause="eof")
    log.back_off(5.0)
    log.wait(4.0)
    log.add("stopped", cause="stop")
    ax = timeline(log.table(), palette="dark")
    assert more(ax) == "cause: eof; its end was not seen"
    assert _spans(ax, "shade") == [(10.0, 15.0)]
    known, hollow = artists(ax, "outages:eof")
    assert (len(known.get_offsets()), len(hollow.get_offsets())) == (0, 1)
    assert to_hex(hollow.get_facecolor()[0]) == DARK.background
    assert "> 5.00 s" in [text.get_text() for text in ax.texts]


def test_a_killed_and_a_stopped_run_leave_the_lane_not_running() -> None:
    """Time in which nobody collected is told from time in which the collector tried."""
    log = EventLog()
    log.connect()
    log.wait(9.93)
    log.add("stopped")
    log.wait(5)
    log.connect()
    log.wait(10)
    log.connect()
    assert _spans(timeline(log.table()), "lane:not running") == [(10.0, 15.0), (15.07, 25.07)]


def test_trades_tell_that_the_last_run_is_alive() -> None:
    """A capture without trouble has no events for hours; it is open until the newest trade all the same."""
    log = EventLog()
    log.connect()
    ax = timeline(log.table(), trades=trades([START_NS + ns(1), START_NS + ns(7200)]))
    assert title(ax) == "No outage in 2 h"
    assert _spans(ax, "lane:open") == [(0.05, 7200.0)]


def _refused(end: str | None) -> EventLog:
    log = EventLog()
    log.start()
    for _ in range(3):
        log.try_to_open(9.0)
        log.failed(1.0)
    if end is not None:
        log.add(end, cause="refused")
    return log


def test_a_capture_that_never_connected_is_no_capture_without_outage() -> None:
    """What stands above the empty lane *open* says that it is empty, how often it was tried and why it failed."""
    ax = timeline(_refused("gave_up").table())
    assert title(ax) == "Never connected: 30.0 s without data, 3 failed attempts"
    assert more(ax) == (
        "run 1 never connected in 30.0 s and gave up: 3 attempts, 3 failed, the last because the server refused the "
        "connection"
    )
    assert "unknown" in [text.get_text() for text in ax.texts]  # not that no id was lost
    assert title(timeline(_refused(None).table())) == "Not connected yet: 30.0 s without data, 3 failed attempts"
    log = _refused(None)
    log.try_to_open(1.0)
    log.opened(1.0)
    log.wait(8.0)
    log.add("stopped", cause="stop")
    assert title(timeline(log.table())) == "Connected, but no market data: 40.0 s without data, 3 failed attempts"


def test_time_before_the_first_message_and_time_of_nobody_are_told_apart() -> None:
    """The one is time without data, the other is none of the time that was collected."""
    log = _refused(None)
    log.try_to_open(1.0)
    log.opened(1.0)
    log.first_message(0.0)
    log.wait(48.0)
    assert title(timeline(log.table())) == "No outage in 32.0 s, but 32.0 s without data (100 %)"
    log.add("stopped", cause="stop")
    assert title(timeline(log.table())) == "No outage in 1 min 20 s, but 32.0 s without data (40 %)"
    assert more(timeline(log.table())).startswith("run 1 waited 32.0 s for its first message: 4 attempts, 3 failed")
    log.wait(80.0)
    log.connect()
    log.wait(19.93)
    log.lost(1.0, cause="eof")
    log.back_off(5.0)
    log.add("stopped")
    ax = timeline(log.table())
    assert title(ax) == "1 outage in 3 min 1 s: 33.1 s without data (33 % of 1 min 41 s)"
    assert more(ax) == "cause: eof; its end was not seen; 32.1 s of it before the first message of a run"


class _Capture:
    """As much of a capture as a picture asks for."""

    def events(self) -> pa.Table:
        return _log().table()

    def stats(self) -> pa.Table:
        return pa.table(
            {
                "time": pa.array([START_NS + ns(40)], pa.timestamp("ns", tz="UTC")),
                "run": pa.array([1], pa.int32()),
                "connection": pa.array([2], pa.int32()),
                "messages": pa.array([5], pa.int64()),
            }
        )


def test_a_capture_will_do() -> None:
    """Its events and stats are read, its trades are not needed."""
    assert title(timeline(_Capture())) == "1 outage in 40.0 s: 7.07 s without data (18 %)"


def test_ten_thousand_outages_are_summed_up() -> None:
    """Bins instead of marks: every outage is in one bin, and there are no more artists than bins and causes."""
    events = ten_thousand()
    ax = timeline(events)
    assert _marks(ax, "outages") == 0
    bars = artists(ax, "outages:")
    assert len(bars) == 4
    height = max(path.vertices[:, 1].max() for artist in bars for path in artist.get_paths())
    assert height == pytest.approx(7.5)
    assert "median" in more(ax)
    assert len(figure_png(ax.get_figure(root=True))) > 10_000


def test_an_empty_table_is_a_picture_too() -> None:
    """It says that nothing has happened, instead of failing in a live view that has just begun."""
    ax = timeline(EVENTS.empty_table())
    assert title(ax) == "Nothing has happened yet"
    assert [text.get_text() for text in ax.texts] == ["the events table is empty"]


def test_one_event_is_a_picture_too() -> None:
    """A run that has just started has no extent in time, and still an axis."""
    log = EventLog()
    log.start()
    assert figure_png(timeline(log.table()).get_figure(root=True))


def test_it_draws_into_given_axes() -> None:
    """``ax=`` is drawn on and returned, in its own figure, in the palette asked for."""
    figure = Figure()
    below = figure.subplots(2, 1)[1]
    assert timeline(_log().table(), below, palette=DARK, title="mine") is below
    assert title(below) == "mine"
    assert to_hex(below.get_facecolor()) == DARK.background
    assert to_hex(timeline(_log().table()).get_facecolor()) == LIGHT.background


HOSTILE = "_$\\frac{1}{0}$ <b>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m\n" + "x" * 300


def test_hostile_text_is_only_text() -> None:
    """Mathematics, markup, escapes and direction marks of a server neither fail, nor warn, nor take effect."""
    log = EventLog()
    log.connect()
    log.lost(1.0, cause=HOSTILE, detail=HOSTILE)
    log.try_to_open(1.0)
    log.opened(0.1)
    log.first_message(0.1)
    log.hole(1, 2, symbol=HOSTILE, outage=1, cause=HOSTILE)
    ax = timeline(log.table())
    figure_png(ax.get_figure(root=True))
    assert_plain(ax)
    assert r"$\frac{1}{0}$ <b>" in legend(ax)[0]
    assert len(legend(ax)[0]) < 60


def test_what_is_no_table_is_refused() -> None:
    """The message says what to give instead."""
    with pytest.raises(UsageError, match=r"not str; give capture\.events\(\)"):
        timeline("data/btc")
    with pytest.raises(UsageError, match="no column 'waited'"):
        timeline(_log().table().drop_columns(["waited"]))
