"""Every silence between neighbouring messages, sorted by what it was: ordinary, in an outage, or across a stop of ours.

The table of :func:`wsresearch.study.gaps.gaps` is for looking at single gaps; here ten million of them are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.notebook.columns import nanoseconds
from wsresearch.schema import TRADES, EventKind
from wsresearch.study.gaps import GAPS
from wsresearch.study.rows import Event, checked

__all__ = ["Silences", "across_a_stop", "runs_of", "silences_in", "silences_of", "silences_without_trades"]

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Silences:
    """Lengths in ns, rising; ``stops`` counts those in which nobody listened, whose length says nothing."""

    ordinary: _Ints
    outages: _Ints
    stops: int

    def __len__(self) -> int:
        return len(self.ordinary) + len(self.outages)

    @property
    def longest(self) -> int:
        """Return the longest length in ns, 0 if there is none."""
        return max((int(part[-1]) for part in (self.ordinary, self.outages) if len(part)), default=0)

    def longer_than(self, least: int) -> Silences:
        """Return those that are longer than so many ns."""
        ordinary, outages = (
            part[np.searchsorted(part, least, side="right") :] for part in (self.ordinary, self.outages)
        )
        return Silences(ordinary=ordinary, outages=outages, stops=self.stops)


def runs_of(rows: list[Event]) -> Mapping[int, int]:
    """Return the run of each connection."""
    return {row.connection: row.run for row in rows if row.kind == EventKind.OPENED and row.connection is not None}


def _differ(before: _Ints, after: _Ints, runs: Mapping[int, int]) -> NDArray[np.bool_]:
    """Tell where two connections belong to different runs; of an unknown one that is not said."""
    there = [(runs.get(a), runs.get(b)) for a, b in zip(before.tolist(), after.tolist(), strict=True)]
    return np.array([a is not None and b is not None and a != b for a, b in there], dtype=bool)


def across_a_stop(gaps: pa.Table, runs: Mapping[int, int]) -> NDArray[np.bool_]:
    """Return for each gap whether the collector was stopped, killed or started again in it."""
    before, after = (np.asarray(gaps[f"connection_{side}"].fill_null(0)) for side in ("before", "after"))
    found = np.zeros(len(gaps), dtype=bool)
    changed = np.flatnonzero(before != after)
    found[changed] = _differ(before[changed], after[changed], runs)
    return found


def _sorted(lengths: _Ints, outage: _Ints, stopped: _Ints) -> Silences:
    """Part lengths by the positions of those in outages and those across stops; a stop in an outage is a stop."""
    outage = np.setdiff1d(outage, stopped)
    kept = np.delete(lengths, np.concatenate((outage, stopped)))
    kept.sort()
    return Silences(ordinary=kept, outages=np.sort(lengths[outage]), stops=len(stopped))


def silences_in(trades: Any, lost: pa.Table, runs: Mapping[int, int]) -> Silences:
    """Return all silences between the messages of a stream.

    Rows that were fetched over REST (connection 0) are no messages of the stream and fill no silence.

    Parameters
    ----------
    trades
        The trades table, in any order; ``recv_time`` and ``connection`` are needed.
    lost
        The table of :func:`wsresearch.study.outages.outages`.
    runs
        What :func:`runs_of` returns.
    """
    table = checked(trades, TRADES, ("recv_time", "connection"), name="trades")
    if pc.any(pc.equal(table["connection"], 0)).as_py():
        table = table.filter(pc.not_equal(table["connection"], 0))
    time = nanoseconds(table["recv_time"])
    connection = np.asarray(table["connection"].fill_null(0))
    if (time[1:] < time[:-1]).any():
        order = np.argsort(time, kind="stable")
        time, connection = time[order], connection[order]
    lengths = np.diff(time)
    changed = np.flatnonzero(connection[1:] != connection[:-1])
    stopped = changed[_differ(connection[changed], connection[changed + 1], runs)]
    # No market message arrives in an outage, so its middle lies in the gap that it explains, whatever a clock rounds.
    middle = nanoseconds(lost["began"]) + (lost["silence"].to_numpy() * 0.5e9).astype(np.int64)
    at = np.searchsorted(time, middle, side="right") - 1
    outage = np.unique(at[(at >= 0) & (at < len(lengths))])
    return _sorted(lengths, outage, stopped)


def silences_without_trades(lost: pa.Table) -> Silences:
    """Return the silences of the outages that ended, where nothing else is known."""
    ended = lost.filter(pc.invert(lost["censored"]))
    lengths = np.sort(np.rint(ended["silence"].to_numpy() * 1e9).astype(np.int64))
    return Silences(ordinary=np.empty(0, dtype=np.int64), outages=lengths, stops=0)


def silences_of(gaps: Any, runs: Mapping[int, int]) -> Silences:
    """Return the silences of a table of :func:`wsresearch.study.gaps.gaps` that was made with ``outages``."""
    columns = ("seconds", "connection_before", "connection_after", "outage")
    table = checked(gaps, GAPS, columns, name="gaps")
    lengths = np.rint(table["seconds"].to_numpy() * 1e9).astype(np.int64)
    outage = np.flatnonzero(np.asarray(table["outage"].fill_null(0)))
    return _sorted(lengths, outage, np.flatnonzero(across_a_stop(table, runs)))
