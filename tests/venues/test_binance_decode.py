"""Messages become rows: exactly, strictly, and each for itself."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsresearch.schema import TRADES
from wsresearch.venues import Decoded, Frames, IgnoredKind, NoticeKind, Reject, RejectKind, Vacant, binance_columns
from wsresearch.venues.base import MAX_NOTICES, MAX_SAMPLE_BYTES, MAX_SAMPLES
from wsresearch.venues.binance import SPOT, USDM
from wsresearch.venues.binance_wire import (
    Unit,
    error_object,
    shutdown_message,
    subscribe_ack,
    trade_message,
)

NOW = 1723161255342
EXACT = Context(prec=76)
BTC = SPOT.decoder(["btcusdt", "ethusdt"])


@pytest.fixture(autouse=True, scope="module", params=[1, 10**9], ids=["by-column", "one-by-one"])
def road(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything here holds on both roads to a row, however short a block is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binance_columns, "WORTHWHILE", request.param)
        yield


def message(trade_id: int = 1, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "symbol": "btcusdt", "trade_id": trade_id, "price": "61837.63000000", "quantity": "0.02000000",
        "trade_time": NOW, "event_time": NOW + 1, "buyer_is_maker": True, "combined": True,
    }  # fmt: skip
    return trade_message(**(fields | changes))


def decode(*messages: bytes) -> Decoded:
    return BTC.decode(Frames.of(messages, range(len(messages))), connection=3)


def recording(path: Path) -> Frames:
    with gzip.open(path, "rb") as lines:
        pairs = [line.rstrip(b"\n").split(b" ", 1) for line in lines]
    return Frames.of([raw for _, raw in pairs], [int(when) for when, _ in pairs])


def ids(decoded: Decoded) -> list[int]:
    return decoded.batch["trade_id"].to_pylist()  # type: ignore[no-any-return]


def total(decoded: Decoded) -> int:
    parts = (*decoded.rejected.values(), *decoded.ignored.values(), len(decoded.notices))
    return int(decoded.batch.num_rows) + sum(parts)


def test_a_trade_becomes_a_row() -> None:
    """Every column of the table, exactly; the taker sold because the buyer was the maker."""
    batch = decode(message(7, price="61837.63000001", quantity="0.1")).batch
    assert batch.schema == TRADES
    (row,) = batch.to_pylist()
    assert row["symbol"] == "BTCUSDT"
    assert row["trade_id"] == 7
    assert row["price"] == Decimal("61837.63000001")
    assert row["quantity"] == Decimal("0.1")
    assert row["side"] == "sell"
    assert row["trade_time"].isoformat() == "2024-08-08T23:54:15.342000+00:00"
    assert row["event_time"].isoformat() == "2024-08-08T23:54:15.343000+00:00"
    assert (row["connection"], row["backfilled"]) == (3, False)
    batch.validate(full=True)


def test_every_form_gives_the_same_row() -> None:
    """Combined, raw, with older order ids, futures: one trade, one row."""
    combined, raw = message(), message(combined=False)
    older = combined.replace(b'"T":', b'"b":88,"a":50,"T":')
    future = message(futures=True)
    spaced = json.dumps(json.loads(combined), indent=1).encode()
    rows = [decode(m).batch.to_pylist() for m in (combined, raw, older, future, spaced)]
    assert all(row == rows[0] for row in rows)
    assert len(rows[0]) == 1
    assert decode(combined, raw, older, future, spaced).batch.num_rows == 5
    assert decode(raw, combined, older, future, spaced).batch.num_rows == 5


@pytest.mark.parametrize("maker", [True, False])
def test_side_is_the_takers(maker: bool) -> None:
    """``m`` true: the buyer waited in the book, so the taker sold."""
    assert decode(message(buyer_is_maker=maker)).batch["side"].to_pylist() == ["sell" if maker else "buy"]


def test_arrival_times_stay_with_their_rows() -> None:
    """A refused neighbour shifts nobody's receive time."""
    decoded = decode(b"junk", message(1), subscribe_ack(1), message(2, price="0"), message(3))
    assert pc.cast(decoded.batch["recv_time"], pa.int64()).to_pylist() == [1, 4]
    assert [sample.recv_ns for sample in decoded.samples] == [0, 3]
    assert [notice.recv_ns for notice in decoded.notices] == [2]


