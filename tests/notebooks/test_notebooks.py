"""The notebooks run from top to bottom, come to the results they claim, leave nothing behind and read well."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient.exceptions import CellExecutionError

from benchmarks.run_notebooks import NOTEBOOKS, clean, complaints, execute

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))

# What must hold at the end of each, whatever the machine was doing meanwhile.
CHECKS = {
    "01_first_capture": """
assert comparison["stored, value for value"] > 1000
assert comparison["stored, value for value"] + len(lost) == comparison["trades the venue produced"]
assert comparison["lost, and in no hole"] == 0
assert comparison["in a hole, but never produced: the skipped numbers"] == 7
assert comparison["stored, but never produced"] == comparison["stored twice"] == 0
assert checked.ok, checked.problems
assert set(outages["cause"]) == {"reset", "stalled"} and outages["ids_lost"].sum() > 0
""",
    "02_gaps_and_backoff": """
assert outages.groupby("policy").size().to_dict() == dict.fromkeys(runs, len(plan))
assert (outages[list(phases)].sum(axis=1) - outages["silence"]).abs().max() < 1e-6
assert outages.query("not fault.str.startswith('503')")["late"].min() > -0.2, outages[["policy", "fault", "late"]]
assert by.loc[("gone for 5 s", "constant"), "attempts"] > by.loc[("gone for 5 s", "exponential"), "attempts"]
assert flapping["full jitter, reset on open"] > 2 * flapping["full jitter"]
assert herd.loc["full jitter"].iloc[2] < herd.loc["exponential"].iloc[2] / 5
""",
    "03_offline_research": """
assert checked.ok, checked.problems
assert by_place.index.tolist() == ["connection", "outage", "stop"]
assert incomplete["missing"].sum() == checked.symbols["BTCUSDT"].missing
assert costs["trades lost"].sum() == by_place.loc["outage", "ids"]
""",
    "04_policies": """
assert own["median_low"] <= observed <= own["median_high"]
assert (known["up_early"] <= known["up_late"]).all()
assert (lost, hasty) == ("as the seed", "constant 1 s")
assert (half_a_year["median_early"].to_numpy() == half_a_year["median_late"].to_numpy()).all()
assert [java.play(seconds).live for seconds in (30, 60, 90)] == [6, 5, 0]
assert max(okhttp.play(1000).attempts) == 362
assert copies > 5
""",
}

LEFT_HALF_WAY = """
import os, psutil

def is_ours(process):
    try:
        return process.environ().get("NOTEBOOK_TEST") == os.environ["NOTEBOOK_TEST"]
    except psutil.Error:
        return False

raise RuntimeError(f"left half way with {sum(map(is_ours, psutil.process_iter()))} processes")
"""


def processes_with(mark: str) -> list[psutil.Process]:
    """Every process that descends from a kernel started with this mark in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NOTEBOOK_TEST") == mark:
                found.append(process)
        except psutil.Error:  # ended meanwhile, or somebody else's
            continue
    return found


def assert_nothing_left(mark: str, *, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while (left := processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, [process.cmdline() for process in left]


def test_there_are_checks_for_each() -> None:
    """No notebook is stored whose results nobody looks at."""
    assert [path.stem for path in ALL] == list(CHECKS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path: Path) -> None:
    """Whoever presses "run all" gets the results that the text speaks of, and no process stays behind."""
    mark = uuid.uuid4().hex
    execute(path, checks=CHECKS[path.stem], env={"NOTEBOOK_TEST": mark})
    assert_nothing_left(mark)


@pytest.mark.timeout(600)
def test_a_notebook_left_half_way_leaves_nothing_running(tmp_path: Path) -> None:
    """The collector outlives a kernel by design; a notebook for learning does not let it."""
    notebook = nbformat.read(NOTEBOOKS / "01_first_capture.ipynb", as_version=4)
    at = next(number for number, cell in enumerate(notebook.cells) if "wr.collect(" in cell.source and is_code(cell))
    del notebook.cells[at + 1 :]
    path = tmp_path / "half.ipynb"
    nbformat.write(notebook, path)
    mark = uuid.uuid4().hex
    with pytest.raises(CellExecutionError, match=r"left half way with [3-9] processes"):
        execute(path, checks=LEFT_HALF_WAY, env={"NOTEBOOK_TEST": mark})
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
