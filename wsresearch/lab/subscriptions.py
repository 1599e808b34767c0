"""What one client is subscribed to, and the requests that change it.

Not here: sockets, and the words of requests and answers, which are the venue's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from wsresearch.venues.binance_wire import (
    BadRequest,
    Form,
    Method,
    Unit,
    error_object,
    parse_request,
    streams_of_target,
    subscribe_ack,
    subscriptions_reply,
)

__all__ = ["MAX_STREAMS", "IncomingLimit", "Subscriptions"]

MAX_STREAMS: Final = 1_024
"""Streams per connection, Binance spot documentation of 2026-07-21."""
_PER_SECOND: Final = 5
_INVALID_REQUEST: Final = 2


class Subscriptions:
    """The streams of one client; the order of subscription is kept.

    Attributes
    ----------
    form, unit
        How its messages are wrapped and the unit of their times, from the target of its upgrade request.
    streams
        Names of streams; those the tape never produces are as good as any other.
    """

    __slots__ = ("form", "streams", "unit")

    def __init__(self, streams: Sequence[str] = (), *, form: Form = Form.RAW, unit: Unit = Unit.MILLISECOND) -> None:
        self.form = form
        self.unit = unit
        self.streams: dict[str, None] = dict.fromkeys(streams)

    @classmethod
    def of_target(cls, target: str) -> Subscriptions:
        """Read the target of an upgrade request.

        Raises
        ------
        UsageError
            When it is none of this venue's, or asks for too many streams.
        """
        form, streams, unit = streams_of_target(target)
        if len(streams) > MAX_STREAMS:
            raise BadRequest(_INVALID_REQUEST, f"{len(streams)} streams are too many; at most {MAX_STREAMS}")
        return cls(streams, form=form, unit=unit)

    def answer(self, payload: bytes) -> bytes:
        """Do what the request `payload` says and return the venue's answer, an error object if it cannot be done."""
        try:
            request = parse_request(payload)
        except BadRequest as bad:
            return bad.reply
        match request.method:
            case Method.SUBSCRIBE:
                wanted = self.streams | dict.fromkeys(request.streams)
                if len(wanted) > MAX_STREAMS:
                    return error_object(_INVALID_REQUEST, f"Invalid request: more than {MAX_STREAMS} streams")
                self.streams = wanted
            case Method.UNSUBSCRIBE:
                for stream in request.streams:
                    self.streams.pop(stream, None)
            case Method.LIST_SUBSCRIPTIONS:
                return subscriptions_reply(list(self.streams), request.request_id)
        return subscribe_ack(request.request_id)


class IncomingLimit:
    """Counts a client's messages: PING, PONG and requests alike, at most 5 in any second."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_PER_SECOND)

    def allows(self, now: float) -> bool:
        """Return whether a message at `now` (monotonic seconds) is within the limit."""
        within = len(self._times) < _PER_SECOND or now - self._times[0] >= 1.0
        self._times.append(now)
        return within
