"""A storm as a picture: what the server was asked, how its clients came back; the storm itself comes from `study`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import dress, new_axes, note, write
from wsresearch.notebook.legends import Sign, legend_below, stroke
from wsresearch.notebook.marks import Floats, add_boxes, add_segments
from wsresearch.notebook.palette import Palette, palette_named
from wsresearch.notebook.words import counted, duration, plain, share
from wsresearch.study.storm_result import Storm

__all__ = ["storm"]

_MOST: Final = 900
"""Steps that are drawn; about as many as pixels across."""

_SPREAD: Final = 20.0
"""If the busiest second is more than so many times the median one, a linear axis would show nothing but that second."""

# Where what is, in shares of the height: the clients below, the attempts above.
_BACK_TOP: Final = 0.40
_BETWEEN: Final = 0.45
_RATE: Final = 0.50

_DASHES: Final = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), (0, (8, 3)), (0, (1, 3)))
"""A line for each member, so that a grey print tells them apart as well."""


def _column(found: Storm, name: str) -> Floats:
    """Return a column of the seconds, shape (members, seconds); the picture goes on to the end of the outage."""
    counts: Floats = found.seconds[name].to_numpy().reshape(len(found.members), -1).astype(np.float64)
    return np.pad(counts, ((0, 0), (0, max(0, int(found.outage) + 1 - counts.shape[1]))))


def _thinned(values: Floats) -> tuple[Floats, Floats, int]:
    """Return where steps begin, the highest second in each, and how many seconds a step is long."""
    width = -(-len(values) // _MOST)
    begins = np.arange(0, len(values), width)
    return begins.astype(np.float64), np.maximum.reduceat(values, begins), width


def _steps(ax: Axes, begins: Floats, values: Floats, end: float, **style: Any) -> None:
    ax.plot(
        np.append(begins, end),
        np.append(values, values[-1]),
        drawstyle="steps-post",
        scalex=False,
        scaley=False,
        **style,
    )


def _draw_rates(ax: Axes, palette: Palette, found: Storm, end: float) -> int:
    """Draw attempts/s and connections/s in the upper band; return the seconds of a step."""
    attempts, opened = (_column(found, name).sum(axis=0) for name in ("attempts", "opened"))
    begins, asked, width = _thinned(attempts)
    top = max(1.0, float(asked.max()))
    usual = [float(np.median(each[each > 0])) for each in (attempts, opened) if each.any()]
    wide = top > _SPREAD * min(usual, default=1.0)
    if wide:
        ax.set_yscale("symlog", linthresh=1.0, linscale=0.4)
    else:
        ax.set_yscale("linear")
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(np.array([0.0, top]))
    below = low - (high - low) * _RATE / (1 - _RATE)
    ax.set_ylim(*scale.inverted().transform(np.array([below, high + 0.03 * (high - low)])))
    if wide:
        ticks = np.append(0.0, 10.0 ** np.arange(0, np.floor(np.log10(top)) + 1))
    else:
        ticks = np.asarray(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True).tick_values(0, top))
        ticks = ticks[(ticks >= 0) & (ticks <= top)]
    ax.yaxis.set_major_locator(FixedLocator(ticks.tolist()))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:,.10g}"))
    rules = add_segments(
        ax, np.zeros(len(ticks)), ticks, np.ones(len(ticks)), ticks, transform=ax.get_yaxis_transform(), zorder=0
    )
    rules.set(color=palette.faint, linewidth=0.8)
    ax.spines["left"].set_bounds(0, top)
    _steps(ax, begins, asked, end, color=palette.ink, linewidth=1.1, gid="attempts", zorder=3)
    _steps(ax, begins, _thinned(opened)[1], end, color=palette.causes[1], linewidth=1.6, gid="opened", zorder=4)
    return width


def _draw_back(ax: Axes, palette: Palette, found: Storm, end: float) -> list[Sign]:
    """Draw the share of each member's clients that are back in the lower band, on an axis at the right."""
    beside = ax.twinx()
    dress(beside, palette)
    for side, spine in beside.spines.items():
        spine.set_visible(side == "right")
    beside.set_ylim(0, 100 / _BACK_TOP)
    beside.yaxis.set_major_locator(FixedLocator([0, 50, 100]))
    beside.yaxis.set_minor_locator(NullLocator())
    beside.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:.0f}"))
    beside.spines["right"].set_bounds(0, 100)
    at = np.array([0.0, 50.0, 100.0])
    rules = add_segments(beside, np.zeros(3), at, np.ones(3), at, transform=beside.get_yaxis_transform(), zorder=0)
    rules.set(color=palette.faint, linewidth=0.8)
    signs = []
    colours = [colour for number, colour in enumerate(palette.causes) if number != 1]
    for number, (row, back) in enumerate(zip(found.members.to_pylist(), _column(found, "back"), strict=True)):
        known = number < len(colours)
        colour = colours[number] if known else palette.other
        dashes = _DASHES[number] if known else _DASHES[-1]
        share_of = 100 * np.cumsum(back) / max(row["clients"], 1)
        # A client is back within its second, so at the second's end the line has arrived.
        x, y = np.arange(len(share_of) + 1, dtype=np.float64), np.append(0.0, share_of)
        style: dict[str, Any] = {"color": colour, "linestyle": dashes, "linewidth": 1.7, "zorder": 4}
        beside.plot(x, y, scalex=False, scaley=False, gid=f"back:{number}", **style)
        signs.append((_told(row), stroke(colour, width=1.7, style=dashes)))
    write(beside, palette, y="clients back (%)")
    beside.yaxis.label.set_y(_BACK_TOP / 2)
    return signs


