"""Run the notebooks from top to bottom and store them with their outputs, without what differs for no reason.

``python -m benchmarks.run_notebooks [NOTEBOOK …]``. What is stored is what the cells put out; times of execution,
versions of the kernel and models of widgets, which nobody can show without a kernel, are left out.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any, Final

import nbformat
from nbmake.nb_run import NotebookRun

ROOT: Final = Path(__file__).resolve().parents[1]
NOTEBOOKS: Final = ROOT / "notebooks"
WIDGET: Final = "application/vnd.jupyter.widget-view+json"
LARGEST: Final = 1_500_000
"""Bytes of a notebook that people still like to open."""

_MACHINE: Final = re.compile(r"/(?:home|root|tmp|work|Users|var)/[\w.-]+|\bpid \d+")
"""What would tell of the machine that ran it."""


def execute(path: Path, *, patience: int = 300) -> Any:
    """Run a notebook, where it lies and as the tests do, and return it with its outputs; the file is not changed.

    Parameters
    ----------
    path
        The notebook.
    patience
        Seconds that one cell may take.

    Raises
    ------
    RuntimeError
        If a cell raises, with its traceback.
    """
    done = NotebookRun(path, patience).execute()
    if done.error is not None:
        raise RuntimeError(f"{path.name}: {done.error.trace}")
    return done.nb


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
