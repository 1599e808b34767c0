"""What the break cost: pure functions, tables in, tables out; no file, no socket and no picture is here."""

from __future__ import annotations

from wsresearch.study.attempts import ATTEMPTS, attempts
from wsresearch.study.connections import CONNECTIONS, STATES, connections, states
from wsresearch.study.gaps import GAPS, gaps
from wsresearch.study.holes import HOLES, HoleState, holes
from wsresearch.study.outages import OUTAGES, Detector, outages
from wsresearch.study.report import report
from wsresearch.study.sweep import MISSING, SYMBOLS, Sweep, sweep

__all__ = [
    "ATTEMPTS",
    "CONNECTIONS",
    "GAPS",
    "HOLES",
    "MISSING",
    "OUTAGES",
    "STATES",
    "SYMBOLS",
    "Detector",
    "HoleState",
    "Sweep",
    "attempts",
    "connections",
    "gaps",
    "holes",
    "outages",
    "report",
    "states",
    "sweep",
]
