"""The rolling Arrow buffer: the newest rows of one table in memory, bounded by rows, bytes and age.

No file, no thread and no clock is here: whoever owns a buffer adds batches to it, and age is counted from the
newest row, not from now.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from wsresearch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["BufferCounts", "RollingBuffer"]

_CHUNK_ROWS: Final = 16_384
"""Chunks grow to this by merging: a million rows are then some hundred chunks, which a snapshot lists in
well under 1 ms. A merge makes a chunk half as large again at least, so a row is copied 24 times at the very
most."""

_CHUNKS_PER_BOUND: Final = 16
"""A chunk may take at most this fraction of ``max_bytes``, because bytes are given back by whole chunks."""

_ARROW_ALIGNMENT: Final = 64
"""Arrow allocates in units of this, so a buffer of 1 byte costs 64."""

_NEVER_OLD: Final = 2**63 - 1
"""Stands for a time that is null: no age can be told, so age does not evict it."""

_TICKS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferCounts:
    """What went through a buffer; ``added == held + evicted`` at every moment.

    Attributes
    ----------
    added, held
        Rows given to the buffer since its birth, and rows in it now.
    evicted_by_age, evicted_by_rows, evicted_by_bytes
        Rows dropped, each counted once: age is tried first, then rows, then bytes (of a batch larger than
        ``max_rows``, the rows that never got in and all before them count as dropped by rows).
    held_bytes
        Memory the buffer keeps alive, in bytes, rows already evicted from its oldest chunk included.
    """

    added: int = 0
    held: int = 0
    evicted_by_age: int = 0
    evicted_by_rows: int = 0
    evicted_by_bytes: int = 0
    held_bytes: int = 0

    @property
    def evicted(self) -> int:
        """Rows dropped for any reason."""
        return self.evicted_by_age + self.evicted_by_rows + self.evicted_by_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """A batch whose memory nobody else holds, with its times."""

    batch: pa.RecordBatch
    rows: int
    bytes: int
    times: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Everything a reader may see, replaced as a whole: what it refers to never changes."""

    chunks: tuple[_Chunk, ...] = ()
    skip: int = 0
    counts: BufferCounts = field(default_factory=BufferCounts)


