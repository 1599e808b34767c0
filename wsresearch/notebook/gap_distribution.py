"""How long silences are: the share of gaps that is longer than so many seconds; how they are found is not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import blank, material, new_axes, write
from wsresearch.notebook.legends import Sign, legend_below, stroke
from wsresearch.notebook.marks import Floats, add_minor_ticks
from wsresearch.notebook.palette import Palette, palette_named
from wsresearch.notebook.silences import Silences, runs_of, silences_in, silences_of, silences_without_trades
from wsresearch.notebook.words import counted, duration

__all__ = ["gap_distribution", "idle_timeout_of", "survival"]

_Ints = NDArray[np.int64]

_TRADE_COLUMNS: Final = ("recv_time", "connection")
_GRID: Final = 800
_TAIL: Final = 300
_SHORTEST: Final = 1_000
"""Below a microsecond (in ns) lies no silence, only a clock too coarse to see it."""

_LONGEST_TIMEOUT: Final = 86_400.0
"""Seconds; no collector takes a longer one."""

_MARKED: Final = 300
_RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def survival(lengths: _Ints, total: int, *, since: int) -> tuple[Floats, Floats]:
    """Return where P(gap > t) is known and what it is there, from lengths that rise.

    Parameters
    ----------
    lengths
        In ns, shape (n,), rising.
    total
        Of how many gaps these are a part.
    since
        The first t, in ns.

    Returns
    -------
    t, share
        t in seconds, rising, from ``since`` to the longest length. Every share is exact: counted, not interpolated.
        Of more than 1,100 lengths only the longest 300 are all there, besides 800 places at equal distances on a
        logarithmic axis. P is 0 from the longest length on, where a logarithm has no place: the last share is the one
        just before it. Empty if nothing is longer than ``since``.

    Notes
    -----
    The complement of the empirical distribution function, P(gap > t) = #{length > t} / total.
    """
    if not len(lengths) or lengths[-1] <= since:
        return np.empty(0), np.empty(0)
    first = int(np.searchsorted(lengths, since, side="right"))
    places = lengths[max(first, len(lengths) - _TAIL) :]
    if len(lengths) - first > _GRID + _TAIL:
        grid = np.geomspace(lengths[first], lengths[-1], _GRID).astype(np.int64)
        places = np.concatenate((np.minimum(grid, lengths[-1]), places))
    else:
        places = lengths[first:]
    places = np.unique(np.append(places, since))
    longer = len(lengths) - np.searchsorted(lengths, places, side="right")
    longer[-1] = longer[-2]
    return places / 1e9, longer / total


def _decades(low: float, high: float) -> NDArray[Any]:
    return np.asarray(10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1))


def _power(value: float, _at: int | None = None) -> str:
    """Return a power of ten as people write it."""
    power = round(np.log10(value))
    return f"{10.0**power:,g}" if -3 <= power <= 5 else f"10{str(power).translate(_RAISED)}"


def _scale(ax: Axes, palette: Palette, *, left: float, right: float, least: float) -> None:
    """Make both axes logarithmic, with ticks at the decades."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(left, right)
    ax.set_ylim(least / 1.6, 1.35)
    across, up = _decades(left, right), _decades(least, 1.0)
    for axis, at in ((ax.xaxis, across), (ax.yaxis, up)):
        axis.set_major_locator(FixedLocator(at.tolist()))
        axis.set_major_formatter(FuncFormatter(_power))
    between = np.arange(2, 10)
    add_minor_ticks(ax, palette, x=np.outer(across, between).ravel(), y=np.outer(up, between).ravel())
    ax.grid(visible=True, which="major", color=palette.faint, linewidth=0.8)


