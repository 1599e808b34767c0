"""Counting the ids of a capture: the same whatever pieces they come in, and a venue that counts anew is seen."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.made import NOON, SECOND
from tests.capture.recorded import trade_rows
from wsresearch.capture.ledger import SETTLE_NS, IdLedger
from wsresearch.schema import TRADES


def table(ids: list[int | None], *, symbols: list[str] | None = None, start: int = NOON) -> pa.Table:
    rows = pa.Table.from_batches([trade_rows(ids, start=start)])  # type: ignore[arg-type]
    return rows if symbols is None else rows.set_column(0, TRADES.field(0), pa.array(symbols, pa.string()))


@given(
    ids=st.lists(st.one_of(st.none(), st.integers(1, 40)), max_size=80),
    names=st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 80), max_size=6),
)
@settings(deadline=None)
def test_ids_are_counted_by_symbol_whatever_the_pieces(
    ids: list[int | None], names: list[str], cuts: list[int]
) -> None:
    """Rows, distinct ids and repeats of each symbol are those of plain counting."""
    symbols = [names[number % len(names)] for number in range(len(ids))]
    rows = table(ids, symbols=symbols)
    ledger = IdLedger()
    ends = sorted({0, len(ids), *(cut for cut in cuts if cut < len(ids))})
    for begin, end in pairwise(ends):
        ledger.add(rows.slice(begin, end - begin), settled=True)
    for name in set(symbols):
        mine = [number for number, symbol in zip(ids, symbols, strict=True) if symbol == name]
        known = ledger.symbols[name]
        assert known.rows == len(mine)
        stored = {
            number for era in known.eras for first, last in era.builder.ids() for number in range(first, last + 1)
        }
        assert stored == {number for number in mine if number is not None}
        assert sum(era.builder.rows for era in known.eras) == sum(number is not None for number in mine)


def test_a_new_count_begins_a_new_era() -> None:
    """Ids that come again with later trades are new trades, within a piece and across pieces."""
    ledger = IdLedger()
    ledger.add(table([*range(1, 51), *range(1, 31)]), settled=True)
    ledger.add(table(list(range(1, 11)), start=NOON + 900 * SECOND), settled=True)
    eras = ledger.symbols["BTCUSDT"].eras
    assert [list(era.builder.ids()) for era in eras] == [[(1, 50)], [(1, 30)], [(1, 10)]]
    assert [era.duplicates for era in eras] == [0, 0, 0]


def test_late_and_repeated_rows_begin_none() -> None:
    """A row that fills a hole and one that was stored twice have times that are known: they belong where they are."""
    ledger = IdLedger()
    ledger.add(table([1, 2, 5, 6]), settled=True)
    ledger.add(table([3, 4], start=NOON + SECOND), settled=True)
    ledger.add(table([2, 5], start=NOON + SECOND), settled=True)
    ledger.add(table([7, 8], start=NOON + 50 * SECOND), settled=True)
    (era,) = ledger.symbols["BTCUSDT"].eras
    assert list(era.builder.ids()) == [(1, 8)]
    assert era.duplicates == 2


def test_young_rows_of_a_journal_are_known_as_such() -> None:
    """Rows within the settling time before the newest, of any symbol, are too young to judge; sealed ones never."""
    ledger = IdLedger()
    ledger.add(table([1], start=NOON), settled=False)
    ledger.add(table([2], start=NOON + SETTLE_NS), settled=False)
    ledger.add(table([3], start=NOON + SETTLE_NS + 1), settled=True)
    assert list(ledger.recent("BTCUSDT")) == [(2, 2)]
    assert ledger.newest == NOON + SETTLE_NS + 1
    ledger.add(table([9], symbols=["ETHUSDT"], start=NOON + 3 * SETTLE_NS), settled=False)
    assert list(ledger.recent("BTCUSDT")) == []
    assert list(ledger.recent("ETHUSDT")) == [(9, 9)]
