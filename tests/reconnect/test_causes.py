"""Which failures are transient, which ask to wait, and which stop a run."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.reconnect.causes import (
    LONGEST_RETRY_AFTER,
    Cause,
    Failure,
    Severity,
    classify,
    in_words,
    parse_retry_after,
    strike_of,
)

T, W, P = Severity.TRANSIENT, Severity.WAIT, Severity.PERMANENT
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def http(status: int, retry_after: float | None = None) -> Failure:
    return Failure(cause=Cause.HTTP_STATUS, http_status=status, retry_after=retry_after)


def closed(code: int | None) -> Failure:
    return Failure(cause=Cause.CLOSED, close_code=code, close_by="peer")


TRANSIENT = [
    *(
        Failure(cause=cause)
        for cause in (
            Cause.REFUSED,
            Cause.OPEN_TIMEOUT,
            Cause.UNREACHABLE,
            Cause.NAME_NOT_FOUND,
            Cause.NOT_WEBSOCKET,
            Cause.TLS,
            Cause.NO_DESCRIPTORS,
            Cause.PROXY,
            Cause.EOF,
            Cause.RESET,
            Cause.PING_TIMEOUT,
            Cause.STALLED,
            Cause.SERVER_SHUTDOWN,
            Cause.OVERFLOW,
            Cause.REJECTED,
            Cause.IDS_RESTARTED,
            Cause.DISK,
            Cause.DAMAGED,
            Cause.ROLLOVER,
            Cause.RECONNECT,
            Cause.STOP,
            Cause.UNKNOWN,
            Cause.RETRY_AFTER,
            Cause.BUDGET,
        )
    ),
    *(closed(code) for code in (1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, None)),
    *(http(status) for status in (408, 425, 500, 502, 503, 504, 520, 599)),
]
THREE_STRIKES = [
    *(closed(code) for code in (1002, 1003, 1007, 1008, 1009, 1010, 4000, 4999, 3000, 1004, 1015, 999, 5000)),
    *(http(status) for status in (100, 200, 204, 402, 405, 410, 451)),
    Failure(cause=Cause.BAD_UPGRADE),
    Failure(cause=Cause.PROTOCOL_ERROR, close_code=1002, close_by="local"),
    Failure(cause=Cause.TOO_BIG, close_code=1009, close_by="local"),
    Failure(cause=Cause.VENUE_ERROR),
]
PERMANENT = [
    *(http(status) for status in (400, 401, 403, 404, 426, 300, 301, 302, 307, 308, 399)),
    *(Failure(cause=cause) for cause in (Cause.CERTIFICATE, Cause.BAD_URL, Cause.REDIRECTED, Cause.INTERNAL)),
]


@pytest.mark.parametrize("failure", TRANSIENT, ids=str)
def test_transient_failures_stay_transient(failure: Failure) -> None:
    """However often they come in a row, a clean close by the server among them."""
    for strikes in (0, 1, 3, 1000):
        assert classify(failure, strikes=strikes).severity is T
    assert strike_of(failure) is None


@pytest.mark.parametrize("failure", THREE_STRIKES, ids=str)
def test_three_in_a_row_are_permanent(failure: Failure) -> None:
    """Twice they are tried again, the third time the run stops and says how to mend it."""
    assert [classify(failure, strikes=strikes).severity for strikes in (0, 1, 2, 3, 4)] == [T, T, T, P, P]
    assert classify(failure, strikes=2).mend == ""
    assert strike_of(failure)


@pytest.mark.parametrize("failure", PERMANENT, ids=str)
def test_permanent_failures_stop_at_once(failure: Failure) -> None:
    """Trying again cannot help, and the verdict says in one line what would; a Retry-After changes only a 403."""
    told = Failure(cause=failure.cause, http_status=failure.http_status, retry_after=5.0)
    for each in (failure,) if failure.http_status == 403 else (failure, told):
        verdict = classify(each)
        assert verdict.severity is P
        assert verdict.at_least == 0.0


@pytest.mark.parametrize("failure", THREE_STRIKES + PERMANENT, ids=str)
def test_every_permanent_verdict_says_how_to_mend_it(failure: Failure) -> None:
    """One line that begins with what to do."""
    mend = classify(failure, strikes=3).mend
    assert 20 < len(mend) < 110
    assert "\n" not in mend
    assert mend[0].islower()
    assert not mend.endswith(".")


@pytest.mark.parametrize(
    ("failure", "severity", "at_least"),
    [
        (http(429, 7.0), W, 7.0),
        (http(418, 7.0), W, 7.0),
        (http(503, 7.0), W, 7.0),
        (http(500, 7.0), W, 7.0),
        (http(429, 0.0), W, 0.0),
        (http(403, 300.0), W, 300.0),
        (http(429), W, 60.0),
        (http(418), W, 120.0),
        (http(503), T, 0.0),
        (closed(1013), T, 5.0),
        (closed(1012), T, 0.0),
        (Failure(cause=Cause.REFUSED), T, 0.0),
    ],
    ids=str,
)
def test_how_long_to_wait_at_least(failure: Failure, severity: Severity, at_least: float) -> None:
    """As long as the server says; where it says nothing, as long as its answer deserves."""
    verdict = classify(failure)
    assert (verdict.severity, verdict.at_least) == (severity, at_least)


def test_every_cause_is_classified_and_listed_here() -> None:
    """A cause added without a thought about its class fails here."""
    assert {failure.cause for failure in TRANSIENT + THREE_STRIKES + PERMANENT} == set(Cause)


@given(
    st.builds(
        Failure,
        cause=st.sampled_from(Cause),
        close_code=st.none() | st.integers(-1, 70_000),
        http_status=st.none() | st.integers(-1, 1000),
        retry_after=st.none() | st.floats(0, LONGEST_RETRY_AFTER),
    ),
    st.integers(0, 10),
)
def test_any_failure_has_a_verdict(failure: Failure, strikes: int) -> None:
    """Whatever a server sends: a class, a finite wait, and advice exactly if the run stops."""
    verdict = classify(failure, strikes=strikes)
    assert 0.0 <= verdict.at_least <= LONGEST_RETRY_AFTER
    assert bool(verdict.mend) == (verdict.severity is P)
    if verdict.severity is W:
        assert failure.retry_after is not None or failure.http_status in {418, 429}


def test_what_counts_as_the_same_strike() -> None:
    """Different codes, or a clean close in between, do not add up; a protocol error is one whatever its code."""
    assert strike_of(closed(1008)) == strike_of(Failure(cause=Cause.CLOSED, close_code=1008, detail="other words"))
    assert len({strike_of(each) for each in (closed(1008), closed(4000), closed(1000), http(200), http(204))}) == 5
    protocol = [Failure(cause=Cause.PROTOCOL_ERROR, close_code=code) for code in (1002, 1007)]
    assert strike_of(protocol[0]) == strike_of(protocol[1])


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_plain_words(cause: Cause) -> None:
    """A clause for people: no code names, no capitals but TLS and the like, nothing that needs a manual."""
    words = in_words(cause)
    assert len(words.split()) >= 4
    assert "_" not in words
    assert words[0].islower()
    assert not words.endswith(".")


def test_no_two_causes_read_the_same() -> None:
    """Somebody who reads the words knows the cause."""
    assert len({in_words(cause) for cause in Cause}) == len(Cause)


# -- Retry-After ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("1.5", 1.5),
        ("604800", LONGEST_RETRY_AFTER),
        ("604801", LONGEST_RETRY_AFTER),
        ("9" * 5000, LONGEST_RETRY_AFTER),
        ("Mon, 23 Nov 2026 12:01:30 GMT", 90.0),
        ("Monday, 23-Nov-26 12:01:30 GMT", 90.0),
        ("Mon Nov 23 12:01:30 2026", 90.0),
        ("Mon, 23 Nov 2026 14:01:30 +0200", 90.0),
        ("Mon, 23 Nov 2026 11:59:59 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
    ],
)
def test_retry_after_is_read(text: str, seconds: float) -> None:
    """Seconds or any of the three date forms; the past is no wait, and beyond a week is a week."""
    assert parse_retry_after(text, now=NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "-0", "+5", "nan", "inf", "1e3", "1_000", "0x10", "٣", "\u00a05", "5\n", "5 s", "120, 130"),
        *("soon", "Mon", "2026-11-23", "Mon, 23 Nov 2026", "Mon, 32 Nov 2026 12:01:30 GMT"),
        *("Mon, 23 Nov 99999999999 12:01:30 GMT", "Mon, 23 Nov 2026 12:01:30 +9999"),
    ],
)
def test_nonsense_in_retry_after_is_ignored(text: str) -> None:
    """What is neither form is as if the header were not there."""
    assert parse_retry_after(text, now=NOW) is None


@given(st.integers(-(10**6), 10**6), st.integers(-12, 14))
def test_a_date_is_counted_from_now(offset: int, hours: int) -> None:
    """In whatever time zone now is given."""
    now = NOW.astimezone(timezone(timedelta(hours=hours)))
    text = format_datetime(NOW + timedelta(seconds=offset), usegmt=True)
    assert parse_retry_after(text, now=now) == min(max(offset, 0), LONGEST_RETRY_AFTER)


@given(st.text() | st.from_regex(r"\w{3}, \d\d \w{3} \d{1,6} \d\d:\d\d:\d\d [+-]?\w{3,5}"))
def test_any_header_is_a_wait_or_nothing(text: str) -> None:
    """A hostile header neither raises nor sends the collector to sleep for ever."""
    seconds = parse_retry_after(text, now=NOW)
    assert seconds is None or 0.0 <= seconds <= LONGEST_RETRY_AFTER


def test_a_date_without_a_zone_means_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever this machine stands."""
    monkeypatch.setenv("TZ", "UTC+7")
    time.tzset()
    try:
        assert parse_retry_after("Mon Nov 23 12:01:30 2026", now=NOW) == 90.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_now_must_have_a_time_zone() -> None:
    """A naive time would be off by hours without a word."""
    with pytest.raises(UsageError, match="time zone"):
        parse_retry_after("5", now=datetime(2026, 11, 23))  # noqa: DTZ001
