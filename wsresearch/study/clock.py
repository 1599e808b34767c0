"""A wall clock that stepped, made straight again by what outages know of it; times only, no message is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.study.outages import OUTAGES
from wsresearch.study.rows import checked

__all__ = ["Clock"]

_A_STEP: Final = 1e-3
"""Seconds below which wall clock and monotonic clock are held to agree: what rounding and a slewed clock leave."""

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """By how many ns the receive times of each connection are ahead of a clock that never stepped.

    Within a connection receive times are advanced by the monotonic clock; only from one to the next can they step.

    Attributes
    ----------
    since
        ``int64[n]``, rising: the first connection after each step.
    ahead
        ``int64[n]``: ns from that connection on, all steps up to it together.
    """

    since: _Ints
    ahead: _Ints

    @classmethod
    def of(cls, outages: Any | None) -> Self:
        """Read the steps from a table of :func:`wsresearch.study.outages.outages`; None: no step is known."""
        empty = np.empty(0, dtype=np.int64)
        if outages is None:
            return cls(since=empty, ahead=empty)
        table = checked(outages, OUTAGES, ("next_connection", "clock_step"), name="outages")
        step = table.column("clock_step")
        table = table.filter(pc.fill_null(pc.greater(pc.abs(step), _A_STEP), fill_value=pa.scalar(value=False)))
        since = table.column("next_connection").to_numpy().astype(np.int64)
        order = np.argsort(since, kind="stable")
        steps = np.rint(table.column("clock_step").to_numpy() * 1e9).astype(np.int64)
        return cls(since=since[order], ahead=np.cumsum(steps[order]))

    def straight(self, time: _Ints, connection: NDArray[np.int32]) -> _Ints:
        """Return receive times in ns as a clock that never stepped would have shown them."""
        if not len(self.since):
            return time
        ahead = np.concatenate(([0], self.ahead))
        return time - ahead[np.searchsorted(self.since, connection, side="right")]
