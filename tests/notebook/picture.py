"""Looking at pictures as a reader would: what is written, and which marks are where."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.text import Text
from numpy.typing import NDArray

from tests.study.eventlog import days


def artists(ax: Axes, gid: str) -> list[Any]:
    """Return the artists whose gid begins so."""
    return [artist for artist in ax.get_children() if (artist.get_gid() or "").startswith(gid)]


def artist(ax: Axes, gid: str) -> Any:
    """Return the one artist of a gid."""
    (found,) = [artist for artist in ax.get_children() if artist.get_gid() == gid]
    return found


def points(ax: Axes, gid: str) -> NDArray[Any]:
    """Return where the marks of the one collection of a gid are."""
    return np.asarray(artist(ax, gid).get_offsets())


def boxes(ax: Axes, gid: str) -> list[tuple[float, float, float, float]]:
    """Return left, right, bottom and top of each box of a gid, in data coordinates."""
    found = []
    for one in artists(ax, gid):
        for path in one.get_paths():
            (left, bottom), (right, top) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            found.append((float(left), float(right), float(bottom), float(top)))
    return found


def legend_texts(ax: Axes) -> list[Text]:
    return [text for text in ax.texts if text.get_gid() == "legend"]


def legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in legend_texts(ax)]


def title(ax: Axes) -> str:
    return ax.get_title(loc="left")


def more(ax: Axes) -> str:
    """Return the line below the title; nothing if there is none."""
    return "".join(text.get_text() for text in ax.texts if text.get_gid() == "more")


def words(ax: Axes) -> list[str]:
    """Return everything that is written, tick labels included."""
    return [text.get_text() for text in ax.findobj(Text) if text.get_text()]


def assert_plain(ax: Axes) -> None:
    """No text of a server's takes effect: no mathematics, no control or direction character, no TeX."""
    for text in ax.findobj(Text):
        assert isinstance(text, Text)
        assert not text.get_parse_math() or "$" not in text.get_text()
        assert not text.get_usetex()
        assert text.get_text().replace("\n", "").isprintable()


@cache
def ten_thousand() -> pa.Table:
    """Return the events of a week with 10,000 outages; a table cannot be changed, so it is made once."""
    return days(10_000, span=7 * 86_400).table()
