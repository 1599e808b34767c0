"""The local exchange: real message shapes, a tape, faults on purpose, and its own account of the truth.

Names are imported when first used, so that describing a tape or starting the exchange as a process loads no server.

=================  ================================================================
:class:`Exchange`  the exchange, ``async with``
:class:`Tape`      what it plays: a recording, or generated
:class:`FaultPlan` what goes wrong, when
:class:`Truth`     what should be there
`start`            the exchange as a child process, for notebooks and tests
=================  ================================================================
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wsresearch.lab.child import ExchangeProcess, start
    from wsresearch.lab.exchange import Exchange
    from wsresearch.lab.faults import Fault, FaultKind
    from wsresearch.lab.options import Begin, ExchangeOptions, FaultClock
    from wsresearch.lab.plan import FaultPlan
    from wsresearch.lab.recording import Others
    from wsresearch.lab.tape import Tape
    from wsresearch.lab.truth import Truth

__all__ = [
    "Begin",
    "Exchange",
    "ExchangeOptions",
    "ExchangeProcess",
    "Fault",
    "FaultClock",
    "FaultKind",
    "FaultPlan",
    "Others",
    "Tape",
    "Truth",
    "start",
]

_HOMES: Final = MappingProxyType(
    {
        "Begin": "options",
        "Exchange": "exchange",
        "ExchangeOptions": "options",
        "ExchangeProcess": "child",
        "Fault": "faults",
        "FaultClock": "options",
        "FaultKind": "faults",
        "FaultPlan": "plan",
        "Others": "recording",
        "Tape": "tape",
        "Truth": "truth",
        "start": "child",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
