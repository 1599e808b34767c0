"""Which rows are new, which ids are missing: against a model that remembers every single id."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsresearch.collect.sequence import LEAP, Admitted, Ledger, Span, Where
from wsresearch.schema import TRADES

NOW_US = 1_800_000_000 * 10**6
ABSURD = 2**62


@dataclass(frozen=True, slots=True)
class Row:
    """A trade as it arrives; two rows are the same trade if all of it is the same."""

    number: int | None
    time: int
    symbol: str = "BTCUSDT"


def batch(rows: Sequence[Row]) -> pa.RecordBatch:
    count = len(rows)
    return pa.record_batch(
        [
            pa.array([row.symbol for row in rows], pa.string()),
            pa.array([row.number for row in rows], pa.int64()),
            pa.array([Decimal(1)] * count, pa.decimal128(38, 18)),
            pa.array([Decimal(1)] * count, pa.decimal128(38, 18)),
            pa.array(["buy"] * count, pa.string()),
            pa.array([row.time for row in rows], pa.timestamp("us", tz="UTC")),
            pa.array([row.time for row in rows], pa.timestamp("us", tz="UTC")),
            pa.array([NOW_US * 1000] * count, pa.timestamp("ns", tz="UTC")),
            pa.array([1] * count, pa.int32()),
            pa.array([False] * count),
        ],
        schema=TRADES,
    )


def rows_of(table: pa.RecordBatch) -> list[Row]:
    times = table.column("trade_time").cast(pa.int64())
    return [
        Row(number, time, symbol)
        for number, time, symbol in zip(
            table.column("trade_id").to_pylist(), times.to_pylist(), table.column("symbol").to_pylist(), strict=True
        )
    ]


def ids(spans: Sequence[Span]) -> set[int]:
    for span in spans:
        assert span.last - span.first < LEAP, f"too long to be written out: {span}"
    return {number for span in spans for number in range(span.first, span.last + 1)}


def in_order(*numbers: int | None, start: int = 0) -> list[Row]:
    """Rows whose trade times rise with their ids, as a venue's do."""
    return [Row(number, NOW_US + start + (number or 0)) for number in numbers]


def admit(ledger: Ledger, rows: Sequence[Row], *, connection: int = 1) -> Admitted:
    return ledger.admit(batch(rows), connection=connection)


@dataclass
class Told:
    """The net result of many batches."""

    kept: list[Row] = field(default_factory=list)
    holes: list[set[int]] = field(default_factory=lambda: [set()])
    restarts: int = 0

    def take(self, admitted: Admitted) -> None:
        self.kept += rows_of(admitted.batch)
        news = [(restart.row, 0, restart) for restart in admitted.restarts]
        news += [(span.row, 1, span) for span in admitted.holes]
        news += [(span.row, 2, span) for span in admitted.filled]
        for _, kind, what in sorted(news, key=lambda item: item[:2]):
            if not isinstance(what, Span):
                self.restarts += 1
                self.holes.append(set())
            elif kind == 1:
                new = ids([what])
                assert not new & self.holes[-1], "told missing twice"
                self.holes[-1] |= new
            else:
                back = ids([what])
                assert back <= self.holes[-1], "filled what was not told missing"
                self.holes[-1] -= back


def play(deliveries: Sequence[Row], cuts: Iterable[int]) -> Told:
    """Put deliveries through a ledger in pieces."""
    ledger, told = Ledger(), Told()
    bounds = sorted({0, len(deliveries), *(cut % (len(deliveries) + 1) for cut in cuts)})
    for first, last in pairwise(bounds):
        if first < last:
            told.take(admit(ledger, deliveries[first:last]))
    return told


@dataclass
class World:
    """A venue that loses, repeats, reorders and counts anew, and what a reader should make of it."""

    deliveries: list[Row]
    counts: list[set[int]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Some hundred rows of one symbol, with everything that happens to rows on their way."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    loss, again, late, slips = (draw(st.sampled_from([0.0, 0.05, 0.3])) for _ in range(4))
    deliveries: list[Row] = []
    counts: list[set[int]] = []
    clock = NOW_US
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(1, 1000)) if not counts else 1
        sent: list[Row] = []
        for number in range(first, first + draw(st.integers(5, 120))):
            clock += rng.randint(1, 1000)
            sent.append(Row(number, clock))
        # A new count shows in its first two rows; after those anything may happen to it.
        safe, rest = sent[:2], [row for row in sent[2:] if rng.random() >= loss]
        arrival = [
            (place + (rng.uniform(0, 30) if rng.random() < late else 0.0), row) for place, row in enumerate(rest)
        ]
        arrived = [*safe, *(row for _, row in sorted(arrival, key=lambda item: item[0]))]
        counts.append({row.number for row in arrived if row.number is not None})
        for place, row in enumerate(arrived):
            deliveries.append(row)
            if rng.random() < again:
                deliveries.append(rng.choice(arrived[: place + 1]))
            if rng.random() < slips and place > 2:
                deliveries.append(Row(ABSURD + rng.randint(0, 10**9) * 7 * LEAP, row.time))
    return World(deliveries, counts)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.lists(st.integers(0, 10_000), max_size=12), st.lists(st.integers(0, 10_000), max_size=12))
