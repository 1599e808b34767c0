"""How long silences are, as a picture."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tests.notebook.picture import artist, artists, assert_plain, legend, more, ten_thousand, title
from tests.study.eventlog import START_NS, EventLog, days, ns, trades
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.gap_distribution import gap_distribution, survival
from wsresearch.schema import EVENTS
from wsresearch.study import gaps, outages


def _log() -> EventLog:
    """Return an outage of 3 s from 5.07 s on."""
    log = EventLog()
    log.connect()
    log.wait(5)
    log.lost(0.5, cause="reset")
    log.try_to_open(2.0)
    log.opened(0.25)
    log.first_message(0.25)
    return log


# Nine ordinary gaps: one of 5 ms, six of 10 ms, one of 4.005 s and one of 1 s; one of 3 s in the outage.
_STEPS = (0.005, *(0.01,) * 6, 4.005, 1.0, 3.0)


def _trades(*, missing: int = 0) -> pa.Table:
    times = START_NS + ns(5.07) - np.cumsum([0.0, 1.0, 4.005, *(0.01,) * 6, 0.005]) * 1e9
    found = trades([*sorted(int(t) for t in times), START_NS + ns(8.07)])
    return found.slice(0, len(found) - missing)


def _curve(ax: Axes, gid: str) -> NDArray[Any]:
    return np.asarray(artist(ax, gid).get_xydata())


def _at(ax: Axes, gid: str, t: float) -> float:
    """Read P(gap > t) off a curve of steps as a reader would."""
    x, y = _curve(ax, gid).T
    return float(y[np.searchsorted(x, t, side="right") - 1])


def test_the_curves_are_what_was_counted() -> None:
    """Both are shares of all gaps, exact at every t, and end at their longest gap above zero."""
    ax = gap_distribution(_log().table(), trades=_trades())
    for t, share in ((0.002, 0.9), (0.006, 0.8), (0.02, 0.2), (0.5, 0.2), (2.0, 0.1), (4.0, 0.1)):
        assert _at(ax, "ordinary gaps", t) == pytest.approx(share)
    assert _curve(ax, "ordinary gaps")[-1] == pytest.approx([4.005, 0.1])
    assert _curve(ax, "gaps in an outage")[-1] == pytest.approx([3.0, 0.1])
    assert _curve(ax, "gaps in an outage:marks") == pytest.approx(np.array([[3.0, 0.1]]))
    assert artist(ax, "ordinary gaps").get_drawstyle() == "steps-post"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_it_says_what_it_shows() -> None:
    """The title is the finding, both axes say what they are, the legend counts."""
    ax = gap_distribution(_log().table(), trades=_trades())
    assert title(ax) == "Half of the ordinary gaps last 10 ms or longer"
    assert more(ax) == "longest ordinary gap: 4.00 s; in the outage: 3.00 s"
    assert ax.get_xlabel() == "t, silence between two messages (s)"
    assert ax.get_ylabel() == "share of all gaps longer than t"
    assert legend(ax) == ["ordinary gaps (9)", "gaps in an outage (1)"]
    figure_png(ax.get_figure(root=True))
    assert {"0.001", "0.1", "1"} <= {label.get_text() for label in ax.get_xticklabels()}


def test_the_idle_timeout_is_a_line_and_a_question() -> None:
    """How many living connections would it have dropped?"""
    ax = gap_distribution(_log().table(), trades=_trades(), idle_timeout=30)
    assert artist(ax, "idle timeout").get_xdata() == [30, 30]
    assert ax.get_xlim()[1] > 30
    assert title(ax) == "No ordinary gap was longer than the idle timeout of 30 s"
    assert legend(ax)[-1] == "idle timeout (30 s)"
    near = gap_distribution(_log().table(), trades=_trades(), idle_timeout=0.5)
    assert title(near) == "2 of 9 ordinary gaps were longer than the idle timeout of 0.5 s"
    assert not artists(gap_distribution(_log().table(), trades=_trades()), "idle timeout")


@dataclass
class _Identity:
    config: dict[str, Any] = field(default_factory=lambda: {"idle_timeout": 2.5})


class _Capture:
    """As much of a capture as the picture asks for."""

    identity = _Identity()

    def events(self) -> pa.Table:
        return _log().table()

    def trades(self, *, columns: list[str]) -> pa.Table:
        return _trades().select(columns)


def test_a_capture_will_do() -> None:
    """Two columns of its trades are read, and its idle timeout is known."""
    ax = gap_distribution(_Capture())
    assert title(ax) == "1 of 9 ordinary gaps was longer than the idle timeout of 2.5 s"


def test_a_table_of_gaps_will_do() -> None:
    """Of those longer than a second alone; the axis says that shares are of these."""
    found = gaps(_trades(), longer_than=0.5, outages=outages(_log().table()))
    ax = gap_distribution(_log().table(), gaps=found, longer_than=0.5)
    assert ax.get_ylabel() == "share of gaps over 0.5 s longer than t"
    assert _curve(ax, "ordinary gaps")[0] == pytest.approx([0.5, 2 / 3])
    assert legend(ax) == ["ordinary gaps (2)", "gaps in an outage (1)"]


def test_messages_at_one_instant_have_no_place_on_a_logarithm() -> None:
    """They count as gaps of 0 s, and the picture says that it does not draw them."""
    log = EventLog()
    log.connect()
    ax = gap_distribution(log.table(), trades=trades([START_NS] * 3 + [START_NS + ns(1)] * 2))
    assert _curve(ax, "ordinary gaps").tolist() == [[0.05, 0.25], [1.0, 0.25]]
    assert "not drawn: 3 of 0 s" in more(ax)
    figure_png(ax.get_figure(root=True))


def test_a_stop_of_ours_is_no_silence_of_the_market() -> None:
    """Between two runs nobody listened; a night without a collector is not the longest gap."""
    log = _log()
    log.wait(2)
    log.add("stopped")
    log.wait(40_000)
    log.connect()
    after = trades([log.now + ns(1), log.now + ns(2)], connection=3)
    before = trades([log.now - ns(40_001)], connection=2)
    ax = gap_distribution(log.table(), trades=pa.concat_tables([_trades(), before, after]))
    assert _curve(ax, "ordinary gaps")[-1][0] == pytest.approx(4.005)
    assert "1 gap across a stop" in more(ax)


def test_an_outage_without_an_end_is_no_gap_yet() -> None:
    """It has no length, and the picture says that it is missing."""
    log = EventLog()
    log.connect()
    log.wait(1)
    log.lost(1.0)
    log.try_to_open(1.0)
    log.add("stopped")
    ax = gap_distribution(log.table(), trades=trades([START_NS, START_NS + ns(1)]))
    assert more(ax) == "longest ordinary gap: 1.00 s; not drawn: 1 outage without an end"
    assert title(ax) == "One ordinary gap"


def test_without_trades_the_outages_are_a_curve() -> None:
    """A capture of which only the events are there still shows what they tell."""
    ax = gap_distribution(_log().table())
    assert title(ax) == "1 gap, all in outages"
    assert _curve(ax, "gaps in an outage")[-1] == pytest.approx([3.0, 1.0])


@pytest.mark.parametrize("found", [None, trades([]), trades([START_NS]), trades([START_NS, START_NS])])
def test_nothing_is_a_picture_too(found: pa.Table | None) -> None:
    """No event, no trade, one trade, or two at once."""
    ax = gap_distribution(EVENTS.empty_table(), trades=found)
    assert title(ax) == "No gap"
    assert figure_png(ax.get_figure(root=True))


@given(st.lists(st.integers(0, 10**12), max_size=60), st.integers(0, 10**12), st.integers(0, 50))
def test_survival_is_exact(lengths: list[int], since: int, others: int) -> None:
    """At every place that is drawn: the number of longer gaps, divided by all; never 0, never rising."""
    ordered = np.sort(np.array(lengths, dtype=np.int64))
    t, share = survival(ordered, len(lengths) + others, since=since)
    if not lengths or max(lengths) <= since:
        assert not len(t)
        return
    assert (t[0], t[-1]) == (since / 1e9, max(lengths) / 1e9)
    for place, at in zip(t[:-1], share[:-1], strict=True):
        assert at == sum(length > round(place * 1e9) for length in lengths) / (len(lengths) + others)
    assert (share > 0).all()
    assert (np.diff(share) <= 0).all()


def test_ten_million_gaps() -> None:
    """Thinned out exactly: a curve of a thousand points is right at each, and its tail has every single gap."""
    draw = np.random.default_rng(1)
    steps = (draw.lognormal(0, 2, 10_000_000) * 1e6).astype(np.int64)
    times = pa.array(START_NS + np.cumsum(steps), pa.timestamp("ns", tz="UTC"))
    table = pa.table({"recv_time": times, "connection": pa.array(np.ones(len(steps), dtype=np.int32))})
    log = EventLog()
    log.connect()
    began = time.process_time()
    ax = gap_distribution(log.table(), trades=table)
    figure_png(ax.get_figure(root=True))
    assert time.process_time() - began < 8
    curve = _curve(ax, "ordinary gaps")
    lengths = np.sort(steps[1:])
    assert len(curve) <= 1101
    for t, share in curve[:-1:50]:
        assert share == (lengths > round(t * 1e9)).sum() / len(lengths)
    assert np.isin(lengths[-300:] / 1e9, curve[:, 0]).all()
    assert title(ax) == f"1 in 1,000 ordinary gaps lasts {lengths[-10_000] / 1e6:.0f} ms or longer"


def test_many_outages_are_one_curve() -> None:
    """Ten thousand are not ten thousand marks."""
    ax = gap_distribution(ten_thousand())
    assert len(_curve(ax, "gaps in an outage:marks")) == 1
    assert len(ax.get_children()) < 30
    assert len(_curve(gap_distribution(days(200, span=86_400).table()), "gaps in an outage:marks")) == 200


def test_wrong_values_are_refused_and_text_is_plain() -> None:
    """The message names the value; nothing a server wrote is on the picture."""
    for wrong in ({"longer_than": -1.0}, {"idle_timeout": float("nan")}, {"idle_timeout": "30"}):
        with pytest.raises(UsageError, match="give seconds, 0 or more"):
            gap_distribution(_log().table(), **wrong)
    ax = gap_distribution(days(5, span=60, causes=("$\\frac$",)).table(), title="$x$", palette="dark")
    assert title(ax) == "$x$"
    assert_plain(ax)
