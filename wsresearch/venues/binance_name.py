"""The name of a Binance message that is no trade: a notice, an event of no concern, or why it was refused.

Not here: the reading of trades (:mod:`~wsresearch.venues.binance_decode`). Nothing here makes a row, so it
may be slow and thorough: it sees only what the typed parser refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from wsresearch.venues.base import IgnoredKind, NoticeKind, RejectKind
from wsresearch.venues.binance_wire import symbol_of_stream
from wsresearch.venues.checks import is_natural, is_plain_decimal, is_zero

__all__ = ["MAX_DETAIL", "UNREADABLE", "Finding", "name_message"]

MAX_DETAIL: Final = 500
"""Characters of server text kept in a notice."""

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Everything a parser of ours raises for bytes that are not what it wants."""

_ANYTHING: Final = msgspec.json.Decoder()
_FIELDS: Final = ("e", "E", "s", "t", "p", "q", "T", "m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a message is: exactly one of `reject`, `notice` and `ignored`."""

    reject: RejectKind | None = None
    notice: NoticeKind | None = None
    ignored: IgnoredKind | None = None
    detail: str = ""


def name_message(message: bytes, *, streams: Mapping[str, str], times: range) -> Finding:
    """Find out what a message is that is no trade.

    Parameters
    ----------
    message
        Any bytes.
    streams
        The stream of each symbol subscribed to.
    times
        The plausible times in the connection's unit.
    """
    try:
        document = _ANYTHING.decode(message)
    except UNREADABLE:
        return Finding(reject=RejectKind.JSON)
    if not isinstance(document, dict):
        return Finding(reject=RejectKind.SHAPE)
    if "stream" not in document:
        return _name_event(document, None, streams, times) or _name_answer(document, message)
    stream, event = document["stream"], document.get("data")
    if not isinstance(stream, str):
        return Finding(reject=RejectKind.SHAPE)
    if isinstance(event, dict):
        finding = _name_event(event, stream, streams, times)
        if finding is not None:
            return finding
    if symbol_of_stream(stream) is None:  # such as bookTicker and lists of tickers: events without an "e"
        return Finding(ignored=IgnoredKind.OTHER_EVENT)
    return Finding(reject=RejectKind.MISSING if isinstance(event, dict) else RejectKind.SHAPE)


def _name_event(event: dict[str, Any], stream: str | None, streams: Mapping[str, str], times: range) -> Finding | None:
    """Name an event by its type; None if it has none."""
    kind = event.get("e")
    if kind is None:
        return None
    if not isinstance(kind, str):
        return Finding(reject=RejectKind.SHAPE)
    if kind == "trade":
        return Finding(reject=_why_no_trade(event, stream, streams, times))
    if kind == "serverShutdown":
        return Finding(notice=NoticeKind.SHUTDOWN, detail=f"announced at {_plain(event.get('E'))}")
    return Finding(ignored=IgnoredKind.OTHER_EVENT)


def _why_no_trade(event: dict[str, Any], stream: str | None, streams: Mapping[str, str], times: range) -> RejectKind:
    """Return the first reason, in the order of `RejectKind`, why a trade event was refused."""
    if any(key not in event for key in _FIELDS):
        return RejectKind.MISSING
    symbol = event["s"]
    expected = streams.get(symbol) if isinstance(symbol, str) else None
    if expected is None or stream not in {None, expected}:
        return RejectKind.SYMBOL
    if not is_natural(event["t"]):
        return RejectKind.TRADE_ID
    for key, kind in (("p", RejectKind.PRICE), ("q", RejectKind.QUANTITY)):
        if not is_plain_decimal(event[key]) or is_zero(event[key]):
            return kind
    if not isinstance(event["m"], bool):
        return RejectKind.SIDE
    if not all(is_natural(event[key]) and event[key] in times for key in ("T", "E")):
        return RejectKind.TIME
    return RejectKind.SHAPE  # such as a key that comes twice, the first time with a value that cannot be


def _name_answer(document: dict[str, Any], message: bytes) -> Finding:
    """Name a message without event and stream: the answer to a request, or something unheard of."""
    error = document.get("error")
    answer = error if isinstance(error, dict) else document
    if "code" in answer and "msg" in answer:
        detail = f"{_plain(answer['code'])}: {_plain(answer['msg'])}"
        return Finding(notice=NoticeKind.ERROR, detail=detail[:MAX_DETAIL])
    if "result" in document and "id" in document:
        result = document["result"]
        listed = f": {', '.join(map(_plain, result))}" if isinstance(result, list) else ""
        return Finding(notice=NoticeKind.ACK, detail=f"id {_plain(document['id'])}{listed}"[:MAX_DETAIL])
    if document.keys() >= {"t", "p", "q"}:
        return Finding(reject=RejectKind.MISSING)  # a raw trade whose "e" is gone
    return Finding(notice=NoticeKind.UNKNOWN, detail=message[:MAX_DETAIL].decode("utf-8", "replace"))


def _plain(value: object) -> str:
    """Return a scalar as text; anything nested by its type only, as its text could be endlessly deep."""
    return str(value) if value is None or isinstance(value, str | int | float) else f"({type(value).__name__})"
