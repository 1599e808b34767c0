"""Outages as a table for a terminal; pictures and HTML are in the notebook room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from wsresearch.safetext import safe

__all__ = ["outage_table"]

_Row = Mapping[str, Any]

_CAUSE: Final = 40
"""Characters; our own causes are shorter, and a longer one would push the numbers off the screen."""


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _cause(row: _Row) -> str:
    # Of a capture from elsewhere: a cause may be any text, or none.
    told = safe(row["cause"] or "no cause given", limit=_CAUSE)
    return told if row["close_code"] is None else f"{told} {row['close_code']}"


# Head, and what stands below it. Phases are named as everywhere: detect, backoff, connect, first message.
_COLUMNS: Final[Sequence[tuple[str, Callable[[_Row], str]]]] = (
    ("outage", lambda row: str(row["outage"])),
    ("cause", _cause),
    ("attempts", lambda row: str(row["attempts"])),
    ("delays", lambda row: _seconds(row["delay"])),
    ("detect", lambda row: _seconds(row["detect"])),
    ("backoff", lambda row: _seconds(row["backoff"])),
    ("connect", lambda row: _seconds(row["connect"])),
    ("first msg", lambda row: _seconds(row["first_message"])),
    ("silence", lambda row: _seconds(row["silence"]) + ("+" if row["censored"] else "")),
    ("ids lost", lambda row: f"{row['ids_lost']:,}"),
)
_LEFT: Final = frozenset({"cause"})


def outage_table(outages: pa.Table, *, most: int = 40) -> str:
    """Return outages as lines of text, seconds with three decimals; ``+`` marks a silence still open.

    Parameters
    ----------
    outages
        As :func:`wsresearch.study.outages` returns them.
    most
        Rows shown; of more, the last ones are, and a line says so.
    """
    if not outages.num_rows:
        return "no outages"
    shown = outages.slice(max(0, outages.num_rows - most))
    rows = [[text(row) for _, text in _COLUMNS] for row in shown.to_pylist()]
    heads = [head for head, _ in _COLUMNS]
    widths = [max(len(line[at]) for line in [heads, *rows]) for at in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if head in _LEFT else cell.rjust(width)
            for head, cell, width in zip(heads, cells, widths, strict=True)
        )
        return "  ".join(padded).rstrip()

    hidden = outages.num_rows - shown.num_rows
    told = [f"({hidden:,} earlier outages are not shown)"] if hidden else []
    return "\n".join([line(heads), *map(line, rows), *told])
