"""What the break cost: pure functions, tables in, tables out; no file, no socket and no picture is here."""

from __future__ import annotations

from wsresearch.study.admission import Admission
from wsresearch.study.attempts import ATTEMPTS, attempts
from wsresearch.study.connections import CONNECTIONS, STATES, connections, states
from wsresearch.study.contention import contention
from wsresearch.study.crowd import Member
from wsresearch.study.gaps import GAPS, gaps
from wsresearch.study.holes import HOLES, HoleState, holes
from wsresearch.study.incidence import INCIDENCE, incidence
from wsresearch.study.listings import LISTINGS, listing
from wsresearch.study.loss import LOSSES, balance, losses
from wsresearch.study.outages import OUTAGES, Detector, outages
from wsresearch.study.policies import COMPARISON, compare
from wsresearch.study.replay import REPLAY, replay
from wsresearch.study.report import report
from wsresearch.study.serverdown import SERVER_DOWN, server_down
from wsresearch.study.staleness import STALENESS, TIMEOUTS, Staleness, staleness
from wsresearch.study.starts import STARTS, starts
from wsresearch.study.storm import storm
from wsresearch.study.storm_result import Storm
from wsresearch.study.survival import HAZARD, LOGRANK, QUANTILES, SURVIVAL, hazard, logrank, quantiles, survival
from wsresearch.study.sweep import MISSING, SYMBOLS, Sweep, sweep

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
    "LOSSES",
    "MISSING",
    "OUTAGES",
    "QUANTILES",
    "REPLAY",
    "SERVER_DOWN",
    "STALENESS",
    "STARTS",
    "STATES",
    "SURVIVAL",
    "SYMBOLS",
    "TIMEOUTS",
    "Admission",
    "Detector",
    "HoleState",
    "Member",
    "Staleness",
    "Storm",
    "Sweep",
    "attempts",
    "balance",
    "compare",
    "connections",
    "contention",
    "gaps",
    "hazard",
    "holes",
    "incidence",
    "listing",
    "logrank",
    "losses",
    "outages",
    "quantiles",
    "replay",
    "report",
    "server_down",
    "staleness",
    "starts",
    "states",
    "storm",
    "survival",
    "sweep",
]
