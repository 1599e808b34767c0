"""Policies side by side over the same outages: when they were back, and what that took; the replay is in `study`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import blank, new_axes, note, write
from wsresearch.notebook.legends import Sign, key, legend_below, stroke
from wsresearch.notebook.lifetimes import age_ticks
from wsresearch.notebook.marks import Floats, add_boxes, add_marks, add_segments
from wsresearch.notebook.palette import Palette, palette_named
from wsresearch.notebook.words import counted, duration, plain, share
from wsresearch.study.policies import COMPARISON

__all__ = ["policy_comparison"]

_MOST: Final = 24
"""Rows; more policies than that nobody compares by eye."""

_FEWEST: Final = 2
"""Rows that there is room for; one row does not become a wall."""

_LEAST: Final = 1e-3
_NAME: Final = 34
"""Characters of a name that have room above its row."""

_HALF: Final = 0.17
"""Half the height of a bar, in rows."""


def _numbers(comparison: pa.Table, name: str) -> Floats:
    """Return a column, infinite where there is no number because it never came."""
    column = comparison[name].to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isnan(column), np.inf, column)


def _range(row: Mapping[str, Any], name: str, digits: int) -> str:
    """Return two bounds in a few characters: ``1.2–3.4``."""
    ends = [row[f"{name}_{end}"] for end in ("early", "late")]
    if None in ends:
        return "?"
    early, late = (f"{end:,.{digits}f}" for end in ends)
    return early if early == late else f"{early}–{late}"


def _scale(ax: Axes, palette: Palette, values: Floats, *, never: bool) -> float:
    """Make the axis of seconds; return where *never* is."""
    finite = values[np.isfinite(values)]
    low = max(float(finite.min()), _LEAST) if len(finite) else 1.0
    high = max(float(finite.max()), 10 * low) if len(finite) else 10.0
    left, edge = low / 1.6, 1.5 * high
    right = edge * (edge / left) ** 0.08 if never else edge
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    at, names = age_ticks(left, edge)
    at, names = ([*at, right], [*names, "never"]) if never else (at, names)
    ax.xaxis.set_major_locator(FixedLocator(at))
    ax.xaxis.set_major_formatter(FixedFormatter(names))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(NullLocator())
    ax.grid(visible=True, axis="x", color=palette.faint, linewidth=0.8)
    return right


def _draw(ax: Axes, palette: Palette, comparison: pa.Table) -> list[Sign]:
    """Draw a row for each policy, the first on top."""
    rows = comparison.to_pylist()
    ends = {name: _numbers(comparison, f"median_{name}") for name in ("low", "early", "late", "high")}
    tails = _numbers(comparison, "p95_late")
    every = np.concatenate([*ends.values(), tails])
    never = _scale(ax, palette, every, never=bool(np.isinf(every).any()))
    low, early, late, high, tail = (
        np.clip(np.where(np.isinf(each), never, each), ax.get_xlim()[0], never) for each in (*ends.values(), tails)
    )
    y = np.arange(len(rows), dtype=np.float64)[::-1]
    ax.set_ylim(-0.6 - max(0, _FEWEST - len(rows)), len(rows) - 0.25)
    colour = palette.causes[0]
    add_segments(ax, low, y, high, y, colors=palette.ink, linewidths=1.1, zorder=2, gid="interval")
    # Bounds that are one are a line of their own, not nothing.
    thick = {"facecolor": colour, "edgecolor": colour, "linewidths": 1.6, "zorder": 3}
    add_boxes(ax, early, late, y - _HALF, y + _HALF, gid="bounds", **thick)
    style: dict[str, Any] = {"facecolor": palette.background, "edgecolor": palette.ink, "linewidth": 1.1, "zorder": 4}
    add_marks(ax, tail, y, size=34, marker="D", gid="p95", clip_on=False, **style)
    words: dict[str, Any] = {"fontsize": 9, "va": "center", "clip_on": False}
    across = ax.get_yaxis_transform()
    for row, at in zip(rows, y.tolist(), strict=True):
        name = plain(row["policy"], limit=_NAME)
        told = []
        if row["recovered_late"] is not None and row["recovered_late"] < 1:
            told.append(f"{share(row['recovered_late'], 1.0)} recovered")
        if row["gave_up"]:
            told.append("ends in silence" if row["silent"] else "gives up, and says so")
        above = {"transform": across, "color": palette.ink}
        note(ax, 0.006, at + 0.36, " · ".join([name, *told]), **words | above | {"gid": "policy"})
        cost = f"{_range(row, 'attempts', 1)} attempts · {_range(row, 'trades', 0)} trades lost"
        many = row["live"] > 1
        if many:
            cost += f" · {row['live']:,} connections open at once"
        beside = {"ha": "right", "gid": "cost", "color": palette.ink if many else palette.muted}
        note(ax, 0.995, at + 0.36, cost, **words | above | beside)
    return [
        ("median, from the earliest to the latest the server can have been back", key("s", colour, size=8)),
        ("95 % interval of it (luck, and which outages there were)", stroke(palette.ink, width=1.1)),
        ("95 % are back by then, at the latest", key("D", palette.ink, hollow=True)),
    ]


def _finding(rows: list[dict[str, Any]]) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what it rests on."""
    first, played = rows[0], f"{counted(rows[0]['outages'], 'outage')} replayed {rows[0]['repetitions']:,} times"
    more = [played, "a bar is what nobody knows of the server"]
    able = [row for row in rows if row["median_late"] is not None]
    if not able:
        return "Under none of these policies half of the outages end", "; ".join(more)
    best = min(able, key=lambda row: (row["median_late"], row["median_early"]))
    early, late = duration(best["median_early"]), duration(best["median_late"])
    within = f"half of the outages over within {early if early == late else f'{early} to {late}'}"
    # Paired: the same outages and the same luck. An interval across nought is no difference.
    if best is not first and best["later_low"] is not None and best["later_low"] <= 0 <= (best["later_high"] or 0.0):
        more.insert(1, f"not told apart from {plain(first['policy'], limit=_NAME)}")
    soonest = ": " if len(rows) == 1 else " is back soonest, "
    return f"{plain(best['policy'], limit=_NAME)}{soonest}{within}", "; ".join(more)


