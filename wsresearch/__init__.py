"""How does a market-data connection fail and recover, and what did it cost?

The public names, each imported when it is first used: ``import wsresearch`` opens no socket and loads no plot.

======================= ==============================================================================
collecting              ``collect, open_capture, Capture, Status, Collector, Config``
the rules               ``FullJitter, EqualJitter, Decorrelated, Exponential, Constant, Linear, Policy,``
                        ``PRESETS, parse_policy, Reset, Budget, Cause``
data                    ``to_pandas, schema, prune``
understanding           ``study, plots``
watching and steering   ``panel``, and :meth:`Capture.panel`, :meth:`Capture.watch`
trying out              ``lab, lab_panel``
errors                  ``WsresearchError`` and its children in ``wsresearch.errors``
======================= ==============================================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wsresearch import errors as errors
    from wsresearch import lab as lab
    from wsresearch import schema as schema
    from wsresearch import study as study
    from wsresearch.api import Capture as Capture
    from wsresearch.api import collect as collect
    from wsresearch.api import lab_panel as lab_panel
    from wsresearch.api import open_capture as open_capture
    from wsresearch.api import panel as panel
    from wsresearch.capture.prune import prune as prune
    from wsresearch.collect.collector import Collector as Collector
    from wsresearch.collect.config import Config as Config
    from wsresearch.collect.status import Status as Status
    from wsresearch.errors import UsageError as UsageError
    from wsresearch.errors import WsresearchError as WsresearchError
    from wsresearch.frames import to_pandas as to_pandas
    from wsresearch.notebook import plots as plots
    from wsresearch.reconnect.backoff import Constant as Constant
    from wsresearch.reconnect.backoff import Decorrelated as Decorrelated
    from wsresearch.reconnect.backoff import EqualJitter as EqualJitter
    from wsresearch.reconnect.backoff import Exponential as Exponential
    from wsresearch.reconnect.backoff import FullJitter as FullJitter
    from wsresearch.reconnect.backoff import Linear as Linear
    from wsresearch.reconnect.backoff import Policy as Policy
    from wsresearch.reconnect.budget import Budget as Budget
    from wsresearch.reconnect.causes import Cause as Cause
    from wsresearch.reconnect.presets import PRESETS as PRESETS
    from wsresearch.reconnect.presets import parse_policy as parse_policy
    from wsresearch.reconnect.reset import Reset as Reset

__version__ = "0.1.0"

_HOMES: Final = {
    "Budget": "wsresearch.reconnect.budget",
    "Capture": "wsresearch.api",
    "Cause": "wsresearch.reconnect.causes",
    "Collector": "wsresearch.collect.collector",
    "Config": "wsresearch.collect.config",
    "Constant": "wsresearch.reconnect.backoff",
    "Decorrelated": "wsresearch.reconnect.backoff",
    "EqualJitter": "wsresearch.reconnect.backoff",
    "Exponential": "wsresearch.reconnect.backoff",
    "FullJitter": "wsresearch.reconnect.backoff",
    "Linear": "wsresearch.reconnect.backoff",
    "PRESETS": "wsresearch.reconnect.presets",
    "Policy": "wsresearch.reconnect.backoff",
    "Reset": "wsresearch.reconnect.reset",
    "Status": "wsresearch.collect.status",
    "UsageError": "wsresearch.errors",
    "WsresearchError": "wsresearch.errors",
    "lab_panel": "wsresearch.api",
    "open_capture": "wsresearch.api",
    "panel": "wsresearch.api",
    "parse_policy": "wsresearch.reconnect.presets",
    "prune": "wsresearch.capture.prune",
    "to_pandas": "wsresearch.frames",
}
_ROOMS: Final = {
    "collect": "wsresearch.collect",  # a folder that can be called, see there
    "errors": "wsresearch.errors",
    "lab": "wsresearch.lab",
    "plots": "wsresearch.notebook.plots",
    "schema": "wsresearch.schema",
    "study": "wsresearch.study",
}

__all__ = sorted([*_HOMES, *_ROOMS])  # noqa: PLE0605 - names and homes stand in one place


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(_ROOMS[name])
    raise AttributeError(f"module 'wsresearch' has no attribute {name!r}; public names are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
