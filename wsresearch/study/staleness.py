"""How long a silence must be to give up a connection: false alarms against silence saved, on recorded traffic.

What a false alarm or a second of silence is worth is not here: that is the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.reconnect.causes import Cause
from wsresearch.study.law import Tail
from wsresearch.study.outages import OUTAGES
from wsresearch.study.rows import as_table, checked
from wsresearch.study.sweep import LONGEST, Sweep

__all__ = ["STALENESS", "TIMEOUTS", "Staleness", "staleness"]

TIMEOUTS: Final = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0)

STALENESS: Final = pa.schema(
    [
        pa.field("idle_timeout", pa.float64()),
        pa.field("false_alarms", pa.int64()),
        pa.field("per_day", pa.float64()),
        pa.field("per_day_most", pa.float64()),
        pa.field("per_day_fitted", pa.float64()),
        pa.field("per_day_fitted_most", pa.float64()),
        pa.field("stalls", pa.int64()),
        pa.field("saved", pa.float64()),
    ]
)

_DAY: Final = 86_400.0
_CONFIDENCE: Final = 0.95
_TAIL: Final = 100
"""Longest silences that the law of longer ones is fitted to: enough for its shape, few enough to be a tail."""

_LEAST: Final = 10 * _TAIL
"""Silences below which no law is fitted: a tenth is a tail, half of them is not."""

_ERRORS: Final = 1.645
"""Standard errors that a one-sided 95 % bound lies away."""

_EXPECTED: Final = 1.0
"""Alarms, at the rate that is asked for, in what was recorded: below that a law is not asked. It then tells of silences
as rare as the longest that was seen, and hardly of rarer ones. Of windows of one steady process nine in ten are then
recommended the same within a factor of 3; of windows of a minute any candidate (``tests/study/test_steady.py``)."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """What each idle timeout would have done, and which one to take.

    Attributes
    ----------
    table
        One row for each candidate, see :func:`staleness`.
    watched
        Seconds that connections delivered: what the rates are rates of.
    tolerated
        False alarms a day that were allowed.
    idle_timeout
        The shortest candidate that keeps to that; None if none does.
    measured
        Whether its rate is bounded by what was recorded: ``per_day_most``. If not, too little was recorded, for
        without any false alarm it takes ``3 / tolerated`` days to bound the rate (the rule of three), and it is the
        shortest without one that the fitted law allows: ``per_day_fitted_most``. That is asked only from a third of
        those days on: when one alarm was to be expected at the tolerated rate.
    why
        Why none is recommended, as a clause; None if one is.
    """

    table: pa.Table
    watched: float
    tolerated: float
    idle_timeout: float | None
    measured: bool
    why: str | None = None

    @property
    def row(self) -> dict[str, Any] | None:
        """The row of the recommended timeout; None if there is none."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return next((row for row in rows if row["idle_timeout"] == self.idle_timeout), None)


def _detected(outages: Any) -> tuple[_Floats, _Floats]:
    """Return how late real losses were noticed, and after how long connections were given up that had lost nothing."""
    table = checked(outages, OUTAGES, ("cause", "detect", "ids_lost"), name="outages")
    detect = np.asarray(table["detect"].to_numpy(), dtype=np.float64)
    if not np.isfinite(detect).all() or (detect < 0).any():
        raise UsageError("column 'detect' of the outages table has a value that is no length of time")
    stalled = np.array([cause == Cause.STALLED for cause in table["cause"].to_pylist()], dtype=bool)
    # A venue that had nothing to say while we were away was silent, and the connection perhaps alive.
    alive = stalled & np.array([not lost for lost in table["ids_lost"].to_pylist()], dtype=bool)
    return detect[~alive], detect[alive]


def _fitted(swept: Sweep, seconds: _Floats) -> tuple[_Floats, _Floats] | None:
    """Return how many silences inside connections are longer, by the law fitted to the longest, and a bound on it."""
    if swept.ordinary < _LEAST:
        return None
    longest = swept.longest / 1e9
    law = Tail.fitted(longest[None, -_TAIL - 1 :], swept.ordinary)
    # What the sample has many of, it tells itself.
    seen = len(longest) - np.searchsorted(longest, seconds, side="right")
    near = seconds < longest[-_TAIL - 1]
    laws = (
        np.array([each.chance(seconds[at : at + 1])[0] for at in range(len(seconds))])
        for each in (law, law.heavier(_ERRORS))
    )
    told = [np.where(near, seen, chance * swept.ordinary) for chance in laws]
    return told[0], told[1]


