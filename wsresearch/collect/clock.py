"""Wall time that never steps back: read once, then advanced by the monotonic clock; reading clocks is not here.

Also what it means that a deadline was slept through: who judges a peer by one must first read what it said meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["WAKING_UP", "Anchor", "is_overslept"]

WAKING_UP: Final = 0.25
"""Seconds to read what came into the socket while this process slept."""
# An idle loop is late by a few milliseconds at most.
_LATE: Final = 0.05


def is_overslept(deadline: float, now: float) -> bool:
    """Whether this process slept through a deadline: SIGSTOP, a suspended machine, no core to run on.

    Parameters
    ----------
    deadline, now
        Monotonic seconds.
    """
    return now - deadline > _LATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One reading of both clocks, taken at the start of each attempt.

    A wall clock that is set while a connection lives changes nothing in that connection's times; the next
    attempt anchors anew, and the step between two anchors is what was gained or lost.

    Parameters
    ----------
    wall_ns
        Nanoseconds since 1970 UTC.
    mono
        Monotonic seconds at the same moment.
    """

    wall_ns: int
    mono: float

    def wall(self, mono: float) -> int:
        """Nanoseconds since 1970 UTC at the monotonic second ``mono``."""
        return self.wall_ns + round((mono - self.mono) * 1e9)

    def monotonic(self, wall_ns: int) -> float:
        """Monotonic second at which :meth:`wall` gives ``wall_ns``."""
        return self.mono + (wall_ns - self.wall_ns) / 1e9
