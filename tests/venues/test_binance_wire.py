"""Binance's words: what we write is what it writes, and what we write we can read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.venues.binance_wire import (
    BadRequest,
    Form,
    Method,
    Request,
    Unit,
    error_object,
    parse_request,
    shutdown_message,
    stream_name,
    streams_of_target,
    subscribe_ack,
    subscribe_request,
    subscriptions_reply,
    symbol_of_stream,
    target_of,
    trade_message,
)

symbols = st.text(alphabet="abcxyz0189_-币安", min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("name", "futures"),
    [("spot-btcusdt-trade-2024-08-08.txt.gz", False), ("usdm-btcusdt-trade-2024-07-18.txt.gz", True)],
)
def test_trades_are_written_byte_for_byte_as_recorded(shared: Path, name: str, futures: bool) -> None:
    """The local exchange's trades cannot be told from the real ones: 30,605 recorded ones are reproduced."""
    with gzip.open(shared / "recordings/binance" / name, "rb") as lines:
        recorded = [line.rstrip(b"\n").split(b" ", 1)[1] for line in lines]
    for message in recorded:
        event = json.loads(message)["data"]
        written = trade_message(
            symbol=event["s"],
            trade_id=event["t"],
            price=event["p"],
            quantity=event["q"],
            trade_time=event["T"],
            event_time=event["E"],
            buyer_is_maker=event["m"],
            combined=True,
            futures=futures,
        )
        assert written == message


def test_a_raw_trade_is_the_combined_one_without_its_envelope() -> None:
    """One connection form is the other's payload."""
    fields = {
        "symbol": "ethusdt", "trade_id": 7, "price": "1.50", "quantity": "2", "trade_time": 3, "event_time": 4,
        "buyer_is_maker": False,
    }  # fmt: skip
    raw = trade_message(**fields, combined=False)  # type: ignore[arg-type]
    assert raw == (b'{"e":"trade","E":4,"s":"ETHUSDT","t":7,"p":"1.50","q":"2","T":3,"m":false,"M":true}')
    combined = trade_message(**fields, combined=True)  # type: ignore[arg-type]
    assert combined == b'{"stream":"ethusdt@trade","data":' + raw + b"}"


def test_control_messages_are_those_of_the_documentation(shared: Path) -> None:
    """Acks, errors and announcements are written as the documentation shows them."""
    documented = {
        row["kind"]: row["raw"].encode()
        for row in map(json.loads, (shared / "recordings/messages/edge.jsonl").read_text().splitlines())
        if row["exchange"] == "binance"
    }
    when = 1770123456789
    assert documented["serverShutdown_raw"] == shutdown_message(when, combined=False)
    assert documented["serverShutdown_combined"] == shutdown_message(when, combined=True)
    assert documented["subscribe_ack"] == subscribe_ack(1)
    assert documented["list_subscriptions"] == subscriptions_reply(["btcusdt@aggTrade"], 3)
    error = json.loads(documented["error_invalid_json"])
    assert documented["error_invalid_json"] == error_object(error["code"], error["msg"])


@given(st.lists(symbols.map(stream_name), max_size=5, unique=True), st.sampled_from(Form), st.sampled_from(Unit))
def test_a_request_target_reads_back(streams: list[str], form: Form, unit: Unit) -> None:
    """The exchange sees exactly the streams that the client asked for, non-ASCII symbols included."""
    target = target_of(streams, form=form, unit=unit)
    assert target.isascii()
    assert streams_of_target(target) == (form, streams, unit)


@pytest.mark.parametrize(
    ("target", "form", "streams", "unit"),
    [
        ("/stream?streams=btcusdt@trade/ethusdt@trade", Form.COMBINED, ["btcusdt@trade", "ethusdt@trade"], "MILLI"),
        ("/stream?timeUnit=microsecond&streams=btcusdt%40trade", Form.COMBINED, ["btcusdt@trade"], "MICRO"),
        ("/public/stream?streams=a@trade", Form.COMBINED, ["a@trade"], "MILLI"),
        ("/ws/a@trade/b@trade", Form.RAW, ["a@trade", "b@trade"], "MILLI"),
        ("/ws/a@trade?timeUnit=MICROSECOND", Form.RAW, ["a@trade"], "MICRO"),
        ("/stream?streams=a@trade/a@trade", Form.COMBINED, ["a@trade"], "MILLI"),
        ("/stream", Form.COMBINED, [], "MILLI"),
        ("/ws", Form.RAW, [], "MILLI"),
        ("/ws/", Form.RAW, [], "MILLI"),
    ],
)
def test_targets_clients_send(target: str, form: Form, streams: list[str], unit: str) -> None:
    """All documented spellings are understood."""
    assert streams_of_target(target) == (form, streams, Unit(unit + "SECOND"))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/", "no path"),
        ("/api/v3/trades", "no path"),
        ("/wsx", "no path"),
        ("/stream?streams=a@trade&timeUnit=NANOSECOND", "timeUnit"),
        ("/stream?stream=a@trade", "no parameter"),
    ],
)
def test_targets_the_venue_does_not_know(target: str, says: str) -> None:
    """A mistyped target is refused with one line, not served with silence."""
    with pytest.raises(UsageError, match=says):
        streams_of_target(target)


@given(symbols)
def test_a_stream_name_names_its_symbol(symbol: str) -> None:
    """Lower case on the wire, upper case in the table."""
    assert symbol_of_stream(stream_name(symbol)) == symbol.upper()


@pytest.mark.parametrize("stream", ["btcusdt@aggTrade", "btcusdt@trade@x", "@trade", "btcusdt", "", "!serverShutdown"])
def test_other_streams_name_no_symbol(stream: str) -> None:
    """Only trade streams count."""
    assert symbol_of_stream(stream) is None


def test_requests_read_back() -> None:
    """What a client asks for is what the exchange understands."""
    text = subscribe_request(["a@trade", "币@trade"], 9)
    assert parse_request(text) == Request(method=Method.SUBSCRIBE, streams=("a@trade", "币@trade"), request_id=9)
    assert parse_request(b'{"method":"LIST_SUBSCRIPTIONS","id":"x"}') == Request(
        method=Method.LIST_SUBSCRIPTIONS, request_id="x"
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", 3),
        (b"\xff", 3),
        (b"[" * 100_000, 3),
        (b"[]", 2),
        (b'{"params":[]}', 2),
        (b'{"method":"DROP","id":1}', 2),
        (b'{"method":["SUBSCRIBE"],"id":1}', 2),
        (b'{"method":"SUBSCRIBE","params":"a","id":1}', 2),
        (b'{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        (b'{"method":"SUBSCRIBE","params":[],"id":true}', 2),
        (b'{"method":"SUBSCRIBE","params":[],"id":1.5}', 2),
    ],
)
def test_a_bad_request_carries_its_answer(payload: bytes, code: int) -> None:
    """The exchange answers nonsense with the venue's error object and lives on."""
    with pytest.raises(BadRequest) as caught:
        parse_request(payload)
    answer = json.loads(caught.value.reply)
    assert answer["code"] == code
    assert isinstance(answer["msg"], str)
