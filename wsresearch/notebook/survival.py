"""Which share of connections lasts how long, and what ends the others; or how long recoveries take.

The estimates come from `study`; every life as it was seen is in :mod:`~wsresearch.notebook.lifetimes`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import blank, material, new_axes, write
from wsresearch.notebook.legends import Sign, key, legend_below, stroke
from wsresearch.notebook.lifetimes import age_ticks
from wsresearch.notebook.marks import Floats, add_boxes, add_marks
from wsresearch.notebook.palette import Look, Palette, cause_looks, palette_named
from wsresearch.notebook.words import cause_label, cause_labels, counted, duration, share
from wsresearch.study.connections import connections
from wsresearch.study.incidence import incidence
from wsresearch.study.spans import DAY, read_spans
from wsresearch.study.survival import quantiles
from wsresearch.study.survival import survival as estimate

__all__ = ["survival"]

_LEAST: Final = 1e-3
"""Seconds; what is shorter is drawn here, at the edge of the logarithm."""

_LAYERS: Final = 7
"""Of more causes the rarest share a layer."""

_REST: Final = "other causes"

_WHAT: Final = {
    "connections": ("connection", "life of a connection from its opening (s, min, h, d; logarithmic)", "still live"),
    "outages": ("outage", "time from the last market message (s, min, h; logarithmic)", "are not over"),
}


def _steps(x: Floats, y: Floats, left: float, right: float, first: float) -> tuple[Floats, Floats]:
    """Return the corners of a step curve that has the value ``first`` before the first ``x``."""
    xs = np.concatenate([[left], np.repeat(np.maximum(x, _LEAST), 2), [right]])
    ys = np.concatenate([[first], [first], np.repeat(y, 2)])
    return xs, ys


def _scale(ax: Axes, palette: Palette, times: Floats) -> tuple[float, float]:
    low, high = max(float(times.min()), _LEAST), max(float(times.max()), _LEAST)
    left, right = low / 2, 1.5 * max(high, 10 * low)
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    at, names = age_ticks(left, right)
    ax.xaxis.set_major_locator(FixedLocator(at))
    ax.xaxis.set_major_formatter(FixedFormatter(names))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(0, 1.04)
    ax.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    ax.yaxis.set_major_formatter(FixedFormatter(["0", "25", "50", "75", "100"]))
    ax.grid(visible=True, color=palette.faint, linewidth=0.8)
    return left, right


def _draw_layers(
    ax: Axes, parts: pa.Table, looks: dict[str, Look], order: list[str], edges: tuple[float, float], *, ground: str
) -> list[Sign]:
    """Fill what has ended from the top down, a layer for each cause; return what explains them."""
    times = np.unique(parts["seconds"].to_numpy())
    causes = np.array(cause_labels(parts["cause"].to_pylist()))
    signs: list[Sign] = []
    top = np.ones(len(times))
    for name in order:
        within = causes == name if name != _REST else ~np.isin(causes, order)
        # Every cause has a row at every time, so the rows of several add up as a matrix.
        ended = parts["incidence"].to_numpy()[within].reshape(-1, len(times)).sum(axis=0)
        bottom = top - ended
        right = np.append(np.maximum(times[1:], _LEAST), edges[1])
        style = {"facecolor": looks[name].colour, "alpha": 0.55, "linewidths": 0, "zorder": 1}
        add_boxes(ax, np.maximum(times, _LEAST), right, bottom, top, gid=f"ended:{name}", **style)
        # A seam, so that neighbours stay apart in grey.
        x, y = _steps(times, bottom, edges[0], edges[1], 1.0)
        ax.plot(x, y, color=ground, linewidth=1.0, zorder=2, gid="seam", scalex=False, scaley=False)
        signs.append((f"ended by {name}: {share(float(ended[-1]), 1.0)}", key("s", looks[name].colour, size=8)))
        top = bottom
    return signs


def _draw_curve(
    ax: Axes, palette: Palette, curve: pa.Table, edges: tuple[float, float], *, band: bool, colour: str, width: float
) -> None:
    """Draw a survival curve, its interval, and a tick where something was censored."""
    times, shares = curve["seconds"].to_numpy(), curve["survival"].to_numpy()
    group = curve["group"][0].as_py()
    gid = "survival" if group is None else f"survival:{cause_label(group)}"
    last = edges[1] if shares[-1] == 0 else max(float(times[-1]), _LEAST)
    x, y = _steps(times, shares, edges[0], last, 1.0)
    ax.plot(x, y, color=colour, linewidth=width, zorder=4, gid=gid, scalex=False, scaley=False, solid_joinstyle="miter")
    if band:
        for end in ("low", "high"):
            values = np.asarray(curve[end].to_numpy(zero_copy_only=False), dtype=np.float64)
            x, y = _steps(times, values, edges[0], last, np.nan)
            line = ax.plot(
                x, y, color=palette.ink, linewidth=0.9, zorder=3, gid=f"interval:{end}", scalex=False, scaley=False
            )
            line[0].set_linestyle((0, (2, 1.5)))
    cut = curve["censored"].to_numpy() > 0
    style: dict[str, Any] = {"edgecolor": colour, "linewidth": 1.1, "zorder": 5, "clip_on": False}
    add_marks(ax, np.maximum(times[cut], _LEAST), shares[cut], size=45, marker="|", gid="censored", **style)


def _draw_groups(
    ax: Axes, palette: Palette, table: pa.Table, looks: dict[str, Look], edges: tuple[float, float]
) -> list[Sign]:
    """Draw a thin curve for each cause that began at least two outages."""
    curves = estimate(table, by="cause")
    groups = np.array(curves["group"].to_pylist())
    labels = dict(zip(groups.tolist(), cause_labels(groups.tolist()), strict=True))
    causes = cause_labels(table["cause"].to_pylist())
    signs = []
    often = sorted(set(labels.values()), key=lambda name: -causes.count(name))
    for name in often[:_LAYERS]:
        count = causes.count(name)
        if count < 2 or len(often) == 1:
            continue
        group = next(group for group, label in labels.items() if label == name)
        curve = curves.filter(pa.array(groups == group))
        _draw_curve(ax, palette, curve, edges, band=False, colour=looks[name].colour, width=1.5)
        signs.append((f"after {name} ({count:,})", stroke(looks[name].colour, width=1.5)))
    return signs


def _finding(of: str, curve: pa.Table, spans: int, ended: int) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another how sure that is."""
    one = _WHAT[of][0]
    (middle,) = quantiles(curve, [0.5]).to_pylist()
    last = curve.slice(len(curve) - 1).to_pylist()[0]
    if middle["seconds"] is None:
        left = share(last["survival"], 1.0)
        title = f"{left} of {counted(spans, one)} {_WHAT[of][2]} after {duration(last['seconds'])}"
    else:
        took = "live longer than" if of == "connections" else "are over within"
        title = f"Half of {counted(spans, one)} {took} {duration(middle['seconds'])}"
    more = []
    if middle["seconds"] is not None:
        low, high = (None if middle[end] is None else duration(middle[end]) for end in ("low", "high"))
        ends = f"from {low or 'not known'} to {high or 'longer than was watched'}"
        more.append(f"95 % interval of that {ends}" if low or high else "too few for an interval of that")
    if spans > ended:
        more.append(f"{spans - ended:,} not seen to end, counted as far as seen (ticks)")
    return title, "; ".join(more)