def policy_comparison(
    data: Any,
    ax: Axes | None = None,
    *,
    palette: str | Palette = "light",
    title: str | None = None,
    **options: Any,
) -> Axes:
    """Draw policies side by side over the same outages, as :func:`wsresearch.study.compare` found them.

    A bar goes from the median time to recovery if the server came back as early as the record allows, to that if it
    came back as late: the truth lies between the two, and no number of repetitions makes the bar shorter. The line
    is the 95 % interval, which more outages make shorter. The diamond is the time within which 95 % of the outages
    had ended. What never ends stands at *never*. Above each row: attempts for each outage, trades lost in all of
    them, and how many connections were open at once, if more than one: under a listing that forgets what it has
    scheduled, each delivers every trade.

    Parameters
    ----------
    data
        The table of :func:`wsresearch.study.compare`, or a capture, whose ``compare(**options)`` is called.
    ax
        Where to draw; by default in a figure of its own.
    palette
        ``light``, ``dark`` or a :class:`~wsresearch.notebook.palette.Palette`.
    title
        Instead of the finding.
    **options
        For a capture: ``policies``, ``repetitions`` and so on.

    Raises
    ------
    UsageError
        If ``data`` is neither, or there are more than 24 policies.
    """
    colours = palette_named(palette)
    if callable(getattr(data, "compare", None)):
        data = data.compare(**options)
    elif options:
        raise UsageError(f"{', '.join(options)} cannot be chosen any more: the table has been made")
    if not isinstance(data, pa.Table) or data.schema.names != COMPARISON.names:
        raise UsageError(
            f"policy_comparison takes a capture or the table of compare(), not {type(data).__name__}; "
            "give capture.compare([…])"
        )
    if len(data) > _MOST:
        raise UsageError(f"there are {len(data)} policies; {_MOST} are the most that one picture shows")
    ax = new_axes(ax, colours, width=11, height=2.2 + 0.55 * max(_FEWEST, len(data)))
    rows = data.to_pylist()
    if not rows or not rows[0]["outages"]:
        write(ax, colours, title="No outage" if title is None else title)
        return blank(ax, colours, "there was nothing to recover from")
    legend_below(ax, colours, _draw(ax, colours, data), columns=2)
    finding, more = _finding(rows)
    x = "median time from the last market message to the next (ms, s, min, h; logarithmic)"
    write(ax, colours, title=finding if title is None else title, more=more, x=x)
    return ax
