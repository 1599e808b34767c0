"""From messages to rows: everything a block of messages brings ends in one place, and is counted there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pytest

from tests.simnet import EPOCH_NS, trade
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.intake import Intake
from wsresearch.collect.sequence import Ledger
from wsresearch.schema import EventKind
from wsresearch.venues import parse_stream

SECOND = 10**9


class Shelf:
    """A recorder that keeps what it is given; batches wait until ``write`` is called."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.samples: list[tuple[str, bytes]] = []
        self.marks: Mapping[str, int] = {}
        self._written: list[Callable[[], None]] = []

    def trades(
        self,
        batch: pa.RecordBatch,
        *,
        now_ns: int,
        marks: Mapping[str, int],
        size: int,
        written: Callable[[int], None],
    ) -> None:
        self.batches.append(batch)
        self.marks = dict(marks)
        self._written.append(lambda: written(size))

    def sample(self, kind: str, raw: bytes, *, run: int, recv_ns: int) -> None:
        self.samples.append((kind, raw))

    def write(self) -> None:
        for written in self._written:
            written()
        self._written.clear()


class Desk:
    """An intake with everything around it."""

    def __init__(self) -> None:
        self.inbox = Inbox(limit=1 << 20, on_arrival=lambda: None)
        self.shelf = Shelf()
        self.rows: list[dict[str, Any]] = []
        stream = parse_stream("binance:btcusdt,ethusdt")
        self.intake = Intake(
            decoder=stream.venue.decoder(stream.symbols),
            ledger=Ledger(),
            inbox=self.inbox,
            recorder=self.shelf,  # type: ignore[arg-type]
            note=self.note,
            release=self.inbox.release,
            run=3,
        )

    def note(self, kind: EventKind, at_ns: int, **columns: Any) -> None:
        self.rows.append({"kind": kind, "at": at_ns, **columns})

    def hear(self, *messages: bytes, connection: int = 1, outage: int = 0, at: int = EPOCH_NS) -> Any:
        for number, message in enumerate(messages):
            self.inbox.put(message, at + number)
        heard = self.intake.digest(1 << 20, connection=connection, outage=outage)
        self.intake.note_news(heard, connection=connection)
        return heard

    def ids(self) -> list[int]:
        return [number for batch in self.shelf.batches for number in batch.column("trade_id").to_pylist()]


def test_messages_count_against_memory_until_they_are_written() -> None:
    """The bound holds over every stage: bytes are let go when the rows are in the journal, and not before."""
    desk = Desk()
    desk.hear(trade(1, 1), b"{garbage", trade(2, 2))
    assert desk.inbox.held_bytes > 250
    desk.shelf.write()
    assert desk.inbox.held_bytes == 0


@pytest.mark.parametrize("message", [b"", b"{garbage", b'{"result":null,"id":1}', b'{"e":"kline"}', b"\xff\xfe"])
def test_what_is_no_trade_is_let_go_at_once(message: bytes) -> None:
    """Garbage, acks and other events take no room and no row."""
    desk = Desk()
    heard = desk.hear(message)
    assert desk.inbox.held_bytes == 0
    assert (heard.first_ns, heard.last_ns, desk.shelf.batches) == (None, None, [])


def test_only_duplicates_are_market_data_and_nothing_to_write() -> None:
    """A venue that repeats itself is alive; nothing is stored twice, and nothing stays in memory."""
    desk = Desk()
    desk.hear(trade(1, 1), trade(2, 2))
    desk.shelf.write()
    heard = desk.hear(trade(1, 1), trade(2, 2), at=EPOCH_NS + SECOND)
    assert (heard.first_ns, heard.last_ns) == (EPOCH_NS + SECOND, EPOCH_NS + SECOND + 1)
    assert desk.ids() == [1, 2]
    assert desk.inbox.held_bytes == 0
    assert desk.intake.tally().duplicates == 2


