"""One message of a tape, and how it reads on the wire.

Not here: where messages come from (:mod:`~wsresearch.lab.market`, :mod:`~wsresearch.lab.recording`), when they
are sent, and to whom.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wsresearch.venues.binance_wire import Form, Unit, trade_message

__all__ = ["Message", "as_combined"]

_NS_PER_MS: Final = 1_000_000
_US_PER_MS: Final = 1_000


def as_combined(raw: bytes, stream: str) -> bytes:
    """Return a bare event wrapped as the combined form of `stream`."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), raw)


# A msgspec Struct and not a dataclass: the generator makes one of these for every trade, and a frozen dataclass of
# this width costs 2 µs to build where this costs 0.1.
class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A trade or any other message of a tape.

    Attributes
    ----------
    due_ns
        When it is due, nanoseconds since the start of the tape, at the tape's own speed.
    stream
        Such as ``btcusdt@trade``; empty for a recorded message that belongs to no stream.
    symbol, trade_id
        None for everything that is not a trade.
    price, quantity
        Decimal text, as it stands on the wire.
    lag_ms
        Generated trades: how long before its sending the trade was matched.
    trade_time_us
        Recorded trades: when it was matched, microseconds since 1970 UTC. None for generated ones, whose times are
        those of the exchange's wall clock when they are sent.
    raw
        Recorded messages: the event, byte for byte. None for generated ones.
    """

    due_ns: int
    stream: str = ""
    symbol: str | None = None
    trade_id: int | None = None
    price: str = ""
    quantity: str = ""
    buyer_is_maker: bool = False
    lag_ms: int = 0
    trade_time_us: int | None = None
    raw: bytes | None = None

    @property
    def is_trade(self) -> bool:
        """Whether this is a trade; only trades have a place in the truth's account of ids."""
        return self.trade_id is not None

    def matched_us(self, now_ns: int) -> int:
        """Return the trade time, microseconds since 1970 UTC, of this message when sent at `now_ns`.

        Generated trades have whole milliseconds, so that clients of either ``timeUnit`` are told the same time.
        """
        if self.trade_time_us is not None:
            return self.trade_time_us
        return (now_ns // _NS_PER_MS - self.lag_ms) * _US_PER_MS

    def wire(self, *, form: Form, unit: Unit, now_ns: int, futures: bool) -> bytes:
        """Return the bytes of this message when sent at `now_ns`.

        Parameters
        ----------
        form, unit
            What the client asked for in the target of its upgrade request. A recorded message keeps its times, in
            the unit they were recorded in.
        now_ns
            Wall clock of the sending, nanoseconds since 1970 UTC; unused for recorded messages.
        futures
            Whether generated trades have the shape of the futures family.
        """
        if self.raw is not None:
            combined = form is Form.COMBINED and self.stream
            return as_combined(self.raw, self.stream) if combined else self.raw
        assert self.symbol is not None
        assert self.trade_id is not None
        scale = unit.per_second // 1_000
        event_ms = now_ns // _NS_PER_MS
        return trade_message(
            symbol=self.symbol,
            trade_id=self.trade_id,
            price=self.price,
            quantity=self.quantity,
            trade_time=(event_ms - self.lag_ms) * scale,
            event_time=event_ms * scale,
            buyer_is_maker=self.buyer_is_maker,
            combined=form is Form.COMBINED,
            futures=futures,
        )