def survival(
    data: Any,
    ax: Axes | None = None,
    *,
    of: str = "connections",
    limit: float | None = DAY,
    stats: pa.Table | None = None,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw the share of connections that lives longer than each age, or of outages that takes longer to end.

    The line is the Kaplan–Meier estimate, which counts what was cut short (ended by us, by the venue's limit of 24
    hours, or by the end of the record) for as long as it was seen; ticks mark where. Dashed: its pointwise 95 %
    interval. Of connections, what is above the line is filled with what ended them, as it competes
    (Aalen–Johansen): at each age line and layers add up to all. Of outages, thin lines are those that began by one
    cause each. Where watching ends, the line ends.

    Parameters
    ----------
    data
        A capture, or its events table.
    ax
        Where to draw; by default in a figure of its own.
    of
        ``connections`` or ``outages``.
    limit
        Seconds at which the venue ends each connection; None if it has no limit.
    stats
        The stats table beside an events table; tells how long the last run has been alive.
    palette
        ``light``, ``dark`` or a :class:`~wsresearch.notebook.palette.Palette`.
    title
        Instead of the finding.

    Raises
    ------
    UsageError
        If ``data`` is neither, ``of`` is something else, or a column is missing.
    """
    if of not in _WHAT:
        raise UsageError(f"survival is of connections or of outages, not of {of!r}")
    colours = palette_named(palette)
    ax = new_axes(ax, colours, width=11, height=5.2)
    given = material(data, stats=stats)
    rows, lost = given.events, given.outages
    table = connections(rows, stats=given.stats) if of == "connections" else lost
    spans = read_spans(table, limit=limit)
    one, x, _ = _WHAT[of]
    if not len(spans):
        write(ax, colours, title=f"No {one}" if title is None else title)
        return blank(ax, colours, f"there was no {one} that could have lasted")
    curve = estimate(table, limit=limit)
    edges = _scale(ax, colours, spans.seconds)
    # Where watching ends, nothing more is claimed, unless all have ended: that stays so.
    end = edges[1] if curve["survival"][-1].as_py() == 0 else max(float(spans.seconds.max()), _LEAST)
    causes = [each for each in table["cause"].to_pylist() if each is not None]
    looks = cause_looks(cause_labels([*lost["cause"].to_pylist(), *causes]), colours)
    signs: list[Sign] = []
    if of == "connections":
        parts = incidence(table, limit=limit)
        if len(parts):
            order = list(dict.fromkeys(cause_labels(parts["cause"].to_pylist())))
            if len(order) > _LAYERS:
                order = [*order[: _LAYERS - 1], _REST]
                looks[_REST] = Look(colour=colours.other, marker="*")
            looks |= {name: Look(colour=colours.other, marker="*") for name in order if name not in looks}
            signs = _draw_layers(ax, parts, looks, order, (edges[0], end), ground=colours.background)
    else:
        signs = _draw_groups(ax, colours, table, looks, edges)
    _draw_curve(ax, colours, curve, edges, band=True, colour=colours.ink, width=2.2)
    ticks = [("not seen to end", key("|", colours.ink, size=8))] if not spans.ended.all() else []
    what = "share that lives longer" if of == "connections" else "share that is not over"
    lines: list[Sign] = [
        (what, stroke(colours.ink, width=2.2)),
        ("its 95 % interval", stroke(colours.ink, width=0.9, style=(0, (2, 1.5)))),
    ]
    legend_below(ax, colours, [*lines, *ticks, *signs])
    finding, more = _finding(of, curve, len(spans), int(spans.ended.sum()))
    y = f"{one}s {'alive' if of == 'connections' else 'not over'} (%)"
    write(ax, colours, title=finding if title is None else title, more=more, x=x, y=y)
    return ax
