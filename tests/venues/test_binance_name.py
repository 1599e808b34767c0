"""What a message is that is no trade, told one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsresearch.venues.base import IgnoredKind, NoticeKind, RejectKind
from wsresearch.venues.binance_name import MAX_DETAIL, Finding, name_message
from wsresearch.venues.checks import plausible_times

GOOD = {"e": "trade", "E": 1723161255343, "s": "BTCUSDT", "t": 7, "p": "1.5", "q": "2", "T": 1723161255342, "m": True}


def named(message: bytes | str) -> Finding:
    raw = message if isinstance(message, bytes) else message.encode()
    return name_message(raw, streams={"BTCUSDT": "btcusdt@trade"}, times=plausible_times(1000))


@pytest.mark.parametrize(
    ("message", "kind", "detail"),
    [
        ('{"result":null,"id":1}', NoticeKind.ACK, "id 1"),
        ('{"result":["btcusdt@aggTrade"],"id":3}', NoticeKind.ACK, "id 3: btcusdt@aggTrade"),
        ('{"code":3,"msg":"Invalid JSON"}', NoticeKind.ERROR, "3: Invalid JSON"),
        ('{"error":{"code":2,"msg":"no"},"id":1}', NoticeKind.ERROR, "2: no"),
        ('{"e":"serverShutdown","E":1770123456789}', NoticeKind.SHUTDOWN, "announced at 1770123456789"),
        (
            '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
            NoticeKind.SHUTDOWN,
            "announced at 1770123456789",
        ),
        ('{"hello":"world"}', NoticeKind.UNKNOWN, '{"hello":"world"}'),
        ("{}", NoticeKind.UNKNOWN, "{}"),
    ],
)
def test_notices(message: str, kind: NoticeKind, detail: str) -> None:
    """Acks, errors, announcements and the unheard of, in both forms, with the server's own words."""
    assert named(message) == Finding(notice=kind, detail=detail)


