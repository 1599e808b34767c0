"""``python -m tests.audit``: known weaknesses of the pinned dependencies, as pip-audit knows them.

Makes an environment of its own. Where pip-audit or its database cannot be had, this says so and fails nothing: a check
that did not take place must not look like one that found nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

AUDIT = "pip-audit==2.10.1"
ENVIRONMENT = Path(".venv-audit")


def main() -> int:
    """Ask, and print what was said; exit code 1 if a dependency is known to be weak."""
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", AUDIT]
    if subprocess.run(install, check=False, capture_output=True).returncode:
        print(f"audit NOT RUN: {AUDIT} cannot be installed here")
        return 0
    command = [str(python), "-m", "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip"]
    done = subprocess.run([*command, "--format", "json"], check=False, capture_output=True, text=True)
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        print(f"audit NOT RUN: pip-audit gave no answer: {last}")
        return 0
    audited = [each for each in told if "vulns" in each]
    weak = [(each["name"], each["version"], vuln) for each in audited for vuln in each["vulns"]]
    for name, version, vuln in weak:
        fixed = ", ".join(vuln["fix_versions"]) or "none"
        print(f"{name} {version}: {vuln['id']}, mended in: {fixed}")
    if not audited:
        print(f"audit NOT RUN: none of {len(told)} dependencies is known to the database that can be reached here")
        return 0
    print(f"{len(audited)} of {len(told)} dependencies audited, {len(weak)} known weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
