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
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.seal import SealCutShort, seal
from wsresearch.capture.writer import AppendError, CaptureWriter, Rotation
from wsresearch.collect.memory import give_back
from wsresearch.errors import CaptureError
from wsresearch.safetext import safe
from wsresearch.schema import SCHEMAS, TableName

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

_RETRY_AFTER: Final = 0.25
_STRUCTS: Final = {table: pa.struct(list(schema)) for table, schema in SCHEMAS.items()}
_TOTALLED: Final = ("messages", "trades", "bytes", "rejected", "dropped")


class Trouble(Protocol):
    """Hears what happens to the disk; called from the recorder's threads."""

    def disk_fails(self, what: str) -> None:
        """Writing has begun to fail; it is being tried again."""

    def disk_works(self) -> None:
        """Writing works again."""

    def left_over(self, what: str) -> None:
        """What could not be finished stays as it is and is read there; the next start finishes it at the latest."""

    def disk_is_gone(self, what: str) -> None:
        """The capture directory is not there any more; nothing more can be written."""


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
    unsealed
        Segments that are finished and not sealed yet; once closed, those that the next start will seal.
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
        self._marks = dict(marks)
        self._marks_to_be: Mapping[str, int] = {}
        self._numbers = dict(numbers)
        self._standing: Mapping[str, Any] = {}
        self._totals = {"run": numbers["run"], **dict.fromkeys(_TOTALLED, 0)}
        self._append_in, self._seal_in = executors or (
            ThreadPoolExecutor(1, thread_name_prefix="journal"),
            ThreadPoolExecutor(1, thread_name_prefix="seal"),
        )
        self._disk = disk
        self._samples: int | None = None
        self._giving_up = threading.Event()
        self._leaving = threading.Event()
        self._closed = False
        self._failing = False
        self._gone = False
        self.unsealed: list[Segment] = []
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
        written: Callable[[], None],
    ) -> None:
        """Append trades; ``marks`` are the ledger's after this batch, ``written`` is called from the thread."""

        def append() -> None:
            self._marks_to_be = marks
            if self._append(TableName.TRADES, batch, now_ns):
                self._marks.update(marks)
            written()

        self._in_order(append)

    def event(self, row: Mapping[str, Any], *, now_ns: int, standing: Mapping[str, Any]) -> None:
        """Append one event row; it is flushed at once. ``standing`` is how the run stands after it, plain JSON."""

        def append() -> None:
            if self._append(TableName.EVENTS, _one_row(row, TableName.EVENTS), now_ns):
                self._numbers = {name: max(last, row[name]) for name, last in self._numbers.items()}
                self._standing = standing

        self._in_order(append)

    def stats(self, row: Mapping[str, Any], *, now_ns: int) -> None:
        """Append one stats row."""

        def append() -> None:
            if self._append(TableName.STATS, _one_row(row, TableName.STATS), now_ns):
                for name in _TOTALLED:
                    self._totals[name] += row[name]

        self._in_order(append)

    def sample(self, kind: str, raw: bytes, *, run: int, recv_ns: int) -> None:
        """Keep a rejected message in quarantine, as one line of JSON."""
        line = json.dumps({"kind": kind, "recv_ns": recv_ns, "raw": raw.decode("utf-8", "backslashreplace")})
        name = f"rejects-run-{run:06d}"
        self._in_order(self._persist, lambda: self._keep_sample(name, line.encode() + b"\n"))

    def every_second(self, *, now_ns: int) -> None:
        """Rotate what is old enough and make the journals safe against power loss."""

        def tick_and_sync() -> None:
            self._writer.tick(now_ns)
            self._writer.sync()

        self._in_order(self._persist, tick_and_sync)

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
        loop = asyncio.get_running_loop()
        limits = (loop.call_later(patience, self._giving_up.set), loop.call_later(sealing, self._leaving.set))
        try:
            await asyncio.wrap_future(self._append_in.submit(lambda: None))
            self._closed = True
            await asyncio.wrap_future(self._append_in.submit(self._close_writer))
            await asyncio.wrap_future(self._seal_in.submit(self._seal_rest))
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

        if self._persist(append_rest):
            return True
        self.unwritten_rows += rest.num_rows
        return False

    def _persist(self, write: Callable[[], None]) -> bool:
        """Write, and try again while the disk fails; False if it was given up."""
        while True:
            try:
                write()
            except OSError as exc:
                if not self._layout.identity.exists():
                    if not self._gone:
                        self._gone = True
                        self._trouble.disk_is_gone(safe(f"{str(self._layout.root)!r} is no capture any more: {exc}"))
                    return False
                if not self._failing:
                    self._failing = True
                    _log.warning("writing fails, trying again: %s", exc)
                    self._trouble.disk_fails(safe(f"{exc.strerror or exc}"))
                if self._giving_up.wait(_RETRY_AFTER):
                    return False
            else:
                if self._failing:
                    self._failing = False
                    self._trouble.disk_works()
                return True

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
        """Raise the marks to what a batch has left in a segment that ends within it."""
        if table is not TableName.TRADES:
            return
        rows = pa.table([recorded.column("symbol"), recorded.column("trade_id")], ["symbol", "trade_id"])
        for symbol in rows["symbol"].unique().to_pylist():
            # Ids above the mark are those that the ledger does not believe in.
            believed = pc.field("trade_id") <= self._marks_to_be.get(symbol)
            high = pc.max(rows.filter((pc.field("symbol") == symbol) & believed)["trade_id"]).as_py()
            if high is not None:
                self._marks[symbol] = high

    def _finished(self, segment: Segment) -> None:
        self._check(self._seal_in.submit(self._seal, segment))

    # -- in the sealing thread ------------------------------------------------------------------------------------

    def _seal(self, segment: Segment) -> None:
        self.unsealed.append(segment)
        self._seal_rest()

    def _seal_rest(self) -> None:
        """Seal what is finished; what the disk does not take is tried again with the next segment."""
        for segment in list(self.unsealed):
            try:
                seal(self._layout, segment, disk=self._disk, on_step=self._still_time)
            except SealCutShort:
                return
            except (OSError, CaptureError) as exc:
                # The journal stays where it is, readers read it there, and the next start seals it at the latest.
                why = (isinstance(exc, OSError) and exc.strerror) or exc
                _log.warning("%s could not be sealed yet: %s", segment, why)
                self._trouble.left_over(safe(f"sealing {segment} fails and will be tried again: {why}"))
            else:
                self.unsealed.remove(segment)
                give_back()

    def _still_time(self) -> None:
        if self._leaving.is_set():
            raise SealCutShort

    # -- defects must not hide in a future ------------------------------------------------------------------------

    def _in_order(self, job: Callable[..., Any], *args: Any) -> None:
        if self._closed:
            # Only news of a seal that failed can come so late; the log has it, and the next start tells it again.
            return
        self.in_turn(lambda: self._check(self._append_in.submit(job, *args)))

    def _check(self, future: Future[Any]) -> None:
        self._jobs.add(future)
        future.add_done_callback(self._checked)

    def _checked(self, future: Future[Any]) -> None:
        self._jobs.discard(future)
        if (exc := future.exception()) is not None:
            _log.error("the recorder has a defect", exc_info=exc)
            self._trouble.disk_is_gone(safe(f"{type(exc).__name__}: {exc}"))


def _one_row(row: Mapping[str, Any], table: TableName) -> pa.RecordBatch:
    """Return a batch of one row; by way of a struct it costs a tenth of `RecordBatch.from_pylist` [measured]."""
    return pa.RecordBatch.from_struct_array(pa.array([dict(row)], _STRUCTS[table]))
