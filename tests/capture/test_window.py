"""What people may write for a stretch of time, and that what they may not is refused with the value in the message."""

from __future__ import annotations

import datetime as dt
import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.capture.window import EVER, Window, instant, span
from wsresearch.errors import UsageError

NOON = 1_795_435_200 * 10**9  # 2026-11-23 12:00 UTC


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23 12:00",
        "2026-11-23T12:00:00Z",
        " 2026-11-23T13:00+01:00 ",
        dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone(dt.timedelta(hours=-6))),
        pd.Timestamp("2026-11-23 13:00", tz="Europe/Berlin"),
        pa.scalar(NOON, pa.timestamp("ns", tz="UTC")),
        pa.scalar(NOON // 10**9, pa.timestamp("s", tz="Asia/Tokyo")),
    ],
)
def test_one_moment_may_be_written_in_many_ways(value: object) -> None:
    """Texts (UTC where they name no offset), aware datetimes, Timestamps and cells of a table all mean the same."""
    assert instant(value, "since") == NOON


@given(st.integers(-(2**62), 2**62))
def test_no_nanosecond_is_lost(nanoseconds: int) -> None:
    """A time taken out of a table, or made a pandas Timestamp, cuts exactly where it stands."""
    assert instant(pa.scalar(nanoseconds, pa.timestamp("ns", tz="UTC")), "since") == nanoseconds
    assert instant(pd.Timestamp(nanoseconds, tz="UTC"), "since") == nanoseconds
    assert span(pd.Timedelta(abs(nanoseconds) + 1), "last") == abs(nanoseconds) + 1


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        "0001-01-01",
        600,
        None,
        dt.date(2026, 11, 23),
        dt.datetime(2026, 11, 23),  # noqa: DTZ001 - naive on purpose
        pd.Timestamp("2026-11-23"),
        pd.NaT,
        pa.scalar(None, pa.timestamp("ns", tz="UTC")),
        pa.scalar(5, pa.timestamp("ns")),
    ],
)
def test_what_is_no_moment_in_utc_is_refused(value: object) -> None:
    """Local time that looks like UTC, numbers and nonsense are refused in one line that names the argument."""
    with pytest.raises(UsageError, match="since") as caught:
        instant(value, "since")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10min", 600),
        ("1h30min", 5400),
        (" 90 s ", 90),
        ("1.5d", 129_600),
        ("250ms", 0.25),
        ("2 hours 5 minutes", 7500),
        (600, 600),
        (0.5, 0.5),
        (dt.timedelta(minutes=3), 180),
        (pd.Timedelta("2min"), 120),
    ],
)
def test_lengths_of_time(value: object, seconds: float) -> None:
    """Texts with units, timedeltas and plain seconds."""
    assert span(value, "last") == seconds * 10**9


@pytest.mark.parametrize(
    "value", ["", "10", "min", "-5s", "5 parsecs", "10min!", 0, -1, math.nan, math.inf, True, None]
)
def test_what_is_no_length_of_time_is_refused(value: object) -> None:
    """The message names the argument and the value and shows what to write."""
    with pytest.raises(UsageError, match=r"last is .*10min"):
        span(value, "last")


def test_more_time_than_nanoseconds_can_count_is_refused() -> None:
    """A span of a thousand years is an error, not an overflow."""
    with pytest.raises(UsageError, match="292 years"):
        span("999999d", "last")


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    """Exchanged ends are an error instead of an empty table."""
    with pytest.raises(UsageError, match="exchange"):
        Window(since=2, until=1)


@given(
    since=st.one_of(st.none(), st.integers(0, 20)),
    length=st.one_of(st.none(), st.integers(0, 20)),
    first=st.integers(0, 40),
    more=st.integers(0, 20),
)
def test_windows_are_closed_at_the_beginning_and_open_at_the_end(
    since: int | None, length: int | None, first: int, more: int
) -> None:
    """``may_hold`` and ``holds_all`` agree with looking at every nanosecond."""
    window = Window(since=since, until=None if length is None else (since or 0) + length)
    inside = [
        (window.since is None or t >= window.since) and (window.until is None or t < window.until)
        for t in range(first, first + more + 1)
    ]
    assert window.holds_all(first, first + more) == all(inside)
    assert window.may_hold(first, first + more) >= any(inside)
    assert EVER.holds_all(first, first + more)


def test_a_window_knows_the_dates_it_touches() -> None:
    """A date folder is skipped only if no moment of that UTC day lies in the window."""
    day = 86_400 * 10**9
    midnight = NOON - day // 2
    window = Window(since=midnight, until=midnight + day)
    assert [window.may_hold_date(dt.date(2026, 11, n)) for n in (22, 23, 24)] == [False, True, False]
    assert Window(since=midnight - 1).may_hold_date(dt.date(2026, 11, 22))
    assert Window(until=midnight + day + 1).may_hold_date(dt.date(2026, 11, 24))
