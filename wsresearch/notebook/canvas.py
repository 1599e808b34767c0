"""A private figure for a picture, its dress and its bytes; what the picture shows is not here.

Neither pyplot nor a global rcParam is touched, because pictures are drawn by several threads, and every colour,
size and font is given here, because the reader may have set rcParams of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.ticker import NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from wsresearch.errors import UsageError
from wsresearch.notebook.findings import Findings
from wsresearch.notebook.lettering import LetteringCanvas
from wsresearch.notebook.palette import Palette
from wsresearch.notebook.png import encode_png
from wsresearch.study.outages import outages
from wsresearch.study.rows import Event, read_events

__all__ = [
    "FONT",
    "Material",
    "axes_in",
    "blank",
    "close_fonts",
    "dress",
    "figure_png",
    "material",
    "new_axes",
    "new_figure",
    "note",
    "shifted",
    "write",
]

FONT: Final = "DejaVu Sans"
"""Comes with matplotlib, so a picture is the same on every machine."""

_DPI: Final = 110
_BELOW: Final = -22.0
"""Where the label of a horizontal axis begins, in points."""
_MARGINS: Final = {"left": 1.15, "right": 1.6, "top": 0.8, "bottom": 1.05}


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a picture is made of: the events as they were read, the outages in them, and tables where there are any."""

    events: list[Event]
    outages: pa.Table
    stats: pa.Table | None = None
    trades: pa.Table | None = None


def material(
    data: Any, *, trades: pa.Table | None = None, stats: pa.Table | None = None, columns: Sequence[str] = ()
) -> Material:
    """Return what a capture, or an events table with others beside it, has for a picture.

    Parameters
    ----------
    data
        An events table, or an object whose ``events()``, ``stats()`` and ``trades(columns=)`` return tables; what a
        report has found is not looked for again by each of its pictures.
    trades, stats
        Used instead of the object's own.
    columns
        Columns of the trades that the picture needs; none are read if it needs none.

    Raises
    ------
    UsageError
        If ``data`` is neither.
    """
    if not callable(getattr(data, "events", None)):
        if not hasattr(data, "__arrow_c_stream__"):
            raise UsageError(
                f"a plot takes a capture or its events table, not {type(data).__name__}; give capture.events()"
            )
        rows = read_events(data)
        return Material(events=rows, outages=outages(rows), trades=trades, stats=stats)
    if trades is None and columns and callable(getattr(data, "trades", None)):
        trades = data.trades(columns=list(columns))
    if stats is None and callable(getattr(data, "stats", None)):
        stats = data.stats()
    rows = read_events(data.events())
    lost = data.outages if isinstance(data, Findings) else outages(rows)
    return Material(events=rows, outages=lost, trades=trades, stats=stats)


def new_figure(width: float, height: float, palette: Palette) -> Figure:
    """Return a figure of its own, in inches, that no global list knows and that the garbage collector frees."""
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=palette.background)
    LetteringCanvas(figure)
    return figure


def axes_in(figure: Figure, *, bottom: float, height: float, palette: Palette) -> Axes:
    """Return dressed axes in a strip of a figure; ``bottom`` and ``height`` in inches, margins included."""
    width, whole = figure.get_size_inches()
    rectangle = (
        _MARGINS["left"] / width,
        (bottom + _MARGINS["bottom"]) / whole,
        (width - _MARGINS["left"] - _MARGINS["right"]) / width,
        (height - _MARGINS["bottom"] - _MARGINS["top"]) / whole,
    )
    ax = figure.add_axes(rectangle)
    dress(ax, palette)
    return ax


def new_axes(ax: Axes | None, palette: Palette, *, width: float, height: float) -> Axes:
    """Return the axes that were given, dressed, or new ones in a figure of their own."""
    if ax is None:
        figure = new_figure(width, height, palette)
        return axes_in(figure, bottom=0, height=height, palette=palette)
    dress(ax, palette)
    return ax


def dress(ax: Axes, palette: Palette) -> None:
    """Give axes the colours of a palette."""
    ax.set_facecolor(palette.background)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(palette.muted)
        spine.set_linewidth(0.8)
    ax.tick_params(
        which="both", color=palette.muted, labelcolor=palette.ink, labelsize=9, labelfontfamily=FONT, width=0.8
    )
    ax.tick_params(which="major", length=3.5)
    ax.grid(visible=False)
    ax.set_axisbelow(True)


def _plainly(text: Text) -> Text:
    # A "$" in a close reason is a dollar; with usetex on, foreign text would even run as a TeX program.
    text.set_parse_math(False)
    text.set_usetex(False)
    text.set_fontfamily(FONT)
    return text


def shifted(ax: Axes, transform: Transform, x: float, y: float) -> Transform:
    """Return a transform whose result is moved by points (1/72 inch), whatever the size of the axes."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return transform + ScaledTranslation(x / 72, y / 72, figure.dpi_scale_trans)


def write(ax: Axes, palette: Palette, *, title: str = "", more: str = "", x: str = "", y: str = "") -> None:
    """Write title, a second line below it and axis labels as they stand, without mathematics."""
    pad = 25 if more else 10
    kept = ax.set_title(title, loc="left", fontsize=12, fontweight="bold", color=palette.ink, pad=pad, y=1.0)
    if more:
        above = shifted(ax, ax.transAxes, 0, 11)
        note(ax, 0, 1, more, transform=above, fontsize=9.5, color=palette.muted, va="baseline", gid="more")
    for text in (kept, ax.set_xlabel(x), ax.set_ylabel(y)):
        _plainly(text)
    for text in (ax.xaxis.label, ax.yaxis.label):
        text.set(color=palette.muted, fontsize=9.5, fontweight="normal")
    # In its place once and for all: otherwise every drawing measures all tick labels to find it.
    ax.xaxis.set_label_coords(0.5, 0, transform=shifted(ax, ax.transAxes, 0, _BELOW))


def note(ax: Axes, x: float, y: float, words: str, **style: Any) -> Text:
    """Write words into axes as they stand, without mathematics."""
    return _plainly(ax.text(x, y, words, **style))


def blank(ax: Axes, palette: Palette, words: str) -> Axes:
    """Say in empty axes why they are empty."""
    for axis in (ax.xaxis, ax.yaxis):
        # The formatter goes too: that of a time axis, left over from a picture before, cannot format nothing.
        axis.set_major_locator(NullLocator())
        axis.set_major_formatter(NullFormatter())
        axis.set_minor_locator(NullLocator())
    for spine in ax.spines.values():
        spine.set_visible(False)
    note(ax, 0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", fontsize=11, color=palette.muted)
    return ax


def close_fonts() -> None:
    """Close the font files that matplotlib keeps open for threads that may have ended.

    It keeps those of the last 64 fonts, each thread's apart; whoever draws next opens its own again.
    """
    kept: Any = getattr(font_manager, "_get_font", None)
    if hasattr(kept, "cache_clear"):
        kept.cache_clear()


def figure_png(figure: Figure | SubFigure | None) -> bytes:
    """Return a figure as PNG: drawn for the first time, the same bytes for the same picture.

    Drawn again, words may differ by a trace of colour, for they come from memory then.

    Raises
    ------
    UsageError
        If the figure has no canvas that can draw pixels.
    """
    canvas = None if figure is None else figure.canvas
    if figure is None or not isinstance(canvas, FigureCanvasAgg):
        raise UsageError("this figure cannot be drawn as PNG; pass the figure of an Axes that a plot returned")
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return encode_png(pixels, dpi=figure.dpi)
