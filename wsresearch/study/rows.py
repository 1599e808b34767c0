"""Tables as the study reads them: checked, cast and in order; nothing is concluded from them here."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.schema import EVENTS

__all__ = [
    "Event",
    "as_arrow",
    "as_table",
    "checked",
    "int64",
    "nanoseconds",
    "plain_rows",
    "read_events",
    "seconds_between",
]

_NS: Final = 1_000_000_000
_INT64_MAX: Final = 2**63 - 1


class Event(NamedTuple):
    """One row of the events table; ``time`` is ns since 1970 UTC, and None stands for null."""

    seq: int
    time: int
    run: int
    kind: str
    connection: int | None
    outage: int | None
    attempt: int | None
    cause: str | None
    detail: str | None
    close_code: int | None
    close_by: str | None
    http_status: int | None
    delay: float | None
    drawn: float | None
    waited: float | None
    dns: float | None
    tcp: float | None
    tls: float | None
    upgrade: float | None
    symbol: str | None
    first_id: int | None
    last_id: int | None


_NEVER_NULL: Final = ("seq", "time", "run", "kind")


def as_arrow(table: Any, *, name: str) -> pa.Table:
    """Return anything that answers ``__arrow_c_stream__`` as a table.

    Raises
    ------
    UsageError
        If it is none.
    """
    if isinstance(table, pa.Table):
        return table
    try:
        return pa.table(table)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise UsageError(f"{name} must be an Arrow table, not {type(table).__name__}") from error


def checked(table: Any, schema: pa.Schema, columns: tuple[str, ...], *, name: str) -> pa.Table:
    """Return the named columns of a table with the types of a schema, in the order asked for.

    Parameters
    ----------
    table
        A ``pyarrow.Table``, or anything that answers ``__arrow_c_stream__`` (Polars, pandas, DuckDB).
    schema
        Where the types stand. Further columns of the table are ignored.
    columns
        The columns that are needed.
    name
        What the table is called in an error message.

    Raises
    ------
    UsageError
        If it is no table, or a column is missing or of another type; the message names the column.
    """
    table = as_arrow(table, name=name)
    taken = []
    for column in columns:
        found = table.schema.get_all_field_indices(column)
        if len(found) != 1:
            has = "no column" if not found else f"{len(found)} columns"
            raise UsageError(f"the {name} table has {has} {column!r}; read it without columns=")
        wanted = schema.field(column).type
        values = table.column(found[0])
        try:
            taken.append(values if values.type == wanted else values.cast(wanted))
        except pa.ArrowException as error:
            raise UsageError(
                f"column {column!r} of the {name} table is {values.type} and cannot be read as {wanted}"
            ) from error
    return pa.table(taken, schema=pa.schema([schema.field(column) for column in columns]))


def read_events(events: Any) -> list[Event]:
    """Return the events in the order they were written: by run, within a run by ``seq``.

    Wall time plays no part in the order, so a clock that stepped does not shuffle a run. What this function
    returned may be handed to it again, so whoever asks several questions of one table reads it once.

    Raises
    ------
    UsageError
        If a column is missing or of another type, or ``seq``, ``time``, ``run`` or ``kind`` is null.
    """
    if isinstance(events, list) and all(isinstance(row, Event) for row in events):
        return events
    table = checked(events, EVENTS, Event._fields, name="events")
    for column in _NEVER_NULL:
        if table.column(column).null_count:
            raise UsageError(f"column {column!r} of the events table has a null; every event has one")
    run, seq = (table.column(column).to_numpy() for column in ("run", "seq"))
    earlier = (run[1:] < run[:-1]) | ((run[1:] == run[:-1]) & (seq[1:] < seq[:-1]))
    if earlier.any():
        table = table.take(pa.array(np.lexsort((seq, run))))
    position = Event._fields.index("time")
    table = table.set_column(position, "time", table.column("time").cast(pa.int64()))
    return [Event._make(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def nanoseconds(table: pa.Table, column: str, name: str) -> NDArray[np.int64]:
    """Return a column of times as ns since 1970 UTC; `UsageError` if it has a null."""
    values = table.column(column)
    if values.null_count:
        raise UsageError(f"column {column!r} of the {name} table has a null; it cannot be put in order")
    return np.asarray(values.cast(pa.int64()).to_numpy(), dtype=np.int64)


def seconds_between(since: int, until: int) -> float:
    """Return the seconds between two times in ns; 0 if the wall clock stepped back between them."""
    return max(0, until - since) / _NS


def int64(value: int) -> int:
    """Return a count that fits a column: one absurd id (2^62) must not make a whole table unreadable."""
    return min(value, _INT64_MAX)


def as_table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Return rows, each in the order of the schema's columns, as a table of that schema."""
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * len(schema.names)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return a table's rows as dicts, times as ns since 1970 UTC: no time type of Python's holds a nanosecond."""
    for at, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            values = table.column(at).cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
            table = table.set_column(at, column.name, values)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
