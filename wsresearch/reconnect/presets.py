"""Policies by name: the text form of every policy, and presets that wait as other projects do.

The formulas are not here, see :mod:`~wsresearch.reconnect.backoff` and :mod:`~wsresearch.reconnect.peers`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import (
    Constant,
    Decorrelated,
    EqualJitter,
    Exponential,
    FullJitter,
    Linear,
    Policy,
)
from wsresearch.reconnect.checked import parse_count, parse_number
from wsresearch.reconnect.peers import (
    AdditiveJitter,
    DrawnFirst,
    DrawnStart,
    ProportionalJitter,
    Steps,
    WholeSeconds,
)
from wsresearch.reconnect.reset import Reset, ResetOn

__all__ = ["POLICIES", "PRESETS", "Preset", "parse_policy", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How one project reconnects.

    Parameters
    ----------
    policy, reset
        Its delays, and what returns them to the first one.
    source
        Where the numbers come from, and what of the original they leave out.
    """

    policy: Policy
    reset: Reset
    source: str


_ON_OPEN: Final = Reset(on=ResetOn.OPEN)
_ON_MESSAGE: Final = Reset(on=ResetOn.MESSAGE)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "seed": Preset(
            policy=Exponential(base=1, factor=2, cap=60, max_attempts=10),
            reset=_ON_MESSAGE,
            source="the listing this project began with: min(1000 * 2**n, 60000) ms, n from 1, 10 attempts",
        ),
        "websockets": Preset(
            policy=DrawnFirst(first=5, start=3.1, factor=1.618, cap=90),
            reset=_ON_OPEN,
            source="python-websockets/websockets 17: src/websockets/client.py (backoff), asyncio/client.py."
            " Its connect() docstring says 60 s, the constant is 90",
        ),
        "grpc": Preset(
            policy=ProportionalJitter(start=1, factor=1.6, cap=120, jitter=0.2),
            reset=_ON_OPEN,
            source="grpc/grpc: doc/connection-backoff.md (an older text begins at 20 s). There the delay"
            " counts from the start of an attempt, which has at least 20 s; here it counts from the failure."
            " That success begins anew is all it says of a reset",
        ),
        "tardis": Preset(
            policy=Exponential(base=0.5, factor=2, cap=32),
            reset=_ON_MESSAGE,
            source="tardis-dev/tardis-node@c1d73fb: src/realtimefeeds/realtimefeed.ts; the older 0161c01 has"
            " a cap of 16 s. Left out: without a Retry-After it waits 16 s * n after a 429 and 120 s after a"
            " 418, and it does not wait at all after a clean close",
        ),
        "cryptofeed": Preset(
            policy=Exponential(base=0.5, factor=2, cap=512, max_attempts=10),
            reset=_ON_OPEN,
            source="bmoscon/cryptofeed: cryptofeed/connection_handler.py, retries=10 in cryptofeed/feed.py."
            " It has no cap: 512 s is the tenth and last delay (it then sleeps 1024 s more before it raises)",
        ),
        "nautilus": Preset(
            policy=AdditiveJitter(start=2, factor=1.5, cap=30, jitter=0.1, at_once=True),
            reset=_ON_OPEN,
            source="nautechsystems/nautilus_trader@a95c804: crates/network/src/backoff.rs; its defaults and"
            " the immediate first attempt are in websocket/client.rs. The later 01da78b resets after 10 s of"
            " life",
        ),
        "unicorn_binance": Preset(
            policy=DrawnFirst(first=1, start=1, factor=1, cap=1),
            reset=_ON_OPEN,
            source="LUCIT-Systems-and-Development/unicorn-binance-websocket-api@00a999c (2.3.0.dev):"
            " unicorn_binance_websocket_api/manager.py (_keepalive_streams), connection.py. No backoff: a"
            " thread looks once a second for streams to restart. Left out: closing the old event loop can add"
            " seconds, a 429 adds 2 s, a restart without result is repeated after 6 s. Read, not measured",
        ),
        "python_binance": Preset(
            policy=WholeSeconds(cap=60, max_attempts=4),
            reset=_ON_OPEN,
            source="sammchardy/python-binance@27e5772: binance/ws/reconnecting_websocket.py. MAX_RECONNECTS"
            " is 5, but it counts before it compares: four attempts are made",
        ),
        "partysocket": Preset(
            policy=DrawnStart(low=1, high=5, factor=1.3, cap=10),
            reset=Reset(seconds=5),
            source="partykit/partykit: packages/partysocket/src/ws.ts, after pladaria/reconnecting-websocket."
            " There the first delay is drawn once per page load, here once per streak",
        ),
        "phoenix": Preset(
            policy=Steps(steps=(0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)),
            reset=_ON_OPEN,
            source="phoenixframework/phoenix: assets/js/phoenix/socket.js (reconnectAfterMs), timer.js."
            " Left out: it does not reconnect at all after a close with code 1000",
        ),
    }
)
"""What other projects do, by name."""