def test_every_row_once_and_every_missing_id_told(world: World, cuts: list[int], other: list[int]) -> None:
    """Lost, repeated, late and absurd rows, counts that begin anew: each row is stored once, and what is told
    missing is what is missing between the first and the last id of each count, however the rows were cut into batches.
    """
    told = play(world.deliveries, cuts)
    assert len(told.kept) == len(set(told.kept))
    assert set(told.kept) == set(world.deliveries)
    first_seen = list(dict.fromkeys(world.deliveries))
    assert told.kept == first_seen, "order of arrival"
    assert told.restarts == len(world.counts) - 1
    assert told.holes == [set(range(min(count), max(count))) - count for count in world.counts]
    assert play(world.deliveries, other) == told


@given(st.integers(1, 10**6), st.integers(1, 1000))
def test_an_absurd_id_neither_ends_the_sequence_nor_opens_a_hole(start: int, count: int) -> None:
    """A valid id of 2**62 is stored, and the rows after it are stored and checked as if it had not come."""
    ledger, told = Ledger(), Told()
    told.take(admit(ledger, in_order(start)))
    told.take(admit(ledger, [Row(ABSURD, NOW_US + start)]))
    told.take(admit(ledger, in_order(*range(start + 1, start + count))))
    told.take(admit(ledger, in_order(start + count + 1)))
    assert len(told.kept) == count + 2
    assert told.holes == [{start + count}]
    assert ledger.marks == {"BTCUSDT": start + count + 1}


def test_two_absurd_ids_hours_apart_are_no_proof_of_each_other() -> None:
    """A leap is believed when the *next* row continues there, not when another slip does, much later."""
    ledger = Ledger()
    admit(ledger, in_order(1, 2))
    admit(ledger, [Row(ABSURD, NOW_US + 2)])
    admit(ledger, in_order(3, 4, 5))
    assert not admit(ledger, [Row(ABSURD + 3, NOW_US + 5)]).holes
    assert ledger.marks == {"BTCUSDT": 5}


def test_a_long_leap_that_goes_on_is_believed() -> None:
    """A venue that really jumps by millions is believed at its second row, and the hole is told, exactly."""
    ledger = Ledger()
    admit(ledger, in_order(1, 2))
    first = 10 * LEAP
    assert not admit(ledger, in_order(first)).holes
    [hole] = admit(ledger, in_order(first + 2)).holes[:1]
    assert (hole.first, hole.last) == (3, first - 1)
    assert ids(admit(ledger, in_order(first + 3, first + 5)).holes) == {first + 4}
    assert ledger.marks == {"BTCUSDT": first + 5}


def test_the_longest_leap_without_proof() -> None:
    """Up to a million ids are believed lost at once; one more takes a second row."""
    for missing, told in ((LEAP, 1), (LEAP + 1, 0)):
        ledger = Ledger()
        admit(ledger, in_order(1))
        assert len(admit(ledger, in_order(2 + missing)).holes) == told


def test_ids_that_start_again_at_1() -> None:
    """A venue that counts anew loses no row, and is told once; no hole is told across that point."""
    ledger, told = Ledger(), Told()
    told.take(admit(ledger, in_order(*range(1, 50))))
    again = in_order(1, 2, 3, 5, start=1000)
    told.take(admit(ledger, again))
    assert told.kept[-4:] == again
    assert told.restarts == 1
    assert told.holes == [set(), {4}]


def test_a_new_count_far_below_the_old_one() -> None:
    """The same where the first ids were never seen: 3,735,683,259, then 1."""
    ledger, told = Ledger(), Told()
    told.take(admit(ledger, in_order(3_735_683_259, 3_735_683_261)))
    told.take(admit(ledger, in_order(1, 2, start=10**10)))
    told.take(admit(ledger, in_order(3, 4, start=10**10)))
    assert len(told.kept) == 6
    assert told.restarts == 1
    assert told.holes == [{3_735_683_260}, set()]
    assert ledger.marks == {"BTCUSDT": 4}


def test_one_strange_row_is_no_new_count() -> None:
    """A known id with a new trade time is stored as another trade, and changes nothing for the rows after it."""
    ledger, told = Ledger(), Told()
    told.take(admit(ledger, in_order(*range(1, 50))))
    strange = [Row(20, NOW_US + 49), Row(0, NOW_US + 49)]
    for row in strange:
        told.take(admit(ledger, [Row(row.number, row.time + 1)]))
    told.take(admit(ledger, in_order(50, 52, start=5)))
    assert told.restarts == 0
    assert told.holes == [{51}]
    assert len(told.kept) == 53
    assert admit(ledger, in_order(30, 49)).duplicates == 2


