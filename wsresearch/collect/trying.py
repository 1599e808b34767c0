"""Tries a write until the disk takes it, and tells when the disk fails; what is written is not here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from wsresearch.capture.layout import Layout
from wsresearch.safetext import safe

__all__ = ["Trouble", "Trying"]

_log = logging.getLogger(__name__)

_RETRY_AFTER: Final = 0.25


class Trouble(Protocol):
    """Hears what happens to the disk; called from the recorder's threads."""

    def disk_fails(self, what: str) -> None:
        """Writing has begun to fail; it is being tried again."""

    def disk_works(self) -> None:
        """Writing works again."""

    def left_over(self, what: str) -> None:
        """What could not be finished stays as it is and is read there; the next start finishes it at the latest."""

    def disk_is_gone(self, what: str) -> None:
        """The capture directory is not there any more; nothing more can be written."""


class Trying:
    """Writing in one thread to a disk that may fail for a while.

    Parameters
    ----------
    layout
        The capture that is written.
    trouble
        Hears of the disk.
    giving_up
        Set when a failing disk is not to be tried any longer.
    """

    def __init__(self, layout: Layout, *, trouble: Trouble, giving_up: threading.Event) -> None:
        self._layout = layout
        self._trouble = trouble
        self._giving_up = giving_up
        self._given_up = False
        self._failing = False
        self._gone = False

    def persist(self, write: Callable[[], None]) -> bool:
        """Write, and try again while the disk fails; False if it was given up."""
        if self._given_up and self._giving_up.is_set():
            return False  # what came before was lost, and this has no more time
        while True:
            try:
                write()
            except OSError as exc:
                if self._is_gone():
                    if not self._gone:
                        self._gone = True
                        self._trouble.disk_is_gone(safe(f"{str(self._layout.root)!r} is no capture any more: {exc}"))
                    return False
                if not self._failing:
                    self._failing = True
                    _log.warning("writing fails, trying again: %s", exc)
                    self._trouble.disk_fails(safe(f"{exc.strerror or exc}"))
                if self._giving_up.wait(_RETRY_AFTER):
                    self._given_up = True
                    return False
            else:
                if self._failing:
                    self._failing = False
                    self._trouble.disk_works()
                return True

    def _is_gone(self) -> bool:
        """Tell whether the capture was removed; a disk that cannot even say that is one that fails."""
        try:
            self._layout.identity.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return False
