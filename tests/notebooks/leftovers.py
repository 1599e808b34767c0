"""Processes that a notebook has started and left behind; what runs the notebook is not here."""

from __future__ import annotations

import time

import psutil

__all__ = ["MARK", "assert_nothing_left", "processes_with"]

MARK = "NOTEBOOK_TEST"
"""The variable that a kernel gets, and with it everything that descends from it."""


def processes_with(mark: str) -> list[psutil.Process]:
    """Every process that descends from a kernel started with this mark in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # ended meanwhile, or somebody else's
            continue
    return found


def assert_nothing_left(mark: str, *, within: float = 30) -> None:
    """Wait until all of them have ended."""
    deadline = time.monotonic() + within
    while (left := processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, [process.cmdline() for process in left]
