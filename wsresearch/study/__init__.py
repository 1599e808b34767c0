"""What the break cost: pure functions, tables in, tables out; no file, no socket and no picture is here."""

from __future__ import annotations

from wsresearch.study.admission import Admission
from wsresearch.study.connections import CONNECTIONS, STATES, connections, states
from wsresearch.study.contention import contention
from wsresearch.study.crowd import Member
from wsresearch.study.gaps import GAPS, gaps
from wsresearch.study.holes import HOLES, holes
from wsresearch.study.outages import ATTEMPTS, OUTAGES, attempts, outages, report
from wsresearch.study.storm import storm
from wsresearch.study.storm_result import Storm

__all__ = [
    "ATTEMPTS",
    "CONNECTIONS",
    "GAPS",
    "HOLES",
    "OUTAGES",
    "STATES",
    "Admission",
    "Member",
    "Storm",
    "attempts",
    "connections",
    "contention",
    "gaps",
    "holes",
    "outages",
    "report",
    "states",
    "storm",
]
