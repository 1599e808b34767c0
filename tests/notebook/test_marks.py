"""Many marks as one artist."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.notebook.picture import artists, boxes
from wsresearch.notebook.canvas import figure_png, new_axes
from wsresearch.notebook.marks import add_boxes, add_marks, add_minor_ticks, add_segments
from wsresearch.notebook.palette import LIGHT

NONE = np.empty(0)


def _ax() -> Axes:
    ax = new_axes(None, LIGHT, width=8, height=4)
    ax.set_xlim(0, 10)
    ax.set_ylim(1, 100)
    return ax


def test_they_are_where_they_belong_and_the_limits_stay() -> None:
    """Whatever is added later: a picture has settled what it shows."""
    ax = _ax()
    x = np.array([1.0, 200.0])
    assert add_marks(ax, x, 5, marker="o", size=9).get_offsets().tolist() == [[1, 5], [200, 5]]
    add_boxes(ax, x, x + 1, 0, np.array([3, 4]), gid="boxes")
    assert boxes(ax, "boxes") == [(1, 2, 0, 3), (200, 201, 0, 4)]
    lines = add_segments(ax, x, 0, x, 7)
    assert [segment.tolist() for segment in lines.get_segments()] == [[[1, 0], [1, 7]], [[200, 0], [200, 7]]]
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 10), (1, 100))


def test_nothing_is_drawn_of_nothing() -> None:
    """The artist is there and can be asked, and costs no time."""
    ax = _ax()
    added = (
        add_marks(ax, NONE, NONE, marker="x", size=9),
        add_boxes(ax, NONE, NONE, 0, 1),
        add_segments(ax, NONE, 0, NONE, 1),
    )
    assert not any(one.get_visible() for one in added)
    assert figure_png(ax.get_figure(root=True))


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_minor_ticks_are_inside_the_limits(scale: str) -> None:
    """One artist for each axis, in place of two lines and two labels for each tick."""
    ax = _ax()
    ax.set_yscale(scale)
    add_minor_ticks(ax, LIGHT, x=[-1, 3, 11], y=[0.5, 2, 50, 200])
    across, up = artists(ax, "minor ticks")
    assert across.get_xydata().tolist() == [[3, 0]]
    assert up.get_xydata().tolist() == [[0, 2], [0, 50]]
    assert ax.get_xlim() == (0, 10)
    assert figure_png(ax.get_figure(root=True))