def _draw(ax: Axes, palette: Palette, found: Silences, *, since: int) -> list[Sign]:
    """Draw a curve for each kind of gap, both as shares of all gaps, and return what explains them."""
    signs: list[Sign] = []
    for name, lengths, colour, style in (
        ("ordinary gaps", found.ordinary, palette.ink, "-"),
        ("gaps in an outage", found.outages, palette.causes[1], (0, (4, 1.5))),
    ):
        if not len(lengths):
            continue
        t, share = survival(lengths, len(found), since=since)
        line = ax.plot(t, share, drawstyle="steps-post", gid=name, color=colour, linestyle=style, linewidth=1.7)[0]
        line.set(zorder=3, solid_capstyle="butt")
        if lengths is found.outages:
            # Each of them is an event of its own.
            at, heights = (t[1:], share[:-1]) if len(lengths) <= _MARKED else (t[-1:], share[-1:])
            marks = ax.plot(at, heights, marker="o", markersize=4, gid=f"{name}:marks")[0]
        else:
            marks = ax.plot(t[-1:], share[-1:], marker="|", markersize=8, gid=f"{name}:longest")[0]
        marks.set(color=colour, linestyle="none", zorder=4, clip_on=False)
        sample = stroke(colour, width=1.7, style=style, marker="o" if lengths is found.outages else "None")
        signs.append((f"{name} ({len(lengths):,})", sample))
    return signs


def _draw_timeout(ax: Axes, palette: Palette, seconds: float) -> Sign:
    ax.axvline(seconds, color=palette.muted, linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=2, gid="idle timeout")
    return f"idle timeout ({seconds:g} s)", stroke(palette.muted, style=(0, (1, 1.5)))


