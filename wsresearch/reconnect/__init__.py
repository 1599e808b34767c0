"""The rules of reconnection: numbers in, decisions out; no clock, no socket, no file is in this room.

Every name is in the module that defines it too; the state machine that applies the rules is
:mod:`~wsresearch.reconnect.lifecycle`.
"""

from __future__ import annotations

from wsresearch.reconnect.backoff import (
    AttemptsExhausted,
    Constant,
    Decorrelated,
    EqualJitter,
    Exponential,
    FullJitter,
    Linear,
    Policy,
    Rng,
)
from wsresearch.reconnect.budget import Budget, BudgetWindow
from wsresearch.reconnect.causes import (
    Cause,
    Failure,
    Severity,
    Verdict,
    classify,
    in_words,
    parse_retry_after,
    strike_of,
)
from wsresearch.reconnect.peers import (
    AdditiveJitter,
    DrawnFirst,
    DrawnStart,
    ProportionalJitter,
    Steps,
    WholeSeconds,
)
from wsresearch.reconnect.presets import POLICIES, PRESETS, Preset, parse_policy
from wsresearch.reconnect.reset import Reset, ResetOn

__all__ = [
    "POLICIES",
    "PRESETS",
    "AdditiveJitter",
    "AttemptsExhausted",
    "Budget",
    "BudgetWindow",
    "Cause",
    "Constant",
    "Decorrelated",
    "DrawnFirst",
    "DrawnStart",
    "EqualJitter",
    "Exponential",
    "Failure",
    "FullJitter",
    "Linear",
    "Policy",
    "Preset",
    "ProportionalJitter",
    "Reset",
    "ResetOn",
    "Rng",
    "Severity",
    "Steps",
    "Verdict",
    "WholeSeconds",
    "classify",
    "in_words",
    "parse_policy",
    "parse_retry_after",
    "strike_of",
]
