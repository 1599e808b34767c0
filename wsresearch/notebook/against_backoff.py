"""Silence of market data against the delay that was waited for, outage by outage; no table is made here."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.markers import CARETUP, TICKRIGHT, TICKUP
from matplotlib.ticker import FixedLocator, FuncFormatter

from wsresearch.notebook.canvas import (
    blank,
    material,
    new_axes,
    shifted,
    write,
)
from wsresearch.notebook.legends import Sign, key, legend_below, legend_beside, stroke
from wsresearch.notebook.marks import Floats, add_marks, add_minor_ticks
from wsresearch.notebook.palette import Palette, cause_looks, palette_named
from wsresearch.notebook.silences import across_a_stop, runs_of
from wsresearch.notebook.words import cause_labels, counted, duration, share
from wsresearch.study.gaps import gaps as find_gaps

__all__ = ["gaps_vs_backoff"]

_TRADE_COLUMNS: Final = ("recv_time", "connection")
_PER_DECADE: Final = 400
"""Ordinary gaps that are drawn at most in each decade: it has fewer pixels, and a week has a hundred thousand gaps."""

_ARROW: Final = 13
"""Length of the arrow of a censored outage in points."""


def _sizes(ids: Floats, count: int) -> Floats:
    """Return the areas of marks in square points; more marks are smaller ones."""
    least, decade = (40.0, 30.0) if count <= 60 else (16.0, 11.0) if count <= 1000 else (6.0, 4.0)
    return np.asarray(least + decade * np.log10(ids + 1))


def _scale(ax: Axes, palette: Palette, waited: Floats, silence: Floats) -> float:
    """Make both axes logarithmic, with ticks in plain numbers, and return where they end.

    No delay at all is an ordinary thing, so both are linear from 0 to the decade at or below the least positive
    delay: both at the same place, or the line y = x would bend there.
    """
    high = 2.0 * float(max(silence.max(), waited.max(initial=0.0)))
    waits = waited[waited > 0]
    least = float(waits.min() if len(waits) else silence.min())
    # A few ms of delay are what an event loop needs to wake up, no policy's decision: decades for them would be
    # empty. At least one decade is left for the logarithm.
    top = np.floor(np.log10(high)) - 1
    first = 10.0 ** float(np.clip(np.floor(np.log10(least)), min(-2, top), top))
    ax.set_xscale("symlog", linthresh=first, linscale=0.6)
    ax.set_yscale("symlog", linthresh=first, linscale=0.6)
    ax.set_xlim(-0.3 * first, high)
    bottom = 0.7 * float(silence.min())
    ax.set_ylim(bottom if bottom > first else 0.0, high)
    decades = first * 10.0 ** np.arange(np.ceil(np.log10(high / first)) + 1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator(_ticks(decades, *axis.get_view_interval())))
        axis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:,.10g}"))
    between = np.outer(decades, np.arange(2, 10)).ravel()
    add_minor_ticks(ax, palette, x=between, y=between)
    return high


def _ticks(decades: Floats, low: float, high: float) -> list[float]:
    """Return 0, the decades, and as many of the numbers between them as an axis of this length has room for."""
    inside = np.log10(high / max(low, decades[0]))
    named = (1,) if inside > 3 else (1, 2, 5) if inside > 0.8 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8)
    return [0.0, *np.outer(decades, named).ravel().tolist()]


def _draw_outages(ax: Axes, lost: pa.Table, colours: Palette) -> list[Sign]:
    """Draw each outage as a mark of its cause, and return what explains the marks."""
    causes = np.array(cause_labels(lost["cause"].to_pylist()))
    waited, silence = lost["waited"].to_numpy(), lost["silence"].to_numpy()
    censored = lost["censored"].to_numpy(zero_copy_only=False)
    sizes = _sizes(lost["ids_lost"].to_numpy().astype(np.float64), len(lost))
    looks = cause_looks(causes.tolist(), colours)
    alpha = 0.9 if len(lost) <= 200 else 0.7 if len(lost) <= 1000 else 0.5
    edge = 0.5 if len(lost) <= 400 else 0.0
    marks = []
    # The most frequent cause goes first, so that no rare one is buried under it.
    for cause in sorted(looks, key=lambda cause: -int((causes == cause).sum())):
        look, of = looks[cause], causes == cause
        for known, fill in ((~censored, look.colour), (censored, "none")):
            add_marks(
                ax,
                waited[of & known],
                silence[of & known],
                size=sizes[of & known],
                marker=look.marker,
                facecolor=fill,
                edgecolor=look.colour if fill == "none" else colours.background,
                linewidth=1.3 if fill == "none" else edge,
                alpha=alpha,
                zorder=4,
                gid=f"outages:{cause}",
                clip_on=False,
            )
        up = of & censored
        style: dict[str, Any] = {"color": look.colour, "linestyle": "none", "zorder": 4, "clip_on": False}
        ax.plot(waited[up], silence[up], marker=TICKUP, markersize=_ARROW, gid="censored", **style)
        tip = shifted(ax, ax.transData, 0, _ARROW)
        ax.plot(waited[up], silence[up], marker=CARETUP, markersize=5, transform=tip, **style)
    for cause, look in looks.items():
        label = f"{cause} ({int((causes == cause).sum()):,})"
        marks.append((label, key(look.marker, look.colour)))
    if censored.any():
        marks.append((f"end not seen ({int(censored.sum()):,})", key("o", colours.ink, hollow=True)))
    return marks


def _explain_sizes(ax: Axes, lost: pa.Table, colours: Palette) -> None:
    most = max(lost["ids_lost"].to_pylist())
    if most == 0:
        return
    top = int(np.ceil(np.log10(most + 1)))
    shown = [0, *(10**power for power in sorted({max(1, top // 2), top}))]
    marks = []
    for ids in shown:
        size = float(np.sqrt(_sizes(np.array([ids], dtype=np.float64), len(lost))[0]))
        marks.append((f"{ids:,}" if ids < 1e6 else f"{ids:.0e}", key("o", colours.muted, size=size)))
    legend_beside(ax, colours, "ids lost", marks)


def _thinned(lengths: Floats) -> Floats:
    """Return of rising lengths the longest in each 400th of a decade, so that every place that has a gap keeps one."""
    place = np.floor(_PER_DECADE * np.log10(np.maximum(lengths, 1e-9)))
    last: Floats = lengths[np.append(place[1:] != place[:-1], True)]
    return last


def _finding(lost: pa.Table, ordinary: Floats, *, longer_than: float) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what stands out."""
    quiet = ""
    if len(ordinary):
        quiet = f"{counted(len(ordinary), 'ordinary gap')} over {longer_than:g} s"
        quiet += f", the longest {duration(ordinary.max())}"
    if not len(lost):
        return "No outage", quiet
    silence = pc.sum(lost["silence"]).as_py()

    def part(phase: str) -> str:
        return share(pc.sum(lost[phase]).as_py(), silence)

    title = f"{part('backoff')} of {duration(silence)} of silence was backoff"
    rest = f"{part('detect')} detect, {part('connect')} connect, {part('first_message')} first message"
    return title, f"the rest: {rest}" + (f"; {quiet}" if quiet else "")