def test_a_bad_row_costs_no_neighbour() -> None:
    """Faults are counted by kind and kept as samples; the rows around them are untouched."""
    bad = {
        RejectKind.JSON: b'{"stream":"btcusdt@trade","data":{"e":"tra',
        RejectKind.SHAPE: b"[1,2]",
        RejectKind.MISSING: message(2).replace(b'"t":2,', b""),
        RejectKind.SYMBOL: message(2, symbol="dogeusdt"),
        RejectKind.TRADE_ID: message(2).replace(b'"t":2', b'"t":"2"'),
        RejectKind.PRICE: message(2, price="1e3"),
        RejectKind.QUANTITY: message(2, quantity="-1"),
        RejectKind.SIDE: message(2).replace(b'"m":true', b'"m":1'),
        RejectKind.TIME: message(2, trade_time=0),
        RejectKind.SIZE: b" " * ((1 << 20) + 1) + message(2),
    }
    assert set(bad) == set(RejectKind)
    decoded = decode(*[m for raw in bad.values() for m in (message(1), raw)], message(9))
    assert ids(decoded) == [1] * len(bad) + [9]
    assert decoded.rejected == dict.fromkeys(bad, 1)
    assert [(s.kind, s.raw) for s in decoded.samples] == [(k, raw[:MAX_SAMPLE_BYTES]) for k, raw in bad.items()]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"t":1', b'"t":' + b"9" * 5000),
        (b'"t":1', b'"t":9223372036854775808'),
        (b'"t":1', b'"t":1e3'),
        (b'"t":1', b'"t":1.0'),
        (b'"t":1', b'"t":01'),
        (b'"t":1', b'"t":NaN'),
        (b'"t":1', b'"t":null'),
        (b'"t":1', b'"t":-1'),
        (b'"t":1', b'"t":' + b"[" * 5000 + b"]" * 5000),
        (b'"BTCUSDT"', b'"BTC\xff"'),
        (b'"BTCUSDT"', b'"BTC\\ud800"'),
        (b'"BTCUSDT"', b'"BTC\\u0000"'),
        (b'"BTCUSDT"', b'"../x"'),
        (b'"BTCUSDT"', b'"' + b"B" * 300 + b'"'),
        (b'"61837.63000000"', b"61837.63"),
        (b'"61837.63000000"', b'"61837.63000000\\n"'),
        (b'"61837.63000000"', '"٦١٨٣٧"'.encode()),
        (b'"61837.63000000"', b'"1_000"'),
        (b'"61837.63000000"', b'" 1 "'),
        (b'"m":true', b'"m":"true"'),
        (b'"m":true', b'"m":null'),
        (b'"T":1723161255342', b'"T":17231612553420'),
        (b'"E":1723161255343', b'"E":9223372036854775807'),
        (b'"M":true', b'"M":"\xff"'),
        (b'"M":true', b'"M":' + b"[" * 5000 + b"]" * 5000),
        (b'"e":"trade"', b'"e":"Trade","e":7'),
        (b'"e":"trade",', b""),
    ],
)
def test_hostile_values_are_refused_and_raise_nothing(old: bytes, new: bytes) -> None:
    """What a server, or someone in its place, may send: one message refused, both neighbours stored."""
    for form in (True, False):
        hostile = message(combined=form).replace(old, new)
        assert hostile != message(combined=form)
        decoded = decode(message(10), hostile, message(11))
        assert ids(decoded) == [10, 11]
        assert sum(decoded.rejected.values()) == 1


