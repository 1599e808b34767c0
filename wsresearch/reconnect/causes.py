"""Why a connection or an attempt ended, and whether that is transient, a request to wait, or permanent.

Exceptions are not here: whoever owns the socket turns them into a :class:`Failure`. Nor is any delay decided
here; a verdict only says what the least one is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from wsresearch.errors import UsageError

__all__ = [
    "LONGEST_RETRY_AFTER",
    "STRIKES",
    "Cause",
    "Failure",
    "Severity",
    "Verdict",
    "classify",
    "in_words",
    "parse_http_date",
    "parse_retry_after",
    "strike_of",
]

STRIKES: Final = 3
"""A failure that hints at a wrong setup is permanent when it comes this often in a row: once may be a server
in the middle of an update, three times are no accident."""

LONGEST_RETRY_AFTER: Final = 7 * 86_400.0
"""Seconds. A longer request is taken for this: the longest ban a venue announces is three days (Binance), so
beyond a week stands a mistake, and a capture that sleeps for years would look alive."""


class Cause(StrEnum):
    """Why a connection or an attempt ended, or why a delay is what it is: ``cause`` in the events."""

    # reaching the server
    BAD_URL = "bad_url"
    NAME_NOT_FOUND = "name_not_found"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    OPEN_TIMEOUT = "open_timeout"
    NO_DESCRIPTORS = "no_descriptors"
    PROXY = "proxy"
    TLS = "tls"
    CERTIFICATE = "certificate"
    NOT_WEBSOCKET = "not_websocket"
    BAD_UPGRADE = "bad_upgrade"
    REDIRECTED = "redirected"
    HTTP_STATUS = "http_status"
    # while open
    CLOSED = "closed"
    EOF = "eof"
    RESET = "reset"
    PROTOCOL_ERROR = "protocol_error"
    TOO_BIG = "too_big"
    PING_TIMEOUT = "ping_timeout"
    STALLED = "stalled"
    SERVER_SHUTDOWN = "server_shutdown"
    VENUE_ERROR = "venue_error"
    # ours
    OVERFLOW = "overflow"
    REJECTED = "rejected"
    IDS_RESTARTED = "ids_restarted"
    DISK = "disk"
    DAMAGED = "damaged"
    ROLLOVER = "rollover"
    RECONNECT = "reconnect"
    STOP = "stop"
    INTERNAL = "internal"
    UNKNOWN = "unknown"
    # of a delay
    RETRY_AFTER = "retry_after"
    BUDGET = "budget"


class Severity(StrEnum):
    """What to do about a failure: try again, wait as long as told, or stop the run."""

    TRANSIENT = "transient"
    WAIT = "wait"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known of how an attempt or a connection ended.

    Parameters
    ----------
    cause
        The kind of failure.
    detail
        Text for people, already made safe.
    close_code
        Code of the Close frame, for ``Cause.CLOSED`` and what we closed ourselves; None if there was no code.
    close_by
        Who ended it, if known.
    http_status
        Status of the answer to the handshake, for ``Cause.HTTP_STATUS``.
    retry_after
        Seconds the server asked us to stay away, as :func:`parse_retry_after` gives them; None if it did not.
    """

    cause: Cause
    detail: str = ""
    close_code: int | None = None
    close_by: Literal["peer", "local"] | None = None
    http_status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a failure asks for.

    Parameters
    ----------
    severity
        The class of the failure.
    at_least
        Seconds to wait at least, whatever the policy draws; 0 leaves it to the policy.
    mend
        For a permanent failure, what a person can do about it, in one line.
    """

    severity: Severity
    at_least: float = 0.0
    mend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A verdict, and whether it becomes permanent at the third strike; ``mend`` is said only then.

    With ``unless_told`` nothing is permanent about an answer that says when to come back.
    """

    severity: Severity = Severity.TRANSIENT
    strikes: bool = False
    unless_told: bool = False
    at_least: float = 0.0
    mend: str = ""


_TRANSIENT: Final = _Rule()


def _permanent(mend: str) -> _Rule:
    return _Rule(severity=Severity.PERMANENT, mend=mend)


def _three_strikes(mend: str) -> _Rule:
    return _Rule(strikes=True, mend=mend)


