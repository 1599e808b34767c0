"""A capture that is being recorded in a test: writer, sealer and time in one hand; nothing is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.capture.made import NOON, SECOND
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.seal import seal
from wsresearch.capture.writer import CaptureWriter, Rotation
from wsresearch.schema import EVENTS, STATS, TRADES, TableName


def trade_rows(ids: Sequence[int], *, symbol: str = "BTCUSDT", start: int = NOON, step: int = SECOND) -> pa.RecordBatch:
    """Trades of one symbol, `step` ns apart, the first received at `start`."""
    count = len(ids)
    times = [start + number * step for number in range(count)]
    return pa.record_batch(
        [
            pa.array([symbol] * count, pa.string()),
            pa.array(ids, pa.int64()),
            pa.array([Decimal(1)] * count, pa.decimal128(38, 18)),
            pa.array([Decimal(2)] * count, pa.decimal128(38, 18)),
            pa.array(["buy"] * count, pa.string()),
            pa.array([time // 1000 for time in times], pa.timestamp("us", tz="UTC")),
            pa.array([None] * count, pa.timestamp("us", tz="UTC")),
            pa.array(times, pa.timestamp("ns", tz="UTC")),
            pa.array([1] * count, pa.int32()),
            pa.array([False] * count, pa.bool_()),
        ],
        schema=TRADES,
    )


class NoSync(RealDisk):
    """The real disk without the waiting: what survives a power cut is not the question here."""

    __slots__ = ()

    def fdatasync(self, descriptor: int) -> None:
        pass

    def fsync(self, descriptor: int) -> None:
        pass

    def fsync_dir(self, path: Path) -> None:
        pass


class Recorded:
    """A capture with its writer; ids and receive times rise by themselves."""

    def __init__(self, root: Path, *, rows: int = 1_000_000, age: float = 300.0, disk: RealDisk | None = None) -> None:
        self.root = root
        self.layout = Layout(root)
        self.disk = disk or NoSync()
        self.rotation = Rotation(age=age, rows=rows)
        self.finished: list[Segment] = []
        self.now = NOON
        self.next_id = 1
        self.next_seq = 1
        create_identity(self.layout, venue="binance", symbols=["BTCUSDT"], config={}, disk=NoSync())
        self.writer = self._writer()

    def _writer(self) -> CaptureWriter:
        return CaptureWriter(self.root, rotation=self.rotation, on_finished=self.finished.append, disk=self.disk)

    @property
    def ids(self) -> list[int]:
        """All ids recorded so far, in order."""
        return list(range(1, self.next_id))

    def trade(self, count: int = 1, *, step: int = SECOND) -> None:
        """Record the next trades."""
        batch = trade_rows(range(self.next_id, self.next_id + count), start=self.now, step=step)
        self.next_id += count
        self.now += count * step
        self.append(TableName.TRADES, batch)

    def append(self, table: TableName, batch: pa.RecordBatch) -> None:
        """Record any rows now."""
        self.writer.append(table, batch, now_ns=self.now)

    def event(self, kind: str, **columns: Any) -> None:
        """Record an event now."""
        row = {"seq": self.next_seq, "time": self.now, "run": 1, "kind": kind} | columns
        self.next_seq += 1
        self.append(TableName.EVENTS, pa.RecordBatch.from_pylist([row], schema=EVENTS))

    def second(self, **columns: Any) -> None:
        """Record a row of stats now."""
        row = {"time": self.now, "run": 1, "trades": 0, "dropped": 0} | columns
        self.append(TableName.STATS, pa.RecordBatch.from_pylist([row], schema=STATS))

    def rotate(self) -> None:
        """Finish every segment that is open; the next row begins another one."""
        self.writer.close()
        self.writer = self._writer()

    def seal(self) -> None:
        """Seal what is finished."""
        while self.finished:
            seal(self.layout, self.finished.pop(0), disk=self.disk)

    def stop(self) -> None:
        """End the run as a collector does."""
        self.writer.close()
        self.seal()

    def kill(self) -> None:
        """End the run as SIGKILL does: nothing is finished, files stay as they are."""
        for opened in self.writer._open.values():
            opened.writer._close()
        self.finished.clear()

    def restart(self) -> None:
        """Begin another run in the same process; recovery is up to the caller."""
        self.writer = self._writer()

    def restart_if_stopped(self) -> None:
        """Begin another run unless one is under way."""
        if self.writer._closed:
            self.restart()
