"""Columns of Arrow tables as NumPy arrays; no table is made and nothing is drawn here."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["nanoseconds"]


def nanoseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a time column as ns since 1970 UTC; a null becomes the least int64."""
    values = column.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
    return np.asarray(values.fill_null(np.iinfo(np.int64).min).to_numpy(), dtype=np.int64)
