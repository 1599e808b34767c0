"""The pictures together."""

from __future__ import annotations

import struct

import pytest

from tests.study.eventlog import START_NS, days, ns, trades
from wsresearch.notebook import plots
from wsresearch.schema import EVENTS


@pytest.mark.parametrize(("outages", "palette"), [(0, "dark"), (1, "light"), (40, "dark")])
def test_the_overview_is_one_png_with_both(outages: int, palette: str) -> None:
    """One picture, timeline above gaps against backoff, whatever happened."""
    events = days(outages, span=3600).table()
    png = plots.overview_png(events, trades=trades([START_NS, START_NS + ns(4)]), palette=palette)
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1210, 1177)


def test_the_overview_of_nothing() -> None:
    """An empty capture has an overview that says so."""
    assert plots.overview_png(EVENTS.empty_table()).startswith(b"\x89PNG")
