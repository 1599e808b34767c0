"""The notebooks say what must hold, leave nothing behind when they are left, and read well on GitHub.

That they run from top to bottom is tested by ``pytest --nbmake notebooks``, a part of ``make test``.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import nbformat
import pytest

from benchmarks.run_notebooks import NOTEBOOKS, clean, complaints, execute
from tests.notebooks.leftovers import MARK, assert_nothing_left

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))

LEFT_HALF_WAY = """
import os, psutil

def is_ours(process):
    try:
        return process.environ().get("NOTEBOOK_TEST") == os.environ["NOTEBOOK_TEST"]
    except psutil.Error:
        return False

raise RuntimeError(f"left half way with {sum(map(is_ours, psutil.process_iter()))} processes")
"""


def test_each_says_in_code_what_must_hold() -> None:
    """No notebook is stored whose results nobody looks at: it is executed with nbmake, and its own asserts judge it."""
    assert len(ALL) >= 3
    for path in ALL:
        notebook = nbformat.read(path, as_version=4)
        code = [cell.source for cell in notebook.cells if is_code(cell)]
        assert any(len(re.findall(r"^assert ", source, re.MULTILINE)) >= 3 for source in code), path.name


@pytest.mark.timeout(600)
def test_a_notebook_left_half_way_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector outlives a kernel by design; a notebook for learning does not let it."""
    notebook = nbformat.read(NOTEBOOKS / "01_first_capture.ipynb", as_version=4)
    at = next(number for number, cell in enumerate(notebook.cells) if "wr.collect(" in cell.source and is_code(cell))
    del notebook.cells[at + 1 :]
    notebook.cells.append(nbformat.v4.new_code_cell(LEFT_HALF_WAY))
    path = tmp_path / "half.ipynb"
    nbformat.write(notebook, path)
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    with pytest.raises(RuntimeError, match=r"left half way with [3-9] processes"):
        execute(path)
    assert_nothing_left(mark, within=120)


def is_code(cell: Any) -> bool:
    return bool(cell.cell_type == "code")


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_is_stored_with_its_outputs_and_nothing_else(path: Path) -> None:
    """GitHub shows pictures and tables; no time of execution, no path and no process number of whoever ran it."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert complaints(text) == []
    code = [cell for cell in notebook.cells if is_code(cell)]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it from top to bottom"
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.output_type in {"stream", "execute_result", "display_data"} for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert nbformat.writes(clean(notebook, name=path.name)) + "\n" == text, "store it with benchmarks.run_notebooks"


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_its_text_states_no_measured_figure(path: Path) -> None:
    """Figures are computed by cells, so that text and results cannot come apart."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\d+(\.\d+)? ?%|\d,\d{3}", cell.source), cell.source
