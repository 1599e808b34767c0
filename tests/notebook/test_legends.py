"""What explains the marks."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.notebook.picture import assert_plain, legend
from wsresearch.notebook.canvas import figure_png, new_axes
from wsresearch.notebook.legends import key, legend_below, legend_beside, stroke
from wsresearch.notebook.palette import LIGHT


def _ax() -> Axes:
    return new_axes(None, LIGHT, width=8, height=4)


def _places(texts: list[Text]) -> list[tuple[int, int]]:
    """Return column and row of each label."""
    boxes = [text.get_window_extent() for text in texts]
    lefts = sorted({round(box.x0) for box in boxes})
    rows = sorted({round(text.get_position()[1]) for text in texts}, reverse=True)
    pairs = zip(texts, boxes, strict=True)
    return [(lefts.index(round(box.x0)), rows.index(round(text.get_position()[1]))) for text, box in pairs]


@pytest.mark.parametrize(("count", "across"), [(1, 1), (6, 6), (7, 4), (11, 6), (12, 6)])
def test_rows_read_from_left_to_right(count: int, across: int) -> None:
    """In the order given, in columns that stand below each other, rows as even as can be."""
    texts = legend_below(_ax(), LIGHT, [(f"c{at:02}", key("o", "red")) for at in range(count)])
    assert _places(texts) == [(at % across, at // across) for at in range(count)]


def test_long_labels_have_fewer_columns() -> None:
    """Nothing overlaps, and nothing leaves the figure on the right as long as one column has room."""
    ax = _ax()
    texts = legend_below(
        ax, LIGHT, [("a long cause of forty characters or so " * (1 + at % 2), key("o", "red")) for at in range(5)]
    )
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    figure = ax.get_figure(root=True)
    assert figure is not None
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_there_is_an_end_to_it() -> None:
    """Of a hundred causes as many are named as there is room for, and how many are not."""
    for label, least in (("cause {}", 9), ("a cause of {} with forty characters and more", 5)):
        ax = _ax()
        texts = legend_below(ax, LIGHT, [(label.format(at), key("o", "red")) for at in range(100)])
        named = legend(ax)
        assert least <= len(named) <= 14
        assert named[-1] == f"and {101 - len(named)} more"
        assert min(text.get_window_extent().y0 for text in texts) >= 0


def test_somebodys_own_arrangement_is_left_alone() -> None:
    """In axes that reach to the bottom of the figure nothing is hidden: it may be cut out larger."""
    figure = Figure(figsize=(8, 4))
    ax = figure.add_axes((0, 0, 1, 1))
    texts = legend_below(
        ax, LIGHT, [(f"a cause of {at} with forty characters and more", key("o", "red")) for at in range(9)]
    )
    assert [text.get_text() for text in texts][-1] == "a cause of 8 with forty characters and more"


def test_it_keeps_its_distance_when_the_figure_grows() -> None:
    """Below the axis label, whatever the size."""
    ax = _ax()
    (text,) = legend_below(ax, LIGHT, [("cause", key("o", "red"))])
    figure = ax.get_figure(root=True)
    assert figure is not None
    before = ax.get_window_extent().y0 - text.get_window_extent().y1
    figure.set_size_inches(16, 12)
    assert ax.get_window_extent().y0 - text.get_window_extent().y1 == pytest.approx(before, abs=1)


def test_a_legend_is_plain_and_quiet() -> None:
    """Foreign words are letters; without a mark there is nothing; beside the axes stands a title too."""
    ax = _ax()
    assert legend_below(ax, LIGHT, []) == []
    legend_below(ax, LIGHT, [("$x$", stroke("red", marker="o"))])
    legend_beside(ax, LIGHT, "ids lost", [("10", key("o", "red")), ("100", key("o", "red", hollow=True))])
    assert legend(ax) == ["$x$", "ids lost", "10", "100"]
    assert_plain(ax)
    assert figure_png(ax.get_figure(root=True))
