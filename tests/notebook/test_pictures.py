"""When the live pictures are drawn, and what for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from matplotlib.axes import Axes

from tests.notebook.recording import SECOND, Recording
from wsresearch.errors import UsageError
from wsresearch.notebook.live import Live, Seen
from wsresearch.notebook.palette import DARK, LIGHT, Palette
from wsresearch.notebook.pictures import Picture, live_pictures
from wsresearch.notebook.recent import Recent, Stretch
from wsresearch.schema import STATS

HOUR = {"stretch": Stretch.HOUR, "palette": LIGHT}


def _seen(**fields: Any) -> Seen:
    told = {"events": 1, "first": 0, "until": 3_600 * SECOND, "status": None, "identity": None}
    return Seen(**{**told, **fields})


def _recent() -> Recent:
    return Recent(rows=(), counters=STATS.empty_table())


def _picture() -> Picture:
    def draw(_recent: Recent, ax: Axes, _palette: Palette) -> None:
        ax.set_title("a finding", loc="left")

    return Picture("test", height=3.0, draw=draw)


def test_it_is_drawn_when_it_would_look_different() -> None:
    """Another event, older rows, another stretch or palette, and time that moves the axis by a pixel: nothing else."""
    picture = _picture()

    def update(seen: Seen, **chosen: Any) -> bool:
        return picture.update(seen, _recent, **{**HOUR, **chosen}, hurry=True) is not None

    assert update(_seen())
    assert not update(_seen())
    assert update(_seen(events=2))
    assert update(_seen(events=2, fetched=1))
    assert not update(_seen(events=2, fetched=1, until=3_601 * SECOND))
    assert update(_seen(events=2, fetched=1, until=3_605 * SECOND))
    assert update(_seen(events=2, fetched=1, until=3_605 * SECOND), stretch=Stretch.MINUTES)
    assert update(_seen(events=2, fetched=1, until=3_606 * SECOND), stretch=Stretch.MINUTES)
    assert update(_seen(events=2, fetched=1, until=3_606 * SECOND), stretch=Stretch.MINUTES, palette=DARK)
    assert not update(_seen(events=2, fetched=1, until=3_606 * SECOND), stretch=Stretch.MINUTES, palette=DARK)


def test_it_takes_no_more_than_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing that took 100 ms is followed by none for 2 s, unless somebody waits or another one was chosen."""
    clock, used = [1_000.0], iter(range(100))
    monkeypatch.setattr("wsresearch.notebook.pictures.time.monotonic", lambda: clock[0])
    # Asked before a drawing and after it.
    monkeypatch.setattr("wsresearch.notebook.pictures.time.thread_time", lambda: next(used) * 0.1)
    picture = _picture()
    events = iter(range(100))

    def update(**chosen: Any) -> bool:
        return picture.update(_seen(events=next(events)), _recent, **{**HOUR, **chosen}) is not None

    assert update()
    clock[0] += 1.9
    assert not update()
    clock[0] += 0.2
    assert update()
    assert update(hurry=True)
    assert update(palette=DARK)


def test_a_figure_is_used_again_and_does_not_grow(recording: Recording) -> None:
    """Two hundred drawings leave as many artists and axes behind as two, whatever they showed."""
    live = Live(recording.root)
    pictures = live_pictures()
    counted = []
    for _ in range(4):
        recording.outage()
        recording.log.wait(20)
        recording.write()
        seen = live.look()
        for picture in pictures:
            assert picture.update(seen, live.recent, **HOUR, hurry=True) is not None
        axes = [ax for picture in pictures for ax in picture._ax.get_figure(root=True).axes]  # type: ignore[union-attr]
        counted.append([(len(ax.get_children()), len(ax.xaxis.get_major_ticks())) for ax in axes])
    assert [len(each) for each in counted] == [len(counted[0])] * 4
    grown = [later[0] - earlier[0] for earlier, later in zip(counted[1], counted[3], strict=True)]
    # Each outage more is a label at most.
    assert max(grown) <= 4
    live.close()


@contextmanager
def _left_to_the_collector() -> Iterator[list[str]]:
    """Collect the circles of garbage that come to be here at the end, and note each Python function that runs then."""
    called: list[str] = []
    # Test tools ask to be called at each collection; that has nothing to do with what is collected.
    tools, gc.callbacks[:] = [*gc.callbacks], []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(f"{frame.f_code.co_qualname} of {frame.f_code.co_filename}")

    gc.collect()
    gc.disable()
    profiler = sys.getprofile()
    try:
        yield called
        sys.setprofile(note)
        gc.collect()
    finally:
        sys.setprofile(profiler)
        gc.callbacks[:] = tools
        gc.enable()


def test_what_is_drawn_over_cannot_swallow_an_interrupt(recording: Recording) -> None:
    """Old drawings are not left to Python's collector, in whose callbacks on the main thread an interrupt is lost."""
    live = Live(recording.root)
    pictures = live_pictures()
    chosen = iter([LIGHT, LIGHT, LIGHT, DARK, LIGHT, LIGHT])

    def draw() -> None:
        recording.outage()
        recording.log.wait(20)
        recording.write()
        seen, palette = live.look(), next(chosen)
        for picture in pictures:
            assert picture.update(seen, live.recent, stretch=Stretch.HOUR, palette=palette, hurry=True) is not None

    draw()
    with _left_to_the_collector() as called:
        for _ in range(4):
            draw()
    assert called == []
    with _left_to_the_collector() as called:
        draw()
        for picture in pictures:
            picture.close()
        live.close()
    assert called == []


def test_a_picture_that_cannot_be_drawn_says_so() -> None:
    """A study that refuses what it is given is shown in the place of the picture; the others go on."""

    def draw(_recent: Recent, ax: Axes, _palette: Palette) -> None:
        ax.plot([0, 1], [0, 1])
        raise UsageError("column 'waited' of event 7 is -1")

    picture = Picture("test", height=3.0, draw=draw)
    drawn = picture.update(_seen(), _recent, **HOUR)
    assert drawn is not None
    assert drawn.png.startswith(b"\x89PNG")
    assert picture._ax is not None
    assert [text.get_text() for text in picture._ax.texts] == ["cannot be drawn: column 'waited' of event 7 is -1"]
    assert not picture._ax.lines


def test_a_picture_has_words() -> None:
    """Whoever cannot see it reads what it found."""
    drawn = _picture().update(_seen(), _recent, **HOUR)
    assert drawn is not None
    assert drawn.words == "a finding"


def test_nothing_to_draw_is_drawn() -> None:
    """A capture without a row has three pictures that say so."""
    for picture in live_pictures():
        drawn = picture.update(replace(_seen(), first=None, until=None), _recent, **HOUR)
        assert drawn is not None
        assert drawn.words
