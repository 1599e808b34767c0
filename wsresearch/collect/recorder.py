"""Carries batches from the event loop to the disk without ever making it wait; what a disk is, is not here.

One thread appends to the journals in the order given, a second one seals finished segments. A disk that is full
or failing is tried again until it works: meanwhile the bytes stay counted in the inbox, whose bound is the one
place where anything is dropped.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.seal import SealCutShort
from wsresearch.capture.writer import AppendError, CaptureWriter, Rotation
from wsresearch.collect.sealing import Sealing
from wsresearch.collect.trying import Trouble, Trying
from wsresearch.collect.waiting import Row, Trades, Waiting, batch_of
from wsresearch.safetext import safe
from wsresearch.schema import TableName

__all__ = ["HELD", "MARKS_KEY", "NUMBERS_KEY", "TOTALS_KEY", "Immediately", "Recorder", "Trouble"]

_log = logging.getLogger(__name__)

MARKS_KEY: Final = b"wsresearch.marks"
"""Metadata of a trades segment: JSON of the highest id of each symbol in all segments before it."""

NUMBERS_KEY: Final = b"wsresearch.numbers"
"""Metadata of an events segment: JSON of the last used run, connection, outage and seq in all segments before it,
and of how the run stood when it began, as :class:`wsresearch.collect.chronicle.Chronicle` tells it."""

TOTALS_KEY: Final = b"wsresearch.totals"
"""Metadata of a stats segment: JSON of the run's number and the sums of its rows in all segments before it."""

HELD: Final = 0.002
"""Seconds that what is written is held after a loss: enough for an attempt on this machine to have opened, as
``benchmarks.recovery`` measures, and no more, for a kill in this time loses what is held."""

_TOTALLED: Final = ("messages", "trades", "bytes", "rejected", "dropped")


