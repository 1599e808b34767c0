"""The three live pictures: drawn when they would look different, and never for more than a share of the time.

What they show is in `plots`; where they appear is not here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from wsresearch.errors import WsresearchError
from wsresearch.notebook import plots
from wsresearch.notebook.canvas import axes_in, blank, figure_png, new_figure
from wsresearch.notebook.live import Seen
from wsresearch.notebook.palette import Palette
from wsresearch.notebook.recent import Recent, Stretch, quiet_gaps
from wsresearch.safetext import safe

__all__ = ["Drawn", "Picture", "live_pictures"]

_WIDTH: Final = 11.0
_PIXELS: Final = 900
"""About as many as the time axis is wide: time that has moved on by less shows nowhere."""

_SHARE: Final = 0.05
"""Of one core, for each picture at most: after a drawing that took 100 ms there is none for 2 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A picture as it stands: PNG, and what it says in words."""

    png: bytes
    words: str


class Picture:
    """One picture with a figure of its own, whose axes are used again and again.

    Parameters
    ----------
    name
        What it is called where it is shown.
    height
        In inches.
    draw
        Draws the newest stretch of a capture into axes.
    every
        Seconds of the capture after which it is drawn anew although no event has come; None: as soon as the time
        axis has moved by a pixel.
    """

    def __init__(
        self,
        name: str,
        *,
        height: float,
        draw: Callable[[Recent, Axes, Palette], Any],
        every: float | None = None,
    ) -> None:
        self.name = name
        self.drawn: Drawn | None = None
        self._height = height
        self._draw = draw
        self._every = every
        self._key: Hashable = None
        self._due = 0.0
        self._ax: Axes | None = None
        self._palette: Palette | None = None

    def update(
        self,
        seen: Seen,
        recent: Callable[[], Recent],
        *,
        stretch: Stretch,
        palette: Palette,
        hurry: bool = False,
    ) -> Drawn | None:
        """Draw if there is something new to show and time for it; return the drawing if it is another one.

        Parameters
        ----------
        seen
            The capture now.
        recent
            Called for what the picture is made of, only if it is drawn.
        stretch, palette
            What is shown, and how.
        hurry
            Do not wait until it is due: somebody waits for it.
        """
        key = (stretch, palette, seen.events, seen.fetched, self._moved(seen, stretch))
        chosen = self._key is None or self._key[:2] != key[:2]  # type: ignore[index]
        if key == self._key or (not (chosen or hurry) and time.monotonic() < self._due):
            return None
        began, cost = time.monotonic(), time.thread_time()
        self._key = key
        self.drawn = self._redraw(recent(), palette)
        self._due = began + (time.thread_time() - cost) / _SHARE
        return self.drawn

    def close(self) -> None:
        """Take the figure apart; what was drawn stays."""
        if self._ax is not None and (figure := self._ax.get_figure(root=True)) is not None:
            _take_apart(figure.findobj())
        self._ax = None

    def _moved(self, seen: Seen, stretch: Stretch) -> int:
        """Return a number that changes when the passing of time alone would show."""
        if seen.until is None or seen.first is None:
            return 0
        length = stretch.seconds or (seen.until - seen.first) / 1e9
        step = self._every or max(1.0, length / _PIXELS)
        # Half a second early: rows come once a second, give or take a few milliseconds.
        return int((seen.until / 1e9 + 0.5) // step)

    def _redraw(self, recent: Recent, palette: Palette) -> Drawn:
        ax = self._axes(palette)
        try:
            self._draw(recent, ax, palette)
        except WsresearchError as error:
            _clear(ax)
            blank(ax, palette, safe(f"cannot be drawn: {error}", limit=120))
        title = ax.get_title(loc="left")
        more = [text.get_text() for text in ax.texts if text.get_gid() == "more"]
        words = ". ".join(filter(None, [title, *more])) or f"{self.name}: nothing to see yet"
        return Drawn(png=figure_png(ax.get_figure(root=True)), words=words)

    def _axes(self, palette: Palette) -> Axes:
        if self._ax is None or self._palette != palette:
            self.close()
            figure = new_figure(_WIDTH, self._height, palette)
            self._ax = axes_in(figure, bottom=0, height=self._height, palette=palette)
            self._palette = palette
        else:
            _clear(self._ax)
        return self._ax


def _clear(ax: Axes) -> None:
    """Take everything out of axes but their ticks, which cost more to make than all the rest."""
    figure = ax.get_figure(root=True)
    others = [] if figure is None else [other for other in figure.axes if other is not ax]
    legend = ax.get_legend()
    for artist in (
        *others,
        *([] if legend is None else [legend]),
        *ax.child_axes,
        *ax.collections,
        *ax.lines,
        *ax.patches,
        *ax.texts,
        *ax.artists,
    ):
        parts = artist.findobj()  # which a removed one does not know any more
        artist.remove()
        _take_apart(parts)


def _take_apart(parts: Sequence[Artist]) -> None:
    """Have what is not shown any more freed now and here, by the thread that drew it.

    An artist and its parts refer to each other, so Python would find them when it looks for such circles: in whatever
    thread that is, the main one too while a cell runs. Matplotlib is told of each by a callback, and when one of those
    is what an interrupt meets, Python drops it: the cell would go on as if nobody had pressed the button.
    """
    for part in parts:
        vars(part).clear()


def live_pictures() -> tuple[Picture, ...]:
    """Return the three pictures of a panel, not drawn yet."""
    return (
        Picture("timeline", height=4.4, draw=lambda recent, ax, palette: plots.timeline(recent, ax, palette=palette)),
        Picture("gaps against backoff", height=4.7, draw=_draw_gaps, every=10.0),
        Picture("rate and lag", height=3.4, draw=_draw_rate),
    )


def _draw_gaps(recent: Recent, ax: Axes, palette: Palette) -> None:
    plots.gaps_vs_backoff(recent, ax, gaps=quiet_gaps(recent.stats()), palette=palette)


def _draw_rate(recent: Recent, ax: Axes, palette: Palette) -> None:
    plots.rate(recent.table(), ax, stats=recent.stats(), palette=palette)