_BY_CAUSE: Final[Mapping[Cause, _Rule]] = MappingProxyType(
    {
        Cause.BAD_URL: _permanent("correct the URL: it must read wss://host[:port] or ws://host[:port]"),
        Cause.CERTIFICATE: _permanent(
            "check this machine's clock and CA certificates and the host name in the URL; checking stays on"
        ),
        Cause.REDIRECTED: _permanent("give the address it redirects to as the URL, if you trust that host"),
        Cause.BAD_UPGRADE: _three_strikes("check the URL, and proxies on the way that do not know WebSocket"),
        Cause.PROTOCOL_ERROR: _three_strikes("check the URL, and proxies on the way that alter what passes"),
        Cause.TOO_BIG: _three_strikes("subscribe to streams with smaller messages: one exceeds the size limit"),
        Cause.VENUE_ERROR: _three_strikes("check that the venue knows each symbol and stream asked for"),
        Cause.INTERNAL: _permanent("report it with the detail given: this is a defect of the program"),
    }
)
"""Causes that are not simply transient, apart from the two that their number decides."""

_BY_STATUS: Final[Mapping[int, _Rule]] = MappingProxyType(
    {
        400: _permanent("check the URL and the symbols: the server does not understand the request"),
        401: _permanent("check the credentials: the server wants others, or some where none were given"),
        # Binance's firewall answers 403 to an address that asked too often, and lifts that after minutes: whoever is
        # told when to come back waits, and else nothing tells this from a 403 that will never change.
        403: _Rule(
            severity=Severity.PERMANENT,
            unless_told=True,
            mend="check whether this address, region or key is allowed, and not banned for a while: it is forbidden",
        ),
        404: _permanent("check host and path of the URL: nothing is served there"),
        426: _permanent("use the port and protocol version that the server wants"),
        # Without a header: the shortest ban that Binance announces for going on after a 429 is two minutes.
        418: _Rule(severity=Severity.WAIT, at_least=120.0),
        # Without a header: Binance counts requests by the minute, so in a minute the count starts anew.
        429: _Rule(severity=Severity.WAIT, at_least=60.0),
        # The server did not get round to reading the request; nothing is wrong with it.
        408: _TRANSIENT,
        425: _TRANSIENT,
        451: _three_strikes("collect from a place that the venue may serve: by law it may not serve this one"),
    }
)

_BY_CODE: Final[Mapping[int, _Rule]] = MappingProxyType(
    {
        **dict.fromkeys((1000, 1001, 1005, 1006, 1011, 1012, 1014), _TRANSIENT),
        # "Try again later" names no time; five seconds are the least that deserves the word.
        1013: _Rule(at_least=5.0),
        1008: _three_strikes("check symbols, rate of requests and credentials: one breaks the venue's policy"),
    }
)


def _rule(failure: Failure) -> _Rule:
    """Return the rule for a failure; a status or close code that nobody listed gets three strikes."""
    status, code = failure.http_status, failure.close_code
    if failure.cause is Cause.HTTP_STATUS and status is not None:
        if 300 <= status < 400:
            return _BY_CAUSE[Cause.REDIRECTED]
        if 500 <= status < 600:
            return _TRANSIENT
        odd = _three_strikes(f"check host, port and path of the URL: HTTP {status} is no WebSocket's answer")
        return _BY_STATUS.get(status, odd)
    if failure.cause is Cause.CLOSED and code is not None:
        odd = _three_strikes(f"look up close code {code} in the venue's documentation: it came each time")
        return _BY_CODE.get(code, odd)
    return _BY_CAUSE.get(failure.cause, _TRANSIENT)


def classify(failure: Failure, *, strikes: int = 0) -> Verdict:
    """Say whether a failure is transient, a request to wait, or permanent.

    Parameters
    ----------
    failure
        What happened.
    strikes
        How many failures with the same :func:`strike_of` came in a row, this one included.

    Returns
    -------
    Verdict
        ``at_least`` is what the server asked for (``Retry-After``), or the least that its answer deserves.

    Notes
    -----
    A clean close (1000, 1001) is transient like any other end. What we decided ourselves (stop, reconnect,
    rollover, budget, …) is no failure of the server: transient.
    """
    rule, told = _rule(failure), failure.retry_after
    permanent = rule.severity is Severity.PERMANENT or (rule.strikes and strikes >= STRIKES)
    if permanent and (told is None or not rule.unless_told):
        return Verdict(severity=Severity.PERMANENT, mend=rule.mend)
    if told is not None:
        return Verdict(severity=Severity.WAIT, at_least=told)
    return Verdict(severity=rule.severity, at_least=rule.at_least)


