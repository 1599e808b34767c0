"""Numbers and foreign text as they appear in a picture or a report; no HTML and no drawing is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from wsresearch.reconnect.causes import Cause, in_words
from wsresearch.safetext import safe

__all__ = ["cause_label", "cause_labels", "counted", "duration", "hard_start", "moment", "plain", "share"]

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def duration(seconds: float) -> str:
    """Return a length of time with two or three significant digits: ``42 ms``, ``1.25 s``, ``3 min 5 s``."""
    if seconds < 0.0005:
        return "0 s" if seconds <= 0 else f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, smaller, small in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        # Rounded to the smaller unit first: 59 min 59.6 s is an hour, not "59 min 60 s".
        steps = (whole + smaller // 2) // smaller
        large, rest = divmod(steps, unit // smaller)
        if large:
            return f"{large} {name} {rest} {small}" if rest else f"{large} {name}"
    return f"{whole} s"


def share(part: float, whole: float) -> str:
    """Return a percentage that does not claim 0 % or 100 % unless it is true."""
    percent = 100 * part / whole if whole > 0 else 0.0
    if percent <= 0:
        return "0 %"
    if percent < 0.01:
        return "< 0.01 %"
    digits = 2 if percent < 1 or 99 < percent < 100 else 1 if percent < 10 or 90 < percent < 100 else 0
    text = f"{percent:.{digits}f} %"
    return "> 99.99 %" if percent < 100 and text == "100.00 %" else text


def moment(time: int | None) -> str:
    """Return a time (ns since 1970 UTC) as ``2026-11-23 09:15:02.250``; none is a dash."""
    return "–" if time is None else str(np.datetime64(time, "ns"))[:23].replace("T", " ")


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 outage``, ``12,345 outages``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def plain(text: str | None, *, limit: int = 40) -> str:
    """Return foreign text as one short line that a plot can show: what the plot's font lacks becomes ``?``.

    The ranges are Latin, Greek, Cyrillic and some punctuation, all of them in DejaVu Sans, the font that matplotlib
    brings along; a missing glyph would be a warning at every drawing.
    """
    shown = safe(text or "", limit=limit)
    return "".join(c if c < "\u0250" or "\u0391" <= c <= "\u044f" or c in "‐–—‘’“”…€" else "?" for c in shown)


def cause_label(cause: str | None) -> str:
    """Return a cause as a legend shows it."""
    return plain((cause or "").replace("_", " ")).strip() or "no cause given"


def cause_labels(causes: Sequence[str | None]) -> list[str]:
    """Return many causes as a legend shows them; each different one is looked at once."""
    labels = {cause: cause_label(cause) for cause in set(causes)}
    return [labels[cause] for cause in causes]


_ENDS: Final[Mapping[str | None, str]] = MappingProxyType(
    {
        "stopped": " and was stopped",
        "gave_up": " and gave up",
        "failed": " and failed for good",
        "killed": " and was killed",
        None: " so far",
    }
)

_LONG: Final = 5.0
"""Seconds: a first message that comes later than this is worth a sentence."""


def hard_start(row: Mapping[str, Any]) -> str | None:
    """Say how a run came to its first message, or did not; None of one that simply began.

    Parameters
    ----------
    row
        Of :data:`wsresearch.study.starts.STARTS`.
    """
    tries, failed, opened = row["attempts"], row["attempts_failed"], row["attempts_opened"]
    delivered, long = row["first_message"] is not None, duration(row["silence"])
    if delivered and not failed and opened <= 1 and row["silence"] < _LONG:
        return None
    told = counted(tries, "attempt") + (f", {failed:,} failed" if failed else "")
    what = "received no market data" if opened else "never connected" if row["ended"] else "has not connected"
    if delivered:
        told = f"run {row['run']} waited {long} for its first message: {told}"
    else:
        told = f"run {row['run']} {what} in {long}{_ENDS.get(row['ended'], '')}: {told}"
        told += f", {opened:,} opened" if opened else ""
    if row["cause"] is not None:
        known = in_words(Cause(row["cause"])) if row["cause"] in set(Cause) else safe(row["cause"])
        told += f", the last because {known}" + (f" ({safe(row['detail'])})" if row["detail"] else "")
    return told