def gaps_vs_backoff(
    data: Any,
    ax: Axes | None = None,
    *,
    trades: pa.Table | None = None,
    gaps: pa.Table | None = None,
    longer_than: float = 1.0,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw how long market data was silent against how long the policy made us wait, one mark for each outage.

    Colour and form are the cause, the area is the number of ids lost (log scale). On the line y = x all silence
    was backoff; the height above it is detection, connecting and the first message, which no policy can shorten.
    A hollow mark with an arrow is an outage whose end was not seen: it was at least that long. Ordinary gaps, in
    which no connection was lost, are ticks on the vertical axis. Both axes are linear from 0 to the first decade
    and logarithmic beyond.

    Parameters
    ----------
    data
        A capture, or its events table.
    ax
        Where to draw; by default in a figure of its own.
    trades
        The trades beside an events table, to find ordinary gaps in.
    gaps
        The table of :func:`wsresearch.study.gaps.gaps` with ``outages``, if it is known already; no trades are
        read then.
    longer_than
        Seconds; shorter ordinary gaps are not drawn.
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
    ax = new_axes(ax, colours, width=11, height=5.6)
    given = material(data, trades=trades, columns=() if gaps is not None else _TRADE_COLUMNS)
    rows, lost = given.events, given.outages
    if gaps is None and given.trades is not None:
        gaps = find_gaps(given.trades, longer_than=longer_than, outages=lost)
    ordinary = np.empty(0)
    if gaps is not None:
        gaps = gaps.filter(pc.equal(pc.fill_null(gaps["outage"], 0), 0))
        # A stop of ours is no silence of the market.
        ordinary = np.sort(gaps["seconds"].to_numpy()[~across_a_stop(gaps, runs_of(rows))])
    finding, more = _finding(lost, ordinary, longer_than=longer_than)
    x, y = "delay waited in the outage (s)", "silence of market data (s)"
    if not len(lost) and not len(ordinary):
        write(ax, colours, title=finding if title is None else title)
        return blank(ax, colours, "nothing to set against each other: no outage, no long gap")
    waited, silence = lost["waited"].to_numpy(), lost["silence"].to_numpy()
    # Below a microsecond lies no silence, only a clock too coarse to see it.
    high = _scale(ax, colours, waited, np.maximum(np.concatenate((silence, ordinary)), 1e-6))
    ax.grid(visible=True, which="major", color=colours.faint, linewidth=0.8)
    line = np.array([0.0, high])
    ax.fill_between(line, 0, line, color=colours.faint, alpha=0.5, linewidth=0, zorder=1)
    ax.plot(line, line, color=colours.muted, linewidth=1.2, zorder=2, gid="y = x")
    marks = _draw_outages(ax, lost, colours) if len(lost) else []
    if len(ordinary):
        drawn = _thinned(ordinary)
        ticks = ax.plot(np.zeros(len(drawn)), drawn, transform=ax.get_yaxis_transform(), gid="ordinary gaps")[0]
        ticks.set(color=colours.muted, linestyle="none", marker=TICKRIGHT, markersize=9)
        ticks.set(alpha=0.8, zorder=3, clip_on=False)
        marks.append((f"gap without an outage ({len(ordinary):,})", key("_", colours.muted, size=9)))
    marks.append(("y = x: all silence was backoff", stroke(colours.muted)))
    legend_below(ax, colours, marks)
    if len(lost):
        _explain_sizes(ax, lost, colours)
    write(ax, colours, title=finding if title is None else title, more=more, x=x, y=y)
    return ax
