"""How long things lasted and whether their end was seen, read from any table that tells it; nothing is estimated here.

A *span* is the life of a connection or the time to recovery of an outage. It is censored when it would have gone on:
we ended it, the venue's limit cut it, or the record stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.reconnect.causes import Cause
from wsresearch.reconnect.checked import checked_number
from wsresearch.reconnect.lifecycle import DELIBERATE

__all__ = ["DAY", "OURS", "Spans", "checked_level", "counts_at", "known", "read_spans"]

DAY: Final = 86_400.0
"""Seconds after which venues close a connection whatever its state."""

SLACK: Final = 60.0
"""Seconds around the limit within which an end is the limit's: it counts from the venue's clock, a life from ours."""

OURS: Final = DELIBERATE | {Cause.ROLLOVER}
"""Causes by which we ended a connection ourselves: it would have lived longer."""

_FORMS: Final = (("life", "censored", False), ("silence", "censored", False), ("seconds", "observed", True))
_TELL: Final = (
    "give the table of connections (life, censored) or of outages (silence, censored), "
    "a table with seconds and observed, or durations with observed="
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Spans as arrays of one length.

    Parameters
    ----------
    seconds
        How long each lasted, or had lasted when it was censored.
    ended
        Whether its end was seen.
    causes
        What ended it; None where that is not known, or the table has no such column.
    groups
        The group of each, as text.
    whose
        ``life``, ``silence`` or ``seconds``: which kind of table it was.
    """

    seconds: NDArray[np.float64]
    ended: NDArray[np.bool_]
    causes: NDArray[np.object_] | None
    groups: NDArray[np.object_] | None
    whose: str

    def __len__(self) -> int:
        return len(self.seconds)

    def where(self, chosen: NDArray[np.bool_]) -> Spans:
        """Return some of them."""
        return Spans(
            seconds=self.seconds[chosen],
            ended=self.ended[chosen],
            causes=None if self.causes is None else self.causes[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            whose=self.whose,
        )

    def by_group(self) -> list[tuple[str | None, Spans]]:
        """Return them group by group, in the order of their names; all as one where there are no groups."""
        if self.groups is None:
            return [(None, self)]
        names = sorted(set(self.groups.tolist()))
        return [(name, self.where(np.asarray(self.groups == name, dtype=bool))) for name in names]


def read_spans(
    data: Any,
    *,
    observed: Sequence[bool] | None = None,
    by: str | None = None,
    limit: float | None = DAY,
) -> Spans:
    """Read spans from what a caller has.

    Parameters
    ----------
    data
        The table of connections or of outages, a table with ``seconds`` and ``observed`` (and ``cause``), or
        durations in seconds.
    observed
        With durations: whether the end of each was seen.
    by
        A column of the table that puts the spans into groups; a null is the group ``none``.
    limit
        Seconds of life at which venues close a connection. A life that ended within a minute of it is censored
        there. None: no limit. Only the table of connections is looked at like this.

    Raises
    ------
    UsageError
        If it is none of these, or a duration is null, not a number, negative or infinite; the column is named.
    """
    if observed is not None:
        return _from_arrays(data, observed)
    table = _table(data)
    names = set(table.schema.names)
    form = next((form for form in _FORMS if {form[0], form[1]} <= names), None)
    if form is None:
        raise UsageError(f"the columns {', '.join(table.schema.names) or '(none)'} tell no durations: {_TELL}")
    whose, flag, means_ended = form
    seconds, flags = _seconds(table[whose], whose), _flags(table[flag], flag)
    ended = flags if means_ended else ~flags
    causes = _texts(table["cause"]) if "cause" in names else None
    if whose == "life":
        if causes is not None:
            ended &= ~np.isin(causes, list(OURS))
        if limit is not None:
            limit = checked_number("limit", limit, low=0.0, above_low=True)
            ended &= np.abs(seconds - limit) > SLACK
    groups = None
    if by is not None:
        if by not in names:
            raise UsageError(f"there is no column {by!r} to group by; there are {', '.join(table.schema.names)}")
        texts = _texts(table[by])
        groups = np.array(["none" if text is None else text for text in texts], dtype=object)
    return Spans(seconds=seconds, ended=ended, causes=causes, groups=groups, whose=whose)


def _from_arrays(data: Any, observed: Sequence[bool]) -> Spans:
    try:
        seconds, flags = pa.chunked_array([pa.array(data)]), pa.chunked_array([pa.array(observed)])
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise UsageError(
            f"durations and observed= must be sequences of numbers and of True and False: {error}"
        ) from error
    if len(seconds) != len(flags):
        raise UsageError(f"there are {len(seconds):,} durations, but {len(flags):,} values of observed")
    return Spans(
        seconds=_seconds(seconds, "seconds"),
        ended=_flags(flags, "observed"),
        causes=None,
        groups=None,
        whose="seconds",
    )


def _table(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    try:
        return pa.table(data)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise UsageError(f"{type(data).__name__} is no table: {_TELL}") from error


def _seconds(column: pa.ChunkedArray, name: str) -> NDArray[np.float64]:
    if column.null_count:
        raise UsageError(f"column {name!r} has a null; leave out what has no duration")
    try:
        seconds = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowException as error:
        raise UsageError(f"column {name!r} is {column.type} and cannot be read as seconds") from error
    wrong = ~(np.isfinite(seconds) & (seconds >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise UsageError(f"column {name!r} is {seconds[at]} in row {at + 1}; a duration is finite and at least 0 s")
    return seconds


def _flags(column: pa.ChunkedArray, name: str) -> NDArray[np.bool_]:
    if column.null_count:
        raise UsageError(f"column {name!r} has a null; it must say of each row whether its end was seen")
    if len(column) and not (pa.types.is_boolean(column.type) or pa.types.is_integer(column.type)):
        raise UsageError(f"column {name!r} is {column.type}, not true and false")
    flags = column.cast(pa.int64()) if len(column) else pa.array([], pa.int64())
    if pc.any(pc.not_equal(pc.bit_wise_and(flags, -2), 0)).as_py():
        raise UsageError(f"column {name!r} has numbers other than 0 and 1; it must be true and false")
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=np.int64).astype(bool)


def _texts(column: pa.ChunkedArray) -> NDArray[np.object_]:
    texts = [None if value is None else str(value) for value in column.to_pylist()]
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out


def counts_at(times: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many of ``seconds`` are equal to each of ``times``, which rise and hold them all."""
    return np.bincount(np.searchsorted(times, seconds), minlength=len(times)).astype(np.int64)


def known(values: NDArray[np.float64]) -> pa.Array:
    """Return numbers as a column; what has no value is null, so that nobody computes on with NaN."""
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def checked_level(value: float, name: str = "confidence") -> float:
    """Return a share above 0 and below 1; raise :class:`UsageError` for any other number."""
    level = checked_number(name, value, low=0.0, high=1.0, above_low=True)
    if level == 1.0:
        raise UsageError(f"{name} must be below 1, not 1")
    return level
