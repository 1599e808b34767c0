"""What each outage was made of: detect, backoff, connect, first message; the phases themselves come from `study`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator

from wsresearch.notebook.canvas import blank, material, new_axes, note, shifted, write
from wsresearch.notebook.legends import Sign, key, legend_below
from wsresearch.notebook.marks import Floats, add_boxes, add_marks
from wsresearch.notebook.palette import PHASES, Palette, palette_named
from wsresearch.notebook.words import counted, duration, share

__all__ = ["recovery_phases"]

_EACH: Final = 40
"""Up to this many outages each is a bar of its own."""

_LABELLED: Final = 14
_GROUPS: Final = 10

_WIDTH: Final = 0.76
_HATCHED: Final = "first_message"
"""In grey it is as light as backoff."""

_WORDS: Final = 0.07
"""Least share that carries its number."""


def _named(phase: str) -> str:
    return phase.replace("_", " ")


def _phases(lost: pa.Table) -> Floats:
    """Return the seconds of each phase, shape (outages, 4)."""
    return np.column_stack([lost[phase].to_numpy() for phase in PHASES])


def _stack(ax: Axes, palette: Palette, x: Floats, heights: Floats) -> None:
    """Draw columns of phases; ``heights`` has the shape (columns, 4). The limits of the axes must have been set."""
    tops = np.cumsum(heights, axis=1)
    # An edge parts neighbours, but it would cover the least of them altogether.
    edges = np.where(heights > 0.012 * ax.get_ylim()[1], 0.6, 0.0)
    for at, (phase, colour) in enumerate(palette.phases.items()):
        style = {"facecolor": colour, "edgecolor": palette.background, "linewidths": edges[:, at], "zorder": 2}
        low = tops[:, at] - heights[:, at]
        boxes = add_boxes(ax, x - _WIDTH / 2, x + _WIDTH / 2, low, tops[:, at], gid=f"phase:{phase}", **style)
        if phase == _HATCHED:
            boxes.set(hatch="///", hatch_linewidth=0.5)


def _raise(ax: Axes, palette: Palette, x: Floats, y: Floats) -> None:
    """Mark columns that hold a lower bound with an arrow head above them."""
    above = shifted(ax, ax.transData, 0, 6)
    style: dict[str, Any] = {"facecolor": palette.background, "edgecolor": palette.ink, "linewidth": 1.1}
    add_marks(ax, x, y, size=26, marker="^", transform=above, gid="censored", zorder=4, clip_on=False, **style)


def _draw_each(ax: Axes, palette: Palette, lost: pa.Table) -> None:
    """Draw a bar for each outage, in the order of time, as high as it was long."""
    phases, censored = _phases(lost), lost["censored"].to_numpy(zero_copy_only=False)
    x, silence = np.arange(len(lost), dtype=np.float64), lost["silence"].to_numpy()
    # Few bars do not become broad ones.
    spare = max(0.0, (8 - len(lost)) / 2)
    ax.set_xlim(-0.6 - spare, len(lost) - 0.4 + spare)
    ax.set_ylim(0, 1.1 * max(float(silence.max()), 1e-6))
    _stack(ax, palette, x, phases)
    ax.grid(visible=True, axis="y", color=palette.faint, linewidth=0.8)
    _raise(ax, palette, x[censored], silence[censored])
    if len(lost) <= _LABELLED:
        for at, seconds in enumerate(silence.tolist()):
            words = ("> " if censored[at] else "") + duration(seconds)
            above = shifted(ax, ax.transData, 0, 13 if censored[at] else 4)
            style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8.5, "color": palette.ink}
            note(ax, at, seconds, words, transform=above, gid="length", **style)
    step = -(-len(lost) // 20)
    ax.xaxis.set_major_locator(FixedLocator(x[::step].tolist()))
    numbers = [f"{number:,}" for number in lost["outage"].to_pylist()[::step]]
    ax.xaxis.set_major_formatter(FixedFormatter(numbers))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:,.10g}"))


def _draw_groups(ax: Axes, palette: Palette, lost: pa.Table) -> None:
    """Draw the shares of the phases in ten equal groups of outages by their length, and in all of them."""
    phases, silence = _phases(lost), lost["silence"].to_numpy()
    censored = lost["censored"].to_numpy(zero_copy_only=False)
    order = np.argsort(silence, kind="stable")
    groups = [*np.array_split(order, _GROUPS), order]
    x = np.append(np.arange(_GROUPS), _GROUPS + 0.7).astype(np.float64)
    totals = np.array([phases[of].sum(axis=0) for of in groups])
    percent = 100 * totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-12)
    ax.set_xlim(-0.6, _GROUPS + 1.3)
    ax.set_ylim(0, 112)
    _stack(ax, palette, x, percent)
    style: dict[str, Any] = {"ha": "center", "fontsize": 8.5}
    for column, heights in zip(x.tolist(), percent.tolist(), strict=True):
        low = 0.0
        for height, colour in zip(heights, palette.phases.values(), strict=True):
            if height >= 100 * _WORDS:
                words = f"{height:.0f}"
                ink = _readable(colour)
                note(ax, column, low + height / 2, words, va="center", color=ink, gid="share", zorder=3, **style)
            low += height
    held = np.array([censored[of].any() for of in groups])
    _raise(ax, palette, x[held], np.full(held.sum(), 100.0))
    above = shifted(ax, ax.transData, 0, 13)
    middles = [duration(float(np.median(silence[of]))) for of in groups]
    for column, words in zip(x.tolist(), middles, strict=True):
        note(ax, column, 100, words, transform=above, va="bottom", color=palette.ink, gid="median", **style)
    outside = ax.get_yaxis_transform()
    note(ax, 1.012, 109, "median\nlength", transform=outside, va="center", fontsize=8.5, color=palette.muted)
    step = 100 // _GROUPS
    names = [f"{at * step}–{at * step + step} %" for at in range(_GROUPS)]
    ax.xaxis.set_major_locator(FixedLocator(x.tolist()))
    ax.xaxis.set_major_formatter(FixedFormatter([*names, "all"]))
    ax.tick_params(axis="x", length=0)
    ax.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:.0f}"))


def _readable(colour: str) -> str:
    """Return black or white, whichever stands out more from a colour (WCAG 2.2, relative luminance)."""
    value = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return "#000000" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else "#ffffff"


def _signs(lost: pa.Table, palette: Palette) -> list[Sign]:
    """Name each phase with its median and its total: medians of what ended, for a broken-off phase has no length."""
    phases, censored = _phases(lost), lost["censored"].to_numpy(zero_copy_only=False)
    signs = []
    for at, (phase, colour) in enumerate(palette.phases.items()):
        total = duration(float(phases[:, at].sum()))
        ended = phases[~censored, at]
        median = f"median {duration(float(np.median(ended)))}, " if len(ended) > 1 else ""
        mark = key("s", colour, size=8)
        if phase == _HATCHED:
            mark.set(fillstyle="left", markerfacecoloralt=palette.background)
        signs.append((f"{_named(phase)}: {median}total {total}", mark))
    return signs


def _finding(lost: pa.Table) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what stands out."""
    phases, silence = _phases(lost), lost["silence"].to_numpy()
    totals, whole = phases.sum(axis=0), float(silence.sum())
    most = int(np.argmax(totals))
    title = (
        f"{_named(PHASES[most]).capitalize()} took {share(float(totals[most]), whole)} of {duration(whole)} of silence"
    )
    rest: Sequence[str] = [
        f"{_named(phase)} {share(float(totals[at]), whole)}" for at, phase in enumerate(PHASES) if at != most
    ]
    censored = lost["censored"].to_numpy(zero_copy_only=False)
    ended = silence[~censored]
    more = ", ".join(rest)
    if len(ended) > 1:
        more += f"; the median of {counted(len(ended), 'recovery', 'recoveries')}: {duration(float(np.median(ended)))}"
    if censored.any():
        more += f"; {int(censored.sum()):,} whose end was not seen (arrow head)"
    return title, more