def strike_of(failure: Failure) -> str | None:
    """Return what two failures must share to count as the same strike; None if this one is no strike.

    The cause alone does not tell: an HTTP 200 after two 502 is a first strike, as is a close with 1008 after
    two with 1000.
    """
    if not _rule(failure).strikes:
        return None
    match failure.cause:
        case Cause.HTTP_STATUS:
            return f"{failure.cause} {failure.http_status}"
        case Cause.CLOSED:
            return f"{failure.cause} {failure.close_code}"
    return str(failure.cause)


_WORDS: Final[Mapping[Cause, str]] = MappingProxyType(
    {
        Cause.BAD_URL: "the URL is not one of a WebSocket",
        Cause.NAME_NOT_FOUND: "the name of the server could not be resolved",
        Cause.UNREACHABLE: "the network could not reach the server",
        Cause.REFUSED: "the server refused the connection",
        Cause.OPEN_TIMEOUT: "the connection did not open in time",
        Cause.NO_DESCRIPTORS: "this process has no free file descriptors",
        Cause.PROXY: "the proxy set in the environment did not let us through",
        Cause.TLS: "the encrypted channel (TLS) could not be set up",
        Cause.CERTIFICATE: "the server's certificate could not be trusted",
        Cause.NOT_WEBSOCKET: "what answered is not a WebSocket server",
        Cause.BAD_UPGRADE: "the server accepted the handshake wrongly",
        Cause.REDIRECTED: "the server redirected us where we do not follow",
        Cause.HTTP_STATUS: "the server answered the handshake with an HTTP status instead of a WebSocket",
        Cause.CLOSED: "the connection was closed with a Close frame",
        Cause.EOF: "the connection ended without a Close frame",
        Cause.RESET: "the connection was reset",
        Cause.PROTOCOL_ERROR: "the server broke the WebSocket protocol",
        Cause.TOO_BIG: "the server sent a message above the size limit",
        Cause.PING_TIMEOUT: "a ping was not answered in time",
        Cause.STALLED: "the connection stayed open but market data stopped",
        Cause.SERVER_SHUTDOWN: "the venue announced that it would close the connection",
        Cause.VENUE_ERROR: "the venue answered with an error message",
        Cause.OVERFLOW: "more data came than could be taken in, and some was dropped",
        Cause.REJECTED: "messages failed a strict check and were not stored",
        Cause.IDS_RESTARTED: "the venue began to count trades anew",
        Cause.DISK: "the disk did not take the data",
        Cause.DAMAGED: "a file of the capture failed its checks",
        Cause.ROLLOVER: "we replaced the connection on purpose",
        Cause.RECONNECT: "a reconnect was asked for",
        Cause.STOP: "a stop was asked for",
        Cause.INTERNAL: "the program itself failed",
        Cause.UNKNOWN: "something happened that has no name here",
        Cause.RETRY_AFTER: "the server asked us to wait",
        Cause.BUDGET: "the budget of attempts was used up",
    }
)


def in_words(cause: Cause) -> str:
    """Say a cause in plain words, as a clause without a capital or a full stop."""
    return _WORDS[cause]


def parse_http_date(text: str) -> datetime | None:
    """Read an HTTP date in any of its three forms; None if it is none, or lies beyond the years that there are."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # one of the three forms names no zone and means UTC


# The standard asks for whole seconds; a fraction is no less clear, and waiting is better than guessing.
_SECONDS: Final = re.compile(r"\d+(\.\d+)?", re.ASCII)


def parse_retry_after(text: str, *, now: datetime) -> float | None:
    """Read the value of a ``Retry-After`` header.

    Parameters
    ----------
    text
        Seconds, or an HTTP date in any of its three forms.
    now
        The time it is, with a time zone: a date is counted from here.

    Returns
    -------
    float or None
        Seconds from 0 (a date in the past) to :data:`LONGEST_RETRY_AFTER`, which also stands for anything
        longer; None for what is neither form, negative and infinite numbers and NaN included.

    Raises
    ------
    UsageError
        If ``now`` has no time zone.

    Notes
    -----
    RFC 9110, section 10.2.3.
    """
    if now.tzinfo is None:
        raise UsageError(f"now must have a time zone, {now.isoformat()} has none")
    text = text.strip(" \t")
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_RETRY_AFTER)
    until = parse_http_date(text)
    return None if until is None else min(max((until - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)
