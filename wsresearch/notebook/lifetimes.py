"""How long connections lived and what ended them; survival that allows for censoring is estimated in `study`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from wsresearch.notebook.canvas import blank, material, new_axes, note, shifted, write
from wsresearch.notebook.legends import Sign, key, legend_below, stroke
from wsresearch.notebook.marks import Floats, add_marks, add_segments
from wsresearch.notebook.palette import Look, Palette, cause_looks, palette_named
from wsresearch.notebook.words import cause_labels, counted, duration, plain
from wsresearch.study.connections import connections

__all__ = ["age_ticks", "lifetimes"]

_LEAST: Final = 1e-3
"""Seconds; a shorter life, down to one too short for the clock, is drawn here, and the tick says so."""

_LABELLED: Final = 14
_EACH: Final = 60
"""Up to this many connections each has a row of its own."""

_LANES: Final = 8
"""Of more causes the rarest share a lane."""

_ON: Final = "open end"
_NAME: Final = 15
"""Characters of a cause that have room beside its lane; the legend has all of it."""

_DAY: Final = 86_400.0
_NEAR: Final = 0.5
"""From this share of a day on, the limit of the venues is worth a line."""

_COARSE: Final = (1e-3, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, _DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY)
_FINE: Final = (
    *(step * decade for decade in (1e-3, 0.01, 0.1) for step in (1, 2, 5)),
    *(step * unit for unit in (1, 60) for step in (1, 2, 5, 10, 20, 30)),
    *(step * 3600 for step in (1, 2, 3, 6, 12)),
    *(step * _DAY for step in (1, 2, 7, 14, 30, 90, 365)),
)
_UNITS: Final = ((_DAY, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lives:
    """Lives in seconds, rising; the cause of each, empty where it was not lost; and how a cause looks."""

    life: Floats
    causes: NDArray[np.str_]
    looks: dict[str, Look]
    palette: Palette

    def __len__(self) -> int:
        return len(self.life)

    @property
    def drawn(self) -> Floats:
        """Return the lives as far as a logarithm can show them."""
        return np.maximum(self.life, _LEAST)

    def of(self, cause: str) -> NDArray[np.bool_]:
        return np.asarray(self.causes == cause)


def _looks(lost: pa.Table, causes: NDArray[np.str_], palette: Palette) -> dict[str, Look]:
    """Give each cause the look that it has in the pictures of outages, those without an outage the next ones."""
    first = cause_labels(lost["cause"].to_pylist())
    here = set(causes.tolist()) - {""}
    looks = cause_looks([*first, *(cause for cause in causes.tolist() if cause)], palette)
    return {cause: look for cause, look in looks.items() if cause in here}


def _tick(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= 0.999 * size)
    return f"{seconds / size:.3g} {unit}"


def age_ticks(left: float, right: float) -> tuple[list[float], list[str]]:
    """Return lengths of time that people use, between two limits of a logarithmic axis, and their names."""
    at, fine = ([tick for tick in ticks if left <= tick <= right] for ticks in (_COARSE, _FINE))
    at = at if len(at) >= 4 else fine
    return at, [_tick(tick) for tick in at]


def _scale(ax: Axes, lives: _Lives, *, limit: bool) -> None:
    """Make the axis of the lives logarithmic, with ticks at lengths that people use."""
    low, high = float(lives.drawn[0]), float(lives.drawn[-1])
    left, right = low / 2, 2 * max(high, 10 * low, _DAY if limit else 0.0)
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    at, names = age_ticks(left, right)
    if float(lives.life[0]) < _LEAST:
        names[0] = f"≤ {names[0]}"  # that is where the shorter ones are drawn
    ax.xaxis.set_major_locator(FixedLocator(at))
    ax.xaxis.set_major_formatter(FixedFormatter(names))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(visible=True, axis="x", color=lives.palette.faint, linewidth=0.8)


def _mark(ax: Axes, lives: _Lives, cause: str, y: Floats, *, size: float, edge: float = 0.5) -> None:
    """Mark the ends of the lives with a cause at the heights given; without one they are open."""
    of, palette = lives.of(cause), lives.palette
    style: dict[str, Any] = {"facecolor": palette.background, "edgecolor": palette.ink, "linewidth": 1.1, "zorder": 5}
    marker, gid = ">", "censored"
    if cause:
        look = lives.looks[cause]
        style = {"facecolor": look.colour, "edgecolor": palette.background, "linewidth": edge, "zorder": 4}
        marker, gid = look.marker, f"ended:{cause}"
    add_marks(ax, lives.drawn[of], y, size=size, marker=marker, gid=gid, clip_on=False, **style)


def _draw_each(ax: Axes, lives: _Lives) -> None:
    """Draw a bar for each connection, the shortest life at the bottom, with the mark of its cause at its end."""
    palette = lives.palette
    place = np.arange(1, len(lives) + 1, dtype=np.float64)
    ax.set_ylim(0, len(lives) + 1)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:.0f}" if 0 < value <= len(lives) else ""))
    start = np.full(len(lives), ax.get_xlim()[0])
    # An open end is dashed: it would have gone on.
    for of, dashes in ((~lives.of(""), "-"), (lives.of(""), (0, (3, 2)))):
        bars = add_segments(ax, start[of], place[of], lives.drawn[of], place[of], gid="lives", zorder=2)
        bars.set(color=palette.lane, linewidth=1.6, linestyle=dashes)
    for cause in (*lives.looks, ""):
        _mark(ax, lives, cause, place[lives.of(cause)], size=42 if len(lives) <= _LABELLED else 26)
    if len(lives) <= _LABELLED:
        _label(ax, lives)


def _signs(lives: _Lives) -> list[Sign]:
    counts = {cause: int(lives.of(cause).sum()) for cause in (*lives.looks, "")}
    signs = [(f"{cause} ({counts[cause]:,})", key(look.marker, look.colour)) for cause, look in lives.looks.items()]
    if counts[""]:
        signs.append((f"{_ON}: ended by us, or goes on ({counts['']:,})", key(">", lives.palette.ink, hollow=True)))
    return signs


def _label(ax: Axes, lives: _Lives) -> None:
    """Write each length beside its mark."""
    left, right = np.log(ax.get_xlim())
    for at, (life, drawn, cause) in enumerate(zip(lives.life, lives.drawn, lives.causes, strict=True), start=1):
        words = duration(float(life)) if cause else f"> {duration(float(life))}"
        ends = right - np.log(drawn) < 0.1 * (right - left)
        beside = shifted(ax, ax.transData, 0 if ends else 9, 5 if ends else 0)
        style: dict[str, Any] = {"ha": "center" if ends else "left", "va": "bottom" if ends else "center"}
        note(ax, drawn, at, words, transform=beside, fontsize=8.5, color=lives.palette.ink, gid="length", **style)


def _draw_lanes(ax: Axes, lives: _Lives) -> None:
    """Draw a lane for each cause, the most frequent on top; in it, lives rise from the shortest to the longest."""
    palette = lives.palette
    counts = {cause: int(lives.of(cause).sum()) for cause in lives.looks}
    often = sorted(counts, key=lambda cause: -counts[cause])
    lanes = [[cause] for cause in often] if len(often) <= _LANES else [[c] for c in often[: _LANES - 1]]
    names = [lane[0] for lane in lanes]
    if len(often) > _LANES:
        lanes.append(often[_LANES - 1 :])
        names.append(f"{len(lanes[-1])} other causes")
    if lives.of("").any():
        lanes.append([""])
        names.append(_ON)
    heights = np.arange(len(lanes), dtype=np.float64)[::-1]
    ax.set_ylim(-0.5, len(lanes) - 0.5)
    rules = heights[:-1] - 0.5
    ends = np.zeros(len(rules)), np.ones(len(rules))
    across = ax.get_yaxis_transform()
    add_segments(ax, ends[0], rules, ends[1], rules, transform=across, colors=palette.faint, linewidths=0.8, zorder=0)
    size = 16 if len(lives) <= 1000 else 7
    words: dict[str, Any] = {"transform": across, "va": "center", "fontsize": 8.5, "color": palette.muted}
    for name, lane, height in zip(names, lanes, heights.tolist(), strict=True):
        within = np.isin(lives.causes, lane)
        rank = np.empty(len(lives))
        rank[within] = height - 0.38 + 0.76 * (np.arange(within.sum()) + 0.5) / within.sum()
        for cause in lane:
            _mark(ax, lives, cause, rank[lives.of(cause)], size=size, edge=0.5 if len(lives) <= 400 else 0.0)
        # A note and no tick label: those would read a "$" of a server's as mathematics.
        side: dict[str, Any] = {"ha": "right", "color": palette.ink, "gid": "lane"}
        note(ax, -0.008, height, plain(name, limit=_NAME), **words | side)
        middle, most = duration(float(np.median(lives.life[within]))), duration(float(lives.life[within][-1]))
        note(ax, 1.012, height, f"{middle}\nat most {most}" if lane != [""] else f"at most {most}", **words)
    note(ax, 1.012, len(lanes) - 0.46, "median life", **words | {"va": "bottom"})
    ax.yaxis.set_major_locator(NullLocator())


def _finding(table: pa.Table) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what stands out."""
    life, censored = table["life"].to_numpy(), table["censored"].to_numpy(zero_copy_only=False)
    lost, more = np.sort(life[~censored]), []
    if not len(lost):
        title = f"{counted(len(table), 'connection')}, none lost"
    elif len(lost) == 1:
        title = f"1 of {counted(len(table), 'connection')} was lost, after {duration(float(lost[0]))}"
    else:
        within = duration(float(lost[(len(lost) - 1) // 2]))
        title = f"{len(lost):,} of {counted(len(table), 'connection')} were lost, half of them within {within}"
        more.append(f"lost after {duration(float(lost[0]))} to {duration(float(lost[-1]))}")
    on = life[censored]
    if len(on):
        longest = duration(float(on.max()))
        whose = f"{counted(len(on), 'connection')} that we ended or that {'goes' if len(on) == 1 else 'go'} on"
        more.append(f"{whose}, at {longest}" if len(on) == 1 else f"{whose}, the oldest at {longest}")
    silent = table["first_message"].null_count
    if silent:
        more.append(f"{silent:,} delivered no market message")
    return title, "; ".join(more)


def lifetimes(
    data: Any,
    ax: Axes | None = None,
    *,
    stats: pa.Table | None = None,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw how old each connection was when it ended, from the shortest life to the longest.

    Up to 60 connections have a row each; more have a lane for each cause, in which their lives rise from the shortest
    to the longest. Colour and form are the cause, as in the pictures of outages. An open mark is a connection that
    we ended or that still goes on: it would have lived longer, so its life is a lower bound. These are the lives as
    they were seen and no estimate of survival: where many are open, a typical life is longer than the middle of the
    picture. When a life comes near to a day, the 24 hours after which a venue closes its connections are a line.

    Parameters
    ----------
    data
        A capture, or its events table.
    ax
        Where to draw; by default in a figure of its own.
    stats
        The stats table beside an events table; tells how long the last run has been alive.
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
    ax = new_axes(ax, colours, width=11, height=5.2)
    given = material(data, stats=stats)
    table = connections(given.events, stats=given.stats)
    if not len(table):
        write(ax, colours, title="No connection" if title is None else title)
        return blank(ax, colours, "no connection has been opened")
    table = table.take(np.argsort(table["life"].to_numpy(), kind="stable"))
    causes = np.array(cause_labels(table["cause"].to_pylist()))
    causes[table["censored"].to_numpy(zero_copy_only=False)] = ""
    looks = _looks(given.outages, causes, colours)
    lives = _Lives(life=table["life"].to_numpy(), causes=causes, looks=looks, palette=colours)
    limit = float(lives.life[-1]) >= _NEAR * _DAY
    _scale(ax, lives, limit=limit)
    each = len(lives) <= _EACH
    signs = _signs(lives)
    if each:
        _draw_each(ax, lives)
    else:
        _draw_lanes(ax, lives)
    if limit:
        ax.axvline(_DAY, color=colours.muted, linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=1, gid="24 h")
        signs.append(("24 h, a venue's limit", stroke(colours.muted, style=(0, (1, 1.5)))))
    legend_below(ax, colours, signs)
    finding, more = _finding(table)
    x = "life of a connection from its opening (s, min, h, d; logarithmic)"
    y = "connections, from the shortest life" if each else ""
    write(ax, colours, title=finding if title is None else title, more=more, x=x, y=y)
    return ax
