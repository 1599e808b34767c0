"""What ``wsresearch report --json`` prints, gathered from the tables of the study; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from wsresearch.schema import EventKind
from wsresearch.study.rows import read_events
from wsresearch.study.staleness import STALENESS, Staleness
from wsresearch.study.starts import starts
from wsresearch.study.sweep import Sweep

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

_STARTED: Final = (
    "run",
    "silence",
    "attempts",
    "attempts_failed",
    "attempts_opened",
    "cause",
    "detail",
    "ended",
    "lived",
)


def report(
    events: Any,
    *,
    outages: pa.Table,
    trades: int,
    stats: Any | None = None,
    symbols: Sequence[str] = (),
    swept: Sweep | None = None,
    removed: Mapping[str, int] | None = None,
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
    stats
        The stats table; tells how long a run lived that did not end in order.
    symbols
        What was to be collected: each is told of, also one of which nothing ever came.
    swept
        What :func:`wsresearch.study.sweep.sweep` found in the trades.
    removed
        How many trades of each symbol were removed on purpose.
    losses
        What :func:`wsresearch.study.loss.balance` returned: who lost what is missing. None where that is not defined.
    stale
        What :func:`wsresearch.study.staleness.staleness` returned: the recommended ``idle_timeout`` with the columns of
        its row, ``recommended`` null if no candidate will do (``why`` says why not), and all ``candidates``. None where
        it was not asked for.

    Returns
    -------
    dict
        ``without_data`` is the silence of the outages and of the ``starts`` (what passed in each run before its first
        message, see :func:`wsresearch.study.starts.starts`), together, of the seconds that the runs ``lived``.
    """
    rows = read_events(events)
    began = starts(rows, stats=stats)
    silence = sum(outages["silence"].to_pylist()) + sum(began["silence"].to_pylist())
    return {
        "outages": [_plain(row) for row in outages.select(list(_REPORTED)).to_pylist()],
        "connections": sum(row.kind == EventKind.OPENED for row in rows),
        "trades": trades,
        "symbols": _of_symbols(symbols, swept, removed or {}),
        "starts": [
            {"delivered": row["first_message"] is not None} | _plain({name: row[name] for name in _STARTED})
            for row in began.to_pylist()
        ],
        "without_data": round(silence, 9),
        "lived": round(sum(began["lived"].to_pylist()), 9),
        "losses": None if losses is None else dict(losses),
        "idle_timeout": None if stale is None else _recommended(stale),
    }


def _of_symbols(asked: Sequence[str], swept: Sweep | None, removed: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return how many trades there are of each symbol, and how many there were: of none if both are 0."""
    names, counts = ([], []) if swept is None else (swept.symbols[name].to_pylist() for name in ("symbol", "rows"))
    stored = dict(zip(names, counts, strict=True))
    return {
        name: {"trades": stored.get(name, 0), "removed": removed.get(name, 0)}
        for name in dict.fromkeys((*asked, *sorted({*stored, *removed})))
    }


def _recommended(stale: Staleness) -> dict[str, Any]:
    row = stale.row or dict.fromkeys(STALENESS.names)
    told = {"recommended": row.pop("idle_timeout"), "measured": stale.measured, "watched": stale.watched}
    told["why"] = stale.why
    return _plain(told | row) | {"candidates": [_plain(each) for each in stale.table.to_pylist()]}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 9) if isinstance(value, float) else value for key, value in row.items()}
