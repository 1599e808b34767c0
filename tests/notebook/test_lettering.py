"""A canvas that remembers its words."""

from __future__ import annotations

import time

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tests.study.eventlog import days
from wsresearch.notebook.canvas import axes_in, new_figure
from wsresearch.notebook.lettering import LetteringCanvas
from wsresearch.notebook.palette import DARK, LIGHT, Palette
from wsresearch.notebook.timeline import timeline


def _pixels(figure: Figure) -> NDArray[np.int64]:
    canvas = figure.canvas
    assert isinstance(canvas, LetteringCanvas)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba()).astype(np.int64)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=lambda palette: palette.name)
def test_remembered_words_look_as_written_ones(palette: Palette) -> None:
    """Drawn for the third time from memory, a picture differs from the first in no pixel by more than a trace."""
    figure = new_figure(11, 5.1, palette)
    ax = axes_in(figure, bottom=0, height=5.1, palette=palette)
    timeline(days(20, span=600, causes=("reset", "Äß ёж «…» — 1 µs")).table(), ax, palette=palette)
    ax.text(0.31, 0.52, "in italics", style="italic", transform=ax.transAxes)
    ax.text(0.51, 0.72, "turned", rotation=30, transform=ax.transAxes)
    ax.text(0.71, 0.72, "$x^2$", transform=ax.transAxes)
    ax.text(0.71, 0.62, " ", transform=ax.transAxes)
    ax.text(0.01, 0.62, "half", alpha=0.5, transform=ax.transAxes)
    first, second, third = (_pixels(figure) for _ in range(3))
    assert np.abs(second - first).max() <= 3
    assert np.abs(third - first).max() <= 3
    assert (first[:, :, :3] != first[0, 0, :3]).any()


def test_remembering_pays() -> None:
    """The second drawing of the same words is faster than the first; otherwise this module had no reason to be."""
    figure = new_figure(8, 4, LIGHT)
    for row in range(60):
        figure.text(0.1, row / 60, f"row {row}: the quick brown fox jumps over the lazy dog")
    costs = []
    for _ in range(4):
        began = time.process_time()
        _pixels(figure)
        costs.append(time.process_time() - began)
    assert costs[3] < 0.7 * costs[0]


def test_changing_words_are_forgotten_again() -> None:
    """A countdown that runs for a day does not fill the memory."""
    figure = new_figure(4, 2, LIGHT)
    text = figure.text(0.1, 0.5, "")
    canvas = figure.canvas
    assert isinstance(canvas, LetteringCanvas)
    for number in range(900):
        text.set_text(f"{number}")
        _pixels(figure)
    renderer = canvas.get_renderer()
    assert len(renderer._seen) <= 400  # type: ignore[attr-defined]
    assert len(renderer._stamps) <= 400  # type: ignore[attr-defined]


def test_another_size_is_another_memory() -> None:
    """A figure that is resized draws its words in their new place and size."""
    figure = new_figure(4, 2, LIGHT)
    figure.text(0.5, 0.5, "words")
    small = [_pixels(figure) for _ in range(3)][-1]
    figure.set_size_inches(8, 4)
    large = _pixels(figure)
    assert large.shape[0] == 2 * small.shape[0]
    figure.set_size_inches(4, 2)
    assert np.abs(_pixels(figure) - small).max() <= 3
