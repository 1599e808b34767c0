"""What the break cost: pure functions, tables in, tables out; no file, no socket and no picture is here."""

from __future__ import annotations

from wsresearch.study.connections import CONNECTIONS, STATES, connections, states
from wsresearch.study.gaps import GAPS, gaps
from wsresearch.study.holes import HOLES, holes
from wsresearch.study.incidence import INCIDENCE, incidence
from wsresearch.study.listings import LISTINGS, listing
from wsresearch.study.outages import ATTEMPTS, OUTAGES, attempts, outages, report
from wsresearch.study.policies import COMPARISON, compare
from wsresearch.study.replay import REPLAY, replay
from wsresearch.study.serverdown import SERVER_DOWN, server_down
from wsresearch.study.survival import HAZARD, LOGRANK, QUANTILES, SURVIVAL, hazard, logrank, quantiles, survival

__all__ = [
    "ATTEMPTS",
    "COMPARISON",
    "CONNECTIONS",
    "GAPS",
    "HAZARD",
    "HOLES",
    "INCIDENCE",
    "LISTINGS",
    "LOGRANK",
    "OUTAGES",
    "QUANTILES",
    "REPLAY",
    "SERVER_DOWN",
    "STATES",
    "SURVIVAL",
    "attempts",
    "compare",
    "connections",
    "gaps",
    "hazard",
    "holes",
    "incidence",
    "listing",
    "logrank",
    "outages",
    "quantiles",
    "replay",
    "report",
    "server_down",
    "states",
    "survival",
]
