"""Binance: spot and USD-margined futures, two members of one family.

Not here: the decoding of their messages (:mod:`~wsresearch.venues.binance_decode`) and the writing of them
(:mod:`~wsresearch.venues.binance_wire`).

How the streams are asked for
-----------------------------
Everything stands in the URL while it fits `Limits.url_bytes`: the market data then begins with the handshake
and no message of ours is needed. A longer list is asked for wholly by SUBSCRIBE requests on a connection that
was opened without streams, so that one place, never two, says what a connection delivers. The server does not
answer a request above 4,088 bytes, and says nothing about it (binance-connector-rust issue 27); the longest
URL it took was once 8,004 characters (unicorn-binance-websocket-api issue 17). Both are documented nowhere,
hence 4,000 for either in `Limits`.

Futures trades
--------------
``@trade`` is served at the route ``/public`` of the futures host; at ``/market`` it is accepted and stays
silent. The stream carries an execution type ``X``. ``MARKET`` and ``INSURANCE_FUND`` executions are trades:
both are stored, in one id sequence, with nothing to tell them apart (the table has no column for it), and an
insurance fund price can lie far from the market. ``NA`` with price and quantity 0 spends an id on no trade:
such a message is a placeholder, its id is reported as vacant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wsresearch.errors import UsageError
from wsresearch.venues.base import Limits, Venue
from wsresearch.venues.binance_decode import BinanceDecoder
from wsresearch.venues.binance_wire import Form, Unit, stream_name, subscribe_request, target_of

__all__ = ["SPOT", "USDM", "Binance"]

_MAX_SYMBOL: Final = 40
"""Characters: a bound for sanity, far above any symbol seen; the venue documents none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binance(Venue):
    """A member of the Binance family.

    Parameters
    ----------
    route
        Path in front of ``/stream`` and ``/ws``.
    units
        Units of time the venue can be asked for.
    unit
        The unit this connection asks for and decodes; never guessed from the numbers.
    form
        Combined (the default) or raw; the decoder reads both.
    """

    route: str = ""
    units: tuple[Unit, ...] = (Unit.MILLISECOND,)
    unit: Unit = Unit.MILLISECOND
    form: Form = Form.COMBINED

    def __post_init__(self) -> None:
        if self.unit not in self.units:
            choices = " or ".join(self.units)
            raise UsageError(f"{self.name} does not offer timeUnit {self.unit}; use {choices}")

    def with_options(self, *, unit: Unit | None = None, form: Form | None = None) -> Binance:
        """Return the same venue asked in another unit or form.

        Raises
        ------
        UsageError
            For a unit it does not offer.
        """
        return dataclasses.replace(self, unit=unit or self.unit, form=form or self.form)

    def check_symbol(self, symbol: str) -> str:
        """Return the upper case form of `symbol`; see :meth:`Venue.check_symbol`.

        Letters and digits of any script, ``_`` and ``-``, at most 40 of them: no symbol can become a path,
        a second parameter or a second stream.
        """
        upper = symbol.upper()
        letters = all(character.isalnum() or character in "_-" for character in symbol)
        if not symbol or len(symbol) > _MAX_SYMBOL or not letters or upper.lower() != symbol.lower():
            raise UsageError(
                f"{symbol[:_MAX_SYMBOL]!r} cannot be a symbol of {self.name}; use 1 to {_MAX_SYMBOL} letters"
                " and digits, for example btcusdt"
            )
        return upper

    def path(self, symbols: Sequence[str]) -> str:
        """Return the request target; see the module about what stands in it."""
        names = [stream_name(symbol) for symbol in self.check_symbols(symbols)]
        target = self._target(names)
        return target if len(target) <= self.limits.url_bytes else self._target(())

    def subscribe(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the SUBSCRIBE requests, ids rising from 1; empty while the URL says everything."""
        names = [stream_name(symbol) for symbol in self.check_symbols(symbols)]
        if len(self._target(names)) <= self.limits.url_bytes:
            return ()
        requests: list[str] = []
        batch: list[str] = []
        for name in names:
            longer = subscribe_request([*batch, name], len(requests) + 1)
            if batch and len(longer.encode()) > self.limits.request_bytes:
                requests.append(subscribe_request(batch, len(requests) + 1))
                batch = []
            batch.append(name)
        return (*requests, subscribe_request(batch, len(requests) + 1))

    def decoder(self, symbols: Sequence[str]) -> BinanceDecoder:
        """Return the decoder of a connection that asked for `symbols` in this venue's unit."""
        return BinanceDecoder(self.check_symbols(symbols), unit=self.unit)

    def _target(self, names: Sequence[str]) -> str:
        return target_of(names, form=self.form, unit=self.unit, route=self.route)


SPOT: Final = Binance(
    name="binance",
    default_url="wss://stream.binance.com:9443",
    has_sequence=True,
    units=(Unit.MILLISECOND, Unit.MICROSECOND),
    # Documentation of 2026-07-21; url and request sizes as in the module docstring, with room to spare.
    limits=Limits(
        streams=1024,
        incoming_per_second=5,
        request_interval=0.5,
        request_bytes=4_000,
        url_bytes=4_000,
        connects=300,
        connect_window=300.0,
        lifetime=86_400.0,
        ping_interval=20.0,
    ),
)
"""Binance spot."""

USDM: Final = Binance(
    name="binance-usdm",
    default_url="wss://fstream.binance.com",
    has_sequence=True,
    route="/public",
    # Documentation of the futures market streams, 2026; attempts per IP are kept as for spot.
    limits=Limits(
        streams=1024,
        incoming_per_second=10,
        request_interval=0.5,
        request_bytes=4_000,
        url_bytes=4_000,
        connects=300,
        connect_window=300.0,
        lifetime=86_400.0,
        ping_interval=180.0,
    ),
)
"""Binance USD-margined futures."""
