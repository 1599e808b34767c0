"""Silence against delay, as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from numpy.typing import NDArray

from tests.notebook.picture import legend, legend_texts, ten_thousand
from tests.study.eventlog import START_NS, EventLog, days, ns, trades
from wsresearch.notebook.against_backoff import _thinned, gaps_vs_backoff
from wsresearch.notebook.canvas import figure_png
from wsresearch.schema import EVENTS
from wsresearch.study import gaps, outages


def _points(ax: Axes, cause: str) -> NDArray[Any]:
    found = [
        np.asarray(artist.get_offsets())
        for artist in ax.get_children()
        if artist.get_gid() == f"outages:{cause}" and isinstance(artist, PathCollection)
    ]
    return np.concatenate(found)


def _line(ax: Axes, gid: str) -> NDArray[Any]:
    (line,) = [line for line in ax.lines if line.get_gid() == gid]
    return np.asarray(line.get_xydata())


def _log() -> EventLog:
    """Return an outage of 3 s with 2 s of delay, one of 1 s without delay, and one that goes on."""
    log = EventLog()
    log.connect()
    log.wait(5)
    log.lost(0.5, cause="reset")
    log.try_to_open(2.0)
    log.opened(0.25)
    log.first_message(0.25)
    log.hole(1, 999, outage=1, cause="outage")
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


def test_each_outage_is_where_it_belongs() -> None:
    """Across is the real waiting, upwards the silence; the line joins equal numbers."""
    ax = gaps_vs_backoff(_log().table())
    assert _points(ax, "reset").tolist() == [[2.0, 3.0], [4.0, 6.0]]
    assert _points(ax, "closed").tolist() == [[0.0, 1.0]]
    x, y = _line(ax, "y = x").T
    assert (x == y).all()


def test_the_line_is_straight_on_the_page() -> None:
    """Both axes bend at the same place, so equal numbers lie on one straight line."""
    ax = gaps_vs_backoff(days(50, span=3600).table())
    ends = ax.transData.transform([(0.0, 0.0), (ax.get_xlim()[1],) * 2])
    for value in (0.03, 0.1, 0.5, 7.0):
        at = ax.transData.transform((value, value))
        across, along = at - ends[0], ends[1] - ends[0]
        assert abs(across[0] * along[1] - across[1] * along[0]) / np.hypot(*along) < 1e-6


def test_it_says_what_it_shows() -> None:
    """The title is the finding, both axes have their unit, the legends name causes, marks and sizes."""
    ax = gaps_vs_backoff(_log().table())
    assert ax.get_title(loc="left") == "60 % of 10.0 s of silence was backoff"
    (more,) = [text.get_text() for text in ax.texts if text.get_gid() == "more"]
    assert more == "the rest: 22 % detect, 14 % connect, 3.8 % first message"
    assert ax.get_xlabel() == "delay waited in the outage (s)"
    assert ax.get_ylabel() == "silence of market data (s)"
    words = set(legend(ax))
    assert {"reset (2)", "closed (1)", "end not seen (1)", "y = x: all silence was backoff"} <= words
    assert {"ids lost", "0", "10", "1,000"} <= words


def test_area_is_ids_lost() -> None:
    """An outage that lost more is larger."""
    ax = gaps_vs_backoff(_log().table())
    sizes = {
        artist.get_gid(): artist.get_sizes()
        for artist in ax.get_children()
        if isinstance(artist, PathCollection) and len(artist.get_sizes()) and (artist.get_facecolor().size)
    }
    assert sizes["outages:reset"][0] > 2 * sizes["outages:closed"][0]


def test_a_censored_outage_is_hollow_with_an_arrow() -> None:
    """It was at least that long."""
    ax = gaps_vs_backoff(_log().table())
    known, hollow = [artist for artist in ax.get_children() if artist.get_gid() == "outages:reset"]
    assert isinstance(known, PathCollection)
    assert isinstance(hollow, PathCollection)
    assert len(known.get_facecolor()) == 1
    assert hollow.get_offsets().tolist() == [[4.0, 6.0]]
    assert len(hollow.get_facecolor()) == 0
    arrows = [line.get_xydata().tolist() for line in ax.lines if line.get_gid() == "censored"]
    assert [[4.0, 6.0]] in arrows


def test_ordinary_gaps_are_on_the_axis() -> None:
    """Silences without an outage are ticks at the left edge; one that an outage explains is not drawn twice."""
    log = _log()
    lost = outages(log.table())
    began = START_NS + ns(5.07)
    times = [START_NS, START_NS + ns(2.5), began, began + ns(3), began + ns(3.5)]
    found = trades(times)
    for ax in (
        gaps_vs_backoff(log.table(), trades=found),
        gaps_vs_backoff(log.table(), gaps=gaps(found, outages=lost)),
    ):
        assert _line(ax, "ordinary gaps").tolist() == [[0.0, 2.5], [0.0, 2.57]]
    (line,) = [line for line in ax.lines if line.get_gid() == "ordinary gaps"]
    assert line.get_transform() == ax.get_yaxis_transform()


def test_gaps_without_outages_are_a_picture() -> None:
    """A capture that never broke still has its silences to look at."""
    log = EventLog()
    log.connect()
    ax = gaps_vs_backoff(log.table(), trades=trades([START_NS, START_NS + ns(23)]), longer_than=5)
    assert ax.get_title(loc="left") == "No outage"
    (more,) = [text.get_text() for text in ax.texts if text.get_gid() == "more"]
    assert more == "1 ordinary gap over 5 s, the longest 23.0 s"
    figure_png(ax.get_figure(root=True))


@pytest.mark.parametrize("events", [EVENTS.empty_table(), days(0, span=60).table()])
def test_nothing_is_a_picture_too(events: pa.Table) -> None:
    """Without outage and gap the axes say so."""
    ax = gaps_vs_backoff(events)
    assert "no outage" in ax.texts[0].get_text()
    assert figure_png(ax.get_figure(root=True))


def test_outages_without_any_delay_are_a_picture() -> None:
    """A policy that never waits puts everything on x = 0; the scale comes from the silences then."""
    log = EventLog()
    log.connect()
    for _ in range(3):
        log.lost(0.001)
        log.try_to_open(0.0)
        log.opened(0.002)
        log.first_message(0.0)
    ax = gaps_vs_backoff(log.table())
    assert figure_png(ax.get_figure(root=True))
    assert ax.get_xlim()[1] == pytest.approx(0.006)


def test_a_silence_of_nothing_is_no_error() -> None:
    """A clock too coarse to see an outage's length gives 0 s; a logarithm must not."""
    log = EventLog()
    log.connect()
    log.lost(0.0)
    log.try_to_open(0.0)
    log.opened(0.0)
    log.first_message(0.0)
    assert figure_png(gaps_vs_backoff(log.table()).get_figure(root=True))