def test_odd_but_good_trades_are_stored() -> None:
    """Id 0 and the largest one, ids that fall, unknown keys, other scripts: odd is not wrong."""
    decoded = decode(
        message(0),
        message(2**63 - 1),
        message(5),
        message(5),
        message(4, trade_time=NOW - 10**9),
        message(6).replace(b'"M":true', b'"M":null,"st":1,"new":{"a":[1e9]}'),
        message(1).replace(b'"t":1', b'"t":2,"t":3'),
        b" \n" + message(8) + b"\r\n",
    )
    assert ids(decoded) == [0, 2**63 - 1, 5, 5, 4, 6, 3, 8]
    assert not decoded.rejected


def test_symbols_of_other_scripts_are_stored() -> None:
    """A non-ASCII symbol is a symbol, and does not make its neighbours slower or wrong."""
    decoder = SPOT.decoder(["币安人生usdt", "btcusdt"])
    frames = Frames.of([message(1, symbol="币安人生usdt"), b'"\xe5', b'\xb8\x81"', message(2)], 1)
    decoded = decoder.decode(frames, connection=1)
    assert decoded.batch["symbol"].to_pylist() == ["币安人生USDT", "BTCUSDT"]
    assert decoded.rejected == {RejectKind.JSON: 2}


def test_a_message_is_never_both_forms() -> None:
    """An envelope that also poses as a raw trade is read as an envelope, wherever it stands."""
    eth = message(1, symbol="ethusdt")
    both = eth[:-1] + b"," + message(2, combined=False)[1:]
    for neighbours in ([both], [message(3, combined=False), both], [message(3), both]):
        assert ids(decode(*neighbours))[-1] == 1


def test_notices_are_told_apart_from_trades() -> None:
    """Acks, errors and shutdown announcements come out beside the rows."""
    decoded = decode(
        subscribe_ack(1),
        message(1),
        error_object(2, "Invalid request"),
        shutdown_message(NOW, combined=False),
        shutdown_message(NOW, combined=True),
        message(2),
    )
    assert ids(decoded) == [1, 2]
    kinds = [notice.kind for notice in decoded.notices]
    assert kinds == [NoticeKind.ACK, NoticeKind.ERROR, NoticeKind.SHUTDOWN, NoticeKind.SHUTDOWN]
    assert not decoded.rejected


def test_what_is_kept_is_bounded() -> None:
    """A server that sends rubbish for hours costs a count, not the memory."""
    decoded = decode(*[b"x" * 5000] * 1000, *[b"{}"] * 1000, shutdown_message(NOW, combined=False))
    assert decoded.rejected == {RejectKind.JSON: 1000}
    assert len(decoded.samples) == MAX_SAMPLES
    assert all(len(sample.raw) == MAX_SAMPLE_BYTES for sample in decoded.samples)
    kinds = Counter(notice.kind for notice in decoded.notices)
    assert kinds == {NoticeKind.UNKNOWN: MAX_NOTICES, NoticeKind.SHUTDOWN: 1}


def test_nothing_decodes_to_nothing() -> None:
    """An empty block, and one without a single trade, still give a batch of the right schema."""
    for decoded in (decode(), decode(subscribe_ack(1))):
        assert decoded.batch.num_rows == 0
        assert decoded.batch.schema == TRADES


def test_microseconds_are_read_as_such_and_never_guessed() -> None:
    """The unit is the connection's; times in the other one are refused, not scaled."""
    micro = SPOT.with_options(unit=Unit.MICROSECOND).decoder(["btcusdt"])
    fine = message(1, trade_time=NOW * 1000 + 7, event_time=NOW * 1000 + 8)
    decoded = micro.decode(Frames.of([fine, message(2)], 1), connection=1)
    assert pc.cast(decoded.batch["trade_time"], pa.int64()).to_pylist() == [NOW * 1000 + 7]
    assert decoded.rejected == {RejectKind.TIME: 1}
    assert decode(fine).rejected == {RejectKind.TIME: 1}


def test_an_insurance_fund_trade_is_a_trade() -> None:
    """It has an id in the same sequence; leaving it out would make a hole that is none."""
    decoder = USDM.decoder(["btcusdt"])
    fund = message(2, futures=True).replace(b'"MARKET"', b'"INSURANCE_FUND"')
    frames = Frames.of([message(1, futures=True), fund, message(3, futures=True)], 1)
    assert ids(decoder.decode(frames, connection=1)) == [1, 2, 3]


