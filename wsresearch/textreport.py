"""Outages and policies as tables for a terminal; pictures and HTML are in the notebook room."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from wsresearch.notebook.words import counted, duration, hard_start, share
from wsresearch.safetext import safe

if TYPE_CHECKING:
    from pathlib import Path

    from wsresearch.capture.identity import Identity
    from wsresearch.capture.pruned import Pruned
    from wsresearch.capture.reader import Totals

__all__ = ["comparison_table", "facts", "idle_timeout_line", "loss_line", "outage_table", "report_text", "silent_lines"]

_Row = Mapping[str, Any]

_NAMED: Final = 10
"""Runs, or symbols, that get a line of their own."""

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
    ("ids lost", lambda row: "unknown" if row["ids_lost"] is None else f"{row['ids_lost']:,}"),
)
_LEFT: Final = frozenset({"cause", "policy", "ends"})


def facts(
    root: Path, identity: Identity, totals: Totals, document: Mapping[str, Any], pruned: Pruned | None
) -> dict[str, object]:
    """Return what stands at the head of a report, by name: of what it is, how much there is, what is missing."""
    told: dict[str, object] = {
        "directory": os.fspath(root),
        "collecting since": identity.created.isoformat(timespec="seconds"),
        "policy": identity.config.get("policy", "unknown"),
        "reset rule": identity.config.get("reset", "unknown"),
        "idle timeout": f"{identity.config.get('idle_timeout', '?')} s",
        "segments": totals.segments,
        "bytes on disk": f"{totals.size_bytes:,}",
        "trades": _trades_line(document).removeprefix("trades: "),
        "missing ids": _missing_line(document).removeprefix("missing ids: "),
        "recommended": idle_timeout_line(document["idle_timeout"]),
    }
    return told if pruned is None else told | {"removed on purpose": str(pruned)}


def report_text(document: Mapping[str, Any], outages: pa.Table, pruned: Pruned | None) -> str:
    """Return a whole report for a terminal.

    Parameters
    ----------
    document
        As :func:`wsresearch.study.report` returns it.
    outages
        As :func:`wsresearch.study.outages` returns them.
    pruned
        What was removed on purpose, None if nothing was.
    """
    table = outage_table(outages)
    if not _received(document) and not outages.num_rows:
        table = "no outages: one begins with the last message of a connection, and no message ever came"
    without = f"{duration(document['without_data'])} of {duration(document['lived'])}"
    return "\n".join(
        [
            table,
            "",
            *_start_lines(document),
            f"without data: {without} ({share(document['without_data'], document['lived'])})",
            _trades_line(document),
            *silent_lines(document),
            _missing_line(document),
            idle_timeout_line(document["idle_timeout"]),
            *([] if pruned is None else [str(pruned)]),
        ]
    )


def _received(document: Mapping[str, Any]) -> bool:
    """Whether any market data ever came."""
    of_symbols = any(each["trades"] or each["removed"] for each in document["symbols"].values())
    return of_symbols or any(row["delivered"] for row in document["starts"])


def _start_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a line for each run that had trouble to get its first message, the last ones if there are many."""
    rows = [row | {"first_message": row["delivered"] or None} for row in document["starts"]]
    lines = [line for row in rows if (line := hard_start(row)) is not None]
    hidden = len(lines) - _NAMED
    return [f"({counted(hidden, 'earlier run')} with such a start not shown)", *lines[hidden:]] if hidden > 0 else lines


def _trades_line(document: Mapping[str, Any]) -> str:
    """Return how many trades there are of each symbol that was to be collected."""
    each = ", ".join(f"{safe(symbol)} {told['trades']:,}" for symbol, told in document["symbols"].items())
    return f"trades: {document['trades']:,}" + (f" ({each})" if each else "")


