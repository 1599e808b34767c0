"""Coverage-guided fuzzing of every target: ``python -m tests.fuzz.long --seconds 600``.

Makes an environment of its own with atheris in it, as nobody else needs that. Where atheris cannot be had, this says
so and fails nothing: hypothesis runs the same targets in the tests. An input that breaks a promise is kept in the
output folder and named; ``python -m tests.fuzz.long --input FILE --target NAME`` runs it again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS

ATHERIS = "atheris==3.0.0"
ENVIRONMENT = Path(".venv-fuzz")
OUTPUT = Path("fuzz-output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How it went: inputs tried, edges of the package's bytecode reached by the seeds and in the end, what broke."""

    runs: int
    begun_with: int
    reached: int
    broke: list[Path]


def environment() -> Path | None:
    """Return the interpreter of an environment with atheris, None where it cannot be had."""
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*install, "--constraint", "constraints.txt", "--editable", ".", ATHERIS],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing was said"]
        print(f"coverage-guided fuzzing NOT RUN: {ATHERIS} cannot be installed here: {lines[-1]}")
        return None
    return python


def fuzz(python: Path, name: str, *, seconds: int, seed: int) -> Result:
    """Fuzz one target for so many seconds."""
    folder = OUTPUT / name.replace(" ", "-")
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(TARGETS[name].seeds):
        (corpus / f"seed-{number}").write_bytes(content)
    before = set(folder.glob("broke-*"))
    done = subprocess.run(
        [
            *(python, "-m", "tests.fuzz.guided", name, f"-max_total_time={seconds}", f"-seed={seed}"),
            *(f"-artifact_prefix={folder}/broke-", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1", corpus),
        ],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    (folder / "log.txt").write_text(done.stdout + done.stderr)
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    edges = [int(found) for found in re.findall(r"\bcov: (\d+)", done.stderr)]
    broke = sorted(set(folder.glob("broke-*")) - before)
    if not runs or (done.returncode and not broke):
        tail = done.stderr.strip().splitlines() or ["nothing was said"]
        raise RuntimeError(f"{name}: the fuzzer ended with exit code {done.returncode}: {tail[-1]}")
    return Result(runs=int(runs[0]), begun_with=min(edges, default=0), reached=max(edges, default=0), broke=broke)


def main() -> int:
    """Fuzz and print a table; exit code 1 if anything broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default 600)")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="run the one target on this file, and do nothing else")
    asked = parser.parse_args()
    chosen = asked.target or list(TARGETS)
    if asked.input is not None:
        TARGETS[chosen[0]].run(asked.input.read_bytes())
        return 0
    python = environment()
    if python is None:
        return 0
    broke: list[Path] = []
    print(f"{'target':16} {'inputs':>10} {'edges of the seeds':>20} {'edges reached':>14} {'broke':>6}", flush=True)
    for name in chosen:
        found = fuzz(python, name, seconds=asked.seconds, seed=asked.seed)
        broke += found.broke
        figures = f"{found.runs:10,} {found.begun_with:20,} {found.reached:14,} {len(found.broke):6}"
        print(f"{name:16} {figures}", flush=True)
    for path in broke:
        print(f"broke a promise: {path}")
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
