"""By which cause connections end, and by when, where only one of the causes can come first.

The share that lasts is not here (:mod:`~wsresearch.study.survival`); the two add up to one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.study.spans import DAY, checked_level, counts_at, known, read_spans

__all__ = ["INCIDENCE", "incidence"]

_Floats = NDArray[np.float64]

INCIDENCE: Final = pa.schema(
    [
        pa.field("cause", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("at_risk", pa.int64()),
        pa.field("ended", pa.int64()),
        pa.field("incidence", pa.float64()),
        pa.field("se", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

_UNKNOWN: Final = "unknown"


def incidence(data: Any, *, confidence: float = 0.95, limit: float | None = DAY) -> pa.Table:
    """Estimate by when which share of connections has ended by which cause: the Aalen–Johansen estimator.

    The causes compete: what was reset can no longer be closed. So one minus Kaplan–Meier of one cause, with the
    others taken for censored, is too much; these shares and the survival add up to one.

    Parameters
    ----------
    data, limit
        As for :func:`survival`: the table of connections, or one with ``seconds, observed`` and ``cause``. An end
        without a cause counts as ``unknown``. The outages table is refused: an outage ends in one way.
    confidence
        Level of the intervals, between 0 and 1.

    Returns
    -------
    pyarrow.Table
        For each cause, the most frequent first, one row for each time at which anything ended:

        =============== ============================================================================
        ``cause``       the cause
        ``seconds``     the time
        ``at_risk``     spans watched until just before it
        ``ended``       ends by this cause at it
        ``incidence``   estimated share that this cause has ended by then
        ``se``          standard error; null from where nothing is left on
        ``low, high``   pointwise interval; null where the incidence is 0 or 1, or ``se`` is null
        =============== ============================================================================

    Raises
    ------
    UsageError
        If a duration is null, negative or not a number, or a column is missing; the message names the column.

    Notes
    -----
    O. O. Aalen and S. Johansen, Scand. J. Statist. 5 (1978) 141–150. Variance by the delta method: G. E. Dinse
    and M. G. Larson, Biometrika 73 (1986) 379–386, as in E. Marubini and M. G. Valsecchi, *Analysing Survival Data
    from Clinical Trials and Observational Studies* (1995), chapter 10; with one cause it is Greenwood's. The
    interval is that of log(−log I), as there.
    """
    confidence = checked_level(confidence)
    spans = read_spans(data, limit=limit)
    if spans.whose == "silence":
        raise UsageError(
            "an outage ends in one way, by recovery; its column 'cause' says how it began: "
            "use survival(outages, by='cause')"
        )
    if spans.causes is None:
        raise UsageError("there is no column 'cause': it must say what ended each span")
    times = np.unique(spans.seconds[spans.ended])
    if not len(times):
        return INCIDENCE.empty_table()
    of = np.array([cause or _UNKNOWN for cause in spans.causes[spans.ended]])
    names, counts = np.unique(of, return_counts=True)
    at_risk = len(spans) - np.searchsorted(np.sort(spans.seconds), times, side="left")
    all_ends = counts_at(times, spans.seconds[spans.ended])
    parts = []
    for name in names[np.argsort(-counts, kind="stable")]:
        ends = counts_at(times, spans.seconds[spans.ended][of == name])
        share, error = _aalen_johansen(at_risk.astype(np.float64), all_ends, ends)
        low, high = _log_log(share, error, confidence)
        columns = [[str(name)] * len(times), times, at_risk, ends, share, known(error), known(low), known(high)]
        parts.append(pa.table([pa.array(each) for each in columns], schema=INCIDENCE))
    return pa.concat_tables(parts)


def _aalen_johansen(at_risk: _Floats, all_ends: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[_Floats, _Floats]:
    """Return the incidence of one cause and its standard error, NaN from where nothing is left."""
    left = at_risk - all_ends
    before = np.concatenate([[1.0], np.cumprod(left / at_risk)[:-1]])
    share = np.cumsum(before * ends / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = all_ends / (at_risk * left)
        # The three sums of the formula, with (I(t) - I(s))² multiplied out so that each is a running sum over s.
        once, twice, zeroth = (np.cumsum(greenwood * share**power) for power in (1, 2, 0))
        own = np.cumsum(before**2 * (at_risk - ends) * ends / at_risk**3)
        cross, cross_share = np.cumsum(before * ends / at_risk**2), np.cumsum(share * before * ends / at_risk**2)
        variance = share**2 * zeroth - 2 * share * once + twice + own - 2 * (share * cross - cross_share)
        # Where all that is left ends at once, 0 × ∞ stands for 0 if no cause but this one ended it before.
        return share, np.sqrt(np.where(left > 0, np.maximum(variance, 0.0), np.nan))


def _log_log(share: _Floats, error: _Floats, confidence: float) -> tuple[_Floats, _Floats]:
    from scipy.special import ndtri

    with np.errstate(divide="ignore", invalid="ignore"):
        spread = ndtri(0.5 + confidence / 2) * error / (share * np.log(share))
        inside = (share > 0) & (share < 1)
        return (
            np.where(inside, share ** np.exp(-spread), np.nan),
            np.where(inside, share ** np.exp(spread), np.nan),
        )
