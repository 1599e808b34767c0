"""The newest segment of a table, which tells how things stand: its rows, and what its writer noted of all before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from wsresearch.capture.layout import Layout
from wsresearch.capture.rows import metadata_of, segment_rows
from wsresearch.capture.scan import Place, places
from wsresearch.schema import SCHEMAS, TableName

__all__ = ["newest_rows", "noted"]


def newest_rows(layout: Layout, table: TableName, columns: Sequence[str]) -> tuple[Place | None, pa.Table]:
    """Return the last segment that has rows, sealed or not, and those rows; None and no row if there is none.

    Raises
    ------
    CaptureDamaged, CaptureError
        If it cannot be read.
    """
    for place in reversed(places(layout, table)):  # the very last may have been begun this moment
        if len(rows := segment_rows(layout, place, columns=columns)):
            return place, rows
    return None, SCHEMAS[table].empty_table().select(list(columns))


def noted(layout: Layout, place: Place | None, key: bytes) -> dict[str, Any]:
    """Return the JSON object that the writer of a segment noted in its schema, wherever the segment is now."""
    told: dict[str, Any] = json.loads(metadata_of(layout, place).get(key, b"{}"))
    return told
