"""What ``wsresearch report --json`` prints, gathered from the tables of the study; nothing is computed here."""

from __future__ import annotations

from typing import Any, Final

from wsresearch.schema import EventKind
from wsresearch.study.outages import outages
from wsresearch.study.rows import read_events

__all__ = ["report"]

_REPORTED: Final = (
    "cause",
    "attempts",
    "waited",
    "silence",
    "detect",
    "connect",
    "first_message",
    "ids_lost",
    "censored",
)


def report(events: Any, *, trades: int) -> dict[str, Any]:
    """Return what ``wsresearch report --json`` prints: plain values, durations in seconds to a nanosecond.

    Parameters
    ----------
    events
        The events table of a capture.
    trades
        How many trades the capture holds.
    """
    rows = outages(events).select(list(_REPORTED)).to_pylist()
    return {
        "outages": [
            {key: round(value, 9) if isinstance(value, float) else value for key, value in row.items()} for row in rows
        ],
        "connections": sum(row.kind == EventKind.OPENED for row in read_events(events)),
        "trades": trades,
    }