def test_every_documented_control_message_is_told_apart(shared: Path) -> None:
    """None of the venue's documented notices counts as damaged market data."""
    lines = (shared / "recordings/messages/edge.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["exchange"] == "binance"]
    found = {row["kind"]: named(row["raw"]).notice for row in rows}
    assert found == {
        "serverShutdown_raw": NoticeKind.SHUTDOWN,
        "serverShutdown_combined": NoticeKind.SHUTDOWN,
        "subscribe_ack": NoticeKind.ACK,
        "list_subscriptions": NoticeKind.ACK,
        "error_invalid_request": NoticeKind.ERROR,
        "error_invalid_json": NoticeKind.ERROR,
    }


@pytest.mark.parametrize(
    "message",
    [
        '{"e":"aggTrade","s":"BTCUSDT","a":1,"p":"1","q":"1","f":1,"l":1,"T":1,"m":true,"M":true}',
        '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1,"s":"BTCUSDT"}}',
        '{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}',
        '{"stream":"!ticker@arr","data":[{"e":"24hrTicker"}]}',
        '{"stream":"btcusdt@depth20","data":{"lastUpdateId":1,"bids":[],"asks":[]}}',
    ],
)
def test_other_market_data_concerns_nobody(message: str) -> None:
    """Aggregated trades and order books are counted as ignored, neither refused nor reported one by one."""
    assert named(message) == Finding(ignored=IgnoredKind.OTHER_EVENT)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (b"", RejectKind.JSON),
        (b"{", RejectKind.JSON),
        (b"\xff\xfe", RejectKind.JSON),
        (b"\xef\xbb\xbf{}", RejectKind.JSON),
        (b"NaN", RejectKind.JSON),
        (b'{"t":' + b"9" * 5000 + b"}", RejectKind.JSON),
        (b'{"p":1e400}', RejectKind.JSON),
        (b"[" * 100_000 + b"]" * 100_000, RejectKind.JSON),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, RejectKind.JSON),
        (b'"\\ud800"', RejectKind.JSON),
        (b"[]", RejectKind.SHAPE),
        (b"null", RejectKind.SHAPE),
        (b"7", RejectKind.SHAPE),
        (b'"trade"', RejectKind.SHAPE),
        (b'{"e":7}', RejectKind.SHAPE),
        (b'{"stream":7,"data":{}}', RejectKind.SHAPE),
        (b'{"stream":"btcusdt@trade"}', RejectKind.SHAPE),
        (b'{"stream":"btcusdt@trade","data":[]}', RejectKind.SHAPE),
        (b'{"stream":"btcusdt@trade","data":{}}', RejectKind.MISSING),
        (b'{"E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1,"m":true}', RejectKind.MISSING),
    ],
)
def test_damaged_messages(message: bytes, kind: RejectKind) -> None:
    """Every kind of damage has its name, and none raises."""
    assert named(message) == Finding(reject=kind)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        *[({key: None}, RejectKind.MISSING) for key in GOOD if key != "e"],
        ({"s": 7}, RejectKind.SYMBOL),
        ({"s": "ETHUSDT"}, RejectKind.SYMBOL),
        ({"s": "btcusdt"}, RejectKind.SYMBOL),
        ({"s": ["BTCUSDT"]}, RejectKind.SYMBOL),
        *[({"t": t}, RejectKind.TRADE_ID) for t in ("7", True, 1.5, -1, 2**63, [7], {})],
        *[({"p": p}, RejectKind.PRICE) for p in (1.5, 1, "0", "0.00", "-1", "1e3", " 1 ", "1_000", "NaN", "", [])],
        *[({"q": q}, RejectKind.QUANTITY) for q in (1.5, "0", "-1", "١", "1" * 21)],
        *[({"m": m}, RejectKind.SIDE) for m in (1, 0, "true", [])],
        *[({"T": T}, RejectKind.TIME) for T in (0, -1, 1723161255342000, 2**62, "1723161255342", True, 1.5)],
        ({"E": 0}, RejectKind.TIME),
        ({"t": "7", "p": "x", "m": 1, "T": 0}, RejectKind.TRADE_ID),
        ({"m": 1, "T": 0}, RejectKind.SIDE),
    ],
)
def test_the_first_reason_counts(change: dict[str, object], kind: RejectKind) -> None:
    """A trade with wrong values is counted once, under its first fault, in either form."""
    event = {key: value for key, value in (GOOD | change).items() if value is not None}
    assert named(json.dumps(event)) == Finding(reject=kind)
    assert named(json.dumps({"stream": "btcusdt@trade", "data": event})) == Finding(reject=kind)


def test_a_trade_on_a_foreign_stream_is_refused() -> None:
    """When stream and symbol disagree nobody knows whose trade it is."""
    assert named(json.dumps({"stream": "ethusdt@trade", "data": GOOD})) == Finding(reject=RejectKind.SYMBOL)


def test_server_text_is_bounded() -> None:
    """However much a server says, a notice keeps 500 characters of it."""
    for message in (
        json.dumps({"code": 1, "msg": "x" * 10_000}),
        json.dumps({"result": ["btcusdt@trade"] * 1024, "id": 1}),
        json.dumps({"x" * 10_000: 1}),
    ):
        assert len(named(message).detail) <= MAX_DETAIL


def test_nested_server_text_cannot_exhaust_the_stack() -> None:
    """Where text is expected and a deep structure comes, only its type is told, up to the parser's own limit."""
    for depth in [50, *range(850, 1000)]:
        deep = "[" * depth + "]" * depth
        for message in (
            f'{{"code":1,"msg":{deep}}}',
            f'{{"result":[{deep}],"id":1}}',
            f'{{"result":null,"id":{deep}}}',
            f'{{"e":"serverShutdown","E":{deep}}}',
        ):
            finding = named(message)
            assert len(finding.detail) < 50
            assert finding.notice is not None or finding.reject is RejectKind.JSON
