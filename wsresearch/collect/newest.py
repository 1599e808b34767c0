"""The newest segments of a table, which tell how things stand: its rows, and what its writer noted of all before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from wsresearch.capture.layout import Layout
from wsresearch.capture.rows import metadata_of, segment_rows
from wsresearch.capture.scan import Place, places
from wsresearch.errors import CaptureDamaged, CaptureError
from wsresearch.safetext import safe
from wsresearch.schema import SCHEMAS, EventKind, TableName

__all__ = ["FURTHEST", "newest_rows", "noted"]

FURTHEST: Final = 16
"""Segments that are gone back to at most: to open a capture must not take long."""


def newest_rows(
    layout: Layout, table: TableName, columns: Sequence[str], *, at_least: int = 1
) -> tuple[Place | None, pa.Table]:
    """Return the rows of the newest segments, sealed or not, and the first segment they are of.

    Parameters
    ----------
    layout, table, columns
        What to read.
    at_least
        Rows for which further segments are gone back to; by default the last one that has rows will do. There may be
        fewer: the capture may have no more, or the segments be so small that `FURTHEST` of them have not as many.
        Nor are there any beyond a segment that is missing or cannot be read: rows are never returned with a gap.

    Returns
    -------
    tuple
        None and no row if there is none.

    Raises
    ------
    CaptureDamaged, CaptureError
        If the last segment that has rows cannot be read.
    """
    found: list[pa.Table] = []
    first: Place | None = None
    before = 0
    for place in reversed(places(layout, table)):  # the very last may have been begun this moment
        enough = len(found) == FURTHEST or sum(map(len, found)) >= at_least
        if first is not None and (enough or place.segment.number != before - 1):
            break
        before = place.segment.number
        try:
            rows = segment_rows(layout, place, columns=columns)
        except CaptureError:
            if first is None:
                raise
            break  # `verify` and every reader tell of it; what is newer is known all the same
        if len(rows):
            first, found = place, [rows, *found]
    return first, pa.concat_tables(found) if found else SCHEMAS[table].empty_table().select(list(columns))


def noted(layout: Layout, place: Place | None, key: bytes) -> dict[str, Any]:
    """Return the JSON object that the writer of a segment noted in its schema, wherever the segment is now.

    Raises
    ------
    CaptureDamaged
        If it is none that a writer of ours makes.
    """
    raw = metadata_of(layout, place).get(key, b"{}")
    try:
        told = json.loads(raw)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not all(map(_is_ours, told, told.values())):
        of, says = "a segment" if place is None else str(place.segment), safe(raw.decode(errors="replace"))
        raise CaptureDamaged(f"the note {key.decode()!r} of {of} is none that a collector wrote: {says}")
    return told


def _is_ours(name: str, value: object) -> bool:
    """Whether a note may say this: all are numbers but why and since when things stand as they do."""
    match name, value:
        case "cause" | "entered", None:
            return True
        case "cause", str():
            return True
        case "entered", {"time": int(), "kind": str() as kind}:
            return kind in set(EventKind)
        case "cause" | "entered", _:
            return False
    return isinstance(value, int)
