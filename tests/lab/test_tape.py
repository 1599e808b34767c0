"""Tapes: one object for both kinds of source, playable again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsresearch.errors import TapeError
from wsresearch.lab.message import Message
from wsresearch.lab.tape import Tape
from wsresearch.venues.binance_wire import Form, Unit

NOW = 1_723_161_254_087_896_568


def _bytes(tape: Tape) -> list[bytes]:
    return [m.wire(form=Form.COMBINED, unit=Unit.MILLISECOND, now_ns=NOW, futures=False) for m in tape.play()]


def test_same_seed_same_bytes() -> None:
    """The very bytes that go out are decided by the seed and the clock alone."""
    one = Tape.generate(("BTCUSDT", "ETHUSDT"), 300, 5, count=500)
    assert _bytes(one) == _bytes(Tape.generate(("BTCUSDT", "ETHUSDT"), 300, 5, count=500))
    assert _bytes(one) == _bytes(one), "a tape can be played twice"


def test_described_by_a_value(tmp_path: Path) -> None:
    """A tape made anew from its description is the same tape; that is how it reaches another process."""
    path = tmp_path / "tape.txt"
    path.write_text('1 {"e":"trade","E":1,"s":"AUSDT","t":1,"p":"1","q":"1","T":1,"m":false}\n')
    for tape in (Tape.generate(seed=3, count=10), Tape.from_recording(path, speed=2)):
        assert _bytes(Tape.of(tape.source)) == _bytes(tape)
        assert Tape.of(tape.source).symbols == tape.symbols


def test_a_recording_is_checked_when_it_is_opened(tmp_path: Path) -> None:
    """The error comes where the path is given, not when a client is already waiting."""
    with pytest.raises(TapeError, match="cannot be read"):
        Tape.from_recording(tmp_path / "missing.gz")


def test_times_are_those_of_the_sending() -> None:
    """A generated trade says the wall clock of its sending, in the unit the client asked for."""
    message = Message(due_ns=0, stream="a@trade", symbol="A", trade_id=1, price="1.0", quantity="2.0", lag_ms=2)
    milli = message.wire(form=Form.RAW, unit=Unit.MILLISECOND, now_ns=NOW, futures=False)
    micro = message.wire(form=Form.RAW, unit=Unit.MICROSECOND, now_ns=NOW, futures=True)
    assert b'"E":1723161254087,' in milli
    assert b'"T":1723161254085,' in milli
    assert b'"T":1723161254085000,' in micro
    assert b'"X":"MARKET"' in micro
    assert message.matched_us(NOW) == 1_723_161_254_085_000
