"""Drawing the lanes of a timeline, one by one or summed up in bins; its title and legend are not here."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array

from wsresearch.notebook.canvas import note, shifted
from wsresearch.notebook.columns import nanoseconds
from wsresearch.notebook.marks import Floats, add_boxes, add_marks, add_segments
from wsresearch.notebook.palette import Palette
from wsresearch.notebook.scene import AWAY, CONNECTING, LANES, LOST, OPEN, OUTAGES, WAITING, Lane, Scene
from wsresearch.notebook.words import counted, duration, share
from wsresearch.study.rows import plain_rows

__all__ = ["draw_dense", "draw_lanes", "draw_outages", "label_lanes"]

_BINS: Final = 180
_LABELLED: Final = 14
"""Up to this many outages carry their length in words."""


def _scale(silence: Floats) -> tuple[float, float]:
    """Return the decades that the heights of the outages span."""
    low, high = np.floor(np.log10(silence.min()) - 0.15), np.ceil(np.log10(silence.max()))
    return float(low), float(max(high, low + 1))


def draw_outages(ax: Axes, scene: Scene) -> None:
    """Shade each outage over all lanes, and raise a mark as high as it was long."""
    left, right = scene.spans()
    middle = (left + right) / 2
    silence = np.maximum(scene.outages["silence"].to_numpy(), 1e-3)
    low, high = _scale(silence)
    room = OUTAGES.top - OUTAGES.bottom - 0.25
    height = OUTAGES.bottom + room * np.clip((np.log10(silence) - low) / (high - low), 0.03, 1)
    censored = scene.outages["censored"].to_numpy(zero_copy_only=False)
    causes = np.array(scene.causes)
    colours = to_rgba_array([scene.looks[cause].colour for cause in scene.causes])
    shade = add_boxes(ax, left, right, LOST.bottom - 0.1, OUTAGES.top, gid="shade", zorder=1)
    # The edge keeps a second visible on the axis of a day.
    shade.set(facecolor=colours, edgecolor=colours, alpha=0.2, linewidth=0.9)
    add_segments(ax, middle, OUTAGES.bottom, middle, height, colors=colours, linewidths=1.2, zorder=3)
    size = 42 if len(causes) <= 40 else 18
    for cause, look in scene.looks.items():
        of = causes == cause
        for known, fill in ((~censored, look.colour), (censored, scene.palette.background)):
            add_marks(
                ax,
                middle[of & known],
                height[of & known],
                size=size,
                marker=look.marker,
                facecolor=fill,
                edgecolor=look.colour,
                linewidth=1.3,
                zorder=4,
                gid=f"outages:{cause}",
                clip_on=False,
            )
    decades = np.arange(low, high + 1)
    levels = OUTAGES.bottom + room * (decades - low) / (high - low)
    _rules(ax, scene.palette, levels)
    for decade, y in zip(decades.astype(int).tolist(), levels.tolist(), strict=True):
        if high - low <= 3 or (decade - int(low)) % 2 == 0:
            beside(ax, scene.palette, y, f"{10.0**decade:g} s" if -1 <= decade <= 1 else duration(10.0**decade))
    if len(causes) <= _LABELLED:
        _label_lengths(ax, scene, middle, height)


def _label_lengths(ax: Axes, scene: Scene, middle: Floats, height: Floats) -> None:
    """Write the length beside each mark that has room for it: on its right, at the end of the axis on its left."""
    left, right = ax.get_xlim()
    place = (middle - left) / (right - left)
    after, before = np.diff(place, append=np.inf), np.diff(place, prepend=-np.inf)
    for at, row in enumerate(plain_rows(scene.outages)):
        ends = place[at] > 0.93
        if (before if ends else after)[at] < 0.085:
            continue
        words = ("> " if row["censored"] else "") + duration(row["silence"])
        beside_it = shifted(ax, ax.transData, -8 if ends else 8, 0)
        style: dict[str, Any] = {"ha": "right" if ends else "left", "va": "center", "fontsize": 8.5, "zorder": 5}
        note(ax, middle[at], height[at], words, transform=beside_it, color=scene.palette.ink, **style)


def beside(ax: Axes, palette: Palette, y: float, words: str) -> None:
    note(
        ax,
        1.012,
        y,
        words,
        transform=ax.get_yaxis_transform(),
        fontsize=8.5,
        color=palette.muted,
        va="center",
        clip_on=False,
    )


def _rules(ax: Axes, palette: Palette, y: Floats) -> None:
    """Draw faint lines from end to end."""
    ends = np.zeros(len(y)), np.ones(len(y))
    add_segments(
        ax, ends[0], y, ends[1], y, transform=ax.get_yaxis_transform(), colors=palette.faint, linewidths=0.8, zorder=0
    )


def draw_lanes(ax: Axes, scene: Scene) -> None:
    """Draw each stretch of a state as a bar, each attempt as a tick and each hole as a mark."""
    palette = scene.palette
    for lane in (OPEN, CONNECTING, WAITING, AWAY):
        left, right = scene.in_lane(lane)
        bars = add_boxes(ax, left, right, lane.bottom, lane.top, gid=f"lane:{lane.name}", zorder=2)
        bars.set(facecolor=palette.lane, edgecolor=palette.lane, linewidth=0 if lane is OPEN else 0.8)
        if lane is AWAY:
            bars.set(facecolor=palette.faint, edgecolor=palette.muted, hatch="////")
    started = scene.clock.at(nanoseconds(scene.attempts["started"]))
    failed = np.array(scene.attempts["outcome"].to_pylist()) == "failed"
    few = len(started) <= 60
    x, low, high = started[~failed], CONNECTING.bottom, CONNECTING.top
    ticks = add_segments(ax, x, low - 0.05, x, high + 0.05, colors=palette.ink, zorder=3, gid="attempts:opened")
    ticks.set_linewidth(1.2 if few else 0.7)
    add_marks(
        ax,
        started[failed],
        (low + high) / 2,
        size=26 if few else 12,
        marker="x",
        facecolor=palette.ink,
        edgecolor="face",
        linewidth=1.2 if few else 0.8,
        zorder=3,
        gid="attempts:failed",
        clip_on=False,
    )
    at = scene.clock.at(nanoseconds(scene.holes["time"]))
    size = (16 + 22 * np.log10(scene.holes["count"].to_numpy().astype(np.float64) + 1)) / (1 if len(at) <= 60 else 3)
    across = np.array(scene.holes["outage"].to_pylist(), dtype=np.int64) > 0
    for of, fill in ((across, palette.ink), (~across, palette.background)):
        add_marks(
            ax,
            at[of],
            (LOST.bottom + LOST.top) / 2,
            size=size[of],
            marker="v",
            facecolor=fill,
            edgecolor=palette.ink,
            linewidth=1.0,
            zorder=3,
            gid="holes",
            clip_on=False,
        )


def _share_of_bins(left: Floats, right: Floats, edges: Floats) -> Floats:
    """Return which share of each bin lies in disjoint, ordered intervals."""
    if not len(left):
        return np.zeros(len(edges) - 1)
    knots = np.column_stack((left, right)).ravel()
    covered = np.repeat(np.cumsum(right - left), 2)
    covered[0::2] -= right - left
    return np.clip(np.diff(np.interp(edges, knots, covered)) / np.diff(edges), 0, 1)


def draw_dense(ax: Axes, scene: Scene) -> None:
    """Draw counts and shares of time in equal bins, where single outages are narrower than a pixel."""
    palette, clock = scene.palette, scene.clock
    edges = np.linspace(clock.at(clock.start), clock.at(clock.end), _BINS + 1)
    left, right = edges[:-1], edges[1:]

    def bars(lane: Lane, low: Floats | float, high: Floats, **style: Any) -> None:
        room = lane.top - lane.bottom
        style = {"edgecolor": "none", "zorder": 2} | style
        add_boxes(ax, left, right, lane.bottom + room * low, lane.bottom + room * high, **style)

    began, _ = scene.spans()
    causes = np.array(scene.causes)
    counts = {cause: np.histogram(began[causes == cause], edges)[0] for cause in scene.looks}
    most = max(1, int(np.max(sum(counts.values(), np.zeros(_BINS)))))
    below = np.zeros(_BINS)
    for cause, look in scene.looks.items():
        bars(OUTAGES, below / most, (below + counts[cause]) / most, facecolor=look.colour, gid=f"outages:{cause}")
        below = below + counts[cause]
    beside(ax, palette, OUTAGES.top, f"{most} in {duration(clock.seconds / _BINS)}")
    for lane in (OPEN, WAITING, AWAY):
        part = _share_of_bins(*scene.in_lane(lane), edges)
        # Waiting is seldom more than a few percent of a bin: its bars are scaled to the highest.
        part = part / max(1e-9, part.max()) if lane is WAITING else part
        bars(lane, 0.0, part, facecolor=palette.lane, gid=f"lane:{lane.name}")
    started = clock.at(nanoseconds(scene.attempts["started"]))
    failed = np.array(scene.attempts["outcome"].to_pylist()) == "failed"
    total, bad = np.histogram(started, edges)[0], np.histogram(started[failed], edges)[0]
    bars(CONNECTING, 0.0, total / max(1, total.max()), facecolor=palette.lane, gid="attempts:opened")
    bars(CONNECTING, 0.0, bad / max(1, total.max()), facecolor=palette.ink, gid="attempts:failed")
    at = clock.at(nanoseconds(scene.holes["time"]))
    ids = np.histogram(at, edges, weights=scene.holes["count"].to_numpy().astype(np.float64))[0]
    bars(LOST, 0.0, ids / max(1.0, ids.max()), facecolor=palette.ink, gid="holes")


def label_lanes(ax: Axes, scene: Scene) -> None:
    """Name the lanes on the left, and say on the right how much is in each."""
    ax.set_ylim(-0.15, OUTAGES.top + 0.15)
    ax.set_yticks([(lane.bottom + lane.top) / 2 for lane in LANES], [lane.name for lane in LANES])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    _rules(ax, scene.palette, np.array([OUTAGES.bottom - 0.125, *(lane.top + 0.175 for lane in LANES[2:])]))
    days = scene.clock.seconds / 86_400
    for lane in (OPEN, WAITING, AWAY):
        left, right = scene.in_lane(lane)
        beside(ax, scene.palette, (lane.bottom + lane.top) / 2, share(float((right - left).sum()), days))
    if not len(scene.outages):
        beside(ax, scene.palette, (OUTAGES.bottom + OUTAGES.top) / 2, "none")
    failed = sum(outcome == "failed" for outcome in scene.attempts["outcome"].to_pylist())
    tries = counted(len(scene.attempts), "attempt") + (f",\n{failed:,} failed" if failed else "")
    beside(ax, scene.palette, (CONNECTING.bottom + CONNECTING.top) / 2, tries)
    lost = sum(scene.holes["count"].to_pylist())
    words = (
        f"{counted(lost, 'id')}\nin {counted(len(scene.holes), 'hole')}"
        if lost
        else "none"
        if scene.received
        else "unknown"
    )
    beside(ax, scene.palette, (LOST.bottom + LOST.top) / 2, words)
