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
from pathlib import Path

from tqdm import tqdm

from tests.mutants.defects import DEFECTS, Defect

ROOT = Path(__file__).resolve().parents[2]
# Seconds for the tests of one defect, and for a single test: what hangs is told by its name.
_LONGEST = 600.0
_LONGEST_TEST = 90
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


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


def tested(folder: Path, tests: list[str]) -> tuple[bool, str]:
    """Run tests in a copy until one fails; return whether all passed, and the first that did not."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *(f"tests/{name}" for name in tests)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_LONGEST
        )
    except subprocess.TimeoutExpired:
        return False, f"nothing ended within {_LONGEST:g} s"
    if done.returncode not in {0, 1}:
        return False, f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-200:]}"
    failed = _FAILED.search(done.stdout)
    return done.returncode == 0, failed[1] if failed else ""


def main() -> int:
    """Plant, test, print."""
    parser = argparse.ArgumentParser(description="plant known defects and see whether the tests notice")
    parser.add_argument("--only", help="defects whose name contains this")
    asked = parser.parse_args()
    defects = [each for each in DEFECTS if not asked.only or asked.only in each.name]
    if not defects:
        parser.error(f"no defect's name contains {asked.only!r}")
    caught: list[tuple[Defect, bool, str, float]] = []
    with tempfile.TemporaryDirectory(prefix="wsresearch-mutants-") as name:
        folder = copied(Path(name))
        every = sorted({test for each in defects for test in each.tests})
        print(f"{len(every)} test modules on the project as it is", file=sys.stderr)
        well, first = tested(folder, every)
        if not well:
            print(f"the tests fail without any defect: {first}")
            return 1
        for defect in tqdm(defects, unit="defect", file=sys.stderr):
            module = folder / "wsresearch" / defect.path
            before = module.read_text(encoding="utf-8")
            module.write_text(before.replace(defect.old, defect.new), encoding="utf-8")
            began = time.monotonic()
            survived, by = tested(folder, list(defect.tests))
            caught.append((defect, not survived, by, time.monotonic() - began))
            module.write_text(before, encoding="utf-8")
    print(f"{'planted defect':62}{'in':26}{'seconds':>8}  caught by")
    for defect, noticed, by, seconds in caught:
        print(f"{defect.name:62}{defect.path:26}{seconds:8.1f}  {by if noticed else 'NOT CAUGHT'}")
    print(f"\n{sum(noticed for _, noticed, _, _ in caught)} of {len(caught)} caught")
    return int(not all(noticed for _, noticed, _, _ in caught))


if __name__ == "__main__":
    sys.exit(main())