def test_ten_thousand_outages() -> None:
    """All of them are there, in a dozen artists."""
    ax = gaps_vs_backoff(ten_thousand())
    drawn = [artist for artist in ax.get_children() if (artist.get_gid() or "").startswith("outages:")]
    assert sum(len(artist.get_offsets()) for artist in drawn if isinstance(artist, PathCollection)) == 10_000
    assert len(drawn) <= 10


def test_hostile_text_is_only_text() -> None:
    """A cause with mathematics and markup in it is shown letter by letter."""
    log = EventLog()
    log.connect()
    log.lost(1.0, cause="_$\\frac$\u202e<img>")
    log.try_to_open(1.0)
    log.opened(0.1)
    log.first_message(0.1)
    ax = gaps_vs_backoff(log.table())
    figure_png(ax.get_figure(root=True))
    first = legend_texts(ax)[0]
    assert first.get_text() == "$\\frac$ <img> (1)"
    assert not first.get_parse_math()


def test_of_a_hundred_thousand_ordinary_gaps_no_place_is_left_out() -> None:
    """The axis shows shorter gaps too, not only the longest few thousand; where there is none it stays empty."""
    lengths = np.sort(np.append(np.random.default_rng(1).uniform(1.0, 5.0, 100_000), [30.0, 200.0]))
    drawn = _thinned(lengths)
    assert len(drawn) < 1_000
    assert drawn[-2:].tolist() == [30.0, 200.0]
    assert drawn[0] < 1.01
    between = np.diff(np.log10(drawn[:-2]))
    assert between.max() < 2 / 400
    assert set(drawn) <= set(lengths)
