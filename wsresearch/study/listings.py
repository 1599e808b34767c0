"""Two published reconnect listings as models: what one outage leaves of them, event by event.

What a policy does when one task owns the connection is not here (:mod:`wsresearch.study.replay`), nor what many
clients do to a server (:mod:`wsresearch.study.storm`).

Both listings keep one attempt counter for the program and schedule a reconnect in a callback. The second one
schedules it twice, because its library calls ``onError`` and then ``onClose`` for the same failure, and nobody
asks whether a reconnect is scheduled already. So one lost connection becomes several live ones, each delivering
every trade, or none at all: the ten retries are used up in a burst, and then nothing is left that could speak.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from types import MappingProxyType
from typing import Final

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Policy
from wsresearch.reconnect.checked import checked_count, checked_number
from wsresearch.reconnect.presets import PRESETS

__all__ = ["LISTINGS", "Listing", "Play", "listing"]


class _Step(IntEnum):
    """What can happen to one connection of a listing; at the same moment, in this order."""

    TRY = 0
    FAIL = 1
    MESSAGE = 2


class _NoLuck:
    """The listings have no jitter; one that drew would be another listing, so drawing is an error."""

    def random(self) -> float:
        raise AssertionError("a listing's policy has no jitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What one outage did to a listing; times in seconds since the connection was lost.

    Parameters
    ----------
    attempts
        When each try to open began, in order.
    failed
        How many of them were in vain.
    live
        Connections that are open once nothing is scheduled any more; each delivers every trade.
    recovered_at
        When the first market message came again; None if none ever did.
    gave_up_at
        When the last failure found no retry left while nothing was open or scheduled: from then on the program
        runs and is silent for ever. None if it did not come to that.
    """

    attempts: tuple[float, ...]
    failed: int
    live: int
    recovered_at: float | None
    gave_up_at: float | None

    @property
    def duplicates(self) -> int:
        """How many superfluous copies of each trade arrive from now on."""
        return max(0, self.live - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A client as it was published, for :meth:`play`.

    Parameters
    ----------
    name
        What it is called.
    policy
        Its delays, all of them counted by one counter; ``max_attempts`` is the most it counts to.
    per_failure
        How many reconnects each failure schedules.
    source
        What of the original makes it so.
    """

    name: str
    policy: Policy
    per_failure: int
    source: str

    def play(
        self,
        down_until: float,
        *,
        live: int = 1,
        refused_after: float = 0.0,
        opens_after: float = 0.0,
        first_message: float = 0.0,
    ) -> Play:
        """Lose every live connection at second 0, and see what is there when nothing is scheduled any more.

        Parameters
        ----------
        down_until
            The second from which on the server admits everybody; an attempt that begins at it succeeds.
        live
            Connections open before, all lost at once: what an earlier outage left, see :attr:`Play.live`.
        refused_after, opens_after
            Seconds an attempt takes that begins before, and from ``down_until`` on.
        first_message
            Seconds from the opening of a connection to its first market message, which resets the counter.

        Raises
        ------
        UsageError
            If a number is out of range.
        """
        down_until = checked_number("down_until", down_until, low=0.0)
        live = checked_count("live", live)
        refused_after, opens_after, first_message = (
            checked_number(name, seconds, low=0.0)
            for name, seconds in (
                ("refused_after", refused_after),
                ("opens_after", opens_after),
                ("first_message", first_message),
            )
        )
        order = count()
        ahead = [(0.0, _Step.FAIL, next(order)) for _ in range(live)]
        delays = self.policy.delays(_NoLuck())
        attempts: list[float] = []
        opened, recovered_at, gave_up_at = 0, None, None
        while ahead:
            now, step, _ = heapq.heappop(ahead)
            if step is _Step.FAIL:
                for _ in range(self.per_failure):
                    if (delay := next(delays, None)) is not None:
                        heapq.heappush(ahead, (now + delay, _Step.TRY, next(order)))
                if not ahead and not opened:
                    gave_up_at = now
            elif step is _Step.TRY:
                attempts.append(now)
                if now < down_until:
                    heapq.heappush(ahead, (now + refused_after, _Step.FAIL, next(order)))
                else:
                    opened += 1
                    heapq.heappush(ahead, (now + opens_after + first_message, _Step.MESSAGE, next(order)))
            else:
                recovered_at = now if recovered_at is None else recovered_at
                delays = self.policy.delays(_NoLuck())
        return Play(
            attempts=tuple(attempts),
            failed=len(attempts) - opened,
            live=opened,
            recovered_at=recovered_at,
            gave_up_at=gave_up_at,
        )


_SEED: Final = PRESETS["seed"].policy

LISTINGS: Final[Mapping[str, Listing]] = MappingProxyType(
    {
        each.name: each
        for each in (
            Listing(
                name="seed-okhttp",
                policy=_SEED,
                per_failure=1,
                source="OkHttp calls onFailure or onClosed, never both: one reconnect for each failure",
            ),
            Listing(
                name="seed-java-websocket",
                policy=_SEED,
                per_failure=2,
                source="Java-WebSocket calls onError and then onClose: two reconnects for each failure",
            ),
        )
    }
)
"""The listings by name."""


def listing(name: str) -> Listing:
    """Return a listing by its name; raise :class:`UsageError` with the choices if there is none of that name."""
    if name not in LISTINGS:
        raise UsageError(f"there is no listing called {name[:40]!r} (choices: {', '.join(LISTINGS)})")
    return LISTINGS[name]
