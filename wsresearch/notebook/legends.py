"""What explains the marks of a picture, below or beside it; the marks themselves are not here.

A legend is plain lines and texts whose ``gid`` is ``legend``. matplotlib's own asks each of its nested boxes for its
extent again and again, which takes longer than drawing the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, ScaledTranslation, Transform

from wsresearch.notebook.canvas import note
from wsresearch.notebook.palette import Palette

__all__ = ["Sign", "key", "legend_below", "legend_beside", "stroke"]

Sign = tuple[str, Line2D]
"""A label and its mark."""

_MOST: Final = 14
"""Signs below a picture; there is no room for more."""

_SIZE: Final = 9.0
_HANDLE: Final = 11.7
_GAP: Final = 4.5
_TEXT: Final = _HANDLE + _GAP
_WIDE: Final = 20.0
_FIRST: Final = 45.8
_ROW: Final = 14.2
_BETWEEN: Final = 16.2
_MIDDLE: Final = 3.15
"""Half the height of a small letter: where a mark stands above the baseline of its label. All of these in points."""


def key(marker: str, colour: str, *, size: float = 6.5, hollow: bool = False) -> Line2D:
    """Return a mark for a legend."""
    line = Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=size)
    if hollow:
        line.set_markerfacecolor("none")
    return line


def stroke(colour: str, *, width: float = 1.2, style: Any = "-", marker: str = "None") -> Line2D:
    """Return a line for a legend, with a mark on it if there is a marker."""
    return Line2D([], [], color=colour, linewidth=width, linestyle=style, marker=marker, markersize=4)


def _points(ax: Axes, x: float, y: float) -> Transform:
    """Return a transform for distances in points from a place in the axes (0 to 1)."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    corner = ScaledTranslation(x, y, ax.transAxes)  # type: ignore[arg-type]  # any transform will do
    return Affine2D().scale(1 / 72) + figure.dpi_scale_trans + corner


def _put(
    ax: Axes, sign: Sign, x: float, y: float, *, place: Transform, palette: Palette, handle: float = _HANDLE
) -> Text:
    label, line = sign
    alone = line.get_linestyle() == "None"
    line.set_data([handle / 2] if alone else [0, handle / 2, handle], [0] if alone else [0, 0, 0])
    line.set_markevery(None if alone else [1])
    line.set(transform=Affine2D().translate(x, y + _MIDDLE) + place, clip_on=False, gid="legend")
    ax.add_artist(line)
    return note(ax, x + handle + _GAP, y, label, transform=place, fontsize=_SIZE, color=palette.ink, gid="legend")


def legend_beside(ax: Axes, palette: Palette, title: str, signs: Sequence[Sign]) -> list[Text]:
    """Explain marks in a column to the right of the axes, and return its labels."""
    place = _points(ax, 1.015, 1.0)
    note(ax, 0, -8.8, title, transform=place, fontsize=_SIZE, color=palette.muted, gid="legend")
    rows = -27.0 - 16.2 * np.arange(len(signs))
    return [
        _put(ax, sign, 0, row, place=place, palette=palette, handle=_WIDE)
        for sign, row in zip(signs, rows.tolist(), strict=True)
    ]


def _columns(widths: Sequence[float], most: int, room: float) -> list[float]:
    """Return where the columns begin, as many as have room side by side."""
    for columns in range(min(most, len(widths)), 0, -1):
        # As few columns as the rows then need: 7 signs in 6 columns are 4 and 3, not 6 and 1.
        rows = -(-len(widths) // columns)
        needed = -(-len(widths) // rows)
        starts = [0.0]
        for column in range(needed):
            starts.append(starts[-1] + _TEXT + max(widths[column::needed]) + _BETWEEN)
        if starts[-1] - _BETWEEN <= room or columns == 1:
            return starts[:-1]
    return [0.0]


def _rest(count: int) -> str:
    return f"and {count:,} more"


def _short(label: str) -> str:
    """Return a label with its end, where a count stands, but not much more than twenty characters of it."""
    return label if len(label) <= 22 else f"{label[:14]}…{label[-7:]}"


def legend_below(ax: Axes, palette: Palette, signs: Sequence[Sign], *, columns: int = 6) -> list[Text]:
    """Explain marks below the axis label, in rows from left to right, and return the labels.

    If there are more rows than there is room below, long labels are shortened, and then the last ones left out, in
    favour of a word that says how many.
    """
    if not signs:
        return []
    total = len(signs)
    if total > _MOST:
        signs = [*signs[: _MOST - 1], (_rest(total - _MOST + 1), key("None", palette.muted))]
    figure = ax.get_figure(root=True)
    assert figure is not None
    place = _points(ax, 0.0, 0.0)
    texts = [_put(ax, sign, 0, 0, place=place, palette=palette) for sign in signs]
    points = 72 / figure.dpi
    corner = ax.get_window_extent()
    room = (figure.bbox.width - corner.x0) * points - _BETWEEN
    fit = int((corner.y0 * points - _FIRST - 3) / _ROW) + 1

    def laid_out() -> list[float]:
        return _columns([text.get_window_extent().width * points for text in texts], columns, room)

    starts = laid_out()
    # Axes that end below the figure, or at its edge, are somebody's own arrangement.
    if 0 < fit < -(-len(texts) // len(starts)):
        for text in texts:
            text.set_text(_short(text.get_text()))
        starts = laid_out()
        kept = fit * len(starts)
        if kept < len(texts):
            texts[kept - 1].set_text(_rest(total - kept + 1))
            signs[kept - 1][1].set_visible(False)
            for text, (_, line) in zip(texts[kept:], signs[kept:], strict=True):
                text.remove()
                line.remove()
            texts, signs = texts[:kept], signs[:kept]
    for at, (text, (_, line)) in enumerate(zip(texts, signs, strict=True)):
        row, column = divmod(at, len(starts))
        x, y = starts[column], -_FIRST - _ROW * row
        text.set_position((x + _TEXT, y))
        line.set_transform(Affine2D().translate(x, y + _MIDDLE) + place)
    return texts
