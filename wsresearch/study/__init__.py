"""What the break cost: pure functions, tables in, tables out; no file, no socket and no picture is here."""

from __future__ import annotations

from wsresearch.study.connections import CONNECTIONS, STATES, connections, states
from wsresearch.study.gaps import GAPS, gaps
from wsresearch.study.holes import HOLES, holes
from wsresearch.study.incidence import INCIDENCE, incidence
from wsresearch.study.listings import LISTINGS, listing
from wsresearch.study.outages import ATTEMPTS, OUTAGES, attempts, outages, report
from wsresearch.study.survival import HAZARD, LOGRANK, QUANTILES, SURVIVAL, hazard, logrank, quantiles, survival

__all__ = [
    "ATTEMPTS",
    "CONNECTIONS",
    "GAPS",
    "HAZARD",
    "HOLES",
    "INCIDENCE",
    "LISTINGS",
    "LOGRANK",
    "OUTAGES",
    "QUANTILES",
    "STATES",
    "SURVIVAL",
    "attempts",
    "connections",
    "gaps",
    "hazard",
    "holes",
    "incidence",
    "listing",
    "logrank",
    "outages",
    "quantiles",
    "report",
    "states",
    "survival",
]
