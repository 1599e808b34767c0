"""The reset rule: what a connection must have done to return the policy to its first delay.

Counting attempts and delays is not here; a rule judges one finished life of a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from wsresearch.errors import UsageError
from wsresearch.reconnect.checked import checked_number, parse_number, short

__all__ = ["Reset", "ResetOn"]

_FORMS = "open, message or stable:SECONDS (such as stable:60)"


class ResetOn(StrEnum):
    """What a reset rule looks at."""

    OPEN = "open"
    MESSAGE = "message"
    STABLE = "stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """What returns a policy to its first delay.

    Parameters
    ----------
    on
        ``open``: the connection opened; a server that accepts and closes at once is then retried at the
        first delay for ever, hundreds of times a second where that delay is zero. ``message``: it delivered a
        market message. ``stable``: it lived for ``seconds``.
    seconds
        Life that proves stability, above 0; only for ``stable``.

    Raises
    ------
    UsageError
        If ``seconds`` does not fit ``on``.
    """

    on: ResetOn = ResetOn.STABLE
    seconds: float = 60.0

    def __post_init__(self) -> None:
        # "open" and "message" have no length: a normal form, so that equal rules compare equal.
        seconds = checked_number("seconds of stable", self.seconds, low=0.0, above_low=True)
        object.__setattr__(self, "seconds", seconds if self.on is ResetOn.STABLE else 60.0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``open``, ``message`` or ``stable:60``; raise :class:`UsageError` for anything else."""
        on, colon, seconds = text.partition(":")
        if on == ResetOn.STABLE and colon:
            return cls(seconds=parse_number("seconds of stable", seconds))
        if on in (ResetOn.OPEN, ResetOn.MESSAGE) and not colon:
            return cls(on=ResetOn(on))
        raise UsageError(f"reset rule must be {_FORMS}, not {text[:40]!r}")

    def __str__(self) -> str:
        return f"{self.on}:{short(self.seconds)}" if self.on is ResetOn.STABLE else str(self.on)

    @property
    def proves_stability(self) -> bool:
        """Whether a connection that satisfied the rule had shown that the server is healthy."""
        return self.on is ResetOn.STABLE

    def is_due(self, *, opened: bool, messages: bool, alive: float) -> bool:
        """Tell whether a connection with this life returns the policy to its first delay.

        Parameters
        ----------
        opened
            Whether the WebSocket opened at all.
        messages
            Whether it delivered at least one market message.
        alive
            Seconds it lived after it opened.
        """
        match self.on:
            case ResetOn.OPEN:
                return opened
            case ResetOn.MESSAGE:
                return opened and messages
            case ResetOn.STABLE:
                return opened and alive >= self.seconds