def _finding(found: Silences, *, over: float, idle_timeout: float | None, unended: int) -> tuple[str, str]:
    """Say in a line what the picture shows, and in another what stands out."""
    ordinary, more = found.ordinary, []
    longest = duration(float(ordinary[-1]) / 1e9) if len(ordinary) else ""
    least = f" over {over:g} s" if over else ""
    if not len(ordinary):
        title = f"{counted(len(found.outages), 'gap')}{least}, all in outages"
    elif idle_timeout is not None:
        late = len(ordinary) - int(np.searchsorted(ordinary, round(idle_timeout * 1e9), side="right"))
        title = f"{late:,} of {counted(len(ordinary), 'ordinary gap')}{least}" if late else f"No ordinary gap{least}"
        title += f" {'were' if late > 1 else 'was'} longer than the idle timeout of {idle_timeout:g} s"
    elif len(ordinary) == 1:
        title = f"One ordinary gap{least}"
    else:
        one_in = next(one_in for one_in in (1_000, 100, 10, 2) if len(ordinary) >= one_in)
        # As many from the end as the share is, rounded up: -7 // 2 is -4.
        at = duration(float(ordinary[-len(ordinary) // one_in]) / 1e9)
        title = f"1 in {one_in:,} ordinary gaps{least} lasts {at} or longer"
        if one_in == 2:
            title = f"Half of the ordinary gaps{least} last {at} or longer"
    if len(ordinary):
        more.append(f"longest ordinary gap: {longest}")
    if len(found.outages):
        ends = [duration(float(length) / 1e9) for length in (found.outages[0], found.outages[-1])]
        more.append(f"in outages: {ends[0]} to {ends[1]}" if len(found.outages) > 1 else f"in the outage: {ends[0]}")
    instant = int(np.searchsorted(ordinary, 0, side="right"))
    left_out = [
        *([counted(unended, "outage without an end", "outages without an end")] if unended else []),
        *([counted(found.stops, "gap across a stop", "gaps across a stop")] if found.stops else []),
        *([f"{instant:,} of 0 s"] if instant else []),
    ]
    if left_out:
        more.append(f"not drawn: {', '.join(left_out)}")
    return title, "; ".join(more)


def _first(found: Silences, *, longer_than: float) -> int:
    """Return the t in ns at which the curves begin: where all that is drawn is longer than it, if that can be."""
    if longer_than:
        return round(longer_than * 1e9)
    least = min((int(part[part > 0][0]) for part in (found.ordinary, found.outages) if part.any()), default=1)
    return max(_SHORTEST, min(int(10.0 ** (np.ceil(np.log10(least)) - 1)), found.longest // 20))


def idle_timeout_of(data: Any) -> float | None:
    """Return the idle timeout that a capture was configured with, in seconds; None if that tells of no time.

    What stands in the configuration of a capture from elsewhere may be anything.
    """
    config = getattr(getattr(data, "identity", None), "config", None)
    value = config.get("idle_timeout") if isinstance(config, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= _LONGEST_TIMEOUT else None


def gap_distribution(
    data: Any,
    ax: Axes | None = None,
    *,
    trades: pa.Table | None = None,
    gaps: pa.Table | None = None,
    longer_than: float = 0.0,
    idle_timeout: float | None = None,
    palette: str | Palette = "light",
    title: str | None = None,
) -> Axes:
    """Draw which share of the silences between two messages is longer than t, on logarithmic axes.

    Ordinary gaps are one curve and gaps in an outage another, both as shares of all gaps: where the curves cross, a
    silence that is longer than that is as likely an outage as not. The ordinary curve at the idle timeout tells how
    often it would drop a connection that lives. Each curve ends at its longest gap. Silences across a stop of ours are
    left out, for nobody listened. Outages whose end was not seen are no gaps yet.

    Parameters
    ----------
    data
        A capture, or its events table.
    ax
        Where to draw; by default in a figure of its own.
    trades
        The trades beside an events table; ``recv_time`` and ``connection`` are needed. Ten million take about two
        seconds.
    gaps
        The table of :func:`wsresearch.study.gaps.gaps` with ``outages``, if it is known already; no trades are read
        then. Give ``longer_than`` as it was made with: shares are then those of gaps longer than that.
    longer_than
        Seconds; shorter gaps are neither drawn nor counted.
    idle_timeout
        Seconds; by default the capture's own, and no line if that is not known.
    palette
        ``light``, ``dark`` or a :class:`~wsresearch.notebook.palette.Palette`.
    title
        Instead of the finding.

    Raises
    ------
    UsageError
        If ``data`` is neither, a column is missing, or ``longer_than`` or ``idle_timeout`` is negative.
    """
    for name, value in (("longer_than", longer_than), ("idle_timeout", idle_timeout)):
        if value is not None and not (isinstance(value, int | float) and 0 <= value < np.inf):
            raise UsageError(f"{name} is {value!r}; give seconds, 0 or more")
    colours = palette_named(palette)
    ax = new_axes(ax, colours, width=11, height=5.4)
    given = material(data, trades=trades, columns=() if gaps is not None else _TRADE_COLUMNS)
    rows, lost = given.events, given.outages
    if gaps is not None:
        found = silences_of(gaps, runs_of(rows))
    elif given.trades is not None:
        found = silences_in(given.trades, lost, runs_of(rows))
    else:
        found = silences_without_trades(lost)
    if longer_than:
        found = found.longer_than(round(longer_than * 1e9))
    since = _first(found, longer_than=longer_than)
    if found.longest <= since:
        write(ax, colours, title="No gap" if title is None else title)
        missing = gaps is None and given.trades is None
        return blank(ax, colours, "there are no trades to find gaps between" if missing else "no two messages apart")
    timeout = idle_timeout_of(data) if idle_timeout is None else idle_timeout
    _scale(ax, colours, left=since / 1e9, right=1.6 * max(found.longest / 1e9, timeout or 0.0), least=1 / len(found))
    signs = _draw(ax, colours, found, since=since)
    if timeout:
        signs.append(_draw_timeout(ax, colours, timeout))
    legend_below(ax, colours, signs)
    unended = sum(lost["censored"].to_pylist())
    finding, more = _finding(found, over=longer_than, idle_timeout=timeout, unended=unended)
    of = f"gaps over {longer_than:g} s" if longer_than else "all gaps"
    x = "t, silence between two messages (s)"
    write(ax, colours, title=finding if title is None else title, more=more, x=x, y=f"share of {of} longer than t")
    return ax
