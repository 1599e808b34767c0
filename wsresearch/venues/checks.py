"""Strict checks of whole columns: which texts are positive plain decimals, which integers plausible times.

Not here: what a message looks like; any venue. A check never raises for a value, it only marks the row.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.schema import TRADES

__all__ = [
    "DECIMAL",
    "FEW",
    "MAX_INT64",
    "is_natural",
    "is_plain_decimal",
    "is_zero",
    "plausible_times",
    "positive_decimals",
]

DECIMAL: Final = TRADES.field("price").type
"""decimal128(38, 18): 20 digits before the point, 18 after it."""

MAX_INT64: Final = 2**63 - 1

_PLAIN_TEXT: Final = r"[0-9]{1,20}(?:\.[0-9]{1,18})?"
_PLAIN_COLUMN: Final = rf"\A{_PLAIN_TEXT}\z"
_PLAIN: Final = re.compile(_PLAIN_TEXT)
FEW: Final = 64
"""Fewer texts are looked at by Python's expression, which is compiled once, and not by Arrow's, which every call
compiles anew: 3 µs instead of 20 for the two of a lone trade; at about a hundred they take the same time."""
# From bytes: pyarrow imports pandas, which takes longer than all else, as soon as it is handed Python's values.
_ZERO: Final = pa.Array.from_buffers(DECIMAL, 1, [None, pa.py_buffer(bytes(16))])[0]

_EARLIEST: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_LATEST: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())


def is_plain_decimal(text: object) -> bool:
    """Tell whether `text` is ASCII digits with at most one point: no sign, exponent, blank or underscore."""
    return isinstance(text, str) and _PLAIN.fullmatch(text) is not None


def is_zero(text: object) -> bool:
    """Tell whether `text` is a plain decimal of value zero."""
    return isinstance(text, str) and is_plain_decimal(text) and not text.strip("0.")


def positive_decimals(texts: list[str]) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Parse a column of decimal texts exactly.

    Returns
    -------
    values : decimal128(38, 18) array, shape (n,)
        Null where the text is no plain decimal.
    good : bool array, shape (n,)
        Where the value is a plain decimal above zero.
    """
    column = pa.array(texts, pa.string())
    if len(texts) < FEW:
        plain = pa.array(map(is_plain_decimal, texts), pa.bool_())
    else:
        plain = pc.match_substring_regex(column, _PLAIN_COLUMN)
    if plain.false_count:
        column = pc.if_else(plain, column, pa.scalar(None, pa.string()))
    values = column.cast(DECIMAL)
    good = pc.greater(values, _ZERO)
    if good.null_count:
        good = good.fill_null(False)
    return values, good.to_numpy(zero_copy_only=False)


def plausible_times(per_second: int) -> range:
    """Return the plausible times, `per_second` units to a second since 1970: 2000 up to 2100.

    Wide enough for any clock that is set at all, and narrow enough that milliseconds, microseconds and
    nanoseconds can never be taken for each other, as their ranges do not meet.
    """
    return range(_EARLIEST * per_second, _LATEST * per_second)


def is_natural(value: object) -> bool:
    """Tell whether `value` is an integer (no boolean) from 0 to `MAX_INT64`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INT64
