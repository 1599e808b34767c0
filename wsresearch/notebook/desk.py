"""A panel without its widgets: what its buttons mean, what it shows when, and how it ends.

Three kinds of thread meet here. Callbacks of widgets, which may run on any thread, only say what is wished; what
takes long (starting and stopping a collector) is done by a thread of its own; and the publisher's thread alone
changes what is shown, except where somebody waits for it: `refresh`, `freeze`, `close`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from wsresearch.errors import WsresearchError
from wsresearch.markup import Markup
from wsresearch.notebook import board
from wsresearch.notebook.live import Live, Seen
from wsresearch.notebook.palette import palette_named
from wsresearch.notebook.recent import Stretch
from wsresearch.notebook.shown import Shown
from wsresearch.reconnect.actions import State
from wsresearch.safetext import MAX_MESSAGE, safe

if TYPE_CHECKING:  # both are loaded when they are needed: a panel should stand in its cell at once
    from wsresearch.notebook.form import Form
    from wsresearch.notebook.pictures import Picture

__all__ = ["Collected", "Face", "Panel", "View"]

_ENDED: Final = frozenset({State.STOPPED, State.GAVE_UP, State.FAILED})
_GRACE: Final = 3.0
"""Seconds that a collector which ended by itself may stay ended before the panel becomes static: time for a restart
from elsewhere, which the panel then goes on to show."""

_FETCH: Final = 0.1
_CATCH_UP: Final = 1.0
"""Seconds of a look in which older rows may be read: a long stretch fills up over several looks, unless somebody waits
for the picture anyway."""

_NOTE: Final = "This panel is static: run its cell again to steer the collector."


class Collected(Protocol):
    """What a panel needs of a capture."""

    @property
    def root(self) -> Path:
        """Its directory."""

    def start(self) -> Any:
        """Start the collector."""

    def stop(self) -> Any:
        """Stop it and wait until everything is sealed."""

    def reconnect(self) -> Any:
        """Reconnect at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a panel shows beside its pictures; the texts are HTML."""

    heading: str
    banner: str
    badge: str
    counters: str
    history: str
    has_form: bool
    can_start: bool
    can_steer: bool


class Face(Protocol):
    """The widgets of a panel."""

    box: Any

    def form(self) -> Form:
        """Return what is filled in."""

    def choices(self) -> tuple[Stretch, str]:
        """Return how far back the pictures are to look, and in which palette."""

    def listen(self, wishes: Mapping[str, Callable[[], None]]) -> None:
        """Call what belongs to ``start``, ``stop``, ``reconnect``, ``look`` and ``policy`` when that is pressed."""

    def offer(self, parameters: Mapping[str, str], reset: str) -> None:
        """Show the parameters of another policy."""

    def show(self, view: View) -> None:
        """Show everything but the pictures."""

    def draw(self, place: int, png: bytes) -> None:
        """Show a picture."""

    def close(self) -> None:
        """Remove every widget, its layout and its style."""


class Panel(Shown):
    """The panel of one capture, or of one that is yet to be started.

    Parameters
    ----------
    face
        Its widgets.
    capture
        What it shows; None shows the form.
    collect
        Starts a collector as :func:`wsresearch.collect` does, and returns its capture.
    pictures
        What is drawn; by default the three of :func:`~wsresearch.notebook.pictures.live_pictures`.
    every
        Seconds between two looks.

    Notes
    -----
    Shown as the last expression of a cell. When the cell is run again the old panel is closed; when the capture is
    stopped, or ends and is not started again, the panel turns into plain HTML and PNG that need no kernel.
    """

    def __init__(
        self,
        face: Face,
        *,
        capture: Collected | None = None,
        collect: Callable[..., Collected] | None = None,
        pictures: Sequence[Picture] | None = None,
        every: float = 1.0,
    ) -> None:
        super().__init__(face.box, every=every)
        self._face = face
        self._collect = collect
        self._capture = capture
        self._pictures = None if pictures is None else tuple(pictures)
        self._live = None if capture is None else Live(capture.root)
        self._seen: Seen | None = None
        self._doing = ""
        self._ended_at: float | None = None
        self._ran = False
        self._wishing = threading.Lock()
        face.listen(
            {
                "start": self.start,
                "stop": self.stop,
                "reconnect": self.reconnect,
                "look": lambda: self._publisher.ask(lambda: None),
                "policy": lambda: self._publisher.ask(self._offer),
            }
        )
        self._begin(otherwise=None if capture is None else str(capture.root.resolve()))

    def __repr__(self) -> str:
        where = "no capture yet" if self._capture is None else repr(str(self._capture.root))
        told = "not looked yet" if self._seen is None else self._seen.status or "cannot be read"
        return f"<Panel of {where}: {told}{' (static)' if self._over else ''}>"

    @property
    def root(self) -> Path | None:
        """The capture directory it shows; None before one is started."""
        return None if self._capture is None else self._capture.root

    @property
    def capture(self) -> Collected | None:
        """What it shows; None before one is started."""
        return self._capture

    @property
    def seen(self) -> Seen | None:
        """What the last look brought; None before the first."""
        return self._seen

    # -- what can be wished for: any thread, returns at once --------------------------------------------------------

    def start(self) -> None:
        """Start the collector, as the form says or as it was last configured."""
        self._wish("starting", self._start)

    def stop(self) -> None:
        """Stop the collector; the panel then becomes static."""
        self._wish("stopping", self._stop)

    def reconnect(self) -> None:
        """Cut the backoff short, or drop the connection and open another one at once."""
        self._wish("reconnecting", self._reconnect)

    def _wish(self, doing: str, job: Callable[[], None]) -> None:
        with self._wishing:
            if self._doing or self._over:
                return  # a second press of a button that is about to be greyed out
            self._doing, self.error = doing, ""

        def work() -> None:
            try:
                job()
            except (WsresearchError, OSError) as error:
                self.error = safe(str(error), limit=MAX_MESSAGE)
            finally:
                self._doing = ""

        self._publisher.work(work)
        self._publisher.ask(lambda: None)

    def _start(self) -> None:
        if self._capture is not None:
            self._capture.start()
            return
        if self._collect is None:
            raise WsresearchError("this panel cannot start a collector: use wsresearch.panel()")
        stream, out, options = self._face.form().arguments()
        capture = self._collect(stream, out, **options)
        with self._looking:
            self._capture, self._live = capture, Live(capture.root)

    def _stop(self) -> None:
        if self._capture is not None:
            self._capture.stop()
            self._doing = ""
            self.freeze()

    def _reconnect(self) -> None:
        if self._capture is not None:
            self._capture.reconnect()

    def _offer(self) -> None:
        from wsresearch.notebook.form import parameters_of, reset_of

        policy = self._face.form().policy
        self._face.offer(parameters_of(policy), reset_of(policy))

    # -- what is seen ---------------------------------------------------------------------------------------------

    def _look(self, *, hurry: bool) -> bool:
        stretch, palette = self._face.choices()
        if self._live is not None:
            self._live.stretch = stretch
            self._seen = self._live.look(patience=_CATCH_UP if hurry else _FETCH)
        self._face.show(self._view())
        if self._live is None or self._seen is None:
            return False
        if self._pictures is None:
            from wsresearch.notebook.pictures import live_pictures

            self._pictures = live_pictures()
        for place, picture in enumerate(self._pictures):
            colours = palette_named(palette)
            new = picture.update(self._seen, self._live.recent, stretch=stretch, palette=colours, hurry=hurry)
            if new is not None:
                self._face.draw(place, new.png)
        return self._has_ended(self._seen)

    def _view(self) -> View:
        seen = self._seen
        running = seen is not None and seen.status is not None and seen.status.pid is not None
        return View(
            heading=board.heading(seen),
            banner=board.banner(board.alarms(seen, error=self.error)),
            badge=board.badge(None if seen is None else seen.status, self._doing),
            counters=board.counters(seen),
            history=board.history(seen),
            has_form=self._capture is None,
            can_start=not running and not self._doing,
            can_steer=running and not self._doing,
        )

    def _has_ended(self, seen: Seen) -> bool:
        """Tell whether a collector that ran while the panel looked has ended and was not started again."""
        status = seen.status
        if status is None or self._doing:
            return False
        if status.state not in _ENDED:
            self._ran, self._ended_at = self._ran or status.pid is not None, None
            return False
        self._ended_at = time.monotonic() if self._ended_at is None else self._ended_at
        return self._ran and time.monotonic() - self._ended_at >= _GRACE

    def _whole(self) -> Markup:
        drawn = [(picture.name, picture.drawn) for picture in self._pictures or ()]
        told = board.alarms(self._seen, error=self.error)
        return board.whole(self._seen, told=told, drawn=drawn, note=_NOTE)

    def _shut(self) -> None:
        self._face.close()
        if self._pictures is not None:
            from wsresearch.notebook.canvas import close_fonts

            for picture in self._pictures:
                picture.close()
            close_fonts()
        if self._live is not None:
            self._live.close()
