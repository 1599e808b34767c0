"""What a person fills in to start a collector, and what that means; no widget and no collector is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import FullJitter
from wsresearch.reconnect.checked import parse_number
from wsresearch.reconnect.presets import POLICIES, PRESETS, parse_policy
from wsresearch.reconnect.reset import Reset
from wsresearch.venues import VENUES, venue_named

__all__ = ["MOST_PARAMETERS", "POLICY_NAMES", "RESET_EXAMPLES", "VENUE_NAMES", "Form", "parameters_of", "reset_of"]

VENUE_NAMES: Final = tuple(VENUES)
POLICY_NAMES: Final = (*POLICIES, *PRESETS)
"""Policies first, then the presets that wait as other projects do."""

RESET_EXAMPLES: Final = ("stable:60", "stable:5", "message", "open")
"""What a reset rule can look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What was filled in, all of it text as it was typed.

    Attributes
    ----------
    venue, symbols
        Symbols separated by commas or blanks.
    directory, url
        Where to; and where from, empty for the venue itself.
    policy, parameters
        Its name, and a text for each parameter; an empty one leaves the default.
    reset, idle_timeout
        The reset rule, and seconds.
    """

    venue: str = VENUE_NAMES[0]
    symbols: str = "btcusdt"
    directory: str = "data/btc"
    url: str = ""
    policy: str = FullJitter.name
    parameters: Mapping[str, str] = field(default_factory=dict)
    reset: str = "stable:60"
    idle_timeout: str = "30"

    @classmethod
    def filled(cls, **texts: Any) -> Self:
        """Return a form with some fields filled in; a policy brings the reset rule of its original.

        Raises
        ------
        UsageError
            Naming a field, venue, policy or parameter that there is not, and the choices.
        """
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(texts) - set(known)):
            raise UsageError(f"the form has no {', '.join(unknown)}; fill in {', '.join(known)}")
        form = cls(**{"reset": reset_of(texts.get("policy", FullJitter.name)), **texts})
        venue_named(form.venue)
        if odd := sorted(set(form.parameters) - set(parameters_of(form.policy))):
            choices = ", ".join(parameters_of(form.policy))
            raise UsageError(f"{form.policy} has no parameter {', '.join(odd)}; choose from {choices}")
        return form

    def arguments(self) -> tuple[str, str, dict[str, Any]]:
        """Return the arguments of :func:`wsresearch.collect`: stream, directory, and the others by name.

        Raises
        ------
        UsageError
            Naming what is missing or no number; everything else is checked by whoever takes the arguments.
        """
        symbols = self.symbols.replace(",", " ").split()
        if not symbols:
            raise UsageError("symbols is empty: write one or several, such as btcusdt, ethusdt")
        if not self.directory.strip():
            raise UsageError("directory is empty: write where the capture is to be, such as data/btc")
        parameters = {name: text.strip() for name, text in self.parameters.items() if text.strip()}
        options = {
            "url": self.url.strip() or None,
            "policy": parse_policy(self.policy, parameters),
            "reset": Reset.parse(self.reset.strip()),
            "idle_timeout": parse_number("idle-timeout", self.idle_timeout.strip()),
        }
        return f"{self.venue}:{','.join(symbols)}", self.directory.strip(), options


def parameters_of(policy: str) -> dict[str, str]:
    """Return the parameters of a policy or preset and their values as text, ``max_attempts`` last."""
    value = parse_policy(policy)
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    limit = found.pop("max_attempts")
    return {name: _text(each) for name, each in found.items()} | {"max_attempts": "" if limit is None else str(limit)}


def reset_of(policy: str) -> str:
    """Return the reset rule that goes with a policy: a preset brings that of its original."""
    return str(PRESETS[policy].reset if policy in PRESETS else Reset())


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


MOST_PARAMETERS: Final = max(len(parameters_of(policy)) for policy in POLICY_NAMES)
