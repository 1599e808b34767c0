"""The pictures of a capture: ``(data, ax=None, **style) -> Axes``; widgets and live updates are not here.

``data`` is a capture or its events table; for :func:`storm` it is a storm. Nothing here touches pyplot or a global
setting: without ``ax`` each picture stands in a figure of its own, ``axes.figure``, which :func:`figure_png` turns into
bytes.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from wsresearch.notebook.against_backoff import gaps_vs_backoff
from wsresearch.notebook.canvas import axes_in, figure_png, new_figure
from wsresearch.notebook.gap_distribution import gap_distribution
from wsresearch.notebook.lifetimes import lifetimes
from wsresearch.notebook.palette import Palette, palette_named
from wsresearch.notebook.policy_comparison import policy_comparison
from wsresearch.notebook.rate import rate
from wsresearch.notebook.recovery_phases import recovery_phases
from wsresearch.notebook.storm import storm
from wsresearch.notebook.survival import survival
from wsresearch.notebook.timeline import timeline

__all__ = [
    "figure_png",
    "gap_distribution",
    "gaps_vs_backoff",
    "lifetimes",
    "overview_png",
    "policy_comparison",
    "rate",
    "recovery_phases",
    "storm",
    "survival",
    "timeline",
]

_WIDTH: Final = 11.0
_TIMELINE: Final = 5.1
_GAPS: Final = 5.6


def overview_png(
    data: Any,
    *,
    trades: pa.Table | None = None,
    stats: pa.Table | None = None,
    longer_than: float = 1.0,
    palette: str | Palette = "light",
) -> bytes:
    """Return one PNG with the timeline above gaps against backoff.

    Parameters
    ----------
    data
        A capture, or its events table.
    trades, stats
        Tables beside an events table, as the two pictures take them.
    longer_than
        Seconds; shorter ordinary gaps are not drawn.
    palette
        ``light``, ``dark`` or a :class:`~wsresearch.notebook.palette.Palette`.
    """
    colours = palette_named(palette)
    figure = new_figure(_WIDTH, _TIMELINE + _GAPS, colours)
    above = axes_in(figure, bottom=_GAPS, height=_TIMELINE, palette=colours)
    below = axes_in(figure, bottom=0, height=_GAPS, palette=colours)
    timeline(data, above, trades=trades, stats=stats, palette=colours)
    gaps_vs_backoff(data, below, trades=trades, longer_than=longer_than, palette=colours)
    return figure_png(figure)
