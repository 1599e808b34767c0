"""Binance's own words, read and written: stream names, request targets, requests, messages of its shape.

Not here: checks of received market data (:mod:`~wsresearch.venues.binance_decode`), urls, limits, sockets.
The local exchange speaks with these functions, the decoder's tests compare them with real recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from wsresearch.errors import UsageError

__all__ = [
    "COMBINED_SHUTDOWN_STREAM",
    "BadRequest",
    "Form",
    "Method",
    "Request",
    "Unit",
    "error_object",
    "parse_request",
    "shutdown_message",
    "stream_name",
    "streams_of_target",
    "subscribe_ack",
    "subscribe_request",
    "subscriptions_reply",
    "symbol_of_stream",
    "target_of",
    "trade_message",
]

COMBINED_SHUTDOWN_STREAM: Final = "!serverShutdown"
"""The ``stream`` under which a combined connection announces its end; nobody subscribes to it."""

_TRADE_SUFFIX: Final = "@trade"
_ROUTES: Final = ("/public", "/market")
"""Entry points of the futures host, before ``/ws`` or ``/stream``; spot has none."""

_INVALID_REQUEST: Final = 2
_INVALID_JSON: Final = 3
"""Error codes of the spot documentation (web-socket-streams, 2026-07-21)."""


class Form(StrEnum):
    """How a connection wraps its messages: not at all, or as ``{"stream":…,"data":…}``."""

    RAW = "raw"
    COMBINED = "combined"


class Unit(StrEnum):
    """The unit of every time on the wire, spelled as in ``timeUnit=``."""

    MILLISECOND = "MILLISECOND"
    MICROSECOND = "MICROSECOND"

    @property
    def per_second(self) -> int:
        """How many of this unit are one second."""
        return 1_000 if self is Unit.MILLISECOND else 1_000_000


class Method(StrEnum):
    """The requests that change or list what a connection is subscribed to."""

    SUBSCRIBE = "SUBSCRIBE"
    UNSUBSCRIBE = "UNSUBSCRIBE"
    LIST_SUBSCRIPTIONS = "LIST_SUBSCRIPTIONS"


class BadRequest(UsageError):  # noqa: N818 - reads as what it says
    """A request the venue would answer with an error object; `reply` is that object."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(f"{msg} (the venue answers error {code})")
        self.reply: bytes = error_object(code, msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a client: what to do, with which streams, and the id its answer must carry."""

    method: Method
    streams: tuple[str, ...] = ()
    request_id: int | str | None = None


def stream_name(symbol: str) -> str:
    """Return the name of the trade stream of `symbol`, such as ``btcusdt@trade``."""
    return symbol.lower() + _TRADE_SUFFIX


def symbol_of_stream(stream: str) -> str | None:
    """Return the upper case symbol of a trade stream; None when `stream` is of another kind."""
    symbol = stream.removesuffix(_TRADE_SUFFIX)
    return symbol.upper() if symbol and symbol != stream and "@" not in symbol else None


def target_of(streams: Sequence[str], *, form: Form, unit: Unit = Unit.MILLISECOND, route: str = "") -> str:
    """Return the request target (path and query) that subscribes to `streams`; see `streams_of_target`.

    No streams at all is a valid target: everything is then subscribed by requests.
    """
    names = "/".join(quote(name, safe="@!_") for name in streams)
    if form is Form.COMBINED:
        path, options = f"{route}/stream", [f"streams={names}"] if names else []
    else:
        path, options = f"{route}/ws/{names}" if names else f"{route}/ws", []
    if unit is not Unit.MILLISECOND:
        options.append(f"timeUnit={unit}")
    return f"{path}?{'&'.join(options)}" if options else path


def streams_of_target(target: str) -> tuple[Form, list[str], Unit]:
    """Read a request target such as ``/stream?streams=btcusdt@trade/ethusdt@trade&timeUnit=MICROSECOND``.

    Parameters
    ----------
    target
        Path and query of the upgrade request, percent-encoded or not, with or without the route
        (``/public``) of the futures host.

    Returns
    -------
    tuple of Form, list of str, Unit
        The streams in the order asked for, each once; empty when the client will subscribe by request.

    Raises
    ------
    UsageError
        For a path, a parameter or a unit that the venue does not know.
    """
    parts = urlsplit(target)
    route = next((route for route in _ROUTES if parts.path.startswith(route + "/")), "")
    path = parts.path.removeprefix(route)
    options = dict(parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True))
    unit_text = options.pop("timeUnit", Unit.MILLISECOND.value).upper()
    if unit_text not in set(Unit):
        raise UsageError(f"timeUnit={unit_text!r} is no unit of this venue; use {' or '.join(Unit)}")
    if path == "/stream":
        form, names = Form.COMBINED, options.pop("streams", "")
    elif path == "/ws" or path.startswith("/ws/"):
        form, names = Form.RAW, unquote(path.removeprefix("/ws"))
    else:
        raise UsageError(f"{parts.path!r} is no path of this venue; use /ws/<stream> or /stream?streams=<stream>/…")
    if options:
        raise UsageError(f"{next(iter(options))!r} is no parameter of {path!r}; use streams or timeUnit")
    return form, list(dict.fromkeys(name for name in names.split("/") if name)), Unit(unit_text)


def subscribe_request(streams: Sequence[str], request_id: int, *, method: Method = Method.SUBSCRIBE) -> str:
    """Return the text a client sends to change its subscriptions."""
    return msgspec.json.encode({"method": method.value, "params": list(streams), "id": request_id}).decode()


def parse_request(payload: bytes | str) -> Request:
    """Read a client's request.

    Raises
    ------
    BadRequest
        When the venue would refuse it; the exception carries the venue's answer.
    """
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise BadRequest(_INVALID_JSON, f"Invalid JSON: {error}"[:200]) from None
    if not isinstance(document, dict):
        raise BadRequest(_INVALID_REQUEST, "Invalid request: not an object")
    method, params, request_id = document.get("method"), document.get("params", []), document.get("id")
    if not isinstance(method, str) or method not in set(Method):
        raise BadRequest(_INVALID_REQUEST, f"Invalid request: unknown method {method!r}"[:200])
    if isinstance(request_id, bool) or not isinstance(request_id, int | str | None):
        raise BadRequest(_INVALID_REQUEST, "Invalid request: id must be an integer, a string or null")
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise BadRequest(_INVALID_REQUEST, "Invalid request: params must be a list of stream names")
    return Request(method=Method(method), streams=tuple(params), request_id=request_id)


def subscribe_ack(request_id: int | str | None) -> bytes:
    """Return the answer to a SUBSCRIBE or UNSUBSCRIBE that was accepted."""
    return msgspec.json.encode({"result": None, "id": request_id})


def subscriptions_reply(streams: Sequence[str], request_id: int | str | None) -> bytes:
    """Return the answer to LIST_SUBSCRIPTIONS."""
    return msgspec.json.encode({"result": list(streams), "id": request_id})


def error_object(code: int, msg: str) -> bytes:
    """Return the answer to a request that was refused."""
    return msgspec.json.encode({"code": code, "msg": msg})


def shutdown_message(event_time: int, *, combined: bool) -> bytes:
    """Return the announcement that this connection will soon be closed; `event_time` in the wire's unit."""
    event = f'{{"e":"serverShutdown","E":{event_time:d}}}'
    return (f'{{"stream":"{COMBINED_SHUTDOWN_STREAM}","data":{event}}}' if combined else event).encode()


def trade_message(
    *,
    symbol: str,
    trade_id: int,
    price: str,
    quantity: str,
    trade_time: int,
    event_time: int,
    buyer_is_maker: bool,
    combined: bool,
    futures: bool = False,
) -> bytes:
    """Return one trade, byte for byte as the venue writes it (recordings of 2024).

    Parameters
    ----------
    symbol
        In either case; a symbol that :meth:`Venue.check_symbol` accepts, as nothing is escaped.
    price, quantity
        Decimal text, sent as given.
    trade_time, event_time
        In the wire's unit, milliseconds unless the connection asked for microseconds.
    combined
        Wrapped as ``{"stream":…,"data":…}``.
    futures
        In the key order of the futures family, with the execution type ``X``.
    """
    maker = "true" if buyer_is_maker else "false"
    upper = symbol.upper()
    if futures:
        event = (
            f'{{"e":"trade","E":{event_time:d},"T":{trade_time:d},"s":"{upper}","t":{trade_id:d},'
            f'"p":"{price}","q":"{quantity}","X":"MARKET","m":{maker}}}'
        )
    else:
        event = (
            f'{{"e":"trade","E":{event_time:d},"s":"{upper}","t":{trade_id:d},"p":"{price}",'
            f'"q":"{quantity}","T":{trade_time:d},"m":{maker},"M":true}}'
        )
    return (f'{{"stream":"{stream_name(symbol)}","data":{event}}}' if combined else event).encode()
