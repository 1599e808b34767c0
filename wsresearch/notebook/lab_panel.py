"""Buttons that disturb a local exchange, one fault each; what a fault does is the lab's business."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Protocol

from wsresearch.errors import WsresearchError
from wsresearch.lab.child import ExchangeProcess, ExchangeStatus
from wsresearch.markup import Markup, element, foreign, joined
from wsresearch.notebook import board
from wsresearch.notebook.board import Alarm, Level
from wsresearch.notebook.shown import Shown
from wsresearch.notebook.words import counted
from wsresearch.safetext import MAX_MESSAGE, safe

__all__ = ["FAULT_BUTTONS", "LabFace", "LabPanel"]

FAULT_BUTTONS: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = MappingProxyType(
    {
        "reset": ({"fault": "reset_peer"}, "TCP reset: what was on its way is lost"),
        "silence 10 s": ({"fault": "silence", "for": 10.0}, "connections stay open, market data stops for 10 s"),
        "refuse 30 s": ({"fault": "refuse", "for": 30.0}, "connections are reset and nobody may come back for 30 s"),
        "serverShutdown": ({"fault": "server_shutdown"}, "the venue announces its end, and closes a second later"),
        "skip ids": ({"fault": "skip_ids", "count": 5}, "the venue jumps over the next five trade ids"),
    }
)
"""The faults that have a button: what is injected, and what it does."""


class LabFace(Protocol):
    """The widgets."""

    box: Any

    def listen(self, pressed: Callable[[str], None]) -> None:
        """Call ``pressed`` with the name of a button that is pressed, on any thread."""

    def show(self, html: str, *, enabled: bool) -> None:
        """Show a line of HTML, and whether the buttons can be pressed."""

    def close(self) -> None:
        """Remove every widget, its layout and its style."""


class LabPanel(Shown):
    """The buttons of one exchange, with what it has done so far.

    Parameters
    ----------
    face
        Its widgets.
    exchange
        Whom to disturb.
    every
        Seconds between two looks at it.
    """

    def __init__(self, face: LabFace, exchange: ExchangeProcess, *, every: float = 1.0) -> None:
        super().__init__(face.box, every=every)
        self._face = face
        self._exchange = exchange
        self._status: ExchangeStatus | None = None
        self._done = ""
        self._ended = ""
        face.listen(self.inject)
        self._begin(otherwise=f"lab {exchange.url}")

    def __repr__(self) -> str:
        return f"<LabPanel of {self._exchange!r}>"

    def inject(self, name: str) -> None:
        """Do what a button does; any thread may call it, and does not wait."""
        fault, _ = FAULT_BUTTONS[name]

        def work() -> None:
            self.error = ""
            try:
                self._exchange.inject(fault)
            except (WsresearchError, OSError) as error:
                self.error = safe(str(error), limit=MAX_MESSAGE)
            else:
                self._done = f"{name} at {datetime.now(UTC):%H:%M:%S} UTC"

        self._publisher.work(work)

    def _look(self, *, hurry: bool) -> bool:
        try:
            self._status = self._exchange.status()
        except (WsresearchError, OSError) as error:
            self._ended = safe(str(error), limit=MAX_MESSAGE)
        self._face.show(self._told(), enabled=not self._ended)
        return bool(self._ended)

    def _told(self) -> Markup:
        facts = [self._exchange.url]
        if self._status is not None:
            facts += [counted(self._status.produced, "message"), counted(self._status.connections, "connection")]
            facts += ["the tape has ended"] if self._status.has_played else []
        facts += [text for text in (self._done, self._ended) if text]
        wrong = [Alarm(level=Level.WRONG, text=self.error)] if self.error else []
        return joined(
            element("span", foreign(" · ".join(facts), limit=MAX_MESSAGE), class_="wsr-quiet"), board.banner(wrong)
        )

    def _whole(self) -> Markup:
        return element("div", board.style(), self._told(), class_="wsr")

    def _shut(self) -> None:
        self._face.close()
