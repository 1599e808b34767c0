"""What the collector was doing at every moment, in one lane per state; how that is computed is in `study`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes

from wsresearch.notebook.canvas import blank, material, new_axes, write
from wsresearch.notebook.columns import nanoseconds
from wsresearch.notebook.lanes import draw_dense, draw_lanes, draw_outages, label_lanes
from wsresearch.notebook.legends import key, legend_below
from wsresearch.notebook.palette import Palette, cause_looks, palette_named
from wsresearch.notebook.scene import DENSE, Clock, Scene
from wsresearch.notebook.words import cause_labels, counted, duration, hard_start, plain, share
from wsresearch.study.attempts import attempts
from wsresearch.study.connections import states
from wsresearch.study.holes import holes
from wsresearch.study.rows import plain_rows
from wsresearch.study.starts import starts

__all__ = ["timeline"]

_LINE: Final = 118
"""Characters that have room below the title."""


def _finding(scene: Scene) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what stands out."""
    span, lived = scene.clock.seconds, float(scene.starts["lived"].to_numpy().sum())
    hard = [words for row in plain_rows(scene.starts) if (words := hard_start(row)) is not None]
    if not scene.received:
        opened = any(scene.starts["attempts_opened"].to_pylist())
        over = scene.starts["ended"][-1].as_py() is not None
        begun = "Connected, but no market data" if opened else "Never connected" if over else "Not connected"
        begun += "" if over else " yet"
        failed = sum(scene.starts["attempts_failed"].to_pylist())
        tries = f", {counted(failed, 'failed attempt')}" if failed else ""
        return f"{begun}: {duration(scene.waits)} without data{tries}", plain(hard[-1] if hard else "", limit=_LINE)
    count = len(scene.outages)
    silence = scene.outages["silence"].to_numpy()
    # Hours in which nobody collected are no hours with data.
    whole = f"{share(silence.sum() + scene.waits, lived)}" + (f" of {duration(lived)}" if lived < 0.99 * span else "")
    lost = f"{duration(silence.sum() + scene.waits)} without data ({whole})"
    if count == 0:
        if not hard:
            return f"No outage in {duration(span)}", ""
        return f"No outage in {duration(span)}, but {lost}", plain(hard[-1], limit=_LINE)
    longest = int(np.argmax(silence))
    more = [f"longest: {duration(silence[longest])} ({scene.causes[longest]})"]
    if count == 1:
        more = [f"cause: {scene.causes[0]}"]
    elif count >= DENSE:
        more += [f"median: {duration(float(np.median(silence)))}"]
    censored = sum(scene.outages["censored"].to_pylist())
    if censored:
        more += ["its end was not seen" if count == 1 else f"{censored:,} whose end was not seen (hollow)"]
    if hard:
        more += [f"{duration(scene.waits)} of it before the first message of a run"]
    return f"{counted(count, 'outage')} in {duration(span)}: {lost}", "; ".join(more)


def _legend(ax: Axes, scene: Scene) -> None:
    causes, ink = scene.causes, scene.palette.ink
    marks = [
        (f"{cause} ({causes.count(cause):,})", key(look.marker, look.colour)) for cause, look in scene.looks.items()
    ]
    if len(scene.outages) < DENSE:
        outcomes = scene.attempts["outcome"].to_pylist()
        if any(outcome != "failed" for outcome in outcomes):
            marks.append(("attempt", key("|", ink, size=9)))
        if "failed" in outcomes:
            marks.append(("failed attempt", key("x", ink, size=5.5)))
        across = [outage > 0 for outage in scene.holes["outage"].to_pylist()]
        if any(across):
            marks.append(("ids lost across an outage", key("v", ink)))
        if not all(across):
            marks.append(("ids lost elsewhere", key("v", ink, hollow=True)))
    legend_below(ax, scene.palette, marks)


def timeline(
    data: Any,
    ax: Axes | None = None,
    *,
    trades: pa.Table | None = None,
    stats: pa.Table | None = None,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw what the collector did over time: a lane for each state, the outages on top and across.

    Every outage is shaded in the colour of its cause, and on top stands a mark as high (log scale) as the outage
    was long, so that a second is still seen on the axis of a day. Attempts are ticks, failed ones crosses, holes
    triangles: filled across an outage, hollow inside a connection or across a stop. A hollow mark is an outage
    whose end was not seen. From 300 outages on, the lanes show counts and shares of time in equal bins.

    Parameters
    ----------
    data
        A capture, or its events table.
    ax
        Where to draw; by default in a figure of its own.
    trades, stats
        Tables beside an events table; they tell how long the last run has been alive.
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
    ax = new_axes(ax, colours, width=11, height=5.1)
    given = material(data, trades=trades, stats=stats)
    rows, lost = given.events, given.outages
    if not rows:
        write(ax, colours, title="Nothing has happened yet" if title is None else title)
        return blank(ax, colours, "the events table is empty")
    seen = [
        int(nanoseconds(table[column]).max())
        for table, column in ((given.trades, "recv_time"), (given.stats, "time"))
        if table is not None and len(table)
    ]
    times = [row.time for row in rows]
    last = max([*times, *seen])
    causes = cause_labels(lost["cause"].to_pylist())
    scene = Scene(
        clock=Clock(min(times), last),
        outages=lost,
        starts=starts(rows, stats=given.stats, until=last),
        attempts=attempts(rows),
        holes=holes(rows),
        states=states(rows, stats=given.stats, until=last),
        causes=causes,
        looks=cause_looks(causes, colours),
        palette=colours,
    )
    axis = scene.clock.ticks(ax)
    if len(lost) >= DENSE:
        draw_dense(ax, scene)
    else:
        draw_lanes(ax, scene)
        if len(lost):
            draw_outages(ax, scene)
    label_lanes(ax, scene)
    _legend(ax, scene)
    finding, more = _finding(scene)
    write(ax, colours, title=finding if title is None else title, more=more, x=axis)
    return ax
