"""``make mutants``: plant each defect of :mod:`tests.mutants.defects` in a copy of the project and see it caught.

Prints which test noticed; exit code 1 if one was not noticed, or if the tests fail on the project as it is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tests.mutants.defects import DEFECTS, Defect

ROOT = Path(__file__).resolve().parents[2]
# Seconds for the tests of one defect, and for a single test: what hangs is told by its name.
_LONGEST = 600.0
_LONGEST_TEST = 90
_FAILED = re.compile(r"^(?:FAILED|ERROR) tests/([^\s\[]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one planted defect: whether a test failed, and which, or why there is no verdict."""

    caught: bool
    said: str
    seconds: float


def copied(folder: Path) -> Path:
    """Copy what git knows or would add, as it stands in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return folder


class NoVerdictError(Exception):
    """The tests said nothing about the defect: they could not be collected, or did not come to an end."""


def noticed(folder: Path, tests: Sequence[str]) -> str | None:
    """Run tests in a copy until one fails; return its name, None if all passed.

    Raises
    ------
    NoVerdictError
        If there is no verdict; a defect that only keeps the tests from running is not caught by one.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-rfE"]
    # Generated cases are the same each time, and none fails because the machine is slow.
    command += [
        "--hypothesis-profile",
        "ci",
        "--timeout",
        str(_LONGEST_TEST),
        "--override-ini",
        "timeout_method=signal",
    ]
    command += [f"tests/{name}" for name in tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_LONGEST
        )
    except subprocess.TimeoutExpired:
        raise NoVerdictError(f"nothing ended within {_LONGEST:g} s") from None
    failed = _FAILED.search(done.stdout)
    if done.returncode == 1 and failed is not None:
        return failed[1]
    if done.returncode == 0:
        return None
    raise NoVerdictError(f"pytest ended with {done.returncode}: {' '.join((done.stdout + done.stderr).split())[-200:]}")


def planted(folder: Path, defect: Defect) -> Result:
    """Plant a defect in a copy, run its tests, and take it out again."""
    module = folder / "wsresearch" / defect.path
    before = module.read_text(encoding="utf-8")
    module.write_text(before.replace(defect.old, defect.new), encoding="utf-8")
    began = time.monotonic()
    try:
        by = noticed(folder, defect.tests)
        said = "NOT CAUGHT" if by is None else by
    except NoVerdictError as exc:
        by, said = None, f"NOT CAUGHT: {exc}"
    finally:
        module.write_text(before, encoding="utf-8")
    return Result(caught=by is not None, said=said, seconds=time.monotonic() - began)


def main() -> int:
    """Plant, test, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="WORDS", help="only defects whose name or module contains this")
    parser.add_argument("--list", action="store_true", help="print the defects and plant none")
    asked = parser.parse_args()
    defects = [each for each in DEFECTS if not asked.only or asked.only in f"{each.name} {each.path}"]
    if not defects:
        parser.error(f"no defect has {asked.only!r} in its name or module; --list shows them")
    wide = max(len(each.name) for each in defects) + 2
    if asked.list:
        print("\n".join(f"{each.name:{wide}}{each.path}" for each in defects))
        return 0
    with tempfile.TemporaryDirectory(prefix="wsresearch-mutants-") as name:
        folder = copied(Path(name))
        every = list(dict.fromkeys(test for each in defects for test in each.tests))
        print(f"{len(every)} test modules and single tests on the project as it is", file=sys.stderr)
        try:
            first = noticed(folder, every)
        except NoVerdictError as exc:
            first = str(exc)
        if first is not None:
            print(f"no defect was planted, for the tests fail without one: {first}")
            return 1
        print(f"{'planted defect':{wide}}{'in':26}{'seconds':>7}  caught by", flush=True)
        missed = 0
        for defect in tqdm(defects, unit="defect", file=sys.stderr, disable=None):
            result = planted(folder, defect)
            missed += not result.caught
            tqdm.write(f"{defect.name:{wide}}{defect.path:26}{result.seconds:7.1f}  {result.said}", file=sys.stdout)
            sys.stdout.flush()
    print(f"\n{len(defects)} defects planted, {len(defects) - missed} caught, {missed} not")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
