"""The runner of many days: what went wrong is told and can be repeated, what is done is not done again."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation import __main__ as runner

_ONE = ("--pattern", "flapping", "--hours", "0.1", "--jobs", "1")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.simulation", *arguments]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, check=False, timeout=100)


def test_kept_days_are_not_repeated_and_count(tmp_path: Path) -> None:
    """Whoever goes on after an interruption pays for no day twice, and gets the table of all of them."""
    kept = tmp_path / "days.jsonl"
    first = _run(*_ONE, "--seeds", "1", "--keep", str(kept))
    assert first.returncode == 0, first.stderr
    before = kept.read_text()
    more = _run(*_ONE, "--seeds", "2", "--keep", str(kept))
    assert more.returncode == 0, more.stderr
    assert "0 of 2 days went wrong" in more.stdout
    assert kept.read_text().startswith(before)
    assert [json.loads(line)["job"]["seed"] for line in kept.read_text().splitlines()] == [0, 1]


def test_a_kept_day_that_went_wrong_still_fails(tmp_path: Path) -> None:
    """A failure must not be forgotten by going on: exit code 1, and the command that repeats the day."""
    kept = tmp_path / "days.jsonl"
    assert _run(*_ONE, "--seeds", "1", "--keep", str(kept)).returncode == 0
    told = json.loads(kept.read_text())
    told["day"]["wrong"] = ["a row is missing"]
    kept.write_text(json.dumps(told) + "\n")
    again = _run(*_ONE, "--seeds", "1", "--keep", str(kept))
    assert again.returncode == 1
    assert "again: python -m tests.simulation --pattern flapping --first-seed 0 --seeds 1 --hours 0.1" in again.stdout


def test_what_is_no_day_is_refused(tmp_path: Path) -> None:
    """A file of something else is not taken for days, and named with its line."""
    kept = tmp_path / "days.jsonl"
    kept.write_text("{}\n")
    refused = _run(*_ONE, "--keep", str(kept))
    assert refused.returncode == 1
    assert "line 1 is no day" in refused.stderr


def test_a_day_that_breaks_off_is_a_wrong_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """One defect in the simulation itself must neither end hours of work nor pass for a good day."""

    def broken(*_: object, **__: object) -> None:
        raise AssertionError("nothing is scheduled")

    monkeypatch.setattr(runner, "simulate", broken)
    done = runner._one(runner._Job(pattern="short cuts", seed=7, hours=24.0))
    assert done.day.wrong == ("broke off: AssertionError: nothing is scheduled",)
    assert "in broken" in done.trace
    assert shlex.split(done.job.again)[-5:] == ["short cuts", "--first-seed", "7", "--seeds", "1"]


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_tells_what_it_has(told: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C after hours leaves a table and the way to go on, not a trace."""
    kept = tmp_path / "days.jsonl"
    command = _command(*_ONE, "--seeds", "5000", "--keep", str(kept))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not kept.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(told)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "go on with the same --keep" in err
    assert f"0 of {len(kept.read_text().splitlines())} days went wrong" in out
    assert "Traceback" not in err