class Immediately(Executor):
    """Runs what it is given at once, in the caller's thread: for virtual time, where no thread may lag behind."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn`` and return its finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:  # noqa: BLE001 - handed on through the future, as every executor does
            future.set_exception(exc)
        return future


class Recorder:
    """The way to the disk.

    Parameters
    ----------
    root
        The capture directory, locked by us.
    rotation
        When a segment is finished.
    numbers
        The run's number, and the last used connection, outage and seq.
    marks
        Highest id of each symbol before this run.
    trouble
        Hears of a failing disk.
    executors
        For appending and for sealing; one thread each by default.
    disk
        What changes the disk.

    Attributes
    ----------
    unwritten_rows
        Rows that had to be given up when the run ended while the disk failed.
    """

    def __init__(
        self,
        root: Path,
        *,
        rotation: Rotation,
        numbers: Mapping[str, int],
        marks: Mapping[str, int],
        trouble: Trouble,
        executors: tuple[Executor, Executor] | None = None,
        disk: Disk = REAL_DISK,
    ) -> None:
        self._layout = Layout(root)
        self._trouble = trouble
        self._waiting = Waiting()
        self._marks = dict(marks)
        self._marks_to_be: Mapping[str, int] = {}
        self._rows_to_be: list[Row] = []
        self._numbers = dict(numbers)
        self._standing: Mapping[str, Any] = {}
        self._totals = {"run": numbers["run"], **dict.fromkeys(_TOTALLED, 0)}
        self._append_in, self._seal_in = executors or (
            ThreadPoolExecutor(1, thread_name_prefix="journal"),
            ThreadPoolExecutor(1, thread_name_prefix="seal"),
        )
        self._disk = disk
        self._samples: int | None = None
        self._ticked_ns = 0
        self._tick_waits = False
        self._giving_up = threading.Event()
        self._leaving = threading.Event()
        self._closing = False
        self._closed = False
        self._trying = Trying(self._layout, trouble=trouble, giving_up=self._giving_up)
        self._sealing = Sealing(self._layout, disk=disk, on_step=self._still_time, failed=self._not_sealed)
        self._jobs: set[Future[Any]] = set()
        self._held: deque[Callable[[], None]] | None = None
        self.unwritten_rows = 0
        self._writer = CaptureWriter(
            root,
            rotation=rotation,
            carry=self._carry,
            on_finished=self._finished,
            on_split=self._split,
            disk=disk,
        )

    def trades(
        self,
        batch: pa.RecordBatch,
        *,
        now_ns: int,
        marks: Mapping[str, int],
        size: int,
        written: Callable[[int], None],
    ) -> None:
        """Append trades.

        Parameters
        ----------
        batch
            At least one row.
        now_ns
            Wall time, by which segments age.
        marks
            The ledger's after this batch, at least of the symbols in it.
        size
            What the batch counts for in the inbox.
        written
            Called from the thread when rows are in the journal, or were given up, with the ``size`` of all batches
            that were written together; each is told of once.
        """
        self._in_order(self._waiting.put_trades, batch, now_ns=now_ns, marks=marks, size=size, written=written)

    def event(self, row: Mapping[str, Any], *, now_ns: int, standing: Mapping[str, Any]) -> None:
        """Append one event row; it is flushed at once. ``standing`` is how the run stands after it, plain JSON."""
        self._in_order(self._waiting.put_row, Row(TableName.EVENTS, row, now_ns, standing))

    def stats(self, row: Mapping[str, Any], *, now_ns: int) -> None:
        """Append one stats row."""
        self._in_order(self._waiting.put_row, Row(TableName.STATS, row, now_ns, None))

    def sample(self, kind: str, raw: bytes, *, run: int, recv_ns: int) -> None:
        """Keep a rejected message in quarantine, as one line of JSON."""
        line = json.dumps({"kind": kind, "recv_ns": recv_ns, "raw": raw.decode("utf-8", "backslashreplace")})
        name = f"rejects-run-{run:06d}"
        keep = functools.partial(self._keep_sample, name, line.encode() + b"\n")
        self._in_order(self._waiting.put_call, functools.partial(self._trying.persist, keep))

    def every_second(self, *, now_ns: int) -> None:
        """Rotate what is old enough and make the journals safe against power loss.

        A disk that is slow to do so is not asked again while it has yet to begin.
        """
        self._ticked_ns = now_ns
        if not self._tick_waits:
            self._tick_waits = True
            self._in_order(self._waiting.put_call, self._tick)

    @property
    def unsealed(self) -> list[Segment]:
        """Segments that are finished and not sealed yet; once closed, those that the next start will seal."""
        return self._sealing.unsealed

    def hold(self) -> None:
        """Let what is to be written from now on wait for :meth:`let_go`.

        An attempt that begins at once would share the interpreter with the journal's thread, and take twice as long.
        """
        if self._held is None:
            self._held = deque()

    def in_turn(self, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Call what leads to a row: now, or behind what is held."""
        if self._held is None:
            write(*args, **kwargs)
        else:
            self._held.append(functools.partial(write, *args, **kwargs))

    def let_go(self) -> None:
        """Write what was held, in the order in which it came."""
        held, self._held = self._held, None
        try:
            while held:
                held.popleft()()
        finally:
            self._held = held or None  # a defect in one row must not cost the others

    async def close(self, *, patience: float, sealing: float) -> None:
        """Write what is waiting, finish all segments and seal them.

        Parameters
        ----------
        patience
            Seconds a failing disk is tried before what waits is given up and counted in ``unwritten_rows``.
        sealing
            Seconds after which no more is sealed: what is left stands in ``unsealed`` and is read from its journals.
        """
        self.let_go()
        self._closing = True
        loop = asyncio.get_running_loop()
        limits = (loop.call_later(patience, self._giving_up.set), loop.call_later(sealing, self._leaving.set))
        try:
            await asyncio.wrap_future(self._append_in.submit(lambda: None))
            self._closed = True
            await asyncio.wrap_future(self._append_in.submit(self._close_writer))
            await asyncio.wrap_future(self._seal_in.submit(self._sealing.seal_rest))
        finally:
            for limit in limits:
                limit.cancel()
        self._append_in.shutdown()
        self._seal_in.shutdown()
        if self.unwritten_rows:
            _log.error("%d rows could not be written: the disk failed to the end", self.unwritten_rows)
        if self.unsealed:
            left = ", ".join(map(str, self.unsealed))
            _log.warning("left to the next start to seal, and read as journals until then: %s", left)

    # -- in the journal thread ------------------------------------------------------------------------------------

    def _write_waiting(self) -> None:
        """Write until nothing waits any more."""
        while (what := self._waiting.take()) is not None:
            try:
                if isinstance(what, list):
                    self._write_rows(what)
                elif isinstance(what, tuple):
                    self._write_trades(*what)
                else:
                    what()
            except Exception as exc:  # noqa: BLE001 - told, and must not cost what waits behind it
                self._defect(exc)

    def _write_trades(self, trades: Trades, batch: pa.RecordBatch) -> None:
        self._marks_to_be = trades.marks
        try:
            if self._append(TableName.TRADES, batch, trades.now_ns):
                self._marks.update(trades.marks)
        finally:
            trades.written(trades.size)

    def _write_rows(self, rows: list[Row]) -> None:
        self._rows_to_be = rows
        table, now_ns = rows[0].table, rows[-1].now_ns
        try:
            batch = batch_of(rows)
        except Exception:
            self.unwritten_rows += len(rows)
            raise
        if self._append(table, batch, now_ns):
            self._note_written(len(rows))

    def _note_written(self, count: int) -> None:
        """Note what a segment that begins after so many of the rows must know of them."""
        for row in self._rows_to_be[:count]:
            if row.standing is None:
                for name in _TOTALLED:
                    self._totals[name] += row.columns[name]
            else:
                self._numbers = {name: max(last, row.columns[name]) for name, last in self._numbers.items()}
                self._standing = row.standing
        del self._rows_to_be[:count]

    def _tick(self) -> None:
        self._tick_waits = False
        if not self._closing:  # which does the same for good
            self._trying.persist(self._rotate_and_sync)

    def _rotate_and_sync(self) -> None:
        self._writer.tick(self._ticked_ns)
        self._writer.sync()

    def _append(self, table: TableName, batch: pa.RecordBatch, now_ns: int) -> bool:
        """Append a batch, each row once however often the disk refuses; False if rows had to be given up."""
        rest = batch

        def append_rest() -> None:
            nonlocal rest
            try:
                self._writer.append(table, rest, now_ns=now_ns)
            except AppendError as exc:
                rest = exc.remaining
                raise

        written = False
        try:
            written = self._trying.persist(append_rest)
        finally:
            if not written:  # whatever the reason, a defect included
                self.unwritten_rows += rest.num_rows
        return written

    def _keep_sample(self, name: str, line: bytes) -> None:
        if self._samples is None:
            folder = self._layout.quarantine_dir
            self._disk.mkdir(folder)
            # A power cut can take a run's events and leave its samples: then its number comes a second time.
            free = (folder / f"{name}{suffix}.jsonl" for suffix in ("", *(f".{n}" for n in range(1, 1000))))
            self._samples = self._disk.create(next(path for path in free if not os.path.lexists(path)))
        self._disk.write(self._samples, line)

    def _close_writer(self) -> None:
        if self._samples is not None:
            self._disk.close(self._samples)
        try:
            self._writer.close()
        except OSError as exc:
            # What is in the journals is verified and will be sealed at the next start.
            self._trouble.left_over(safe(f"closing the journals fails: {exc.strerror or exc}"))

    def _carry(self, table: TableName) -> dict[bytes, bytes]:
        if table is TableName.TRADES:
            return {MARKS_KEY: json.dumps(self._marks).encode()}
        if table is TableName.EVENTS:
            return {NUMBERS_KEY: json.dumps({**self._standing, **self._numbers}).encode()}
        return {TOTALS_KEY: json.dumps(self._totals).encode()}

    def _split(self, table: TableName, recorded: pa.RecordBatch) -> None:
        """Note what a batch has left in a segment that ends within it; of trades, raise the marks to that."""
        if table is not TableName.TRADES:
            self._note_written(recorded.num_rows)
            return
        rows = pa.table([recorded.column("symbol"), recorded.column("trade_id")], ["symbol", "trade_id"])
        for symbol in rows["symbol"].unique().to_pylist():
            # Ids above the mark are those that the ledger does not believe in.
            believed = pc.field("trade_id") <= self._marks_to_be.get(symbol)
            high = pc.max(rows.filter((pc.field("symbol") == symbol) & believed)["trade_id"]).as_py()
            if high is not None:
                self._marks[symbol] = high

    def _finished(self, segment: Segment) -> None:
        self._check(self._seal_in.submit(self._sealing.finished, segment))

    # -- in the sealing thread ------------------------------------------------------------------------------------

    def _still_time(self) -> None:
        if self._leaving.is_set():
            raise SealCutShort

    def _not_sealed(self, what: str) -> None:
        self._trouble.left_over(safe(what))

    # -- defects must not hide in a future ------------------------------------------------------------------------

    def _in_order(self, put: Callable[..., bool], *args: Any, **kwargs: Any) -> None:
        if self._closed:
            # Only news of a seal that failed can come so late; the log has it, and the next start tells it again.
            return
        self.in_turn(self._put, put, *args, **kwargs)

    def _put(self, put: Callable[..., bool], *args: Any, **kwargs: Any) -> None:
        if put(*args, **kwargs):
            self._check(self._append_in.submit(self._write_waiting))

    def _check(self, future: Future[Any]) -> None:
        self._jobs.add(future)
        future.add_done_callback(self._checked)

    def _checked(self, future: Future[Any]) -> None:
        self._jobs.discard(future)
        if (exc := future.exception()) is not None:
            self._defect(exc)

    def _defect(self, exc: BaseException) -> None:
        _log.error("the recorder has a defect", exc_info=exc)
        self._trouble.disk_is_gone(safe(f"{type(exc).__name__}: {exc}"))
