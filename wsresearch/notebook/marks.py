"""Many marks as one artist, made cheaply enough for a picture that is drawn every second; what they mean is not here.

matplotlib's own ``scatter`` and ``Axis`` do the same and more, at several times the price: they look for colour maps,
units and limits that a picture of ours has settled already.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.markers import TICKDOWN, TICKLEFT, MarkerStyle
from matplotlib.ticker import NullLocator
from matplotlib.transforms import IdentityTransform, Transform
from numpy.typing import ArrayLike, NDArray

from wsresearch.notebook.palette import Palette

__all__ = ["Floats", "add_boxes", "add_marks", "add_minor_ticks", "add_segments"]

Floats = NDArray[np.float64]

_MINOR: Final = 2.0
"""Length of a minor tick in points; matplotlib's own default."""


def add_boxes(ax: Axes, left: Floats, right: Floats, bottom: Any, top: Any, **style: Any) -> PolyCollection:
    """Add one rectangle for each place; the limits of the axes stay as they are."""
    corners = np.empty((len(left), 4, 2))
    corners[:, 0, 0] = corners[:, 1, 0] = left
    corners[:, 2, 0] = corners[:, 3, 0] = right
    corners[:, 0, 1] = corners[:, 3, 1] = bottom
    corners[:, 1, 1] = corners[:, 2, 1] = top
    # As an array: matplotlib has a fast path for those, ten times as fast as for a list of arrays.
    boxes = PolyCollection(corners, visible=len(left) > 0, **style)  # type: ignore[arg-type]
    ax.add_collection(boxes, autolim=False)
    return boxes


def add_segments(ax: Axes, x0: Floats, y0: Any, x1: Floats, y1: Any, **style: Any) -> LineCollection:
    """Add one straight line for each place; the limits of the axes stay as they are."""
    ends = np.empty((len(x0), 2, 2))
    ends[:, 0, 0], ends[:, 0, 1], ends[:, 1, 0], ends[:, 1, 1] = x0, y0, x1, y1
    lines = LineCollection(ends, visible=len(x0) > 0, **style)  # type: ignore[arg-type]
    ax.add_collection(lines, autolim=False)
    return lines


def add_marks(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    marker: Any,
    size: Any,
    transform: Transform | None = None,
    **style: Any,
) -> PathCollection:
    """Add one mark for each point; the limits of the axes stay as they are.

    Parameters
    ----------
    ax
        Where to.
    x, y
        Of the marks.
    marker, size
        Its form, and its area in square points: one, or one for each mark.
    transform
        Of ``x`` and ``y``; by default they are data.
    style
        As for a ``PathCollection``.
    """
    offsets = np.column_stack(np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)))
    form = MarkerStyle(marker)
    marks = PathCollection(
        (form.get_path().transformed(form.get_transform()),),
        np.atleast_1d(np.asarray(size, dtype=np.float64)),
        offsets=offsets,
        offset_transform=ax.transData if transform is None else transform,
        visible=len(offsets) > 0,
        **style,
    )
    marks.set_transform(IdentityTransform())
    ax.add_collection(marks, autolim=False)
    return marks


def add_minor_ticks(ax: Axes, palette: Palette, *, x: ArrayLike = (), y: ArrayLike = ()) -> None:
    """Add minor ticks at places inside the limits, which must have been set.

    Axes draw each tick as two lines and two labels; two decades of them cost more than the rest of a picture.
    """
    for axis, at, limits, marker, transform in (
        (ax.xaxis, x, ax.get_xlim(), TICKDOWN, ax.get_xaxis_transform(which="tick1")),
        (ax.yaxis, y, ax.get_ylim(), TICKLEFT, ax.get_yaxis_transform(which="tick1")),
    ):
        axis.set_minor_locator(NullLocator())
        places = np.asarray(at, dtype=np.float64)
        places = places[(places >= min(limits)) & (places <= max(limits))]
        zeros = np.zeros(len(places))
        line = ax.plot(
            *((places, zeros) if axis is ax.xaxis else (zeros, places)),
            scalex=False,
            scaley=False,
            transform=transform,
            gid="minor ticks",
        )[0]
        line.set(linestyle="none", marker=marker, markersize=_MINOR, markeredgewidth=0.8, color=palette.muted)
        line.set(clip_on=False, zorder=0.5, in_layout=False)