def staleness(swept: Sweep, outages: Any, *, timeouts: Sequence[float] = TIMEOUTS, tolerated: float = 1.0) -> Staleness:
    """Tell for candidate idle timeouts what they would have cost and saved, and recommend one.

    Parameters
    ----------
    swept
        What :func:`wsresearch.study.sweep.sweep` found in the trades of the capture.
    outages
        The table of :func:`wsresearch.study.outages.outages`.
    timeouts
        Candidates in seconds.
    tolerated
        False alarms a day that a recommended timeout may raise.

    Returns
    -------
    Staleness
        Its ``table`` has the columns

        ==================== ==========================================================================
        ``idle_timeout``     the candidate, seconds
        ``false_alarms``     silences longer than it after which the same connection delivered again, and
                             connections that an idle timeout gave up although no id was lost meanwhile
        ``per_day``          the same for each day that connections delivered
        ``per_day_most``     upper end of its one-sided 95 % interval, alarms taken for a Poisson process
                             (Garwood 1936, Biometrika 28, 437)
        ``per_day_fitted``   by a generalized Pareto law fitted to the 100 longest silences, which goes beyond
                             what was recorded; null where fewer than 1,000 silences are known
        ``per_day_fitted_most``  the same with the shape at its 95 % bound: how wrong the law may be
        ``stalls``           real losses that it would have noticed before what did notice them
        ``saved``            seconds by which it would have noticed those earlier, together: the most
                             that could have been saved, for nobody knows whether the server would have been
                             there any sooner
        ==================== ==========================================================================

        ``false_alarms`` and the rates are null where more than 10,000 silences were longer, and without any trade.

    Raises
    ------
    UsageError
        If a timeout or ``tolerated`` is not positive, or a column is wrong.

    Notes
    -----
    Nights and weekends are quieter than the hours that were recorded may have been, and silences come in clusters, so
    the interval holds for more of the same only. An idle timeout that was in force cut silences short: beyond it
    there are at least as many false alarms as told.
    """
    from scipy.special import gammaincinv  # here, because every command that opens a capture imports this room

    for each in (*timeouts, tolerated):
        if not (isfinite(each) and each > 0):
            raise UsageError(f"{each} is no timeout or rate to ask for: timeouts and tolerated must be positive")
    if not timeouts:
        raise UsageError("timeouts is empty: give seconds to compare")
    real, alive = _detected(outages)
    candidates = np.array(sorted(set(timeouts)), dtype=np.float64)
    days = swept.watched / _DAY
    fitted = _fitted(swept, candidates)
    floor = swept.longest[0] / 1e9 if swept.ordinary > len(swept.longest) >= LONGEST else 0.0
    longest = swept.longest / 1e9
    rows: list[tuple[Any, ...]] = []
    for at, timeout in enumerate(candidates.tolist()):
        late = real[real > timeout]
        alarms: tuple[Any, ...] = (None,) * 5
        if days > 0 and timeout >= floor:
            count = int((longest > timeout).sum() + (alive > timeout).sum())
            most = float(gammaincinv(count + 1, _CONFIDENCE))
            laws = (None, None) if fitted is None else tuple(float(each[at]) / days for each in fitted)
            alarms = (count, count / days, most / days, *laws)
        rows.append((timeout, *alarms, len(late), float((late - timeout).sum())))
    measured = [row[0] for row in rows if row[3] is not None and row[3] <= tolerated]
    believed = [row[0] for row in rows if row[5] is not None and row[5] <= tolerated and row[1] == 0]
    if days * tolerated < _EXPECTED:
        believed = []
    chosen = min(measured or believed, default=None)
    return Staleness(
        table=as_table(rows, STALENESS),
        watched=swept.watched,
        tolerated=tolerated,
        idle_timeout=chosen,
        measured=bool(measured),
        why=None if chosen is not None else _why_none(swept, tolerated, candidates[-1]),
    )


def _why_none(swept: Sweep, tolerated: float, longest: float) -> str:
    """Say why no timeout is recommended, and from when on one could be."""
    rate = f"{tolerated:g} false alarm{'' if tolerated == 1 else 's'} a day"
    needed = _EXPECTED / tolerated * _DAY
    if swept.watched < needed:
        return f"it takes {needed / 3600:.3g} h to tell a rate of {rate}"
    if swept.ordinary < _LEAST:
        return f"of {_LEAST:,} silences that a law of longer ones is fitted to there are {swept.ordinary:,}"
    return f"even {longest:g} s may raise more than {rate}"