POLICIES: Final[Mapping[str, type[Policy]]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Constant,
            Linear,
            Exponential,
            FullJitter,
            EqualJitter,
            Decorrelated,
            ProportionalJitter,
            AdditiveJitter,
            DrawnFirst,
            DrawnStart,
            WholeSeconds,
            Steps,
        )
    }
)
"""Every kind of policy, by the name it has in text."""

_SPEC: Final = re.compile(r"(?P<name>[^()]*)(\((?P<parameters>[^()]*)\))?")


def parse_policy(text: str, args: Mapping[str, object] | None = None) -> Policy:
    """Read a policy from text.

    Parameters
    ----------
    text
        The name of a policy or of a preset, or a policy with parameters as ``str(policy)`` writes it:
        ``full-jitter(base=1.0, cap=30.0)``.
    args
        Further parameters by name; they replace those of ``text``, or of the preset.

    Returns
    -------
    Policy
        ``parse_policy(str(policy)) == policy`` for every policy.

    Raises
    ------
    UsageError
        For an unknown name, with the choices and the nearest one, and for a parameter that does not exist,
        cannot be read or is out of range.
    """
    if not isinstance(text, str):
        raise UsageError(f"policy must be text such as 'full-jitter(base=1, cap=30)', not {str(text)[:60]!r}")
    if args is not None and not isinstance(args, Mapping):
        raise UsageError(f"policy-args must be a dict such as {{'cap': 30}}, not {str(args)[:60]!r}")
    spec = _SPEC.fullmatch(text.strip())
    if spec is None:
        raise UsageError(f"policy must be a name or name(parameter=value, ...), not {text[:60]!r}")
    name = spec["name"].strip()
    if name in PRESETS:
        policy = PRESETS[name].policy
    elif name in POLICIES:
        policy = POLICIES[name]()
    else:
        raise UsageError(unknown("policy", name, [*POLICIES, *PRESETS]))
    given = _pairs(spec["parameters"] or "") | {name: str(value) for name, value in (args or {}).items()}
    known = {each.name: str(each.type) for each in fields(policy)}
    for parameter in given:
        if parameter not in known:
            raise UsageError(unknown(f"parameter of {name}", parameter, sorted(known)))
    values = {parameter: _READERS[known[parameter]](parameter, value) for parameter, value in given.items()}
    try:
        return replace(policy, **values)
    except UsageError as exc:
        if str(exc).partition(" ")[0] in values:
            raise
        # What is named was not given: a bound that was given has moved past it.
        raise UsageError(f"{exc}; what is not given is as in {name}: {policy}") from None


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(",") if text.strip() else []:
        parameter, equals, value = (each.strip() for each in part.partition("="))
        if not equals or parameter in pairs:
            raise UsageError(f"a policy's parameters are written name=value, each once, not {part.strip()[:40]!r}")
        pairs[parameter] = value
    return pairs


def unknown(what: str, given: str, choices: Sequence[str]) -> str:
    """Return the text of an error about a name that there is not, with the nearest one and all there are."""
    nearest = difflib.get_close_matches(given.lower(), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"there is no {what} called {given[:40]!r}{hint} (choices: {', '.join(choices)})"


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{name} must be true or false, not {text[:40]!r}")
    return text == "true"


# Fields say what they are by their annotation, which is text here: there is no second list to keep in step.
_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = MappingProxyType(
    {
        "float": parse_number,
        "bool": _flag,
        "int | None": lambda name, text: None if text == "none" else parse_count(name, text),
        "tuple[float, ...]": lambda name, text: tuple(parse_number(name, each) for each in text.split("/")),
    }
)
