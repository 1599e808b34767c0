"""Addresses, subscriptions and limits of the Binance family."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.venues.binance import SPOT, USDM, Binance
from wsresearch.venues.binance_wire import Form, Method, Unit, parse_request, streams_of_target

MANY = [f"coin{n}usdt" for n in range(1024)]


def test_spot_addresses() -> None:
    """One symbol or several, combined or raw, in either unit: the documented addresses."""
    assert SPOT.url(["BTCUSDT", "ethusdt"]) == (
        "wss://stream.binance.com:9443/stream?streams=btcusdt@trade/ethusdt@trade"
    )
    micro = SPOT.with_options(unit=Unit.MICROSECOND)
    assert micro.path(["btcusdt"]) == "/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"
    raw = SPOT.with_options(form=Form.RAW)
    assert raw.path(["btcusdt"]) == "/ws/btcusdt@trade"
    assert raw.with_options(unit=Unit.MICROSECOND).path(["a"]) == "/ws/a@trade?timeUnit=MICROSECOND"


def test_futures_addresses() -> None:
    """Futures trades are served at the public route; elsewhere they are accepted and stay silent."""
    assert USDM.url(["btcusdt"]) == "wss://fstream.binance.com/public/stream?streams=btcusdt@trade"
    assert USDM.url(["btcusdt_210625"], "ws://127.0.0.1:1") == (
        "ws://127.0.0.1:1/public/stream?streams=btcusdt_210625@trade"
    )


def test_futures_offer_no_microseconds() -> None:
    """A unit the venue does not have is refused before a connection is opened with it."""
    with pytest.raises(UsageError, match="binance-usdm does not offer timeUnit MICROSECOND"):
        USDM.with_options(unit=Unit.MICROSECOND)


@pytest.mark.parametrize("count", [1, 100, 250, 300, 1024])
def test_the_url_or_the_requests_say_all_never_both(count: int) -> None:
    """Up to 1024 streams are asked for once each, in an address and requests the server still reads."""
    symbols = MANY[:count]
    path, requests = SPOT.path(symbols), [parse_request(text) for text in SPOT.subscribe(symbols)]
    _, in_url, _ = streams_of_target(path)
    asked = [name for request in requests for name in request.streams]
    assert in_url + asked == [f"{symbol}@trade" for symbol in symbols]
    assert not (in_url and asked)
    assert len(path) <= SPOT.limits.url_bytes
    assert all(len(text.encode()) <= 4_088 for text in SPOT.subscribe(symbols))
    assert {request.method for request in requests} <= {Method.SUBSCRIBE}
    assert [request.request_id for request in requests] == list(range(1, len(requests) + 1))


def test_the_unit_survives_subscribing_by_request() -> None:
    """A long list keeps its microseconds."""
    micro = SPOT.with_options(unit=Unit.MICROSECOND)
    assert micro.path(MANY) == "/stream?timeUnit=MICROSECOND"
    assert SPOT.path(MANY) == "/stream"
    assert USDM.path(MANY) == "/public/stream"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(alphabet="abc币安", min_size=1, max_size=40), min_size=100, max_size=200, unique=True))
def test_wide_characters_count_as_the_bytes_they_are(symbols: list[str]) -> None:
    """Percent-encoding triples a name; limits hold for what is really sent."""
    assert len(SPOT.path(symbols)) <= SPOT.limits.url_bytes
    assert all(len(text.encode()) <= SPOT.limits.request_bytes for text in SPOT.subscribe(symbols))


def test_requests_leave_room_for_pings() -> None:
    """Sent as far apart as told, requests use at most half of what the server takes a second."""
    for venue in (SPOT, USDM):
        assert 1 / venue.limits.request_interval <= venue.limits.incoming_per_second / 2


@pytest.mark.parametrize("venue", [SPOT, USDM])
def test_more_streams_than_a_connection_may_have(venue: Binance) -> None:
    """1,025 symbols are refused, with both numbers."""
    with pytest.raises(UsageError, match="1025 symbols are more than the 1024"):
        venue.path([*MANY, "onemore"])


@pytest.mark.parametrize(
    "symbol",
    [
        "../x", "/etc", ".", "", "a" * 41, "a" * 300, "btc\0", "btc usdt", "btc/usdt", "btc@trade", "btc?x", "btc&x",
        "btc%2f", "btc#", "btc\n", "\u202ebtc", "ß", "\ud800", "a,b", "a:b",
    ],
)  # fmt: skip
def test_what_can_be_no_symbol_is_refused_first(symbol: str) -> None:
    """No symbol becomes a path, a parameter or a second stream; the message is one short line."""
    for use in (SPOT.check_symbol, lambda s: SPOT.url([s]), lambda s: SPOT.decoder([s])):
        with pytest.raises(UsageError, match="cannot be a symbol of binance") as caught:
            use(symbol)
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)
        assert "\0" not in str(caught.value)


def test_symbols_of_other_scripts() -> None:
    """Non-ASCII symbols are percent-encoded in the address and plain in a request."""
    assert SPOT.check_symbol("币安人生usdt") == "币安人生USDT"
    path = SPOT.path(["币安人生usdt"])
    assert path.isascii()
    assert streams_of_target(path)[1] == ["币安人生usdt@trade"]


def test_no_symbol_and_twice_the_same() -> None:
    """An empty list and a repetition are mistakes worth a word."""
    with pytest.raises(UsageError, match="no symbol"):
        SPOT.path([])
    with pytest.raises(UsageError, match="twice"):
        SPOT.path(["btcusdt", "BTCUSDT"])