def test_a_futures_placeholder_leaves_its_id_vacant() -> None:
    """Price 0 with execution type NA is no trade and no fault; its id is handed on, so that it is no hole."""
    decoder = USDM.decoder(["btcusdt"])
    nothing = (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1785780046072,"T":1785780046071,"s":"BTCUSDT",'
        b'"t":2,"p":"0","q":"0","X":"NA","m":true,"st":1}}'
    )
    decoded = decoder.decode(Frames.of([message(1), nothing, message(3)], 1), connection=1)
    assert ids(decoded) == [1, 3]
    assert decoded.vacant == [Vacant(symbol="BTCUSDT", trade_id=2)]
    assert decoded.ignored == {IgnoredKind.PLACEHOLDER: 1}
    assert not decoded.rejected
    priced = nothing.replace(b'"p":"0","q":"0"', b'"p":"5","q":"1"')
    assert ids(decoder.decode(Frames.of([priced], 1), connection=1)) == [2]
    half = nothing.replace(b'"p":"0"', b'"p":"5"')
    assert decoder.decode(Frames.of([half], 1), connection=1).rejected == {RejectKind.QUANTITY: 1}
    market = nothing.replace(b'"NA"', b'"MARKET"')
    together = decoder.decode(Frames.of([nothing, market], 1), connection=1)
    assert together.rejected == {RejectKind.PRICE: 1}
    assert len(together.vacant) == 1
    foreign = nothing.replace(b"BTCUSDT", b"ETHUSDT")
    assert decoder.decode(Frames.of([foreign], 1), connection=1).rejected == {RejectKind.SYMBOL: 1}


# --- laws ---------------------------------------------------------------------------------------------------