def silent_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a line for each symbol of which nothing ever came: a venue says nothing of a symbol it does not know."""
    silent = [safe(name) for name, told in document["symbols"].items() if not (told["trades"] or told["removed"])]
    ask = ": is the symbol right?" if document["connections"] else ""
    lines = [f"{name}: no trade, ever{ask}" for name in silent[:_NAMED]]
    hidden = len(silent) - len(lines)
    return [*lines, f"{counted(hidden, 'more symbol')}: no trade, ever"] if hidden else lines


def _missing_line(document: Mapping[str, Any]) -> str:
    if document["losses"] is not None and not _received(document):
        return "missing ids: unknown, for no trade ever came"
    return loss_line(document["losses"])


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
    lines = _lines(_COLUMNS, shown.to_pylist())
    hidden = outages.num_rows - shown.num_rows
    told = [f"({hidden:,} earlier outages are not shown)"] if hidden else []
    return "\n".join([*lines, *told])


_BLAMED: Final = (
    ("wire", "the wire"),
    ("queue", "our queue"),
    ("parser", "our parser"),
    ("venue", "the venue"),
    ("stop", "stops of ours"),
)


def loss_line(losses: Mapping[str, int] | None) -> str:
    """Return who lost what is missing, in a line.

    Parameters
    ----------
    losses
        As :func:`wsresearch.study.loss.balance` returns them; None where it is not defined.
    """
    if losses is None:
        return "missing ids: not defined, this venue does not number its trades"
    parts = [f"{losses[key]:,} by {who}" for key, who in _BLAMED if losses[key]]
    line = f"missing ids: {losses['missing']:,}" + (f", lost {', '.join(parts)}" if parts else "")
    spare = [
        f"{losses[f'{what}_elsewhere']:,} of {losses[what]:,} {what} messages"
        for what in ("dropped", "rejected")
        if losses[f"{what}_elsewhere"]
    ]
    return line + (f"; {' and '.join(spare)} cost no known id" if spare else "")


def idle_timeout_line(told: Mapping[str, Any]) -> str:
    """Return the recommended idle timeout and how often it would raise a false alarm, in a line.

    Parameters
    ----------
    told
        ``idle_timeout`` of :func:`wsresearch.study.report`.
    """
    watched = f"{told['watched'] / 3600:.3g} h" if told["watched"] >= 3600 else f"{told['watched']:,.0f} s"
    if told["recommended"] is None:
        return f"idle timeout: none can be recommended on {watched} of traffic: {told['why']}"
    line = f"idle timeout: {told['recommended']:g} s"
    if told["measured"]:
        return f"{line}, at most {told['per_day_most']:.2g} false alarms a day on {watched} of traffic"
    # What was recorded bounds less than is asked: what it does bound, and what a law makes of it, which bounds nothing.
    return (
        f"{line}, for which a law fitted to the longest silences foretells {told['per_day_fitted']:.2g} to "
        f"{told['per_day_fitted_most']:.2g} false alarms a day; none came in {watched} of traffic, which by itself "
        f"allows up to {told['per_day_most']:.2g} a day"
    )


def _between(row: _Row, name: str, digits: int, *, none: str = "never") -> str:
    """Return two bounds as ``1.2–3.4``."""
    early, late = (
        none if row[f"{name}_{end}"] is None else f"{row[f'{name}_{end}']:,.{digits}f}" for end in ("early", "late")
    )
    return early if early == late else f"{early}–{late}"


_POLICIES: Final[Sequence[tuple[str, Callable[[_Row], str]]]] = (
    ("policy", lambda row: row["policy"]),
    ("recovered", lambda row: "" if row["recovered_late"] is None else f"{100 * row['recovered_late']:.0f} %"),
    ("median", lambda row: _between(row, "median", 3)),
    ("95 % interval", lambda row: _interval(row, "median")),
    ("p95", lambda row: _between(row, "p95", 3)),
    ("attempts", lambda row: _between(row, "attempts", 2)),
    ("trades lost", lambda row: _between(row, "trades", 0, none="?")),
    ("live", lambda row: str(row["live"])),
    ("ends", lambda row: "silently" if row["silent"] and row["gave_up"] else "gave up" if row["gave_up"] else ""),
)


def _interval(row: _Row, name: str) -> str:
    low, high = (row[f"{name}_{end}"] for end in ("low", "high"))
    return "" if low is None else f"{low:.3f} to {'never' if high is None else f'{high:.3f}'}"


def comparison_table(comparison: pa.Table) -> str:
    """Return policies side by side as lines of text; ``a–b`` are the two bounds of what the record leaves open.

    Parameters
    ----------
    comparison
        As :func:`wsresearch.study.compare` returns it.
    """
    rows = comparison.to_pylist()
    if not rows or not rows[0]["outages"]:
        return "no outages to replay"
    head = (
        f"{rows[0]['outages']:,} outages replayed, {rows[0]['repetitions']:,} times each. Seconds to recovery and what"
        " they cost; a–b: if the server came back as early, or as late, as the record allows"
    )
    return "\n".join([head, *_lines(_POLICIES, rows)])


def _lines(columns: Sequence[tuple[str, Callable[[_Row], str]]], rows: Sequence[_Row]) -> list[str]:
    """Return a head and one line for each row, in columns as wide as they must be."""
    cells = [[head for head, _ in columns], *([text(row) for _, text in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if head in _LEFT else cell.rjust(width)
            for (head, _), cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]
