"""What a timeline is made of: its tables, its time axis and where its lanes are; nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

import matplotlib.dates as mdates
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from wsresearch.notebook.columns import nanoseconds
from wsresearch.notebook.marks import Floats
from wsresearch.notebook.palette import Look, Palette
from wsresearch.notebook.words import moment
from wsresearch.reconnect.actions import State
from wsresearch.study.connections import KILLED

__all__ = [
    "AWAY",
    "CONNECTING",
    "DENSE",
    "LANES",
    "LOST",
    "OPEN",
    "OUTAGES",
    "WAITING",
    "Clock",
    "Lane",
    "Scene",
    "spans",
]

_DAY_NS: Final = 86_400 * 10**9

DENSE: Final = 300
"""From this many outages on, single ones are narrower than a pixel: the lanes show shares of time instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A horizontal strip, in data coordinates, and the states that are drawn in it."""

    name: str
    bottom: float
    top: float
    states: tuple[str, ...] = ()


OUTAGES: Final = Lane(name="outages", bottom=5.0, top=7.5)
OPEN: Final = Lane(name="open", bottom=4.1, top=4.75, states=(State.OPEN,))
CONNECTING: Final = Lane(name="connecting", bottom=3.1, top=3.75, states=(State.CONNECTING,))
WAITING: Final = Lane(name="backing off", bottom=2.1, top=2.75, states=(State.BACKING_OFF,))
AWAY: Final = Lane(
    name="not running", bottom=1.1, top=1.75, states=(State.STOPPED, State.GAVE_UP, State.FAILED, KILLED)
)
LOST: Final = Lane(name="ids lost", bottom=0.1, top=0.75)
LANES: Final = (OUTAGES, OPEN, CONNECTING, WAITING, AWAY, LOST)


class Clock:
    """Turns ns since 1970 into positions on matplotlib's date axis."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        # A single event has no extent; a second around it is an axis.
        self.end = max(end, start + 10**9)
        self._base = float(mdates.date2num(np.datetime64(start, "ns")))  # type: ignore[no-untyped-call]

    @property
    def seconds(self) -> float:
        """Return how long the axis is."""
        return (self.end - self.start) / 1e9

    def at(self, time: NDArray[np.int64] | int) -> Any:
        """Return positions on the axis."""
        return self._base + (np.asarray(time, dtype=np.int64) - self.start) / _DAY_NS

    def ticks(self, ax: Axes) -> str:
        """Set the ticks of the time axis and return its label."""
        pad = (self.end - self.start) // 100
        ax.set_xlim(self.at(self.start - pad), self.at(self.end + pad))
        began, ended = moment(self.start), moment(self.end)
        if self.seconds <= 180:
            step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if self.seconds / step <= 10)
            elapsed = np.arange(0, self.seconds + step / 1000, step)
            labels = dict(zip(self.at(self.start) + elapsed / 86_400, elapsed, strict=True))
            ax.xaxis.set_major_locator(FixedLocator(list(labels)))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _at: f"{labels.get(x, 0):g}"))
            return f"seconds since {began} UTC"
        locator = mdates.AutoDateLocator(tz=UTC, maxticks=9)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        formatter = mdates.ConciseDateFormatter(locator, tz=UTC, show_offset=False)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_formatter(formatter)
        first, last = began[:10], ended[:10]
        return f"time (UTC), {first}" + (f" to {last}" if last != first else "")


def spans(outages: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return when each outage began and ended, in ns; one whose end was not seen lasts as long as it was seen."""
    began = nanoseconds(outages["began"])
    silent = began + (outages["silence"].to_numpy() * 1e9).astype(np.int64)
    seen = np.where(outages["censored"].to_numpy(zero_copy_only=False), silent, 0)
    return began, np.maximum(np.maximum(seen, nanoseconds(outages["ended"])), began)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that a timeline draws."""

    clock: Clock
    outages: pa.Table
    starts: pa.Table
    attempts: pa.Table
    holes: pa.Table
    states: pa.Table
    causes: list[str]
    """The cause of each outage as the legend shows it."""
    looks: dict[str, Look]
    palette: Palette

    @property
    def waits(self) -> float:
        """Return the seconds that passed in runs before their first message: without data, and in no outage."""
        return float(self.starts["silence"].to_numpy().sum())

    @property
    def received(self) -> bool:
        """Return whether any market data ever came."""
        return bool(self.starts["first_message"].null_count < len(self.starts))

    def spans(self) -> tuple[Floats, Floats]:
        """Return where each outage begins and ends on the axis."""
        began, ended = spans(self.outages)
        return self.clock.at(began), self.clock.at(ended)

    def in_lane(self, lane: Lane) -> tuple[Floats, Floats]:
        """Return where the stretches of a lane's states begin and end on the axis."""
        here = self.states.filter(pc.is_in(self.states["state"], pa.array(lane.states, pa.string())))
        return self.clock.at(nanoseconds(here["began"])), self.clock.at(nanoseconds(here["ended"]))
