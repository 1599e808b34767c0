"""Figures of their own."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tests.study.eventlog import days
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.plots import gaps_vs_backoff, timeline

EVENTS = days(5, span=600).table()


def test_no_pyplot_and_no_global_setting() -> None:
    """Importing and drawing leaves pyplot unloaded and rcParams as they were: a kernel's own plots are untouched."""
    program = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams.copy())\n"
        "from tests.study.eventlog import days; from wsresearch.notebook import plots\n"
        "plots.overview_png(days(3, span=60).table())\n"
        "assert dict(matplotlib.rcParams.copy()) == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_a_readers_own_style_does_not_shine_through() -> None:
    """The same picture whatever the rcParams: colours, fonts and sizes are all given."""
    plain = figure_png(timeline(EVENTS).get_figure(root=True))
    own = {"text.color": "red", "axes.facecolor": "black", "font.size": 30, "axes.grid": True, "lines.linewidth": 9}
    with mpl.rc_context(own):
        assert figure_png(timeline(EVENTS).get_figure(root=True)) == plain


def test_the_same_picture_is_the_same_bytes_from_any_thread() -> None:
    """Several views draw at once; nothing is shared between their figures."""
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda _: figure_png(gaps_vs_backoff(EVENTS).get_figure(root=True)), range(8)))
    assert len(set(pictures)) == 1
    assert pictures[0].startswith(b"\x89PNG")


def test_a_figure_is_freed() -> None:
    """No list keeps it: a live view that draws for days does not grow."""
    ax = timeline(EVENTS)
    figure_png(ax.get_figure(root=True))
    figure = weakref.ref(ax.get_figure(root=True))
    del ax
    gc.collect()
    assert figure() is None


def test_a_figure_that_draws_no_pixels_is_refused() -> None:
    """The message says which figure to pass."""
    figure = Figure()
    FigureCanvasSVG(figure)
    for wrong in (figure, None):
        with pytest.raises(UsageError, match="cannot be drawn as PNG"):
            figure_png(wrong)
