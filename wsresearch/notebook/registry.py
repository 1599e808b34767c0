"""Which panels of this process stand in which cell, so that a cell run again replaces its own; no widget is here."""

from __future__ import annotations

import itertools
import sys
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

__all__ = ["PANELS", "Registry", "Replaceable"]


class Replaceable(Protocol):
    """What stands in a cell."""

    @property
    def root(self) -> Path | None:
        """The capture directory it shows, if any yet."""

    def close(self) -> None:
        """Leave nothing behind: no thread, no widget, no file."""

    def freeze(self) -> None:
        """The same, leaving its last look where it was shown."""


@dataclass(slots=True)
class _Cell:
    execution: object
    panels: list[weakref.ref[Replaceable]] = field(default_factory=list)


class Registry:
    """Panels by cell, weakly: to be here keeps nothing alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[object, _Cell] = {}
        self._counter = itertools.count()

    def place(self, panel: Replaceable, *, otherwise: object) -> None:
        """Note a panel made by the code that runs now, and close those that an earlier run of the same cell made.

        Parameters
        ----------
        panel
            The new one.
        otherwise
            What tells the place where there are no cells: outside IPython each call is a run of its own.
        """
        cell, execution = _running_cell() or (otherwise, next(self._counter))
        with self._lock:
            here = self._cells.get(cell)
            old = []
            if here is None or here.execution != execution:
                old = [] if here is None else here.panels
                here = self._cells[cell] = _Cell(execution)
            here.panels.append(weakref.ref(panel))
        for reference in old:
            if (replaced := reference()) is not None:
                replaced.close()

    def of(self, root: Path) -> list[Replaceable]:
        """Return the panels that show a capture."""
        with self._lock:
            found = [reference() for cell in self._cells.values() for reference in cell.panels]
        wanted = root.resolve()
        return [panel for panel in found if panel is not None and panel.root and panel.root.resolve() == wanted]


def _running_cell() -> tuple[object, object] | None:
    """Return what identifies the cell that runs now and this run of it; None outside IPython.

    JupyterLab and VS Code send a cell's id along; for front ends that do not, its text stands for it.
    """
    # Whoever runs in IPython has imported it; nobody else should wait for that.
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return None
    parent: Any = shell.get_parent() if hasattr(shell, "get_parent") else {}
    execution = parent.get("header", {}).get("msg_id") if isinstance(parent, dict) else None
    if execution is None:
        return ("cell", shell.user_ns.get("In", [""])[-1]), shell.execution_count
    cell = parent.get("metadata", {}).get("cellId") or parent.get("content", {}).get("code", "")
    return ("cell", cell), execution


PANELS: Final = Registry()
"""The panels of this process: cells outlive every object a panel could belong to."""
