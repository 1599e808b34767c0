"""Which segments of a capture are not there any more, in words; what they held nobody can tell."""

from __future__ import annotations

from wsresearch.capture.layout import Layout
from wsresearch.capture.scan import places
from wsresearch.schema import TableName

__all__ = ["Inventory"]

_NAMED = 5
"""Segments that are told by their numbers; of more there is an ellipsis."""


class Inventory:
    """Looks after the segments of a capture, whose numbers rise one by one; what was pruned is not missing.

    A number is used up even if a full disk let its segment not begin, so one that is missing may have held nothing.

    Parameters
    ----------
    layout
        The capture. A newest segment that goes is missed by whoever has seen it.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[TableName, set[int]] = {}

    def take(self) -> tuple[str, ...]:
        """Return what is missing now, a line for each table.

        Raises
        ------
        CaptureError
            If the directory cannot be listed.
        """
        missing = []
        for table in TableName:
            found = places(self._layout, table)
            there = set(found.numbers)
            known = self._known[table] = self._known.get(table, set()) | there
            gone = sorted(set(range(1, max(known, default=0) + 1)) - there)
            if found.pruned is not None:  # those went on purpose
                removed = found.pruned.numbers
                gone = [number for number in gone if number not in removed]
            if gone:
                which = ", ".join(map(str, gone[:_NAMED])) + (", …" if len(gone) > _NAMED else "")
                are, it = ("segment {} of {} is", "it") if len(gone) == 1 else ("segments {} of {} are", "they")
                missing.append(f"{are.format(which, table)} not there: what {it} held, if anything, is not shown")
        return tuple(missing)
