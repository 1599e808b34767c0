"""A cell that is run again replaces its own panels, and nobody else's."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wsresearch.notebook.registry import Registry


class Standing:
    """Something in a cell."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def freeze(self) -> None:
        raise AssertionError("nobody asked for that")


class Cells:
    """A front end that runs cells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parent: Any = {}
        shell = SimpleNamespace(get_parent=lambda: self.parent, execution_count=1, user_ns={"In": [""]})
        self.shell = shell
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

    def run(self, message: str, *, code: str = "panel()", cell: str | None = None) -> None:
        metadata = {} if cell is None else {"cellId": cell}
        self.parent = {"header": {"msg_id": message}, "metadata": metadata, "content": {"code": code}}


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Cells:
    return Cells(monkeypatch)


def _place(registry: Registry, otherwise: object = None) -> Standing:
    made = Standing()
    registry.place(made, otherwise=otherwise)
    return made


@pytest.mark.parametrize("ids", [True, False], ids=["with cell ids", "by the text of the cell"])
def test_a_cell_run_again_replaces_its_panels(cells: Cells, ids: bool) -> None:
    """All that its earlier run showed; what other cells show stays, and so does all that one run shows."""
    registry = Registry()
    cells.run("1", cell="a" if ids else None, code="panel()")
    first, second = _place(registry), _place(registry)
    cells.run("2", cell="b" if ids else None, code="another panel()")
    other = _place(registry)
    assert not first.closed
    assert not second.closed
    cells.run("3", cell="a" if ids else None, code="panel()")
    again = _place(registry)
    assert first.closed
    assert second.closed
    assert not other.closed
    assert not again.closed


def test_a_shell_without_messages_has_inputs(cells: Cells) -> None:
    """Plain IPython: the text of the input is the cell, its number the run."""
    registry = Registry()
    del cells.shell.get_parent
    cells.shell.user_ns["In"] = ["", "panel()"]
    first = _place(registry)
    cells.shell.execution_count = 2
    _place(registry)
    assert first.closed


def test_without_ipython_the_capture_tells_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second panel of the same capture replaces the first."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    registry = Registry()
    first, other = _place(registry, "a"), _place(registry, "b")
    _place(registry, "a")
    assert first.closed
    assert not other.closed


def test_it_keeps_nothing_alive(cells: Cells) -> None:
    """Whoever drops a panel drops it."""
    registry = Registry()
    cells.run("1")
    reference = weakref.ref(_place(registry))
    gc.collect()
    assert reference() is None
    cells.run("2")
    _place(registry)


def test_panels_of_a_capture(cells: Cells, tmp_path: Path) -> None:
    """However its directory is written; panels without a capture are nobody's."""
    registry = Registry()
    cells.run("1")
    here, elsewhere, empty = Standing(tmp_path / "x" / ".." / "a"), Standing(tmp_path / "b"), Standing()
    for panel in (here, elsewhere, empty):
        registry.place(panel, otherwise=None)
    assert registry.of(tmp_path / "a") == [here]
