"""How many trades came in a second and how late they were; how rows are thinned out is in `envelope`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from wsresearch.notebook.canvas import blank, dress, material, new_axes, note, write
from wsresearch.notebook.envelope import Envelope, Seconds, envelope, read_seconds
from wsresearch.notebook.legends import Sign, key, legend_below
from wsresearch.notebook.marks import Floats, add_boxes, add_marks, add_segments
from wsresearch.notebook.palette import Palette, cause_looks, palette_named
from wsresearch.notebook.scene import DENSE, Clock, spans
from wsresearch.notebook.words import cause_labels, counted, duration

__all__ = ["rate"]

_MOST: Final = 900
"""Pieces that are drawn; about as many as pixels across."""

_BINS: Final = 180

_SPREAD: Final = 10.0
"""If the highest second is more than so many times the median one, a linear axis would show nothing but that second."""

_COUNT: Final = 1.0

# Where what is, in shares of the height: the lag below, the marks between, the rate, the outages on top.
_LAG_TOP: Final = 0.28
_REJECTED: Final = 0.325
_DROPPED: Final = 0.36
_RATE: Final = 0.39
_RATE_TOP: Final = 0.93


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    clock: Clock
    seconds: Seconds
    lost: pa.Table
    palette: Palette


def _outline(clock: Clock, pieces: Envelope, values: Floats) -> tuple[Floats, Floats]:
    """Return steps as points, with a NaN wherever nobody counted for a while."""
    x = np.column_stack((clock.at(pieces.start), clock.at(pieces.end), clock.at(pieces.end)))
    y = np.column_stack((values, values, np.full(len(values), np.nan)))
    joined = np.append(pieces.start[1:] <= pieces.end[:-1], np.ones(min(1, len(values)), dtype=bool))
    kept = np.ones(x.shape, dtype=bool)
    kept[:, 2] = ~joined
    return x[kept], y[kept]


def _steps(ax: Axes, scene: _Scene, pieces: Envelope, *, below: Floats, gid: str) -> None:
    """Draw a series as steps, and a surface between its highest values and what is given."""
    palette = scene.palette
    x, mean = _outline(scene.clock, pieces, pieces.mean)
    if below is not pieces.mean:
        low, high = (_outline(scene.clock, pieces, values)[1] for values in (below, pieces.high))
        ax.fill_between(x, low, high, color=palette.lane, alpha=0.45, linewidth=0, zorder=2, gid=f"{gid}:range")
    ax.plot(x, mean, color=palette.ink, linewidth=1.0, zorder=3, gid=gid, scalex=False, scaley=False)


def _band(ax: Axes, low: float, high: float, *, bottom: float, top: float) -> None:
    """Set the limits so that an interval of values fills a band of the height, whatever the scale of the axis."""
    scale = ax.yaxis.get_transform()
    first, last = scale.transform(np.array([low, high]))
    whole = (last - first) / (top - bottom)
    ax.set_ylim(*scale.inverted().transform(np.array([first - whole * bottom, first + whole * (1 - bottom)])))


def _ticks(ax: Axes, palette: Palette, low: float, high: float, *, few: int, factor: float = 1.0) -> None:
    """Rule an axis at round values within an interval, and end its spine where the interval ends."""
    if ax.get_yscale() == "linear":
        at = np.asarray(MaxNLocator(nbins=few, steps=[1, 2, 5, 10]).tick_values(low, high))
    else:
        decades = 10.0 ** np.arange(np.floor(np.log10(max(low, _COUNT if low <= 0 else low))), np.log10(high) + 1)
        named = (1, 2, 5) if np.log10(high / decades[0]) < 2 else (1,)
        # As many labels as there is room for: every second decade, or every third.
        decades = decades[:: -(-len(decades) // (2 * few))]
        at = np.append(low, np.outer(decades, named).ravel()) if low <= 0 else np.outer(decades, named).ravel()
    at = at[(at >= low) & (at <= high)]
    ax.yaxis.set_major_locator(FixedLocator(at.tolist()))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value * factor:,.10g}"))
    rules = add_segments(ax, np.zeros(len(at)), at, np.ones(len(at)), at, transform=ax.get_yaxis_transform(), zorder=0)
    rules.set(color=palette.faint, linewidth=0.8)
    for spine in ax.spines.values():
        if spine.spine_type in {"left", "right"}:
            spine.set_bounds(low, high)


def _draw_rate(ax: Axes, scene: _Scene, pieces: Envelope, *, bottom: float) -> None:
    """Draw trades/s in the band from ``bottom`` up to the outages."""
    top = max(1.0, float(np.nanmax(pieces.high)))
    # One trade in a second is the least that can be counted: below it the axis is linear, down to none at all.
    if top > _SPREAD * max(_COUNT, float(np.median(scene.seconds.rate))):
        ax.set_yscale("symlog", linthresh=_COUNT, linscale=0.4)
    else:
        ax.set_yscale("linear")
    _band(ax, 0.0, top, bottom=bottom, top=_RATE_TOP)
    _ticks(ax, scene.palette, 0.0, top, few=5)
    below = np.zeros(len(pieces)) if pieces.exact else pieces.low
    _steps(ax, scene, pieces, below=below, gid="rate")


def _draw_lag(ax: Axes, scene: _Scene, pieces: Envelope) -> None:
    """Draw the lag in the band at the bottom, on an axis of its own at the right."""
    beside = ax.twinx()
    dress(beside, scene.palette)
    for side, spine in beside.spines.items():
        spine.set_visible(side == "right")
    known = scene.seconds.lag[~np.isnan(scene.seconds.lag)]
    low, high = float(known.min()), float(known.max())
    if low > 0 and high > _SPREAD * float(np.median(known)):
        beside.set_yscale("log")
    else:
        low = min(0.0, low)
    high = max(high, low + 1e-3)
    factor, unit = (1e3, "ms") if max(abs(low), high) < 1 else (1.0, "s")
    _band(beside, low, high, bottom=0.0, top=_LAG_TOP)
    _ticks(beside, scene.palette, low, high, few=3, factor=factor)
    _steps(beside, scene, pieces, below=pieces.low, gid="lag")
    write(beside, scene.palette, y=f"lag ({unit})")
    beside.yaxis.label.set_y(_LAG_TOP / 2)


def _draw_outages(ax: Axes, scene: _Scene) -> list[Sign]:
    """Shade each outage in the colour of its cause; thousands are counted in a strip on top."""
    clock, palette = scene.clock, scene.palette
    began, ended = spans(scene.lost)
    causes = np.array(cause_labels(scene.lost["cause"].to_pylist()))
    looks = cause_looks(causes.tolist(), palette)
    across = ax.get_xaxis_transform()
    here = (ended >= clock.start) & (began <= clock.end)
    left, right = clock.at(np.maximum(began, clock.start)), clock.at(np.minimum(ended, clock.end))
    if here.sum() >= DENSE:
        edges = np.linspace(clock.at(clock.start), clock.at(clock.end), _BINS + 1)
        counts = np.histogram(left[here], edges)[0]
        style: dict[str, Any] = {"transform": across, "facecolor": palette.ink, "edgecolor": "none"}
        height = _RATE_TOP + 0.015 + (1 - _RATE_TOP - 0.015) * counts / counts.max()
        add_boxes(ax, edges[:-1], edges[1:], _RATE_TOP + 0.015, height, gid="outages", **style)
        words = f"outages, at most\n{counts.max():,} in {duration(clock.seconds / _BINS)}"
        style = {"transform": ax.transAxes, "fontsize": 8.5, "va": "center", "color": palette.muted}
        note(ax, 1.012, (1 + _RATE_TOP) / 2, words, **style)
        return []
    signs = []
    for cause, look in looks.items():
        of = here & (causes == cause)
        if not of.any():
            continue
        shade = add_boxes(ax, left[of], right[of], 0.0, 1.0, transform=across, gid=f"shade:{cause}", zorder=1)
        shade.set(facecolor=look.colour, edgecolor=look.colour, alpha=0.2, linewidth=0.9)
        middle = (left[of] + right[of]) / 2
        style = {"facecolor": look.colour, "edgecolor": palette.background, "linewidth": 0.5}
        size = 36 if len(causes) <= 40 else 18
        gid = f"outages:{cause}"
        add_marks(
            ax, middle, 0.97, size=size, marker=look.marker, transform=across, gid=gid, zorder=4, clip_on=False, **style
        )
        signs.append((f"{cause} ({int(of.sum()):,})", key(look.marker, look.colour)))
    return signs


def _draw_losses(ax: Axes, scene: _Scene) -> list[Sign]:
    """Mark the seconds in which messages found no room, and those in which trades failed a check."""
    seconds, ink, paper = scene.seconds, scene.palette.ink, scene.palette.background
    signs = []
    for name, one, counts, y, fill in (
        ("dropped", "message", seconds.dropped, _DROPPED, ink),
        ("rejected", "trade", seconds.rejected, _REJECTED, paper),
    ):
        at = np.flatnonzero(counts)
        if not len(at):
            continue
        x = scene.clock.at((seconds.start[at] + seconds.end[at]) // 2)
        size = (14 + 10 * np.log10(counts[at].astype(np.float64))) / (1 if len(at) <= 60 else 2)
        across = ax.get_xaxis_transform()
        style: dict[str, Any] = {"facecolor": fill, "edgecolor": ink, "linewidth": 0.9, "transform": across}
        add_marks(ax, x, y, size=size, marker="v", gid=name, zorder=4, clip_on=False, **style)
        signs.append((f"{one}s {name} ({len(at):,} s)", key("v", ink, hollow=fill is paper)))
    return signs


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 9.95 else f"{rate:.2g}/s"


def _signed(seconds: float) -> str:
    return f"−{duration(-seconds)}" if seconds < 0 else duration(seconds)


def _finding(seconds: Seconds) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what stands out."""
    trades = int(seconds.trades.sum())
    # Time in which no collector ran counts for nothing.
    watched = float((seconds.end - seconds.start).sum()) / 1e9
    title = f"{counted(trades, 'trade')} in {duration(watched)}"
    if trades and watched:
        title += f": {_per_second(trades / watched)} on average, at most {_per_second(float(seconds.rate.max()))}"
    more = []
    known = seconds.lag[~np.isnan(seconds.lag)]
    if len(known):
        middle, most = _signed(float(np.median(known))), _signed(float(known.max()))
        more.append(f"lag: median {middle}, at most {most}, as measured with both clocks")
    if seconds.dropped.any():
        more.append(f"{counted(int(seconds.dropped.sum()), 'message')} dropped")
    if seconds.rejected.any():
        more.append(f"{counted(int(seconds.rejected.sum()), 'trade')} rejected")
    return title, "; ".join(more)


