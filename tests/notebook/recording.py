"""A capture that a test records by hand, with this process as its collector; nothing is checked here."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.capture.recorded import NoSync
from tests.study.eventlog import EventLog
from wsresearch.api import make_config
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.seal import seal
from wsresearch.capture.writer import CaptureWriter, Rotation
from wsresearch.collect.lock import held
from wsresearch.collect.recorder import NUMBERS_KEY, TOTALS_KEY
from wsresearch.collect.status import COUNTED
from wsresearch.schema import EVENTS, STATS, TableName

SECOND = 10**9


class Recording:
    """Events of a log and a stats row for every second of it, written when :meth:`write` is called."""

    def __init__(self, root: Path, *, log: EventLog | None = None, stream: str = "binance:btcusdt") -> None:
        self.root = root
        self.layout = Layout(root)
        self.log = log or EventLog(now=time.time_ns() - 600 * SECOND)
        self.finished: list[Segment] = []
        self._told = 0
        self._second = self.log.now
        self._sums: dict[int, Counter[str]] = {}
        config = make_config(stream, root)
        create_identity(
            self.layout,
            venue=config.stream.venue.name,
            symbols=list(config.stream.symbols),
            config=config.kept(),
            disk=NoSync(),
        )
        self.writer = self._writer()

    def write(self, *, stats: bool = True, messages: int = 10) -> None:
        """Append what the log has since the last call."""
        rows = self.log.rows[self._told :]
        if rows:
            self.writer.append(TableName.EVENTS, pa.RecordBatch.from_pylist(rows, EVENTS), now_ns=0)
        self._told += len(rows)
        seconds = range(self._second, self.log.now - SECOND + 1, SECOND) if stats else ()
        counted = [self.second(begin + SECOND, messages) for begin in seconds]
        self._second += len(counted) * SECOND
        if counted:
            self.writer.append(TableName.STATS, pa.RecordBatch.from_pylist(counted, STATS), now_ns=0)
        for row in counted:
            self._sums.setdefault(row["run"], Counter()).update({name: row[name] for name in COUNTED})

    def second(self, end: int, messages: int) -> dict[str, Any]:
        """One row of the stats."""
        counts = {"messages": messages, "trades": messages, "bytes": 100 * messages, "rejected": 0, "dropped": 0}
        here = {"time": end, "run": self.log.run, "connection": self.log.connection, "queue_bytes": 0}
        return {**here, **counts, "ping_rtt": 0.02, "lag": 0.05 if messages else None}

    def rotate(self) -> None:
        """End the open segments, and seal them."""
        self.writer.close()
        for segment in self.finished:
            seal(self.layout, segment, disk=NoSync())
        self.finished.clear()
        self.writer = self._writer()

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Hold the lock: this process is the collector."""
        with held(self.root) as lock:
            lock.note(run=max(1, self.log.run))
            yield

    def outage(self, seconds: float = 2.0, *, cause: str = "reset", **fields: Any) -> None:
        """Lose the connection and get it back."""
        self.log.lost(0.25, cause=cause, **fields)
        self.log.try_to_open(seconds)
        self.log.opened(0.25)
        self.log.first_message(0.25)

    def _writer(self) -> CaptureWriter:
        rotation = Rotation(age=1e6)
        return CaptureWriter(
            self.root, rotation=rotation, carry=self._carry, on_finished=self.finished.append, disk=NoSync()
        )

    def _carry(self, table: TableName) -> dict[bytes, bytes]:
        """What a collector notes at the head of a segment of the run's rows before it."""
        run = self.log.run
        if table is TableName.STATS:
            return {TOTALS_KEY: json.dumps({"run": run, **self._sums.get(run, {})}).encode()}
        holes = sum(row["kind"] == "hole" and row["run"] == run for row in self.log.rows[: self._told])
        return {NUMBERS_KEY: json.dumps({"run": run, "holes": holes}).encode()}
