"""Tables for pandas; everything else takes a :class:`pyarrow.Table` as it is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wsresearch.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_pandas"]


def to_pandas(table: Any, *, exact: bool = False) -> pd.DataFrame:
    """Convert a table of ours for pandas.

    Parameters
    ----------
    table
        Any table of a capture, the pieces of :meth:`Capture.batches`, or a result with one table in it, such as that
        of :meth:`Capture.staleness`.
    exact
        Keep prices and quantities as :class:`decimal.Decimal`; by default they become float64, which pandas
        computes with a hundred times faster and which is exact to about 15 digits.

    Raises
    ------
    UsageError
        If it is no table; if it holds several, naming them.
    """
    found = _table_in(table)
    if not exact:
        for at, field in enumerate(found.schema):
            if pa.types.is_decimal(field.type):
                found = found.set_column(at, pa.field(field.name, pa.float64()), found[field.name].cast(pa.float64()))
    frame: pd.DataFrame = found.to_pandas()
    return frame


def _table_in(given: Any) -> pa.Table:
    if isinstance(given, pa.Table):
        return given
    if hasattr(given, "__arrow_c_stream__"):
        return pa.table(given)
    kind = type(given).__name__
    names = [field.name for field in dataclasses.fields(given)] if dataclasses.is_dataclass(given) else []
    held = {name: value for name in names if isinstance(value := getattr(given, name), pa.Table)}
    if len(held) == 1:
        return next(iter(held.values()))
    if held:
        raise UsageError(
            f"a {kind} holds several tables: give one of them, its {', '.join(f'.{name}' for name in held)}"
        )
    raise UsageError(f"{str(given)[:60]!r} ({kind}) is no table: give what a method of a capture returned")
