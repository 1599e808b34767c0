"""What the break cost: pure functions, tables in, tables out; no file, no socket and no picture is here."""

from __future__ import annotations

from wsresearch.study.connections import CONNECTIONS, STATES, connections, states
from wsresearch.study.gaps import GAPS, gaps
from wsresearch.study.holes import HOLES, holes
from wsresearch.study.outages import ATTEMPTS, OUTAGES, attempts, outages, report

__all__ = [
    "ATTEMPTS",
    "CONNECTIONS",
    "GAPS",
    "HOLES",
    "OUTAGES",
    "STATES",
    "attempts",
    "connections",
    "gaps",
    "holes",
    "outages",
    "report",
    "states",
]