def recovery_phases(
    data: Any,
    ax: Axes | None = None,
    *,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw what outages were made of: the phases detect, backoff, connect and first message, stacked.

    Up to 40 outages are a bar each, in the order of time, as high as they were long: area is time. More are sorted by
    length and put into ten groups of equally many; a column then shows which share of its group's silence each phase
    took, so that the many short outages are not hidden below the few long ones, and above it stands the median length
    in the group. The last column is all outages together. An arrow head marks what holds an outage whose end was not
    seen: it counts as far as it was seen. The legend has medians of the outages that ended, and totals of all.

    Parameters
    ----------
    data
        A capture, or its events table.
    ax
        Where to draw; by default in a figure of its own.
    palette
        ``light``, ``dark`` or a :class:`~wsresearch.notebook.palette.Palette`.
    title
        Instead of the finding.

    Raises
    ------
    UsageError
        If ``data`` is neither, or a column is missing.
    """
    colours = palette_named(palette)
    ax = new_axes(ax, colours, width=11, height=5.0)
    lost = material(data).outages
    if not len(lost):
        write(ax, colours, title="No outage" if title is None else title)
        return blank(ax, colours, "there was nothing to recover from")
    each = len(lost) <= _EACH
    if each:
        _draw_each(ax, colours, lost)
        x, y = "number of the outage, in the order of time", "silence of market data (s)"
    else:
        _draw_groups(ax, colours, lost)
        size = len(lost) // _GROUPS
        x = f"outages from the shortest to the longest, in groups of {size:,}" + (
            f" or {size + 1:,}" if len(lost) % _GROUPS else ""
        )
        y = "share of the silence (%)"
    legend_below(ax, colours, _signs(lost, colours), columns=3)
    finding, more = _finding(lost)
    write(ax, colours, title=finding if title is None else title, more=more, x=x, y=y)
    return ax
