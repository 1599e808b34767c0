"""What stands in a cell and is alive: a publisher behind it, a registry that replaces it, and its end as plain HTML.

What it shows is not here.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from wsresearch.markup import Markup
from wsresearch.notebook import front
from wsresearch.notebook.publisher import Publisher
from wsresearch.notebook.registry import PANELS
from wsresearch.safetext import MAX_MESSAGE, safe

__all__ = ["Shown"]


class Shown(ABC):
    """A thing in a cell that shows what changes, until it is frozen or closed.

    Parameters
    ----------
    box
        The widget that is shown.
    every
        Seconds between two looks.
    """

    def __init__(self, box: Any, *, every: float) -> None:
        self.error = ""
        self._box = box
        self._displays: list[Any] = []
        self._static: Markup | None = None
        self._over = False
        self._left = False
        self._looking = threading.RLock()
        self._ending = threading.Lock()
        self._publisher = Publisher(self._tick, failed=self._defect, every=every)

    def _begin(self, *, otherwise: object) -> None:
        """Take the place of what the same cell showed before, and begin to look."""
        PANELS.place(self, otherwise=otherwise)
        front.prepare()
        self._publisher.start()

    @property
    def root(self) -> Path | None:
        """The capture directory it shows, if any."""
        return None

    @property
    def is_static(self) -> bool:
        """Whether it has ended and left nothing behind; it then shows its last look and cannot be steered."""
        return self._left

    def wait_for(self, condition: Any, timeout: float = 30.0) -> bool:
        """Wait until ``condition`` is true of this, at most ``timeout`` seconds; return whether it is."""
        self._publisher.wait_for(lambda: self._left or condition(self), timeout)
        return bool(condition(self))

    def refresh(self) -> Self:
        """Look and show now, in the thread of the caller: for front ends that do not show what other threads do."""
        with self._looking:
            if not self._over:
                self._look(hurry=True)
        return self

    def freeze(self) -> None:
        """Turn into plain HTML and PNG, wherever it is shown, and leave nothing running behind."""
        self._end(keep=True)

    def close(self) -> None:
        """Leave nothing behind: no thread, no widget, no open file. What was shown is not replaced."""
        self._end(keep=False)

    @abstractmethod
    def _look(self, *, hurry: bool) -> bool:
        """Look and show; return whether there will be nothing more to see. ``hurry``: somebody waits for it."""

    @abstractmethod
    def _whole(self) -> Markup:
        """Return the last look as HTML that needs no kernel."""

    @abstractmethod
    def _shut(self) -> None:
        """Close widgets and files."""

    def _tick(self) -> None:
        with self._looking:
            over = self._over or self._look(hurry=False)
        if over:
            self.freeze()

    def _defect(self, error: Exception) -> None:
        self.error = safe(f"a defect of this panel: {type(error).__name__}: {error}", limit=MAX_MESSAGE)

    def _ipython_display_(self) -> None:
        if self._static is not None:
            front.show(self._static, plain=repr(self))
        elif self._over or not front.has_kernel():
            print(repr(self))
        else:
            self._displays.append(front.show_live(self._box, plain=repr(self)))

    def _end(self, *, keep: bool) -> None:
        # The publisher must not wait here for whoever waits below for the publisher.
        if not self._ending.acquire(blocking=not self._publisher.is_current):
            return
        try:
            if self._over:
                return
            self._publisher.close()
            with self._looking:
                if keep:
                    self._look(hurry=True)
                    self._static = self._whole()
                self._over = True
                if self._static is not None:
                    for display in self._displays:
                        front.replace(display, self._static, plain=repr(self))
                self._displays.clear()
                self._shut()
                self._left = True
        finally:
            self._ending.release()
            self._publisher.tell()
