"""How a measurement says what it found: a line that `benchmarks.__main__` gathers into the table of RESULTS.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

MARK: Final = "=> "


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure with its target.

    Parameters
    ----------
    what
        What was measured.
    target
        What it ought to be at least or at most.
    value
        What it is.
    reached
        Whether that is enough.
    stopped_by
        What stands in the way if it is not.
    """

    what: str
    target: str
    value: str
    reached: bool
    stopped_by: str = ""

    def say(self) -> None:
        """Print it."""
        verdict = "reached" if self.reached else f"NOT reached: {self.stopped_by or 'not known why'}"
        print(f"{MARK}{self.what} | {self.target} | {self.value} | {verdict}", flush=True)

    @classmethod
    def heard(cls, line: str) -> Self | None:
        """Read a line that `say` printed; None if it is another one."""
        if not line.startswith(MARK):
            return None
        what, target, value, verdict = line.removeprefix(MARK).strip().split(" | ", 3)
        reached, _, why = verdict.partition(": ")
        return cls(what=what, target=target, value=value, reached=reached == "reached", stopped_by=why)


def median(values: Iterable[float]) -> float:
    """Return the median; rounds alternate, so one that was disturbed does not count."""
    return statistics.median(values)


def peak_bytes() -> int:
    """Return the most memory that this process had in use.

    Not `ru_maxrss`: a process that was just started has inherited that of whoever started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(dict(line.split(":", 1) for line in status.splitlines())["VmHWM"].split()[0]) * 1024