def rate(
    data: Any,
    ax: Axes | None = None,
    *,
    stats: pa.Table | None = None,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw trades per second over time as steps, and below them, on an axis at the right, how late they came.

    The lag is the newest receive time minus the newest time that the venue wrote into a message, so it holds
    whatever the two clocks differ by. Outages are shaded in the colour of their cause; from 300 on they are counted
    in a strip on top. Seconds in which messages were dropped or trades rejected are marked between the two. Where no
    collector ran there is no line. Of more than 900 rows the lines are means of equal stretches of time, and a
    surface reaches from the least to the highest second in each, so that no spike is lost. An axis is logarithmic
    if its highest second is more than ten times the median one; that of the trades then is linear up to 1/s.

    Parameters
    ----------
    data
        A capture, or its events table.
    ax
        Where to draw; by default in a figure of its own. The axis of the lag is a twin of it.
    stats
        The stats table beside an events table; the picture reaches as far as it does.
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
    ax = new_axes(ax, colours, width=11, height=4.6)
    given = material(data, stats=stats)
    if given.stats is None or not len(given.stats):
        write(ax, colours, title="No second has been counted yet" if title is None else title)
        return blank(ax, colours, "the stats table is empty" if given.stats is not None else "there is no stats table")
    seconds = read_seconds(given.stats)
    clock = Clock(int(seconds.start[0]), int(seconds.end[-1]))
    scene = _Scene(clock=clock, seconds=seconds, lost=given.outages, palette=colours)
    axis = clock.ticks(ax)
    traded = envelope(seconds, seconds.rate, most=_MOST)
    late = envelope(seconds, seconds.lag, most=_MOST)
    has_lag = not np.isnan(late.mean).all()
    marked = bool(seconds.dropped.any() or seconds.rejected.any())
    bottom = _RATE if has_lag or marked else 0.0
    _draw_rate(ax, scene, traded, bottom=bottom)
    signs = _draw_outages(ax, scene) + _draw_losses(ax, scene)
    legend_below(ax, colours, signs)
    if not traded.exact:
        axis += f"; line: mean of {duration(clock.seconds / _MOST)}, surface: least to highest second"
    finding, more = _finding(seconds)
    write(ax, colours, title=finding if title is None else title, more=more, x=axis, y="trades/s")
    ax.yaxis.label.set_y((bottom + _RATE_TOP) / 2)
    if has_lag:
        _draw_lag(ax, scene, late)
    return ax
