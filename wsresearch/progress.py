"""Progress for people: one line that is rewritten in a terminal, plain lines elsewhere; what it tells is not here."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

__all__ = ["ProgressLine", "Rate"]


class ProgressLine:
    """Shows a changing text on stderr.

    Parameters
    ----------
    stream
        Where; stdout stays free for results.
    every
        Seconds between two plain lines while ``key`` does not change; a terminal is rewritten at each call.
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 5.0) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._every = every
        self._last_key: str | None = None
        self._last_at = -every
        self._shown = False

    def show(self, text: str, *, key: str = "") -> None:
        """Show ``text``; outside a terminal only when ``key`` has changed or it is time again."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\x1b[K" + text[:width])
            self._stream.flush()
            self._shown = True
            return
        now = time.monotonic()
        if key != self._last_key or now - self._last_at >= self._every:
            self._last_key, self._last_at = key, now
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the line, so that what follows begins on a new one."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()
            self._shown = False


class Rate:
    """Things a second, from a count looked at now and then, smoothed over about two seconds."""

    def __init__(self) -> None:
        self._at, self._count, self._rate = time.monotonic(), 0, 0.0

    def of(self, count: int) -> float:
        """Return the rate after another look at the count."""
        now = time.monotonic()
        passed = max(now - self._at, 1e-3)
        weight = min(1.0, passed / 2.0)
        self._rate += weight * ((count - self._count) / passed - self._rate)
        self._at, self._count = now, count
        return self._rate