def _told(row: dict[str, Any]) -> str:
    """Say of a member when all were back, or how many ever were."""
    name = plain(row["member"], limit=28)
    if row["back_100"] is not None:
        return f"{name}: all back after {duration(row['back_100'])}"
    rest = f", {share(row['gone'], row['clients'])} gone" if row["gone"] else ""
    return f"{name}: {share(row['back'], row['clients'])} back{rest}"


def _finding(found: Storm) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what it cost."""
    (whole,) = found.total.to_pylist()
    clients = counted(whole["clients"], "client")
    gone = f"gone for {duration(found.outage)}"
    if whole["back_100"] is not None:
        ends = duration(whole["back_100"])
        when = f"half are back after {duration(whole['back_50'])}, all after" if whole["clients"] > 1 else "back after"
        title = f"{clients}, server {gone}: {when} {ends}"
    else:
        title = f"{clients}, server {gone}: {whole['back']:,} came back, {whole['gone']:,} never will"
        if found.trying:
            title += f", {found.trying:,} still try"
    attempts = counted(whole["attempts"], "attempt")
    more = f"{attempts}, {share(whole['wasted'], whole['attempts'])} in vain"
    more += f"; in the busiest 100 ms {found.busiest_attempts:,} of them, {found.busiest_after:,} after the outage"
    if whole["duplicates"]:
        more += f"; {counted(whole['duplicates'], 'connection')} too many"
    return title, more


def storm(
    data: Storm,
    ax: Axes | None = None,
    *,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw a storm: above, attempts per second and connections opened per second; below, clients that are back.

    The outage is shaded. The upper axis is logarithmic, linear below 1/s, if the busiest second has more than twenty
    times the attempts, or the connections, of a median one that has any. Of more than 900 seconds each step shows the
    highest second in it. In the lower band, on an axis at the right, each member of the mix is a line: the share of its
    clients that are back. The legend says when all of them were, or how many ever are.

    Parameters
    ----------
    data
        What :func:`wsresearch.study.storm.storm` returned.
    ax
        Where to draw; by default in a figure of its own. The axis of the clients is a twin of it.
    palette
        ``light``, ``dark`` or a :class:`~wsresearch.notebook.palette.Palette`.
    title
        Instead of the finding.

    Raises
    ------
    UsageError
        If ``data`` is no storm.
    """
    if not isinstance(data, Storm):
        raise UsageError(f"this plot takes what study.storm() returned, not {type(data).__name__}")
    colours = palette_named(palette)
    ax = new_axes(ax, colours, width=11, height=5.4)
    end = float(_column(data, "attempts").shape[1])
    ax.set_xlim(0, end)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 3, 6, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:,.10g}"))
    shade: dict[str, Any] = {"facecolor": colours.faint, "edgecolor": "none", "zorder": -1, "alpha": 0.7}
    until = min(data.outage, end)
    add_boxes(ax, np.zeros(1), np.array([until]), 0.0, 1.0, transform=ax.get_xaxis_transform(), gid="outage", **shade)
    width = _draw_rates(ax, colours, data, end)
    rates: list[Sign] = [
        ("attempts/s", stroke(colours.ink, width=1.1)),
        ("connections opened/s", stroke(colours.causes[1], width=1.6)),
    ]
    if until > 0.16 * end:
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8.5, "color": colours.muted}
        note(ax, until / 2, _BETWEEN, "the server is gone", transform=ax.get_xaxis_transform(), **style)
    finding, more = _finding(data)
    x = "seconds since the outage began" + (f"; steps: the highest of {width} s" if width > 1 else "")
    write(ax, colours, title=finding if title is None else title, more=more, x=x, y="per second")
    ax.yaxis.label.set_y((1 + _RATE) / 2)
    members = _draw_back(ax, colours, data, end)
    legend_below(ax, colours, rates + members, columns=3)
    return ax
