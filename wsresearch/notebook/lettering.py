"""A canvas that sets each piece of text once and stamps it from then on; what is written is not here.

Laying out and rasterising words takes more than half of the time of a picture of ours, and from one drawing to the
next nearly all words stay. matplotlib keeps their measures, but sets every glyph anew.
"""

from __future__ import annotations

from math import ceil, floor
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from numpy.typing import NDArray

__all__ = ["LetteringCanvas"]

_MOST: Final = 400
"""Stamps that are kept; a picture has less than a hundred pieces of text, each about 10 KB."""

_SUBPIXELS: Final = 64
"""Positions within a pixel that FreeType tells apart."""


class _Stamp(NamedTuple):
    image: NDArray[np.uint8]
    left: int
    """Of the image, from the whole pixel of the text's origin; ``below`` likewise, upwards."""
    below: int


class _Renderer(RendererAgg):
    """An Agg renderer that remembers the pixels of level text."""

    def __init__(self, width: float, height: float, dpi: float) -> None:
        super().__init__(width, height, dpi)  # type: ignore[no-untyped-call]
        self._stamps: dict[tuple[Any, ...], _Stamp | None] = {}
        self._seen: set[tuple[Any, ...]] = set()

    def draw_text(  # noqa: PLR0917 - as matplotlib calls it
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, ismath: Any = False, mtext: Any = None
    ) -> None:
        special = mtext is not None and (mtext.get_fontfeatures() or mtext.get_language())
        plain = not (ismath or angle or special) and gc.get_antialiased()
        # In steps that FreeType would round to as well, so that the stamp is what it would draw here.
        across, up = (round(place * _SUBPIXELS) for place in (x, self.height - y))
        (column, right), (row, top) = divmod(across, _SUBPIXELS), divmod(up, _SUBPIXELS)
        key = (s, hash(prop), tuple(gc.get_rgb()), right, top)
        # A picture that is drawn once should not pay for stamps, so one is made of what comes a second time.
        if not plain or key not in self._seen:
            if len(self._seen) >= _MOST:
                self._seen.clear()
                self._stamps.clear()
            self._seen.add(key)
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]
            return
        if key not in self._stamps:
            self._stamps[key] = self._set(gc, s, prop, right / _SUBPIXELS, top / _SUBPIXELS)
        stamp = self._stamps[key]
        if stamp is not None:
            self.draw_image(gc, column + stamp.left, row + stamp.below, stamp.image)

    def _set(self, gc: Any, s: str, prop: Any, x: float, y: float) -> _Stamp | None:
        """Draw text on a canvas of its own with its origin at a place within a pixel, and cut it out."""
        width, height, descent = self.get_text_width_height_descent(s, prop, ismath=False)  # type: ignore[no-untyped-call]
        # A glyph may stick out of its advance, never by more than the height of the line.
        margin = ceil(height) + 2
        below = margin + ceil(descent)
        paper = RendererAgg(ceil(width) + 2 * margin, below + ceil(height) + margin, self.dpi)  # type: ignore[no-untyped-call]
        ink = paper.new_gc()
        ink.set_foreground(gc.get_rgb(), isRGBA=True)
        paper.draw_text(ink, margin + x, paper.height - (below + y), s, prop, 0)  # type: ignore[no-untyped-call]
        pixels = np.asarray(paper.buffer_rgba())  # type: ignore[no-untyped-call]
        rows, columns = (np.flatnonzero(pixels[:, :, 3].any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return None
        cut = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        bottom = floor(paper.height) - 1 - int(rows[-1])
        return _Stamp(image=cut[::-1].copy(), left=int(columns[0]) - margin, below=bottom - below)


class LetteringCanvas(FigureCanvasAgg):
    """An Agg canvas whose renderer remembers what it has written, for as long as its figure keeps its size."""

    def get_renderer(self) -> RendererAgg:
        """Return the renderer for the figure's present size."""
        width, height = self.get_width_height(physical=True)
        now: RendererAgg | None = getattr(self, "renderer", None)
        if now is None or (now.width, now.height, now.dpi) != (width, height, self.figure.dpi):
            now = self.renderer = _Renderer(width, height, self.figure.dpi)
        return now
