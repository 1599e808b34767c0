"""``make bench``: every measurement, one after the other; what they print is gathered in ``benchmarks/RESULTS.md``.

``python -m benchmarks [--short] [--only NAME …] [--again NAME …] [--no-peers]``. The short version takes minutes and
proves that everything runs; its figures mean little. Only the long one, on a machine with nothing else to do, writes
the file, unless ``--out`` names another one. ``--again`` repeats some and puts what they print in the place of what
stood there, with the date.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.rates import RECORDING

RESULTS: Final = Path(__file__).resolve().parent / "RESULTS.md"
SHORT: Final = {
    "framing": ["--rounds", "1", "--seconds", "0.2"],
    "rates": ["--rounds", "1"],
    "encodings": ["--rounds", "1", "--rows", "200000"],
    "endtoend": ["--rounds", "1", "--messages", "300000"],
    "stalls": ["--rounds", "1", "--messages", "1000000"],
    "peers": ["--rounds", "1", "--messages", "100000"],
    "trickle": ["--rounds", "1", "--seconds", "1"],
    "latency": ["--seconds", "3"],
    "recovery": ["--times", "10"],
    "overload": ["--seconds", "5"],
    "opening": ["--rounds", "1", "--segments", "864"],
    "hundred_million": ["--rows", "1000000", "--rounds", "1"],
    "contention": ["--rounds", "1"],
    "storm": ["--clients", "20000"],
    "replay": ["--seeds", "2", "--span", "600"],
    "two_hundred_faults": ["--count", "20"],
    "noticed": [],
    "panel": ["--seconds", "5", "--only", "20"],
    "recording": [str(RECORDING), "--speed", "40", "--kills", "5"],
}
"""Every measurement, with what makes it short."""
LONG: Final = {
    "hundred_million": ["--rows", "10000000"],
    "recording": [str(RECORDING)],
}
LIBRARIES: Final = ("websockets", "uvloop", "numpy", "pyarrow", "msgspec")


def main() -> int:
    """Run them; the exit code is the worst."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="minutes, to see that all of it runs")
    parser.add_argument("--only", nargs="+", choices=list(SHORT), help="these measurements alone")
    parser.add_argument("--again", nargs="+", choices=list(SHORT), help="repeat these, and replace their results")
    parser.add_argument("--no-peers", action="store_true", help="install and measure no other library")
    parser.add_argument("--out", type=Path, help="where to write what was found")
    options = parser.parse_args()
    names = options.again or options.only or [name for name in SHORT if not (options.no_peers and name == "peers")]
    out = options.out or (None if options.short or options.only else RESULTS)
    before = out.read_text(encoding="utf-8") if out is not None and options.again else None
    sections, figures, worst = [], [], 0
    for name in names:
        if name == "recording" and not RECORDING.exists():
            print("no recording beside the project: only made trades are measured")
            continue
        arguments = SHORT[name] if options.short else LONG.get(name, [])
        print(f"\n=== {name}", flush=True)
        code, lines = run([sys.executable, "-m", f"benchmarks.{name}", *arguments])
        worst = max(worst, code)
        figures += [figure for line in lines if (figure := Figure.heard(line))]
        text = "".join(line for line in lines if Figure.heard(line) is None).strip()
        failed = "" if not code else f"\n**It ended with exit code {code}.**\n"
        sections.append(f"## {name}\n\n`python -m benchmarks.{name}`\n{failed}\n```text\n{text}\n```\n")
        if out is not None:  # after each: a run that is cut off leaves what it found
            text = document(figures, sections, short=options.short)
            out.write_text(text if before is None else replaced(before, figures, sections), encoding="utf-8")
    if out is not None:
        print(f"\nwritten to {out.name}")
    return worst


def run(command: list[str]) -> tuple[int, list[str]]:
    """Run a measurement, show what it prints as it comes, and return that with its exit code."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, lines


def document(figures: list[Figure], sections: list[str], *, short: bool) -> str:
    """Put the results file together."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    rows = "".join(f"{as_row(figure)}\n" for figure in figures)
    return (
        f"# Results\n\nWritten by `python -m benchmarks{' --short' if short else ''}` on {datetime.now(UTC):%Y-%m-%d};"
        " not by hand. Each measurement alternates between what it compares in one run and prints medians: the ratios"
        f" hold, the absolute numbers are those of this machine.\n\n- machine: {machine()}\n"
        f"- Python {platform.python_version()}, {versions}\n\n"
        f"| figure | target | found | reached |\n|---|---|---|---|\n{rows}\n" + "\n".join(sections)
    )


def replaced(text: str, figures: list[Figure], sections: list[str]) -> str:
    """Put figures and sections in the place of those of the same names; the others stay as they were."""
    head, *parts = text.split("\n## ")
    now = {section.split("\n", 1)[0].removeprefix("## "): section.removeprefix("## ") for section in sections}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    parts = [
        now[name].replace("\n\n`", f"\n\nMeasured again on {today}, after the rest: `", 1) if name in now else part
        for part in parts
        for name in [part.split("\n", 1)[0]]
    ]
    rows = {figure.what: as_row(figure) for figure in figures}
    kept = [rows.pop(row[2:].split(" | ", 1)[0], row) if row.startswith("| ") else row for row in head.split("\n")]
    return "\n## ".join(["\n".join([*kept[:-1], *rows.values(), ""]), *(part.rstrip("\n") + "\n" for part in parts)])


def as_row(figure: Figure) -> str:
    """Write a figure as a row of the table."""
    reached = "yes" if figure.reached else f"**no**: {figure.stopped_by}"
    return f"| {figure.what} | {figure.target} | {figure.value} | {reached} |"


def machine() -> str:
    """Say what kind of machine this is, and how much else it had to do."""
    kinds = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    load = os.getloadavg()[2]
    return (
        f"{os.cpu_count()} cores of {kinds[0] if kinds else platform.machine()}, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}; load over the last quarter of an hour {load:.1f}"
    )


if __name__ == "__main__":
    began = time.monotonic()
    status = main()
    print(f"took {(time.monotonic() - began) / 60:.0f} min")
    sys.exit(status)