good = st.builds(
    message,
    trade_id=st.integers(0, 2**63 - 1),
    symbol=st.sampled_from(["btcusdt", "ethusdt"]),
    price=st.from_regex(r"[1-9][0-9]{0,19}(\.[0-9]{1,18})?", fullmatch=True),
    buyer_is_maker=st.booleans(),
    combined=st.booleans(),
    futures=st.booleans(),
)
odd = st.sampled_from(
    [
        subscribe_ack(1), error_object(1, "x"), shutdown_message(NOW, combined=True), b"", b"null", b"\xff", b"{}",
        b'"\xe5', b'\xb8"', b"[" * 2000, message(1, price="0"), message(1, symbol="xusdt"), message(1, trade_time=1),
        message(1, quantity="NaN"), b'{"stream":"a@aggTrade","data":{"e":"aggTrade"}}', message(1) + b"\n" + message(2),
        message(1)[:60], message(1)[60:], message(1).replace(b'"m":true', b'"m":1'), b'{"x":[1', b",2]}", b"  \n",
        message(3, futures=True, price="0", quantity="0.0").replace(b"MARKET", b"NA"),
        message(3, futures=True, price="0", quantity="0.0"),
        message(1).replace(b"btcusdt@trade", b"ethusdt@trade"),
        message(1, combined=False).replace(b'"t":1', b'"t":"1"'),
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(good))
    for _ in range(draw(st.integers(1, 3))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


@settings(max_examples=150, deadline=None)
@given(st.lists(good | odd | mutated(), max_size=25))
def test_a_block_decodes_to_the_same_as_its_messages_alone(messages: list[bytes]) -> None:
    """No message changes what becomes of another: rows, counts, samples, notices, vacant ids, all in order."""
    frames = Frames.of(messages, range(len(messages)))
    whole = BTC.decode(frames, connection=1)
    parts = [BTC.decode(frames[i : i + 1], connection=1) for i in range(len(frames))]
    whole.batch.validate(full=True)
    assert pa.Table.from_batches([whole.batch]).equals(
        pa.Table.from_batches([part.batch for part in parts], schema=TRADES).combine_chunks()
    )
    assert whole.rejected == sum((Counter(part.rejected) for part in parts), Counter())
    assert whole.ignored == sum((Counter(part.ignored) for part in parts), Counter())
    samples: list[Reject] = [sample for part in parts for sample in part.samples]
    assert list(whole.samples) == samples
    assert list(whole.notices) == [notice for part in parts for notice in part.notices]
    assert list(whole.vacant) == [vacant for part in parts for vacant in part.vacant]
    assert all(total(part) == 1 for part in parts)


numbers: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, 7, -1, 2**63 - 1, 2**63, 10**30, NOW, NOW * 1000, 1.5, 1e3, True, None, "7", [], {}]
)
texts = st.sampled_from(
    ["1", "0", "0.5", "00.10", "1.", ".1", "+1", "-1", "1e3", " 1", "1_0", "NaN", "٣", "", "9" * 20, "9" * 21, 1, 1.5]
)
MISSING = object()


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "e": st.just("trade") | st.sampled_from(["aggTrade", None, 7]),
            "E": st.just(NOW) | numbers,
            "s": st.sampled_from(["BTCUSDT", "ETHUSDT"]) | st.sampled_from(["btcusdt", "X", "", None, 7]),
            "t": st.integers(0, 2**63 - 1) | numbers,
            "p": st.just("1.50") | texts,
            "q": st.just("2") | texts,
            "T": st.just(NOW) | numbers,
            "m": st.booleans() | st.sampled_from([1, 0, "true", None]),
        },
        optional={"M": st.just(True), "X": st.sampled_from(["MARKET", None, [1]]), "b": numbers, "a": numbers},
    ),
    st.sampled_from([None, "btcusdt@trade", "ethusdt@trade", "btcusdt@aggTrade", 7]),
    st.sets(st.sampled_from("EstpqTm"), max_size=1),
)
def test_a_row_is_stored_exactly_when_a_plain_reading_says_so(
    event: dict[str, Any], stream: Any, dropped: set[str]
) -> None:
    """The fast road agrees with the rules written down a second time, in the slowest and plainest way."""
    event = {key: value for key, value in event.items() if key not in dropped}
    raw = json.dumps(event if stream is None else {"stream": stream, "data": event}).encode()

    def number(key: str) -> bool:
        return type(event.get(key)) is int and 0 <= event[key] < 2**63

    def decimal(key: str) -> bool:
        text = event.get(key)
        if not isinstance(text, str) or set(text) - set("0123456789.") or not text[:1].isdigit():
            return False
        whole, point, part = text.partition(".")
        sizes = len(whole) <= 20 and (1 <= len(part) <= 18 if point else True)
        return sizes and "." not in part and any(digit in "123456789" for digit in text)

    expected = (
        event["e"] == "trade"
        and event.get("s") in ("BTCUSDT", "ETHUSDT")
        and stream in (None, f"{event['s'].lower()}@trade")
        and number("t")
        and decimal("p")
        and decimal("q")
        and type(event.get("m")) is bool
        and all(number(key) and 946_684_800_000 <= event[key] < 4_102_444_800_000 for key in "ET")
    )
    decoded = decode(raw)
    assert decoded.batch.num_rows == expected
    assert total(decoded) == 1
    if expected:
        (row,) = decoded.batch.to_pylist()
        assert (row["symbol"], row["trade_id"]) == (event["s"], event["t"])
        assert EXACT.compare(row["price"], Decimal(event["p"])) == 0
        assert EXACT.compare(row["quantity"], Decimal(event["q"])) == 0
        assert row["side"] == ("sell" if event["m"] else "buy")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.text(max_size=30).map(str.encode), max_size=5))
def test_no_bytes_raise(messages: list[bytes]) -> None:
    """Whatever arrives, decoding ends with a result that accounts for every message."""
    decoded = decode(message(1), *messages, message(2))
    assert ids(decoded) == [1, 2]
    assert total(decoded) == len(messages) + 2


# --- real traffic -------------------------------------------------------------------------------------------


