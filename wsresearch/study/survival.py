"""How long connections live and recoveries take, with what was cut short counted as just that: *not over yet*.

Reading the tables is not here (:mod:`~wsresearch.study.spans`), nor are causes that compete
(:mod:`~wsresearch.study.incidence`), nor is anything counterfactual (:mod:`~wsresearch.study.replay`).

The mean of the lives that were seen to end is too short, because long lives are the ones still going on when the
record stops. The estimates here use a censored span for as long as it was watched and no longer. They rest on one
assumption: that a span was not cut short *because* it was about to end. A stop by hand is such a cut; a stop because
the connection had become bad is not, and no table can tell the two apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.reconnect.checked import checked_number
from wsresearch.study.rows import as_table
from wsresearch.study.spans import DAY, Spans, checked_level, counts_at, known, read_spans

__all__ = [
    "AGES",
    "HAZARD",
    "LOGRANK",
    "QUANTILES",
    "SURVIVAL",
    "hazard",
    "logrank",
    "quantiles",
    "survival",
]

_Floats = NDArray[np.float64]

SURVIVAL: Final = pa.schema(
    [
        pa.field("group", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("at_risk", pa.int64()),
        pa.field("ended", pa.int64()),
        pa.field("censored", pa.int64()),
        pa.field("survival", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

QUANTILES: Final = pa.schema(
    [
        pa.field("group", pa.string()),
        pa.field("share", pa.float64()),
        pa.field("seconds", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

HAZARD: Final = pa.schema(
    [
        pa.field("since", pa.float64()),
        pa.field("until", pa.float64()),
        pa.field("exposure", pa.float64()),
        pa.field("ended", pa.int64()),
        pa.field("rate", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

LOGRANK: Final = pa.schema(
    [
        pa.field("group", pa.string()),
        pa.field("spans", pa.int64()),
        pa.field("ended", pa.int64()),
        pa.field("expected", pa.float64()),
        pa.field("chi_square", pa.float64()),
        pa.field("p_value", pa.float64()),
    ]
)

AGES: Final = (60.0, 600.0, 3600.0, 6 * 3600.0, DAY)
"""Ages in seconds between which :func:`hazard` takes the rate for constant: a minute, ten, an hour, six, a day."""


def survival(
    data: Any,
    *,
    observed: Sequence[bool] | None = None,
    by: str | None = None,
    confidence: float = 0.95,
    limit: float | None = DAY,
) -> pa.Table:
    """Estimate the share that lasts longer than each time: the Kaplan–Meier estimator.

    Parameters
    ----------
    data, observed, by, limit
        Spans as :func:`wsresearch.study.spans.read_spans` takes them: the table of connections, of outages, a
        table with ``seconds`` and ``observed``, or durations with ``observed``. A connection that we ended, or
        that ended within a minute of ``limit``, is censored.
    confidence
        Level of the intervals, between 0 and 1.

    Returns
    -------
    pyarrow.Table
        One row for each group and each time at which something ended or was censored, rising:

        =============== ============================================================================
        ``group``       value of the column ``by`` as text; null without one
        ``seconds``     the time
        ``at_risk``     spans watched until just before it
        ``ended``       ends seen at it
        ``censored``    spans watched until it and no further
        ``survival``    estimated share that lasts longer
        ``low, high``   pointwise interval; null before the first end and where nothing is left, for there
                        the formula has no value
        =============== ============================================================================

    Raises
    ------
    UsageError
        If a duration is null, negative or not a number, or a column is missing; the message names the column.

    Notes
    -----
    E. L. Kaplan and P. Meier, JASA 53 (1958) 457–481; variance by Greenwood; the interval is the one of
    log(−log S), which stays between 0 and 1 (J. P. Klein and M. L. Moeschberger, *Survival Analysis*, 2nd ed.,
    section 4.3). Computed by :func:`scipy.stats.ecdf`.
    """
    confidence = checked_level(confidence)
    spans = read_spans(data, observed=observed, by=by, limit=limit)
    parts = [_kaplan_meier(group, of, confidence) for group, of in spans.by_group()]
    return pa.concat_tables([SURVIVAL.empty_table(), *parts])


def _kaplan_meier(group: str | None, spans: Spans, confidence: float) -> pa.Table:
    if not len(spans):
        return SURVIVAL.empty_table()
    from scipy.stats import ecdf

    curve = ecdf(_censored_data(spans)).sf
    with warnings.catch_warnings():
        # It warns where the formula has no value; the table has a null there.
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)
        band = curve.confidence_interval(confidence_level=confidence, method="log-log")
    times = curve.quantiles
    at_risk = len(spans) - np.searchsorted(np.sort(spans.seconds), times, side="left")
    ended = counts_at(times, spans.seconds[spans.ended])
    return pa.table(
        [
            pa.array([group] * len(times), pa.string()),
            pa.array(times),
            pa.array(at_risk),
            pa.array(ended),
            pa.array(counts_at(times, spans.seconds[~spans.ended])),
            pa.array(curve.probabilities),
            known(band.low.probabilities),
            known(band.high.probabilities),
        ],
        schema=SURVIVAL,
    )


def quantiles(curve: pa.Table, shares: Sequence[float] = (0.25, 0.5, 0.75)) -> pa.Table:
    """Return by when which share has ended, from a curve of :func:`survival`.

    Parameters
    ----------
    curve
        The table that :func:`survival` returned.
    shares
        Between 0 and 1; 0.5 is the median.

    Returns
    -------
    pyarrow.Table
        For each group and share: ``group, share, seconds, low, high``. ``seconds`` is the first time at which no
        more than ``1 - share`` lasts longer. ``low`` and ``high`` are the times at which the two ends of the
        band get there (Brookmeyer and Crowley, Biometrics 38 (1982) 29–41). What the record does not reach is
        null: "longer than we watched" is an answer, and no number.

    Raises
    ------
    UsageError
        If a share is not between 0 and 1, or ``curve`` is no such table.
    """
    if not isinstance(curve, pa.Table) or curve.schema != SURVIVAL:
        raise UsageError("quantiles() takes the table that survival() returned")
    for share in shares:
        checked_level(share, "each of shares")
    found: list[tuple[Any, ...]] = []
    groups = curve["group"].to_pylist()
    times = curve["seconds"].to_numpy()
    bands = [curve[name].to_numpy() for name in ("survival", "low", "high")]
    for group in dict.fromkeys(groups):
        of = np.array([each == group for each in groups])
        for share in shares:
            # The tolerance is for 1 - 0.9 and its like: 20 factors of (n - d) / n are exact to far less.
            reached = [np.flatnonzero(band[of] <= 1 - share + 1e-12) for band in bands]
            ats = [float(times[of][at[0]]) if len(at) else None for at in reached]
            found.append((group, float(share), *ats))
    return as_table(found, QUANTILES)


def hazard(
    data: Any,
    *,
    observed: Sequence[bool] | None = None,
    ages: Sequence[float] = AGES,
    confidence: float = 0.95,
    limit: float | None = DAY,
) -> pa.Table:
    """Estimate how often things end at which age: a rate for each stretch of age, constant within it.

    Parameters
    ----------
    data, observed, limit
        As for :func:`survival`.
    ages
        Seconds at which one stretch ends and the next begins, rising, above 0.
    confidence
        Level of the intervals, between 0 and 1.

    Returns
    -------
    pyarrow.Table
        One row for each stretch that somebody lived in:

        =============== ============================================================================
        ``since``       age in seconds at which it begins
        ``until``       age at which it ends, inclusive; null for the last one
        ``exposure``    seconds lived in it, all spans together
        ``ended``       ends seen in it
        ``rate``        ``ended / exposure``, per second; null if the exposure is 0 s
        ``low, high``   exact interval of the rate; ``low`` is 0 where nothing ended
        =============== ============================================================================

    Raises
    ------
    UsageError
        If the ages do not rise, a duration is null, negative or not a number, or a column is missing.

    Notes
    -----
    The number of ends in a stretch counts like a Poisson variable with mean rate × exposure. The interval is that
    of F. Garwood, Biometrika 28 (1936) 437–442: exact for the Poisson, by quantiles of χ².
    """
    confidence = checked_level(confidence)
    edges = [0.0, *(checked_number("each of ages", age, low=0.0, above_low=True) for age in ages)]
    if any(late <= early for early, late in pairwise(edges)):
        raise UsageError(f"ages must rise, not {', '.join(f'{age:g}' for age in ages)}")
    spans = read_spans(data, observed=observed, limit=limit)
    if not len(spans):
        return HAZARD.empty_table()
    from scipy.stats import chi2

    tail = (1 - confidence) / 2
    found: list[tuple[Any, ...]] = []
    ends = spans.seconds[spans.ended]
    for early, late in pairwise([*edges, np.inf]):
        lived = float(np.clip(spans.seconds - early, 0.0, late - early).sum())
        count = int(((ends > early) & (ends <= late)).sum()) + (int((ends == 0).sum()) if early == 0 else 0)
        if lived == 0 and count == 0:
            continue
        rates: tuple[float | None, ...] = (None, None, None)
        if lived > 0:
            low = float(chi2.ppf(tail, 2 * count)) / 2 / lived if count else 0.0
            rates = (count / lived, low, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2 / lived)
        found.append((early, None if np.isinf(late) else late, lived, count, *rates))
    return as_table(found, HAZARD)


def logrank(
    one: Any,
    other: Any,
    *,
    names: tuple[str, str] = ("one", "other"),
    observed: tuple[Sequence[bool], Sequence[bool]] | None = None,
    limit: float | None = DAY,
) -> pa.Table:
    """Test whether two groups last equally long: the log-rank test.

    Parameters
    ----------
    one, other, limit
        The spans of the two groups, as for :func:`survival`.
    names
        What they are called in the result.
    observed
        With durations: whether the end of each was seen, for both groups.

    Returns
    -------
    pyarrow.Table
        A row for each group: ``group``; ``spans``, how many; ``ended``, ends seen; ``expected``, ends it would
        have had if both lasted equally long; ``chi_square`` (1 degree of freedom) and ``p_value`` (two-sided) of
        the test, the same in both rows.

    Raises
    ------
    UsageError
        If a group is empty, no end was seen while both were watched, or a column is wrong.

    Notes
    -----
    N. Mantel, Cancer Chemother. Rep. 50 (1966) 163–170, by :func:`scipy.stats.logrank`.
    """
    flags = (None, None) if observed is None else observed
    both = [read_spans(data, observed=flag, limit=limit) for data, flag in zip((one, other), flags, strict=True)]
    for name, spans in zip(names, both, strict=True):
        if not len(spans):
            raise UsageError(f"group {name!r} is empty: there is nothing to compare with")
    from scipy.stats import chi2
    from scipy.stats import logrank as test

    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = float(test(*map(_censored_data, both)).statistic)
    if not np.isfinite(statistic):
        raise UsageError(
            f"no end was seen while both {names[0]!r} and {names[1]!r} were still watched: they cannot be compared"
        )
    times = np.unique(np.concatenate([spans.seconds[spans.ended] for spans in both]))
    at_risk = [len(spans) - np.searchsorted(np.sort(spans.seconds), times, side="left") for spans in both]
    ends = sum(counts_at(times, spans.seconds[spans.ended]) for spans in both)
    chi_square = statistic**2
    return as_table(
        [
            (
                name,
                len(spans),
                int(spans.ended.sum()),
                float((ends * risk / (at_risk[0] + at_risk[1])).sum()),
                chi_square,
                float(chi2.sf(chi_square, 1)),
            )
            for name, spans, risk in zip(names, both, at_risk, strict=True)
        ],
        LOGRANK,
    )


def _censored_data(spans: Spans) -> Any:
    from scipy.stats import CensoredData

    return CensoredData.right_censored(spans.seconds, ~spans.ended)
