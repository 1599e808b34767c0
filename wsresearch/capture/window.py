"""Which stretch of time a reader asks for: what people may write, as nanoseconds; no clock and no file is
here.

All wall time of a capture is UTC. A *text* without an offset is therefore taken as UTC. A ``datetime``
without a time zone is refused: the one that Python hands out, ``datetime.now()``, is local time, and nobody
would notice.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeAlias

import pyarrow as pa

from wsresearch.errors import UsageError

__all__ = ["EVER", "Instant", "Span", "Window", "instant", "seconds", "span"]

Instant: TypeAlias = "datetime | pa.TimestampScalar | str"
"""A moment: an aware ``datetime`` (a pandas ``Timestamp`` is one), a cell of a time column, or an ISO 8601
text."""

Span: TypeAlias = "str | timedelta | float"
"""A length of time: ``"10min"``, a ``timedelta`` (a pandas ``Timedelta`` is one), or seconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NS_DAY: Final = 86_400 * 10**9
_NS_BOUND: Final = 2**63
_UNITS: Final = {
    **dict.fromkeys(("ns",), 1),
    **dict.fromkeys(("us", "µs"), 10**3),
    **dict.fromkeys(("ms",), 10**6),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 10**9),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60 * 10**9),
    **dict.fromkeys(("h", "hour", "hours"), 3_600 * 10**9),
    **dict.fromkeys(("d", "day", "days"), _NS_DAY),
}
_PART: Final = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([a-zµ]+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time, ``since <= time < until``, in ns since 1970 UTC; None where it is open.

    Raises
    ------
    UsageError
        If it ends before it begins.
    """

    since: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise UsageError(f"since {_in_words(self.since)} is after until {_in_words(self.until)}: exchange the two")

    @property
    def bounded(self) -> bool:
        """Whether there is anything that lies outside."""
        return self.since is not None or self.until is not None

    def may_hold(self, first: int, last: int) -> bool:
        """Whether times from `first` to `last` (ns, inclusive) can lie in it."""
        return (self.since is None or last >= self.since) and (self.until is None or first < self.until)

    def holds_all(self, first: int, last: int) -> bool:
        """Whether all times from `first` to `last` (ns, inclusive) lie in it."""
        return (self.since is None or first >= self.since) and (self.until is None or last < self.until)

    def may_hold_date(self, day: date) -> bool:
        """Whether any time of a UTC date can lie in it."""
        first = (day - _EPOCH.date()).days * _NS_DAY
        return self.may_hold(first, first + _NS_DAY - 1)


EVER: Final = Window()
"""All of time."""


def instant(value: Instant, name: str, *, back: str = "last='10min'") -> int:
    """Return the moment `value` in ns since 1970 UTC.

    Parameters
    ----------
    value
        See `Instant`. A text without an offset is UTC; a date alone is its midnight.
    name
        What the caller named it, for the error text.
    back
        How the caller takes a length of time counted back from the end, for the error text.

    Raises
    ------
    UsageError
        Not a moment, not a time zone, or not within the years 1678 to 2262 that nanoseconds reach.
    """
    if isinstance(value, pa.TimestampScalar):
        if value.type.tz is None or not value.is_valid:
            raise UsageError(f"{name} is {value.as_py()!r}: give a time with a time zone")
        return int(value.cast(pa.timestamp("ns", tz=value.type.tz)).value)
    moment = value
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip())
        except ValueError:
            raise UsageError(
                f"{name} is {value!r}: give a UTC time such as '2026-11-23 14:05' or '2026-11-23T14:05:00Z' "
                f"(for a length of time counted back from the end there is {back})"
            ) from None
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    if not isinstance(moment, datetime):
        raise UsageError(
            f"{name} is {value!r}: give an aware datetime or an ISO text in UTC "
            f"(for a length of time counted back from the end there is {back})"
        )
    if moment != moment:  # noqa: PLR0124 - the one datetime unequal to itself is pandas' NaT
        raise UsageError(f"{name} is not a time (NaT): give one, or leave it out")
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise UsageError(f"{name} is {value!r}, without a time zone: add tzinfo=datetime.UTC if it is UTC")
    # A pandas Timestamp carries what is finer than a microsecond beside the fields of a datetime.
    nanoseconds = (moment - _EPOCH) // _MICROSECOND * 1_000 + int(getattr(moment, "nanosecond", 0))
    return _within_ns(nanoseconds, value, name)


def span(value: Span, name: str) -> int:
    """Return a length of time in ns.

    Parameters
    ----------
    value
        See `Span`. Texts add up numbers with units ``ns us ms s min h d``: ``"90s"``, ``"1h30min"``, ``"1.5
        d"``.
    name
        What the caller named it, for the error text.

    Raises
    ------
    UsageError
        Not a length of time, not above zero, or longer than 292 years.
    """
    if isinstance(value, str):
        nanoseconds = _parsed_span(value)
    elif isinstance(value, timedelta):
        # NaT is no timedelta; a pandas Timedelta carries its nanoseconds beside the fields of a timedelta.
        nanoseconds = value // _MICROSECOND * 1_000 + int(getattr(value, "nanoseconds", 0))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        nanoseconds = round(value * 10**9)
    else:
        nanoseconds = None
    if nanoseconds is None or nanoseconds <= 0:
        raise UsageError(f"{name} is {value!r}: give a length of time above zero such as '10min', '90s', '1h30min'")
    return _within_ns(nanoseconds, value, name)


def seconds(value: Span, name: str) -> float:
    """Return a length of time in seconds: a number as it is, 0 and below too, anything else as `span` takes it.

    Raises
    ------
    UsageError
        Neither a number nor a length of time.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return span(value, name) / 10**9


def _parsed_span(text: str) -> int | None:
    total, at = 0, 0
    while part := _PART.match(text, at):
        if part[2] not in _UNITS:
            return None
        whole, _, fraction = part[1].partition(".")
        unit = _UNITS[part[2]]
        total += int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        at = part.end()
    return total if at == len(text) and at else None


def _within_ns(nanoseconds: int, value: object, name: str) -> int:
    if not -_NS_BOUND <= nanoseconds < _NS_BOUND:
        raise UsageError(f"{name} is {value!r}: nanoseconds reach only from 1678 to 2262 and 292 years far")
    return nanoseconds


def _in_words(nanoseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=nanoseconds // 1_000)).isoformat()
