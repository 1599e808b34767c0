"""Progress for people: one line that is rewritten in a terminal, plain lines elsewhere; what it tells is not here."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Final, TextIO

__all__ = ["ProgressLine", "Rate"]

_SHORTEST: Final = 0.1
"""Seconds; over less, a rate tells how the counter is written and not what it counts."""


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
        self._base: tuple[float, int] | None = None
        self._rate: float | None = None

    def of(self, count: int) -> float | None:
        """Return the rate after another look at the count; None until two looks lie a tenth of a second apart."""
        now = time.monotonic()
        if self._base is None:
            self._base = (now, count)  # what was there before says nothing about how fast it came
            return None
        at, before = self._base
        if (passed := now - at) >= _SHORTEST:
            seen = (count - before) / passed
            self._rate = seen if self._rate is None else self._rate + min(1.0, passed / 2.0) * (seen - self._rate)
            self._base = (now, count)
        return self._rate

    def told(self, count: int) -> str:
        """Look at the count and return the beginning of a line, such as ``1,214/s · ``; empty without a rate."""
        rate = self.of(count)
        return "" if rate is None else f"{rate:8,.0f}/s · "
