"""A storm as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.notebook.picture import artist, assert_plain, boxes, legend, more, title
from wsresearch.errors import UsageError
from wsresearch.notebook import plots
from wsresearch.notebook.canvas import figure_png
from wsresearch.reconnect import Constant, Exponential, FullJitter
from wsresearch.study import Admission, Member, Storm, storm


def made(mix: Any = "full-jitter=0.6,seed-java-websocket=0.4", **given: Any) -> Storm:
    options = {"clients": 500, "outage": 30, "rng": np.random.default_rng(1)} | given
    return storm(mix, **options)


def twin(ax: Axes) -> Axes:
    (beside,) = [other for other in ax.figure.axes if other is not ax]
    return beside


def test_lines_are_what_happened() -> None:
    """Attempts and connections of each second above; below, each member's share of clients that are back."""
    found = made(admission=Admission(accept_rate=40, queue=30))
    ax = plots.storm(found)
    for name in ("attempts", "opened"):
        seconds = found.seconds[name].to_numpy().reshape(2, -1).sum(axis=0)
        assert artist(ax, name).get_ydata()[:-1].tolist() == seconds.tolist()
        assert artist(ax, name).get_drawstyle() == "steps-post"
    back = found.seconds["back"].to_numpy().reshape(2, -1)
    for number, clients in enumerate((300, 200)):
        drawn = artist(twin(ax), f"back:{number}").get_ydata()
        np.testing.assert_allclose(drawn[1:], 100 * np.cumsum(back[number]) / clients)
    ((left, right, _, _),) = boxes(ax, "outage")
    assert (left, right) == (0, 30)


def test_it_says_what_it_shows() -> None:
    """The title is the finding, axes have units, and the legend says what became of each member."""
    ax = plots.storm(made(link=0))
    assert title(ax).startswith("500 clients, server gone for 30.0 s: half are back after ")
    assert "in vain; in the busiest 100 ms" in more(ax)
    assert more(ax).endswith("; 1,000 connections too many")  # five of six, 200 times
    assert (ax.get_ylabel(), twin(ax).get_ylabel()) == ("per second", "clients back (%)")
    assert ax.get_xlabel() == "seconds since the outage began"
    assert legend(ax)[:2] == ["attempts/s", "connections opened/s"]
    assert legend(ax)[2].startswith("full-jitter: all back after ")


def test_who_never_comes_back_is_told() -> None:
    """The silent end has its number, and a picture of nothing but failures reaches the end of the outage."""
    ax = plots.storm(made("seed-java-websocket", outage=100))
    assert title(ax) == "500 clients, server gone for 1 min 40 s: 0 came back, 500 never will"
    assert legend(ax)[2] == "seed-java-websocket: 0 % back, 100 % gone"
    assert ax.get_xlim() == (0, 101)
    still = plots.storm(made(Constant(), admission=Admission(accept_rate=1, queue=0), patience=20))
    assert "still try" in title(still)


@pytest.mark.parametrize("palette", ["light", "dark"])
def test_one_client_and_many_seconds(palette: str) -> None:
    """The smallest storm is a picture; of a long one each step is the highest of its seconds, so no peak is lost."""
    ax = plots.storm(made(FullJitter(), clients=1, outage=0), palette=palette)
    assert title(ax).startswith("1 client, server gone for 0 s: back after ")
    assert figure_png(ax.get_figure(root=True))
    found = made(Exponential(), outage=2000)
    long = plots.storm(found, palette=palette)
    assert len(artist(long, "attempts").get_ydata()) <= 901
    assert max(artist(long, "attempts").get_ydata()) == max(found.seconds["attempts"].to_pylist())
    assert "steps: the highest of 3 s" in long.get_xlabel()
    assert figure_png(long.get_figure(root=True))


def test_it_draws_into_given_axes_and_only_plain_text() -> None:
    """``ax=`` is drawn on and returned, names are words, and what is no storm is refused."""
    below = Figure().subplots(2, 1)[1]
    hostile = Member(client=Constant(), name="_$\\frac{1}{0}$\N{RIGHT-TO-LEFT OVERRIDE}")
    assert plots.storm(made([hostile]), below, title="mine $x$") is below
    assert title(below) == "mine $x$"
    assert_plain(below)
    with pytest.raises(UsageError, match=r"takes what study\.storm\(\) returned, not str"):
        plots.storm("storm")  # type: ignore[arg-type]
