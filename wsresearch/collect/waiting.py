"""What waits for the journal's thread, in its order and joined, so that it takes little memory; writing is not here.

A disk may fail for a night, and twenty batches a second would come to gigabytes: an Arrow batch of one row takes 9 kB
beside its bytes. So the rows of waiting batches are put together, and rows of events and stats are kept as text.

The order is that in which things were handed over, with one freedom: trades and events may overtake stats rows, which
are increments of whole seconds, and other jobs, such as a slow sync. Trades and events never overtake each other.
"""

from __future__ import annotations

import json
import operator
import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, NamedTuple

import pyarrow as pa

from wsresearch.schema import SCHEMAS, TableName

__all__ = ["Row", "Trades", "Waiting", "batch_of"]

_JOINED: Final = 4096
"""Rows that are put together at most: beside so many, what a batch takes is little, and to copy them takes a tenth of a
millisecond."""

_STRUCTS: Final = {table: pa.struct(list(schema)) for table, schema in SCHEMAS.items()}
_NS_A_DAY: Final = 86_400 * 10**9

_LINES: Final = 64
"""Rows of events or stats that are compressed at a time, to less than a hundred bytes each [measured]."""


class Row(NamedTuple):
    """One row of events or stats; ``standing`` is how the run stands after an event."""

    table: TableName
    columns: Mapping[str, Any]
    now_ns: int
    standing: Mapping[str, Any] | None

    @property
    def day(self) -> int:
        """The UTC date it belongs to, as days since 1970."""
        return int(self.columns["time"]) // _NS_A_DAY


@dataclass(slots=True, kw_only=True)
class Trades:
    """Batches that are written as one.

    Attributes
    ----------
    rows
        How many they have.
    now_ns
        When the last of them was handed over.
    marks
        Highest ids after the last of them, of the symbols that they are of.
    size
        What they count for in the inbox.
    written
        Called with ``size`` when they need not be counted any more.
    """

    rows: int
    now_ns: int
    marks: dict[str, int]
    size: int
    written: Callable[[int], None]

    table = TableName.TRADES


@dataclass(slots=True, kw_only=True)
class _Lines:
    """Rows of one table, each a line of JSON: the first ones unpacked, then compressed ones, then the last ones."""

    table: TableName
    first: list[bytes] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    last: list[bytes] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        self.last.append(line)
        if len(self.last) == _LINES:
            self.blocks.append(zlib.compress(b"\n".join(self.last), 1))
            self.last = []

    def take(self) -> list[Row]:
        if not self.first and self.blocks:
            self.first = zlib.decompress(self.blocks.pop(0)).split(b"\n")
        elif not self.first:
            self.first, self.last = self.last, []
        rows = [Row(self.table, *json.loads(line)) for line in self.first]
        taken = list(takewhile(lambda row: row.day == rows[0].day, rows))
        del self.first[: len(taken)]
        return taken

    def __bool__(self) -> bool:
        return bool(self.first or self.blocks or self.last)


@dataclass(slots=True, kw_only=True)
class _Call:
    """Something else to do in its turn; nothing is joined with it."""

    call: Callable[[], object]

    table = None


class Waiting:
    """A queue between the event loop, which puts, and the journal's thread, which takes.

    Every ``put_…`` returns whether somebody must begin to take: whoever takes goes on until there is nothing more.
    """

    def __init__(self) -> None:
        self._turns: deque[Trades | _Lines | _Call] = deque()
        # The rows of all waiting trades; how many of them belong together is known to their turns.
        self._parts: deque[pa.RecordBatch] = deque()
        self._lock = threading.Lock()
        self._taken = False

    def put_trades(
        self,
        batch: pa.RecordBatch,
        *,
        now_ns: int,
        marks: Mapping[str, int],
        size: int,
        written: Callable[[int], None],
    ) -> bool:
        """Add a batch of at least one row; see :class:`Trades`."""
        with self._lock:
            turn = self._behind(TableName.TRADES)
            if isinstance(turn, Trades) and turn.rows + batch.num_rows <= _JOINED and turn.written == written:
                turn.rows += batch.num_rows
                turn.now_ns = now_ns
                turn.marks.update(marks)
                turn.size += size
            else:
                rows = batch.num_rows
                turn = Trades(rows=rows, now_ns=now_ns, marks=dict(marks), size=size, written=written)
                self._turns.append(turn)
            self._parts.append(batch)
            self._join()
            return self._to_be_taken()

    def put_row(self, row: Row) -> bool:
        """Add a row of events or stats."""
        columns = {name: value for name, value in row.columns.items() if value is not None}
        line = json.dumps([columns, row.now_ns, row.standing], default=operator.index).encode()
        with self._lock:
            turn = self._behind(row.table)
            if not isinstance(turn, _Lines):
                turn = _Lines(table=row.table)
                self._turns.append(turn)
            turn.add(line)
            return self._to_be_taken()

    def put_call(self, call: Callable[[], object]) -> bool:
        """Add something else to do in its turn."""
        with self._lock:
            self._turns.append(_Call(call=call))
            return self._to_be_taken()

    def take(self) -> tuple[Trades, pa.RecordBatch] | list[Row] | Callable[[], object] | None:
        """Take what comes next, rows of one table and date; None if there is nothing more.

        After that the next ``put_…`` says that somebody must begin.
        """
        with self._lock:
            if not self._turns:
                self._taken = False
                return None
            turn = self._turns[0]
            if isinstance(turn, _Lines):
                rows = turn.take()
                if not turn:
                    self._turns.popleft()
                return rows
            self._turns.popleft()
            return (turn, self._cut(turn.rows)) if isinstance(turn, Trades) else turn.call

    def _to_be_taken(self) -> bool:
        before, self._taken = self._taken, True
        return not before

    def _behind(self, table: TableName) -> Trades | _Lines | _Call | None:
        """Return the turn that more of a table is joined with: the last one, but for those whose order is free."""
        for turn in reversed(self._turns):
            if turn.table is table:
                return turn
            if turn.table in {TableName.TRADES, TableName.EVENTS}:
                return None
        return None

    def _join(self) -> None:
        """Put the last parts together as a binary counter carries, so that each row is copied a few times only."""
        parts = self._parts
        while len(parts) > 1 and parts[-2].num_rows <= parts[-1].num_rows:
            if parts[-2].num_rows + parts[-1].num_rows > _JOINED:
                return
            last = parts.pop()
            parts.append(pa.concat_batches([parts.pop(), last]))

    def _cut(self, rows: int) -> pa.RecordBatch:
        """Take the first rows of the parts."""
        pieces = []
        while rows:
            part = self._parts.popleft()
            if part.num_rows > rows:
                self._parts.appendleft(part.slice(rows))
                part = part.slice(0, rows)
            pieces.append(part)
            rows -= part.num_rows
        return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    """Return rows of one table as a batch; by way of a struct it costs a tenth of `from_pylist` [measured]."""
    return pa.RecordBatch.from_struct_array(pa.array([row.columns for row in rows], _STRUCTS[rows[0].table]))
