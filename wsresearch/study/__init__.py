"""What the break cost: pure functions, tables in, tables out; no file, no socket and no picture is here."""

from __future__ import annotations

from wsresearch.study.attempts import ATTEMPTS, attempts
from wsresearch.study.connections import CONNECTIONS, STATES, connections, states
from wsresearch.study.gaps import GAPS, gaps
from wsresearch.study.holes import HOLES, HoleState, holes
from wsresearch.study.outages import OUTAGES, Detector, outages
from wsresearch.study.report import report

__all__ = [
    "ATTEMPTS",
    "CONNECTIONS",
    "GAPS",
    "HOLES",
    "OUTAGES",
    "STATES",
    "Detector",
    "HoleState",
    "attempts",
    "connections",
    "gaps",
    "holes",
    "outages",
    "report",
    "states",
]
