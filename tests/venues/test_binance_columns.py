"""The fast road for whole blocks: the same as one by one, for any mixture, and really taken."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsresearch.venues import Decoded, Decoder, Frames, binance_columns
from wsresearch.venues.binance import SPOT, USDM
from wsresearch.venues.binance_wire import Unit, shutdown_message, subscribe_ack, trade_message
from wsresearch.venues.shape import Shape

NOW = 1723161255342
SYMBOLS = ["btcusdt", "ethusdt", "币安人生usdt", "averyveryverylongnameusdt"]


@contextmanager
def worthwhile(messages: int) -> Iterator[None]:
    """Take the fast road from so many messages on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binance_columns, "WORTHWHILE", messages)
        yield


def one_by_one(decoder: Decoder, frames: Frames) -> Decoded:
    with worthwhile(10**9):
        return decoder.decode(frames, connection=1)


def by_column(decoder: Decoder, frames: Frames, *, least: int = 1) -> Decoded:
    with worthwhile(least):
        return decoder.decode(frames, connection=1)


def assert_same(fast: Decoded, slow: Decoded) -> None:
    fast.batch.validate(full=True)
    assert fast.batch.equals(slow.batch)
    assert (fast.rejected, fast.ignored) == (slow.rejected, slow.ignored)
    assert list(fast.samples) == list(slow.samples)
    assert list(fast.notices) == list(slow.notices)
    assert list(fast.vacant) == list(slow.vacant)


def spaced(messages: list[bytes], between: list[bytes]) -> Frames:
    """Messages with headers between them, as they come from a socket."""
    payload, starts = b"", []
    for message, header in zip(messages, between, strict=True):
        payload += header
        starts.append(len(payload))
        payload += message
    begin = np.array(starts, dtype=np.int64)
    lengths = np.array([len(message) for message in messages], dtype=np.int64)
    return Frames(memoryview(payload), begin, begin + lengths, np.arange(len(messages), dtype=np.int64))


def spelled(event: dict[str, Any], stream: str | None, order: int, separators: tuple[str, str]) -> bytes:
    """A trade with its keys in some order and some spacing."""
    keys = list(event)
    random.Random(order).shuffle(keys)
    event = {key: event[key] for key in keys}
    document = event if stream is None else {"stream": stream, "data": event}
    if order % 3 == 1:
        document = dict(reversed(document.items()))
    return json.dumps(document, separators=separators, ensure_ascii=bool(order % 2)).encode()


decimal = st.from_regex(r"0|0\.0000[0-9]{4}|[0-9]{1,6}\.[0-9]{8}|[0-9]{1,21}(\.[0-9]{1,19})?", fullmatch=True)
moment = st.integers(NOW, NOW + 10**6) | st.sampled_from([0, 946_684_799_999, 946_684_800_000, 4_102_444_800_000, -1])


@st.composite
def trades(draw: st.DrawFn) -> bytes:
    symbol = draw(st.sampled_from(SYMBOLS))
    event: dict[str, Any] = {
        "e": "trade", "E": draw(moment), "s": symbol.upper(),
        "t": draw(st.sampled_from([0, 9, 10**8, 10**16 - 1, 10**16, 2**63 - 1, 2**63]) | st.integers(1, 10**11)),
        "p": draw(decimal), "q": draw(decimal), "T": draw(moment), "m": draw(st.booleans()),
    }  # fmt: skip
    event |= draw(
        st.sampled_from([{"M": True}, {}, {"X": "MARKET"}, {"X": "NA"}, {"b": 10**9, "a": 5}, {"M": [0, {}]}])
    )
    stream = draw(st.sampled_from([None, f"{symbol}@trade", f"{symbol}@trade", "ethusdt@trade"]))
    return spelled(event, stream, draw(st.integers(0, 3)), draw(st.sampled_from([(",", ":"), (", ", ": ")])))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(trades()))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(raw) - 1))
        raw[at : at + draw(st.integers(0, 1))] = draw(st.binary(max_size=1) | st.sampled_from([b'"', b",", b".", b"0"]))
    return bytes(raw)


others = st.sampled_from(
    [b"", b"{}", b"\xff", subscribe_ack(1), shutdown_message(NOW, combined=True), b",,.,.,,.,,,,", b"[1,2,3]",
     b'{"stream":"a@aggTrade","data":{"e":"aggTrade","E":1,"s":"A","a":1,"p":"1.0","q":"1.0","f":1,"l":1,"T":1}}']
)  # fmt: skip
header = st.sampled_from([b"", b"\x81\x7e\x00\xaf", b"\x81\x2c", b"\x81\x7e,."])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(trades() | trades() | damaged() | others, header), min_size=1, max_size=10), st.randoms())
def test_a_block_by_column_is_what_it_is_one_by_one(drawn: list[tuple[bytes, bytes]], rng: random.Random) -> None:
    """Rows, counts, samples, notices, vacant ids, in order: for good, odd and bad messages of any spelling."""
    drawn = [rng.choice(drawn) for _ in range(3 * len(drawn))]
    frames = spaced([message for message, _ in drawn], [between for _, between in drawn])
    decoder = SPOT.decoder(SYMBOLS)
    assert_same(by_column(decoder, frames), one_by_one(decoder, frames))
    # Once more, now that it has met these shapes, and with the threshold somewhere inside the block.
    assert_same(by_column(decoder, frames, least=5), one_by_one(decoder, frames))


