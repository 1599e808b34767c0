"""What ``wsresearch report --json`` prints, gathered from the tables of the study; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from wsresearch.schema import EventKind
from wsresearch.study.rows import read_events
from wsresearch.study.staleness import STALENESS, Staleness

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


def report(
    events: Any,
    *,
    outages: pa.Table,
    trades: int,
    losses: Mapping[str, int] | None = None,
    stale: Staleness | None = None,
) -> dict[str, Any]:
    """Return what ``wsresearch report --json`` prints: plain values, durations in seconds to a nanosecond.

    Parameters
    ----------
    events
        The events table of a capture.
    outages
        What :func:`wsresearch.study.outages.outages` found in them.
    trades
        How many trades the capture holds.
    losses
        What :func:`wsresearch.study.loss.balance` returned: who lost what is missing. None where that is not defined.
    stale
        What :func:`wsresearch.study.staleness.staleness` returned: the recommended ``idle_timeout`` with the columns of
        its row, ``recommended`` null if no candidate will do, and all ``candidates``. None where it was not asked for.
    """
    return {
        "outages": [_plain(row) for row in outages.select(list(_REPORTED)).to_pylist()],
        "connections": sum(row.kind == EventKind.OPENED for row in read_events(events)),
        "trades": trades,
        "losses": None if losses is None else dict(losses),
        "idle_timeout": None if stale is None else _recommended(stale),
    }


def _recommended(stale: Staleness) -> dict[str, Any]:
    row = stale.row or dict.fromkeys(STALENESS.names)
    told = {"recommended": row.pop("idle_timeout"), "measured": stale.measured, "watched": stale.watched}
    return _plain(told | row) | {"candidates": [_plain(each) for each in stale.table.to_pylist()]}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 9) if isinstance(value, float) else value for key, value in row.items()}