def test_the_spot_recording(shared: Path) -> None:
    """19,904 real trades: every row, every id, sums exact to the last digit, in blocks of any size."""
    frames = recording(shared / "recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz")
    whole = BTC.decode(frames, connection=1)
    assert ids(whole) == list(range(3735683259, 3735703162 + 1))
    assert whole.batch.num_rows == 19_904
    assert total(whole) == 19_904
    prices, quantities = whole.batch["price"].to_pylist(), whole.batch["quantity"].to_pylist()
    assert sum(quantities) == Decimal("437.91552000")
    worth = sum(EXACT.multiply(p, q) for p, q in zip(prices, quantities, strict=True))
    assert worth == Decimal("27006929.5910348")
    assert Counter(whole.batch["side"].to_pylist()) == {"sell": 10_811, "buy": 9_093}
    assert pc.cast(whole.batch["recv_time"], pa.int64()).to_numpy().tolist() == frames.recv_ns.tolist()
    blocks = [BTC.decode(frames[i : i + 777], connection=1).batch for i in range(0, len(frames), 777)]
    assert pa.Table.from_batches(blocks).combine_chunks().equals(pa.Table.from_batches([whole.batch]))


def test_the_mixed_recording(shared: Path) -> None:
    """Only trades come out of mixed traffic; books and tickers are ignored, the stray REST answer noticed."""
    frames = recording(shared / "recordings/binance/spot-btcusdt-mixed-2024-08-08.txt.gz")
    decoded = BTC.decode(frames, connection=1)
    assert ids(decoded) == list(range(3735683259, 3735683259 + 9_757))
    assert decoded.ignored == {IgnoredKind.OTHER_EVENT: 28_040 + 3_451}
    assert [notice.kind for notice in decoded.notices] == [NoticeKind.UNKNOWN]
    assert not decoded.rejected


def test_the_futures_recording(shared: Path) -> None:
    """10,701 futures trades with their execution type."""
    frames = recording(shared / "recordings/binance/usdm-btcusdt-trade-2024-07-18.txt.gz")
    decoded = USDM.decoder(["btcusdt"]).decode(frames, connection=1)
    assert ids(decoded) == list(range(5182005737, 5182016437 + 1))
    assert total(decoded) == 10_701


def test_aggregated_trades_of_another_recorder_are_no_trades(shared: Path) -> None:
    """4,716 frames of 2021 without a single ``@trade``: nothing stored, nothing refused."""
    with gzip.open(shared / "recordings/cryptofeed/BINANCE-ee25be.0.gz", "rb") as lines:
        raw = [line.partition(b": ")[2].rstrip(b"\n") for line in lines if line[:1].isdigit()]
    assert len(raw) == 4_716
    decoded = decode(*raw)
    assert decoded.batch.num_rows == 0
    assert decoded.ignored == {IgnoredKind.OTHER_EVENT: 4_716}
    assert total(decoded) == 4_716


def test_messages_of_every_venue_raise_nothing(shared: Path) -> None:
    """396 messages of 13 venues, none of them a trade of ours: no row, no exception, none unaccounted for."""
    lines = (shared / "recordings/messages/crypto-msg-parser.jsonl").read_text().splitlines()
    rows = list(map(json.loads, lines))
    decoded = decode(*[row["raw"].encode() for row in rows if row["exchange"] == "binance"])
    assert decoded.batch.num_rows == 0
    assert not decoded.rejected
    for row in rows:
        alone = decode(row["raw"].encode())
        assert alone.batch.num_rows == 0
        assert total(alone) == 1


def test_the_captured_insurance_fund_trade(shared: Path) -> None:
    """The one real INSURANCE_FUND trade at hand is stored."""
    lines = (shared / "recordings/messages/edge.jsonl").read_text().splitlines()
    (raw,) = [row["raw"] for row in map(json.loads, lines) if row["exchange"] == "binance-usdm"]
    decoded = USDM.decoder(["btcusdt"]).decode(Frames.of([raw.encode()], 1), connection=1)
    assert ids(decoded) == [3535191080]