def good(number: int, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "symbol": SYMBOLS[number % 2], "trade_id": 10**9 + number, "price": f"{number % 977 + 1}.{number:08}",
        "quantity": f"{number % 7}.00000001", "trade_time": NOW + number, "event_time": NOW + number,
        "buyer_is_maker": number % 3 == 0, "combined": True,
    }  # fmt: skip
    return trade_message(**(fields | changes))


@pytest.mark.parametrize("key", ["t", "T", "E"])
@pytest.mark.parametrize("spelling", ["0%s", "%s.0", "-%s", "%se0", '"%s"', "%s 0", "0x%s"])
def test_a_number_that_json_does_not_know_is_refused_in_a_block_too(key: str, spelling: str) -> None:
    """One such message between hundreds of good ones of the same shape: no row, and both neighbours are rows."""
    raws = [good(i) for i in range(300)]
    value = {"t": 10**9 + 150, "T": NOW + 150, "E": NOW + 150}[key]
    raws[150] = raws[150].replace(f'"{key}":{value}'.encode(), f'"{key}":{spelling % value}'.encode())
    assert raws[150] != good(150)
    decoder = SPOT.decoder(SYMBOLS)
    decoded = decoder.decode(Frames.of(raws, range(300)), connection=1)
    assert decoded.batch["trade_id"].to_pylist() == [10**9 + i for i in range(300) if i != 150]
    assert sum(decoded.rejected.values()) == 1


def test_long_blocks_keep_their_order() -> None:
    """Ten thousand messages, in which the bad ones, the odd ones and three spellings are strewn."""
    rng = random.Random(1)
    raws = [good(i, combined=i % 5 > 0, futures=i % 11 == 0) for i in range(10_000)]
    for at in rng.sample(range(len(raws)), 500):
        raws[at] = rng.choice([b"{", raws[at].replace(b'"p":"', b'"p":"-'), subscribe_ack(at), raws[at] + b" "])
    frames = Frames.of(raws, range(len(raws)))
    decoder = SPOT.decoder(SYMBOLS)
    assert_same(decoder.decode(frames, connection=1), one_by_one(decoder, frames))


@pytest.mark.parametrize("unit", Unit)
def test_both_units_are_read(unit: Unit) -> None:
    """Sixteen digits of microseconds are as good as thirteen of milliseconds, and neither passes for the other."""
    decoder = SPOT.with_options(unit=unit).decoder(SYMBOLS)
    frames = Frames.of([good(i, trade_time=NOW * 1000 + i, event_time=NOW * 1000) for i in range(500)], 1)
    fast = decoder.decode(frames, connection=1)
    assert fast.batch.num_rows == (500 if unit is Unit.MICROSECOND else 0)
    assert_same(fast, one_by_one(decoder, frames))


def left_over(decoder: Any, frames: Frames) -> int:
    """How many messages the fast road leaves to the other."""
    return len(frames) - sum(part.batch.num_rows for part in decoder._columnar.read(frames, connection=1))


@pytest.mark.parametrize(
    ("name", "venue"),
    [
        ("spot-btcusdt-trade-2024-08-08.txt.gz", SPOT),
        ("spot-btcusdt-mixed-2024-08-08.txt.gz", SPOT),
        ("usdm-btcusdt-trade-2024-07-18.txt.gz", USDM),
    ],
)
def test_real_traffic_takes_the_fast_road(shared: Path, name: str, venue: Any) -> None:
    """Every recorded trade is read by the column, to the same row as one by one."""
    with gzip.open(shared / "recordings/binance" / name, "rb") as lines:
        pairs = [line.rstrip(b"\n").split(b" ", 1) for line in lines]
    frames = Frames.of([raw for _, raw in pairs], [int(when) for when, _ in pairs])
    decoder = venue.decoder(["btcusdt"])
    slow = one_by_one(decoder, frames)
    assert_same(decoder.decode(frames, connection=1), slow)
    assert left_over(decoder, frames) == len(frames) - slow.batch.num_rows


def test_another_spelling_is_learned() -> None:
    """If the venue writes its keys in another order and with blanks one day, the fast road goes on."""
    raws = [
        spelled(json.loads(good(i, combined=False)), f"{SYMBOLS[i % 2]}@trade", 7, (", ", " : ")) for i in range(1000)
    ]
    decoder = SPOT.decoder(SYMBOLS)
    assert left_over(decoder, Frames.of(raws, 1)) == 0


def test_a_spelling_that_always_changes_costs_a_bounded_number_of_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile server makes decoding as slow as one by one, not slower without end."""
    lessons = []
    learn = Shape.of
    monkeypatch.setattr(Shape, "of", lambda *args: lessons.append(1) or learn(*args))
    raws = [good(i).replace(b'"M"', b'"%d"' % i) for i in range(4000)]
    decoder = SPOT.decoder(SYMBOLS)
    frames = Frames.of(raws, 1)
    assert_same(decoder.decode(frames, connection=1), one_by_one(decoder, frames))
    assert len(lessons) <= 4


def test_a_thousand_symbols_are_told_apart() -> None:
    """As many as one connection carries, each by name and stream, on the fast road."""
    symbols = [f"{chr(97 + i % 26)}{i}usdt" for i in range(1024)]
    raws = [good(i, symbol=symbols[i * 7 % 1024]) for i in range(4000)]
    raws[5] = raws[5].replace(symbols[35].encode(), symbols[36].encode())
    decoder = SPOT.decoder(symbols)
    frames = Frames.of(raws, 1)
    assert left_over(decoder, frames) == 1
    assert_same(decoder.decode(frames, connection=1), one_by_one(decoder, frames))
    assert isinstance(decoder.decode(frames, connection=1).batch, pa.RecordBatch)
