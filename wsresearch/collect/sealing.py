"""The finished segments of a run and which of them are sealed; how one is sealed, and in which thread, is not here."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wsresearch.capture.disk import Disk
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.seal import SealCutShort, seal
from wsresearch.collect.memory import give_back
from wsresearch.errors import CaptureError
from wsresearch.schema import TableName

__all__ = ["Sealing"]

_log = logging.getLogger(__name__)


class Sealing:
    """Seals segments as they are finished, and tries again what the disk did not take.

    Parameters
    ----------
    layout, disk
        Where.
    on_step
        Called before each small step; may raise :class:`SealCutShort`.
    failed
        Hears that a segment could not be sealed; once for each, and of those that fail alike, one behind the other,
        of the first only.

    Attributes
    ----------
    unsealed
        Segments that are finished and not sealed yet.
    """

    def __init__(
        self, layout: Layout, *, disk: Disk, on_step: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        self.unsealed: list[Segment] = []
        self._layout = layout
        self._disk = disk
        self._on_step = on_step
        self._failed = failed
        self._told: set[Segment] = set()
        self._reasons: dict[TableName, str] = {}

    def finished(self, segment: Segment) -> None:
        """Seal a segment, behind those that are waiting already."""
        self.unsealed.append(segment)
        self.seal_rest()

    def seal_rest(self) -> None:
        """Seal what is not sealed, of each table until one fails: its folder may well refuse the others too.

        One that fails goes behind the others of its table, lest it alone keep them from being sealed.
        """
        refused: set[TableName] = set()
        for segment in list(self.unsealed):
            if segment.table in refused:
                continue
            try:
                seal(self._layout, segment, disk=self._disk, on_step=self._on_step)
            except SealCutShort:
                return
            except (OSError, CaptureError) as exc:
                # The journal stays where it is, readers read it there, and the next start seals it at the latest.
                refused.add(segment.table)
                self.unsealed.remove(segment)
                self.unsealed.append(segment)
                self._tell(segment, exc)
            else:
                self.unsealed.remove(segment)
                self._reasons.pop(segment.table, None)
                if segment in self._told:
                    self._told.remove(segment)
                    _log.info("%s is sealed after all", segment)
                give_back()

    def _tell(self, segment: Segment, exc: Exception) -> None:
        if segment in self._told:
            return
        self._told.add(segment)
        why = str((isinstance(exc, OSError) and exc.strerror) or exc)
        _log.warning("%s could not be sealed yet: %s", segment, why)
        if self._reasons.get(segment.table) != why:
            self._reasons[segment.table] = why
            self._failed(f"sealing {segment} fails and will be tried again: {why}")
