"""What is judged of a collector in a process of its own can fail: each planted defect is told as what it is."""

from __future__ import annotations

import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.drill.act import WORST, Act, on_processes
from tests.drill.judge import drilled
from tests.drill.test_judge import found, named

RAISES = """
import logging, threading, time

def raises():
    while True:
        time.sleep(0.2)
        logging.getLogger("wsresearch").error("a planted defect")

threading.Thread(target=raises, daemon=True).start()
"""
KEEPS = """
import threading, time
from pathlib import Path

kept = []

def opens():
    while True:
        time.sleep(0.2)
        kept.append(open("/dev/null"))
        kept.append(threading.Thread(target=time.sleep, args=(60,), daemon=True))
        kept[-1].start()

threading.Thread(target=opens, daemon=True).start()
"""
DOES_NOT_LEAVE = """
from wsresearch.collect.transport import WebSocketLink

WebSocketLink.abort = lambda self: None
"""
DIES = """
import os, threading, time

def dies():
    while os.readlink("/proc/self/fd/2") == os.devnull:  # before there is a log, nobody could be told
        time.sleep(0.01)
    1 / 0

threading.Thread(target=dies, daemon=True).start()
"""


def planted(defect: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every collector that is started from now on have a defect: Python runs such a file when it starts."""
    only = "import sys\nif 'wsresearch.collect.here' in sys.orig_argv:\n"
    folder.joinpath("sitecustomize.py").write_text(only + textwrap.indent(defect, "    "))
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    ("defect", "name", "told"),
    [
        (RAISES, "SIGSTOP", "the collector's log: "),
        (DIES, "SIGSTOP", "Traceback"),
        (KEEPS, "SIGSTOP", "descriptors and holds"),
        (KEEPS, "SIGSTOP", "threads and holds"),
        (DOES_NOT_LEAVE, "reconnect now, again and again", "connections were open at one time"),
    ],
    ids=["an error in the log", "an exception in a thread", "descriptors", "threads", "a connection that is kept"],
)
def test_a_defect_in_the_background(
    defect: str, name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error, an exception that nobody caught, something that is kept, a second connection: each fails the run."""
    planted(defect, tmp_path, monkeypatch)
    assert told in found(named(name))


def test_an_error_beside_a_link_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector in a network of its own is judged alike."""
    scenario = named("link down")
    planted(RAISES, tmp_path, monkeypatch)
    verdict = drilled(scenario, 1)
    if verdict.not_played:
        pytest.skip(verdict.not_played)
    assert "a planted defect" in "\n".join(verdict.problems)


def test_a_kill_that_costs_too_much() -> None:
    """What lay unread for as long as a process stood still is more than a kill may cost; what is allowed is told."""

    def act(doing: Act) -> None:
        collector = doing.started()
        doing.collecting()
        collector.suspend()
        time.sleep(1.0)
        doing.killed(collector)
        doing.started()
        doing.collecting()
        doing.stopped()

    def forgiven(doing: Act) -> None:
        doing.worst = 10_000
        act(doing)

    scenario = named("SIGKILL")
    assert "a cut may cost" in found(replace(scenario, play=on_processes(act)))
    verdict = drilled(replace(scenario, play=on_processes(forgiven)), 1)
    assert verdict.is_well
    assert verdict.lost == 0
    assert verdict.allowed > WORST
