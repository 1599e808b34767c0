"""Content faults: what is skipped, doubled, turned round and garbled, and that nothing else is touched."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.lab.disturb import ContentFault, Disturber, Item, Kind, garbled
from wsresearch.lab.faults import Duplicate, Garble, Reorder, SkipIds
from wsresearch.lab.market import Market
from wsresearch.lab.message import Message
from wsresearch.lab.parameters import Garbage
from wsresearch.venues.binance_wire import Form, Unit
from wsresearch.venues.frames import Frames
from wsresearch.venues.registry import venue_named

TRADES = list(Market(symbols=("AUSDT", "BUSDT"), count=40, first_ids={"AUSDT": 1, "BUSDT": 1001}).trades())


def _disturbed(*faults: ContentFault, messages: list[Message] | None = None) -> list[Item]:
    disturber = Disturber(random.Random(1))
    for fault in faults:
        disturber.begin(fault)
    return disturber.passed(TRADES if messages is None else messages) + disturber.flush()


def _ids(items: list[Item], *kinds: Kind) -> list[int | None]:
    return [item.message.trade_id for item in items if item.kind in (kinds or tuple(Kind))]


ALL = [trade.trade_id for trade in TRADES]


def test_nothing_happens_without_faults() -> None:
    """Messages pass in order; what is no trade is told apart."""
    other = Message(due_ns=0, raw=b"{}")
    items = _disturbed(messages=[*TRADES, other])
    assert [item.kind for item in items] == [Kind.SENT] * len(TRADES) + [Kind.OTHER]


def test_skip() -> None:
    """The next trades are there in the account, and sent to nobody."""
    items = _disturbed(SkipIds(count=3))
    assert _ids(items, Kind.SKIPPED) == ALL[:3]
    assert _ids(items, Kind.SENT) == ALL[3:]


def test_skip_of_one_symbol() -> None:
    """A fault that names a symbol leaves the others alone."""
    items = _disturbed(SkipIds(count=2, symbol="BUSDT"))
    assert [item.message.symbol for item in items if item.kind is Kind.SKIPPED] == ["BUSDT"] * 2


def test_duplicate() -> None:
    """A doubled trade follows itself."""
    items = _disturbed(Duplicate(count=2))
    assert _ids(items)[:5] == [ALL[0], ALL[0], ALL[1], ALL[1], ALL[2]]
    assert [item.kind for item in items[:4]] == [Kind.SENT, Kind.DUPLICATE] * 2


def test_reorder() -> None:
    """So many trades come in reverse, marked, and all others in order."""
    items = _disturbed(Reorder(count=4))
    assert _ids(items) == [*reversed(ALL[:4]), *ALL[4:]]
    assert [item.reordered for item in items] == [True] * 4 + [False] * (len(ALL) - 4)


def test_reorder_at_the_end_of_the_tape() -> None:
    """What still waits when the tape ends is not lost."""
    assert _ids(_disturbed(Reorder(count=10), messages=TRADES[:3])) == ALL[2::-1]


def test_garbage_beside_and_instead() -> None:
    """Garbage goes before a trade, or with `replace` in its place."""
    beside = _disturbed(Garble(count=2))
    assert [item.kind for item in beside[:5]] == [Kind.GARBAGE, Kind.SENT, Kind.GARBAGE, Kind.SENT, Kind.SENT]
    instead = _disturbed(Garble(count=2, replace=True))
    assert [item.kind for item in instead[:3]] == [Kind.GARBLED, Kind.GARBLED, Kind.SENT]


def test_faults_of_a_kind_follow_each_other() -> None:
    """Two skips skip twice as many."""
    assert _ids(_disturbed(SkipIds(count=2), SkipIds(count=1)), Kind.SKIPPED) == ALL[:3]


FAULTS = st.lists(
    st.builds(
        lambda kind, count: kind(count=count),
        st.sampled_from([SkipIds, Duplicate, Reorder, Garble]),
        st.integers(1, 12),
    ),
    max_size=8,
)


@given(FAULTS, st.lists(st.integers(1, 7), max_size=20))
def test_every_trade_is_accounted_for_once(faults: list[ContentFault], cuts: list[int]) -> None:
    """Whatever the faults and however the messages arrive in blocks, each trade is sent, garbled or skipped, once."""
    disturber = Disturber(random.Random(0))
    for fault in faults:
        disturber.begin(fault)
    items, place = [], 0
    for cut in [*cuts, len(TRADES)]:
        items += disturber.passed(TRADES[place : place + cut])
        place += cut
    items += disturber.flush()
    assert sorted(_ids(items, Kind.SENT, Kind.SKIPPED, Kind.GARBLED)) == sorted(ALL)


@pytest.mark.parametrize("garbage", list(Garbage))
@pytest.mark.parametrize("combined", [True, False])
def test_garbage_is_never_a_trade(garbage: Garbage, combined: bool) -> None:
    """No kind of garbage passes the strict checks of the venue, and a good neighbour is not harmed."""
    form = Form.COMBINED if combined else Form.RAW
    good = TRADES[0].wire(form=form, unit=Unit.MILLISECOND, now_ns=10**18, futures=False)
    bad = garbled(good, garbage)
    bad.decode()  # a text frame must be UTF-8, or the library closes the connection, which is another fault
    decoder = venue_named("binance").decoder(["AUSDT", "BUSDT"])
    decoded = decoder.decode(Frames.of([bad, good], [1, 2]), connection=1)
    assert sum(decoded.rejected.values()) == 1
    assert decoded.batch.num_rows == 1
    assert decoded.batch["trade_id"].to_pylist() == [TRADES[0].trade_id]