class RollingBuffer:
    """The newest rows added, as many as three bounds allow.

    One thread adds, any number take snapshots. Readers take no lock: the state is one immutable value, and
    adding replaces it by another. A second adding thread would be safe too, it waits for the first.

    Parameters
    ----------
    max_rows
        Never more rows than this.
    max_bytes
        Never more memory than this. Batches are *copied* in, because a slice keeps the whole batch it was cut
        from alive (and a batch read from a file the whole block it was read with), which no size that Arrow
        reports would show. Bytes are given back by whole chunks of at most a sixteenth of this bound.
    max_age
        Seconds. Rows at the old end that are older than the row received last by more than this are dropped.
        ``None``: no bound. The *last* row counts, not the highest time, so that one row with an absurd time
        does not empty the buffer for ever after.
    time_column
        The timestamp column that tells the age. Not needed where ``max_age`` is ``None``.
    schema
        What an empty snapshot looks like; without it, a snapshot has no columns until the first row.

    Raises
    ------
    UsageError
        A bound is not positive, or a batch has another schema than the batches before it.

    Notes ----- A snapshot is always a suffix of everything added, in the order added. It shares memory with
    the buffer and keeps it alive: the bounds hold for the buffer, a reader who keeps old snapshots pays for
    them.

    Examples
    --------
    >>> buffer = RollingBuffer(max_rows=2, max_bytes=1_000_000, max_age=None)
    >>> buffer.add(pa.record_batch({"x": [1, 2, 3]}))
    >>> buffer.snapshot()["x"].to_pylist(), buffer.counts.evicted
    ([2, 3], 1)
    """

    __slots__ = ("_adding", "_max_age", "_max_bytes", "_max_rows", "_schema", "_state", "_time_column")

    def __init__(
        self,
        *,
        max_rows: int,
        max_bytes: int,
        max_age: float | None,
        time_column: str = "recv_time",
        schema: pa.Schema | None = None,
    ) -> None:
        for name, value in (("max_rows", max_rows), ("max_bytes", max_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} is {value!r}: give a whole number of at least 1")
        if max_age is not None and not (max_age > 0 and math.isfinite(max_age)):
            raise UsageError(f"max_age is {max_age!r}: give seconds above 0, or None for no bound")
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._time_column = time_column
        self._schema = None if schema is None else schema.remove_metadata()
        self._adding = threading.Lock()
        self._state = _State()

    def __len__(self) -> int:
        return self._state.counts.held

    def __repr__(self) -> str:
        counts = self._state.counts
        return f"<RollingBuffer: {counts.held:,} rows, {counts.held_bytes:,} bytes, {counts.evicted:,} evicted>"

    @property
    def counts(self) -> BufferCounts:
        """What went through, as one consistent value."""
        return self._state.counts

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append rows; the oldest go where a bound asks for it.

        Parameters
        ----------
        batch
            Rows with the schema of the first batch (metadata apart). It is copied and may be reused.
        """
        batches = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        with self._adding:
            for one in batches:
                self._add(one)

    def forget(self) -> None:
        """Drop all rows held, as too old: what follows does not follow on them."""
        with self._adding:
            counts = self._state.counts
            gone = counts.evicted_by_age + counts.held
            self._state = _State(counts=replace(counts, held=0, held_bytes=0, evicted_by_age=gone))

    def snapshot(self) -> pa.Table:
        """The rows held now, oldest first, as a table that never changes; its columns are not copied."""
        state = self._state
        batches = [chunk.batch for chunk in state.chunks]
        if state.skip:
            batches[0] = batches[0].slice(state.skip)
        if not batches:
            return (self._schema or pa.schema([])).empty_table()
        return pa.Table.from_batches(batches)

    def _add(self, batch: pa.RecordBatch) -> None:
        batch = batch.replace_schema_metadata(None)
        if self._max_age is not None and not _has_times(batch.schema, self._time_column):
            raise UsageError(
                f"time_column is {self._time_column!r}, no timestamps in {_columns(batch.schema)}: "
                "name a timestamp column, or give max_age=None"
            )
        if self._schema is None:
            self._schema = batch.schema
        if not batch.schema.equals(self._schema):
            raise UsageError(
                f"a batch with the columns {_columns(batch.schema)} does not fit a buffer of "
                f"{_columns(self._schema)}: use one buffer for each table"
            )
        state = self._state
        early = max(0, batch.num_rows - self._max_rows)  # would be evicted at once: not worth a copy
        if early:
            # All of what is held is older than these rows, so it goes as well, and before them.
            gone = state.counts.held
            state = _State(
                counts=replace(
                    state.counts,
                    added=state.counts.added + early,
                    held=0,
                    held_bytes=0,
                    evicted_by_rows=state.counts.evicted_by_rows + gone + early,
                )
            )
        for piece in _pieces(batch.slice(early), max_bytes=self._chunk_bytes):
            state = self._evicted(self._appended(state, piece))
        self._state = state

    @property
    def _chunk_bytes(self) -> int:
        return max(1, self._max_bytes // _CHUNKS_PER_BOUND)

    def _appended(self, state: _State, piece: pa.RecordBatch) -> _State:
        """The state with one more piece, merged with as many of the last chunks as are not much larger."""
        chunks = state.chunks
        merged, rows, size = len(chunks), piece.num_rows, piece.nbytes
        while merged:
            left = chunks[merged - 1]
            if left.rows >= 2 * rows or left.rows + rows > _CHUNK_ROWS or left.bytes + size > self._chunk_bytes:
                break
            merged, rows, size = merged - 1, rows + left.rows, size + left.bytes
        together = [chunk.batch for chunk in chunks[merged:]]
        if merged == 0 and together:
            together[0] = together[0].slice(state.skip)
        chunk = _own([*together, piece], self._time_column if self._max_age is not None else None)
        counts = state.counts
        return _State(
            chunks=(*chunks[:merged], chunk),
            skip=state.skip if merged else 0,
            counts=replace(
                counts,
                added=counts.added + piece.num_rows,
                held=counts.held + piece.num_rows,
                held_bytes=counts.held_bytes + chunk.bytes - sum(old.bytes for old in chunks[merged:]),
            ),
        )

    def _evicted(self, state: _State) -> _State:
        """The state after each bound has had its say."""
        by_age = self._too_old(state)
        by_rows = max(0, state.counts.held - by_age - self._max_rows)
        chunks, skip, held_bytes = state.chunks, state.skip + by_age + by_rows, state.counts.held_bytes
        first, by_bytes = 0, 0
        while first < len(chunks) and (skip >= chunks[first].rows or held_bytes > self._max_bytes):
            by_bytes += max(0, chunks[first].rows - skip)
            skip = max(0, skip - chunks[first].rows)
            held_bytes -= chunks[first].bytes
            first += 1
        counts = state.counts
        left = _State(
            chunks=chunks[first:],
            skip=skip,
            counts=replace(
                counts,
                held=counts.held - by_age - by_rows - by_bytes,
                evicted_by_age=counts.evicted_by_age + by_age,
                evicted_by_rows=counts.evicted_by_rows + by_rows,
                evicted_by_bytes=counts.evicted_by_bytes + by_bytes,
                held_bytes=held_bytes,
            ),
        )
        # Times may step back: behind a row that another bound took, one may stand that was too old all the while.
        return self._evicted(left) if self._too_old(left) else left

    def _too_old(self, state: _State) -> int:
        """Rows at the old end that are older than the last row by more than ``max_age``."""
        if self._max_age is None or self._schema is None or not state.chunks:
            return 0
        newest = int(state.chunks[-1].times[-1])
        if newest == _NEVER_OLD:
            return 0
        ticks = _TICKS[self._schema.field(self._time_column).type.unit]
        oldest = max(newest - math.ceil(self._max_age * ticks), -_NEVER_OLD)
        old, skip = 0, state.skip
        for chunk in state.chunks:
            young = chunk.times[skip:] >= oldest
            if young.any():
                return old + int(young.argmax())
            old, skip = old + young.size, 0
        return old  # pragma: no cover - the last row is never older than itself


def _columns(schema: pa.Schema) -> str:
    return "(" + ", ".join(f"{field.name} {field.type}" for field in schema) + ")"


def _has_times(schema: pa.Schema, column: str) -> bool:
    return schema.names.count(column) == 1 and bool(pa.types.is_timestamp(schema.field(column).type))


def _pieces(batch: pa.RecordBatch, *, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch into slices of at most a chunk's rows and ``max_bytes`` bytes, single rows excepted."""
    rows = batch.num_rows
    if rows <= 1 or (rows <= _CHUNK_ROWS and batch.nbytes <= max_bytes):
        if rows:
            yield batch
        return
    yield from _pieces(batch.slice(0, rows // 2), max_bytes=max_bytes)
    yield from _pieces(batch.slice(rows // 2), max_bytes=max_bytes)


def _own(batches: list[pa.RecordBatch], time_column: str | None) -> _Chunk:
    """One chunk in memory of its own, of exactly the rows given."""
    batch = pa.concat_batches(batches)  # copies, a single slice too
    if time_column is None:
        times = np.empty(0, dtype=np.int64)
    else:
        ticks = batch.column(time_column).view(pa.int64())
        times = ticks.fill_null(_NEVER_OLD).to_numpy(zero_copy_only=False)
    buffers = (buffer for column in batch.columns for buffer in column.buffers() if buffer is not None)
    size = sum(-(-buffer.size // _ARROW_ALIGNMENT) * _ARROW_ALIGNMENT for buffer in buffers)
    return _Chunk(batch=batch, rows=batch.num_rows, bytes=size, times=times)
