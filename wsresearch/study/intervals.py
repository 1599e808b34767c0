"""Server-down intervals as a replay takes them: read from a table of any origin, checked, and filled in.

Where recorded ones come from is :mod:`~wsresearch.study.serverdown`; what is done with them is
:mod:`~wsresearch.study.replay`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite
from typing import Any, Final

import numpy as np
import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.study.serverdown import SERVER_DOWN, server_down

__all__ = ["Answer", "Down", "read_downs", "usual_answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an attempt in vain met; ``at`` is seconds since the outage was noticed."""

    at: float
    took: float
    lived: float | None
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """One row of :data:`~wsresearch.study.serverdown.SERVER_DOWN`, with what was null filled in; absolute seconds."""

    outage: int
    run: int
    failure: Failure
    began: float
    alive: float
    noticed: float
    early: float
    late: float
    known_until: float
    slip: float
    connect: float
    first_message: float
    trade_rate: float | None
    answers: tuple[Answer, ...]

    def answer(self, now: float, otherwise: Answer) -> Answer:
        """Return what an attempt that begins now and is in vain meets: what the last one before it met."""
        if not self.answers:
            return otherwise
        at = bisect_right(self.answers, now - self.noticed, key=lambda answer: answer.at)
        return self.answers[max(0, at - 1)]


def read_downs(data: Any) -> list[Down]:
    """Return server-down intervals by run and time; see :func:`replay` for what is taken.

    Raises
    ------
    UsageError
        If a needed column is missing, of another type, null, or holds a number that cannot be; it is named.
    """
    rows = list(_rows(data))
    rows.sort(key=lambda row: (row["run"], row["began"]))
    connects = [row["connect"] for row in rows if row["connect"] is not None]
    firsts = [row["first_message"] for row in rows if row["first_message"] is not None]
    connect = float(np.median(connects)) if connects else 0.0
    first = float(np.median(firsts)) if firsts else 0.0
    downs = [_down(row, connect=connect, first=first) for row in rows]
    for early, late in pairwise(downs):
        if early.run == late.run and early.late == inf:
            raise UsageError(
                f"column 'up_late' of outage {early.outage} is null, but outage {late.outage} of the same run comes "
                "after it: the server must have come back before it could go down again"
            )
    return downs


_DEFAULTS: Final[Mapping[str, Any]] = {"run": 1, "alive": 3600.0, "detect": 0.0, "slip": 0.0}
_NOT_NEGATIVE: Final = (
    "alive",
    "detect",
    "up_early",
    "up_late",
    "watched",
    "slip",
    "connect",
    "first_message",
    "trade_rate",
)


def _rows(data: Any) -> Iterator[dict[str, Any]]:
    try:
        table = data if isinstance(data, pa.Table) else pa.table(data)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise UsageError(f"{type(data).__name__} is no table: give events, or server-down intervals") from error
    if "kind" in table.schema.names:
        table = server_down(table)
    for name in ("began", "up_late"):
        if name not in table.schema.names:
            raise UsageError(f"there is no column {name!r}: give an events table, or intervals with began and up_late")
    columns: dict[str, list[Any]] = {}
    for field in SERVER_DOWN:
        if field.name in table.schema.names:
            try:
                columns[field.name] = table[field.name].cast(field.type).to_pylist()
            except pa.ArrowException as error:
                raise UsageError(
                    f"column {field.name!r} is {table[field.name].type} and cannot be read as {field.type}"
                ) from error
        else:
            columns[field.name] = [None] * len(table)
    for at, values in enumerate(zip(*columns.values(), strict=True), start=1):
        row = dict(zip(columns, values, strict=True))
        row = {name: _DEFAULTS.get(name) if value is None else value for name, value in row.items()}
        row["outage"] = at if row["outage"] is None else row["outage"]
        _check(row, at)
        yield row


def _check(row: dict[str, Any], at: int) -> None:
    if row["began"] is None or not isfinite(row["began"]):
        raise UsageError(f"column 'began' is {row['began']} in row {at}; it must be seconds on one clock")
    for name in _NOT_NEGATIVE:
        if row[name] is not None and not 0 <= row[name] < inf:
            raise UsageError(f"column {name!r} is {row[name]} in row {at}; it must be finite and at least 0")
    if row["up_early"] is None:
        row["up_early"] = row["up_late"] or 0.0
    if row["up_late"] is not None and row["up_late"] < row["up_early"]:
        raise UsageError(
            f"column 'up_late' is {row['up_late']} in row {at}, before up_early ({row['up_early']}): "
            "the server cannot have answered before it was down"
        )


def _down(row: dict[str, Any], *, connect: float, first: float) -> Down:
    noticed = row["began"] + row["detect"]
    late = inf if row["up_late"] is None else noticed + row["up_late"]
    return Down(
        outage=row["outage"],
        run=row["run"],
        failure=_failure(row),
        began=row["began"],
        alive=row["alive"],
        noticed=noticed,
        early=noticed + row["up_early"],
        late=late,
        known_until=noticed + max(row["up_early"], row["watched"] or 0.0),
        slip=row["slip"],
        connect=connect if row["connect"] is None else row["connect"],
        first_message=first if row["first_message"] is None else row["first_message"],
        trade_rate=row["trade_rate"],
        answers=tuple(
            Answer(at=each["at"], took=each["took"], lived=each["lived"], failure=_failure(each))
            for each in row["answers"] or ()
        ),
    )


def _failure(row: Mapping[str, Any]) -> Failure:
    try:
        cause = Cause(row["cause"] or Cause.UNKNOWN)
    except ValueError:
        cause = Cause.UNKNOWN  # of a newer version: transient, as any failure that nobody knows more of
    return Failure(
        cause=cause,
        close_code=row.get("close_code"),
        http_status=row.get("http_status"),
        retry_after=row.get("told"),
    )


def usual_answer(downs: Sequence[Down]) -> Answer:
    """Return what an attempt in vain met in the middle: refused, after the median time."""
    took = [answer.took + (answer.lived or 0.0) for down in downs for answer in down.answers]
    return Answer(
        at=0.0, took=float(np.median(took)) if took else 0.0, lived=None, failure=Failure(cause=Cause.REFUSED)
    )
