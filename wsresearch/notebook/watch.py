"""Watching a capture in the foreground, without widgets and without a thread: for front ends that need it so."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from wsresearch.markup import Markup
from wsresearch.notebook import board, front
from wsresearch.notebook.live import Live, Seen
from wsresearch.notebook.palette import palette_named
from wsresearch.notebook.recent import Stretch
from wsresearch.reconnect.actions import State

__all__ = ["snapshot", "watch"]


def snapshot(root: Path) -> Markup:
    """Return what is to be seen of a capture now, without pictures."""
    live = Live(root)
    try:
        seen = live.look()
    finally:
        live.close()
    return board.whole(seen, told=board.alarms(seen))


def watch(root: Path, *, seconds: float, stretch: Stretch, palette: str, every: float = 1.0) -> None:
    """Show a capture and keep the picture up to date, until the time is over, it has ended, or on an interrupt.

    Parameters
    ----------
    root
        The capture directory.
    seconds
        How long.
    stretch, palette
        How far back the pictures look, and their colours.
    every
        Seconds between two looks.

    Raises
    ------
    UsageError
        If there is no palette of that name.
    """
    # The snapshot of a capture is words alone: whoever wants no pictures should not wait for matplotlib.
    from wsresearch.notebook.pictures import live_pictures

    colours = palette_named(palette)
    live, pictures, shown = Live(root, stretch=stretch), live_pictures(), None
    now = time.monotonic()
    until = now + seconds
    try:
        # Interrupting the cell is how one leaves early; what is shown then stays.
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                seen = live.look()
                if front.has_kernel():
                    for picture in pictures:
                        picture.update(seen, live.recent, stretch=stretch, palette=colours)
                    drawn = [(picture.name, picture.drawn) for picture in pictures]
                    html = board.whole(seen, told=board.alarms(seen), drawn=drawn)
                    if shown is None:
                        shown = front.show(html, plain=_line(seen), replaceable=True)
                    else:
                        front.replace(shown, html, plain=_line(seen))
                else:
                    print(_line(seen))
                now = max(now + every, time.monotonic())
                if now > until or _is_over(seen):
                    return
                time.sleep(now - time.monotonic())
    finally:
        for picture in pictures:
            picture.close()
        live.close()


def _is_over(seen: Seen) -> bool:
    over = {State.STOPPED, State.GAVE_UP, State.FAILED}
    return seen.status is not None and seen.status.state in over and not seen.loading


def _line(seen: Seen) -> str:
    return str(seen.status) if seen.status is not None else "; ".join(seen.problems)