def test_a_second_is_counted() -> None:
    """Trades, duplicates, rejects by kind and the lag of the newest row, each second anew."""
    desk = Desk()
    desk.hear(trade(1, 1), trade(2, 2), trade(2, 2), b"{", b"[]", b"[]", at=EPOCH_NS + 5 * SECOND)
    tally = desk.intake.tally()
    assert (tally.trades, tally.duplicates, dict(tally.rejected)) == (2, 1, {"json": 1, "shape": 2})
    assert tally.lag == pytest.approx(3.0, abs=0.01)
    assert desk.intake.tally().lag is None


def test_samples_of_rejects_are_few() -> None:
    """The first hundred rejects of a run are kept for looking at, with their bytes; all of them are counted."""
    desk = Desk()
    for _ in range(5):
        desk.hear(*[b"{%d" % number for number in range(60)])
    assert len(desk.shelf.samples) == 100
    assert desk.shelf.samples[0] == ("json", b"{0")
    assert desk.intake.tally().rejected.total() == 300


def test_holes_are_told_with_their_outage() -> None:
    """A hole across an outage carries its number, also for a symbol that trades for the first time much later."""
    desk = Desk()
    desk.hear(trade(1, 1), trade(1, 1, symbol="ETHUSDT"), trade(3, 3), connection=1)
    desk.hear(trade(6, 6), connection=2, outage=7)
    desk.hear(trade(7, 7), connection=2)
    desk.hear(trade(5, 8, symbol="ETHUSDT"), connection=2)
    desk.hear(trade(9, 9), connection=2)
    told = [(row["cause"], row["outage"], row["symbol"], row["first_id"], row["last_id"]) for row in desk.rows]
    assert told == [
        ("connection", 0, "BTCUSDT", 2, 2),
        ("outage", 7, "BTCUSDT", 4, 5),
        ("outage", 7, "ETHUSDT", 2, 4),
        ("connection", 0, "BTCUSDT", 8, 8),
    ]
    assert desk.rows[0]["at"] == EPOCH_NS + 2, "the time of the row that showed it"


def test_a_new_count_is_told_between_the_holes_of_the_old_and_the_new_one() -> None:
    """Whoever reads the events in order knows which count a hole belongs to."""
    desk = Desk()
    desk.hear(*(trade(number, number) for number in (10, 12)), *(trade(n, 100 + n) for n in (1, 2, 4)))
    told = [(row["kind"].value, row["cause"], row.get("first_id")) for row in desk.rows]
    assert told == [("hole", "connection", 11), ("error", "ids_restarted", None), ("hole", "connection", 3)]


def test_the_end_of_a_connection_is_announced() -> None:
    """`serverShutdown` is handed on to whoever decides, with the venue's words made safe."""
    desk = Desk()
    heard = desk.hear(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":"1\\u202e2"}}')
    assert heard.announced is not None
    assert "\u202e" not in heard.announced
    assert not desk.rows


def test_errors_and_unknown_messages_are_told_with_the_venues_words() -> None:
    """What the venue says of our request is an event, made safe."""
    desk = Desk()
    desk.hear(b'{"error":{"code":2,"msg":"no \\u001b[31m<b>such</b> stream"},"id":1}', b'{"hello":"world"}')
    assert [(row["cause"].value, row["kind"]) for row in desk.rows] == [
        ("venue_error", EventKind.ERROR),
        ("unknown", EventKind.ERROR),
    ]
    assert desk.rows[0]["detail"] == "2: no <b>such</b> stream"


def test_a_chattering_venue_does_not_fill_the_events() -> None:
    """Thousands of unknown messages a second are a few events and a count."""
    desk = Desk()
    for _ in range(50):
        desk.hear(*[json.dumps({"hello": number}).encode() for number in range(40)])
    assert len(desk.rows) == 5
    [(cause, more)] = desk.intake.tally().untold.items()
    assert cause.value == "unknown"
    assert more > 1000
    desk.hear(b'{"hello":1}')
    assert len(desk.rows) == 6


def test_the_marks_go_with_the_rows() -> None:
    """What the next run must know of the ids is handed over with the very rows it is about."""
    desk = Desk()
    desk.hear(trade(5, 5), trade(9, 9, symbol="ETHUSDT"))
    assert desk.shelf.marks == {"BTCUSDT": 5, "ETHUSDT": 9}
