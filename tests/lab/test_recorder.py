"""The recorder: what REST is told, and that the account can be read while it is written."""

from __future__ import annotations

from wsresearch.lab.disturb import Item, Kind
from wsresearch.lab.message import Message
from wsresearch.lab.recorder import ConnectionRecord, FaultRecord, Recorder


def _item(trade_id: int, kind: Kind = Kind.SENT) -> Item:
    message = Message(due_ns=0, stream="s", symbol="A", trade_id=trade_id, price="1", quantity="2")
    return Item(message=message, kind=kind)


def test_trades_for_rest() -> None:
    """Each trade that exists, once, by rising id, whatever the order of sending."""
    recorder = Recorder()
    recorder.produced([_item(3), _item(1), _item(1, Kind.DUPLICATE), _item(2, Kind.SKIPPED)], 0)
    recorder.produced([_item(4, Kind.GARBLED)], 0)
    assert recorder.trades("A")["trade_id"].to_pylist() == [1, 3, 4]
    assert recorder.trades("B").num_rows == 0


def test_messages_that_are_no_trades() -> None:
    """They are counted and numbered, without the columns of a trade."""
    recorder = Recorder()
    row = recorder.produced([Item(message=Message(due_ns=0, raw=b"{}"), kind=Kind.OTHER)], 7)
    recorder.delivered(2, [row])
    assert (
        recorder.snapshot().sent.to_pylist()[0] | {"sent_ns": 7, "connection": 2, "symbol": None}
        == (recorder.snapshot().sent.to_pylist()[0])
    )


def test_a_snapshot_does_not_change() -> None:
    """What was asked for stays as it was, while the account goes on."""
    recorder = Recorder()
    record = ConnectionRecord(accepted_ns=1, peer_port=2)
    recorder.accepted(record)
    recorder.injected(
        FaultRecord(at=1.0, fault="close", parameters="{}", wall_ns=1, mono_ns=1, connection=0, confirmed=None)
    )
    recorder.produced([_item(1)], 0)
    before = recorder.snapshot()
    record.closed_ns = 9
    recorder.produced([_item(2)], 0)
    assert before.connections["closed_ns"].to_pylist() == [None]
    assert before.sent.num_rows == 1
    assert recorder.snapshot().connections["closed_ns"].to_pylist() == [9]
    assert recorder.snapshot().faults.num_rows == 1
