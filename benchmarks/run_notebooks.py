"""Run the notebooks from top to bottom and store them with their outputs, without what differs for no reason.

``python -m benchmarks.run_notebooks [NOTEBOOK …]``. What is stored is what the cells put out; times of execution,
versions of the kernel and models of widgets, which nobody can show without a kernel, are left out.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

ROOT: Final = Path(__file__).resolve().parents[1]
NOTEBOOKS: Final = ROOT / "notebooks"
WIDGET: Final = "application/vnd.jupyter.widget-view+json"
LARGEST: Final = 1_500_000
"""Bytes of a notebook that people still like to open."""

_MACHINE: Final = re.compile(r"/(?:home|root|tmp|work|Users|var)/[\w.-]+|\bpid \d+")
"""What would tell of the machine that ran it."""


def execute(
    path: Path,
    *,
    folder: Path | None = None,
    patience: float = 300.0,
    checks: str = "",
    env: dict[str, str] | None = None,
) -> Any:
    """Run a notebook in a kernel of its own and return it; a cell that raises, raises.

    Parameters
    ----------
    path
        The notebook; it is not changed.
    folder
        Where its kernel starts; where the notebook lies, if nothing is said.
    patience
        Seconds that one cell may take.
    checks
        Code to run after the last cell, such as assertions on its results.
    env
        Variables for the kernel beside those of this process.
    """
    notebook = nbformat.read(path, as_version=4)
    if checks:
        notebook.cells.append(nbformat.v4.new_code_cell(checks))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    client = NotebookClient(
        notebook,
        timeout=patience,
        startup_timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder or path.parent)}},
        store_widget_state=False,
    )
    return client.execute(env={**os.environ, **(env or {}), "PYTHONPATH": os.pathsep.join(paths)})


def clean(notebook: Any, *, name: str) -> Any:
    """Take out what changes from run to run without meaning anything, and return the notebook."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"{name[:2]}-{number:02}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            for output in cell.outputs:
                output.get("metadata", {}).clear()
    return notebook


def complaints(text: str) -> list[str]:
    """Return what must not be in a stored notebook."""
    found = [f"tells of the machine: {match}" for match in sorted(set(_MACHINE.findall(text)))]
    if len(text) > LARGEST:
        found.append(f"{len(text):,} bytes are more than {LARGEST:,}")
    return found


def main() -> int:
    """Run and store; exit code 1 if one must not be stored as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path, nargs="*", default=sorted(NOTEBOOKS.glob("*.ipynb")))
    well = True
    for path in parser.parse_args().notebook:
        began = time.monotonic()
        notebook = clean(execute(path), name=path.name)
        nbformat.validate(notebook)
        text = nbformat.writes(notebook) + "\n"
        found = complaints(text)
        if not found:
            path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {time.monotonic() - began:.0f} s, {len(text):,} bytes", *found, sep="\n  ")
        well = well and not found
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