def test_a_time_of_the_far_future_does_not_blind_it() -> None:
    """One row from the year 2099 neither makes later rows late nor keeps a new count from being seen."""
    ledger, told = Ledger(), Told()
    told.take(admit(ledger, [*in_order(1, 2), Row(3, 4_070_908_800 * 10**6), *in_order(4, 5)]))
    told.take(admit(ledger, in_order(1, 2, 3, start=1000)))
    assert len(told.kept) == 8
    assert told.restarts == 1


def test_a_late_row_from_before_the_first() -> None:
    """The very first rows came out of order: what lies between them is known to exist, and told if it is missing."""
    ledger, told = Ledger(), Told()
    told.take(admit(ledger, in_order(10)))
    told.take(admit(ledger, in_order(7)))
    told.take(admit(ledger, in_order(9, 11)))
    assert told.holes == [{8}]
    assert [row.number for row in told.kept] == [10, 7, 9, 11]


def test_rows_without_an_id_pass() -> None:
    """A venue without ids has no sequence: its rows are stored as they come."""
    ledger = Ledger()
    admitted = admit(ledger, in_order(None, 5, None, 5, 7))
    assert [row.number for row in rows_of(admitted.batch)] == [None, 5, None, 7]
    assert ids(admitted.holes) == {6}


def test_symbols_do_not_mix() -> None:
    """Each symbol has a sequence of its own, however their rows are mixed."""
    ledger = Ledger()
    rows = [Row(n, NOW_US + n, symbol) for n in (1, 2, 4, 5) for symbol in ("A", "B", "C") if (n, symbol) != (4, "B")]
    admitted = admit(ledger, rows)
    assert rows_of(admitted.batch) == rows
    missing = defaultdict(set)
    for span in admitted.holes:
        missing[span.symbol] |= ids([span])
    assert missing == {"A": {3}, "B": {3, 4}, "C": {3}}


def test_ids_spent_without_a_trade_are_no_hole() -> None:
    """A futures placeholder spends an id on nothing; its absence is explained."""
    ledger = Ledger()
    admit(ledger, in_order(1))
    ledger.excuse("BTCUSDT", 2, 2)
    assert not admit(ledger, in_order(3)).holes
    ledger.excuse("BTCUSDT", 5, 5)
    assert ids(admit(ledger, in_order(7)).holes) == {4, 6}


def test_the_mark_lies_behind_ids_spent_without_a_trade() -> None:
    """What the next run is told as the end of a sequence is where the next trade follows without a hole."""
    ledger = Ledger()
    admit(ledger, in_order(7))
    for number in (8, 9, 11):
        ledger.excuse("BTCUSDT", number, number)
    ledger.excuse("ETHUSDT", 3, 4)
    assert ledger.marks == {"BTCUSDT": 9}
    assert ids(admit(Ledger(ledger.marks), in_order(12)).holes) == {10, 11}
    assert ids(admit(ledger, in_order(12)).holes) == {10}


def test_where_a_hole_lies() -> None:
    """Inside a connection, across an outage, or across a stop of ours: the cost of each can be told apart."""
    ledger = Ledger({"BTCUSDT": 10})
    [stop] = admit(ledger, in_order(12), connection=4).holes
    [inside] = admit(ledger, in_order(14), connection=4).holes
    [outage] = admit(ledger, in_order(16), connection=5).holes
    assert [span.where for span in (stop, inside, outage)] == [Where.STOP, Where.CONNECTION, Where.OUTAGE]
    assert outage.since == 4


def test_late_rows_are_told_in_one_piece() -> None:
    """A thousand late rows in line are one event, not a thousand."""
    ledger = Ledger()
    admit(ledger, in_order(1, 1002))
    [filled] = admit(ledger, in_order(*range(2, 1002))).filled
    assert (filled.first, filled.last) == (2, 1001)


def test_what_an_earlier_run_stored_is_a_duplicate_and_its_end_a_mark() -> None:
    """After a restart rows that were stored before come in no second time, and the gap across the stop is a hole."""
    first = Ledger()
    stored = admit(first, in_order(*range(100, 200))).batch
    second = Ledger({"BTCUSDT": 99, "ETHUSDT": 7})
    second.recall(pa.Table.from_batches([stored]))
    assert second.marks == {"BTCUSDT": 199, "ETHUSDT": 7}
    again = admit(second, in_order(*range(150, 205), 210))
    assert again.duplicates == 50
    assert ids(again.holes) == set(range(205, 210))
    assert {span.where for span in again.holes} == {Where.CONNECTION}
    late = admit(second, in_order(50))
    assert late.batch.num_rows == 1
    assert not late.holes, "what an earlier run stored below its last segment is not known, so nothing is missing"


@pytest.mark.parametrize("rows", [[], in_order(None)])
def test_nothing_in_nothing_out(rows: list[Row]) -> None:
    """An empty batch, or one without any id, changes nothing."""
    ledger = Ledger()
    assert admit(ledger, rows).batch.num_rows == len(rows)
    assert ledger.marks == {}
