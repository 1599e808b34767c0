"""Policies side by side over the same outages: one row each, with what is not known of the server left open.

How one policy is replayed is not here (:mod:`~wsresearch.study.replay`), nor how the table is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, nextafter
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Policy
from wsresearch.reconnect.budget import Budget
from wsresearch.reconnect.presets import PRESETS, Preset
from wsresearch.reconnect.reset import Reset
from wsresearch.study.intervals import Down, read_downs, usual_answer
from wsresearch.study.listings import LISTINGS, Listing
from wsresearch.study.replay import Outcomes, play_out, repetitions_for, rules_of
from wsresearch.study.rows import as_table
from wsresearch.study.spans import checked_level

__all__ = ["COMPARISON", "Contender", "compare", "named"]

Contender = str | Policy | Preset | Listing
"""What can be compared: a policy, its text, a preset or its name, a listing or its name."""

_Floats = NDArray[np.float64]


def _bounds(name: str) -> list[pa.Field]:
    return [pa.field(f"{name}_{end}", pa.float64()) for end in ("early", "late", "low", "high")]


COMPARISON: Final = pa.schema(
    [
        pa.field("policy", pa.string()),
        pa.field("rules", pa.string()),
        pa.field("outages", pa.int64()),
        pa.field("repetitions", pa.int64()),
        pa.field("recovered_early", pa.float64()),
        pa.field("recovered_late", pa.float64()),
        pa.field("gave_up", pa.float64()),
        *_bounds("median"),
        pa.field("p95_early", pa.float64()),
        pa.field("p95_late", pa.float64()),
        *_bounds("later"),
        *_bounds("attempts"),
        *_bounds("trades"),
        pa.field("live", pa.int64()),
        pa.field("silent", pa.bool_()),
    ]
)

_RESAMPLES: Final = 1_000
"""For an interval of 95 % that leaves 25 resamples on either side."""

_AT_ONCE: Final = 1_000_000
"""Numbers of a resample held at once: 8 MB for each measure."""


def compare(
    policies: Mapping[str, Contender] | Iterable[Contender] | str,
    downs: Any,
    *,
    reset: Reset | str | None = None,
    budget: Budget | str | None = None,
    max_attempts: int | None = None,
    repetitions: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> pa.Table:
    """Replay the same outages with several policies and the same luck.

    Parameters
    ----------
    policies
        Policies, presets or listings, by value or by name; as a mapping they are called what it calls them, and
        one text may hold several, parted by commas. The first one is what the others are compared with.
    downs, budget, max_attempts, repetitions, seed
        As for :func:`wsresearch.study.replay`.
    reset
        Reset rule of each that brings none of its own; a preset does, also by its name.
    confidence
        Level of the intervals, between 0 and 1.
    progress
        Called now and then with how many outages have been played, and how many there are to play.

    Returns
    -------
    pyarrow.Table
        One row for each policy. Four columns of one name are two bounds and an interval: ``_early`` and ``_late``
        are the value if the server came back as early, or as late, as the record allows; ``_low`` is the lower end
        of the interval of ``_early``, ``_high`` the upper end of that of ``_late``.

        =================== ============================================================================
        ``policy``          its name
        ``rules``           the policy and its reset rule as text, or what makes a listing what it is
        ``outages``, ``repetitions``  how many were played, and how often
        ``recovered_early, recovered_late``  share of the outages after which data came again
        ``gave_up``         share after which the policy had ended for good, at the late bound
        ``median_…``        median time to recovery in seconds, what never recovers counted as longer than all
        ``p95_early, p95_late``  the time within which 95 % had recovered
        ``later_…``         median of the differences to the first policy, outage by outage, in seconds
        ``attempts_…``      attempts for each outage, on average
        ``trades_…``        trades missed in all outages whose rate is known
        ``live``            most connections that were open after an outage; each delivers every trade
        ``silent``          whether it can end without a word: a listing does, a collector gives up and says so
        =================== ============================================================================

        A null is a number that does not exist: a median if half never recover, trades if one never does.

    Raises
    ------
    UsageError
        If there is no such policy, a name stands twice, or a table or value is wrong.

    Notes
    -----
    Outage k of repetition r has the same random numbers under every policy, so differences are those of the
    policies. The interval covers the luck of the draw and which outages happened to happen: it comes from a
    bootstrap of outages, each with a repetition drawn for it, the same for every policy. With one outage it covers
    luck alone. It does not cover what the record leaves open; the two bounds do.
    """
    confidence = checked_level(confidence)
    read = read_downs(downs)
    contenders = named(policies)
    budget = Budget.parse(budget) if isinstance(budget, str) else budget or Budget()
    repeats = repetitions_for(len(read), repetitions)
    total, done = 2 * len(read) * repeats * len(contenders), 0

    def played(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    rows: list[tuple[Any, ...]] = []
    first: Outcomes | None = None
    for at, (name, contender) in enumerate(contenders.items(), start=1):
        if isinstance(contender, Listing):
            told = contender.source
            outcomes = _play_listing(read, contender, repeats)
        else:
            rules = rules_of(
                contender.policy if isinstance(contender, Preset) else contender,
                reset=contender.reset if isinstance(contender, Preset) else reset,
                max_attempts=max_attempts,
            )
            told = f"{rules.policy}, reset {rules.reset}"
            outcomes = play_out(read, rules, budget=budget, repetitions=repeats, seed=seed, progress=played)
        played(total * at // len(contenders) - done)
        first = outcomes if first is None else first
        measured = _measure(read, outcomes, first, confidence=confidence, seed=seed)
        rows.append((name, told, len(read), repeats, *measured, isinstance(contender, Listing)))
    return as_table(rows, COMPARISON)


def named(policies: Mapping[str, Contender] | Iterable[Contender] | str) -> dict[str, Policy | Preset | Listing]:
    """Return what :func:`compare` takes by name; what is text becomes the policy, preset or listing it means."""
    if isinstance(policies, str):
        # A comma within parentheses parts the parameters of one policy.
        policies = [each.strip() for each in re.split(r",(?![^()]*\))", policies)]
    elif isinstance(policies, Policy | Preset | Listing):
        policies = [policies]
    pairs = policies.items() if isinstance(policies, Mapping) else [(_called(each), each) for each in policies]
    found: dict[str, Policy | Preset | Listing] = {}
    for name, contender in pairs:
        if name in found:
            raise UsageError(f"two policies are called {name[:60]!r}; give a mapping with other names")
        if not isinstance(contender, str | Policy | Preset | Listing):
            raise UsageError(f"{name[:60]!r} is no policy, preset or listing, but {type(contender).__name__}")
        if isinstance(contender, str):
            found[name] = LISTINGS.get(contender) or PRESETS.get(contender) or rules_of(contender).policy
        else:
            found[name] = contender
    if not found:
        raise UsageError("there is no policy to compare; give at least one")
    return found


def _called(contender: Any) -> str:
    if isinstance(contender, Listing):
        return contender.name
    if isinstance(contender, Preset):
        return next((name for name, preset in PRESETS.items() if preset == contender), str(contender.policy))
    return str(contender)


def _play_listing(downs: Sequence[Down], client: Listing, repeats: int) -> Outcomes:
    """Play a listing at both bounds: no luck, but connections that one outage leaves to the next."""
    shape = (2, 1, len(downs))
    seconds, attempts = np.full(shape, inf), np.zeros(shape, np.int32)
    gave_up, live = np.ones(shape, bool), np.zeros(shape, np.int32)
    otherwise = usual_answer(downs)
    for bound in range(2):
        open_now, run = 1, None
        for at, down in enumerate(downs):
            open_now, run = (1 if down.run != run else open_now), down.run
            if not open_now:
                continue
            up = down.late if bound else nextafter(down.early, inf) if down.answers else down.early
            took = [answer.took + (answer.lived or 0.0) for answer in down.answers] or [otherwise.took]
            play = client.play(
                min(up, down.known_until) - down.noticed if up == inf else up - down.noticed,
                live=open_now,
                refused_after=float(np.median(took)),
                opens_after=down.connect,
                first_message=down.first_message,
            )
            known = up < inf
            open_now = play.live if known else 0
            where = (bound, 0, at)
            attempts[where] = len(play.attempts) if known else play.failed
            live[where], gave_up[where] = open_now, play.gave_up_at is not None
            if known and play.recovered_at is not None:
                seconds[where] = down.noticed - down.began + play.recovered_at
    whole = (2, repeats, len(downs))
    return Outcomes(
        seconds=np.broadcast_to(seconds, whole),
        attempts=np.broadcast_to(attempts, whole),
        gave_up=np.broadcast_to(gave_up, whole),
        live=np.broadcast_to(live, whole),
    )


def _measure(
    downs: Sequence[Down], outcomes: Outcomes, first: Outcomes, *, confidence: float, seed: int
) -> tuple[Any, ...]:
    """Return the measured columns of a row, from ``recovered_early`` to ``live``."""
    if not len(downs):
        return (None,) * (len(COMPARISON) - 6) + (0,)
    seconds, trades = outcomes.seconds, outcomes.trades_lost(downs)
    with np.errstate(invalid="ignore"):
        later = np.nan_to_num(seconds - first.seconds, nan=0.0, posinf=inf, neginf=-inf)  # ∞ - ∞: neither is later
    known = ~np.isnan(trades).any(axis=(0, 1))
    columns = (
        (seconds, np.median),
        (later, np.median),
        (outcomes.attempts, np.mean),
        (np.where(known, trades, 0.0) if known.any() else np.full_like(trades, np.nan), np.sum),
    )
    with np.errstate(invalid="ignore"):  # the middle between -∞ and ∞ is no number, and becomes a null
        median, later_than, attempts, lost = _with_intervals(columns, confidence=confidence, seed=seed)
    recovered = np.isfinite(seconds).mean(axis=(1, 2))
    high = [_quantile(each.ravel(), 0.95) for each in seconds]
    gave_up = float(outcomes.gave_up[1].mean())
    numbers = (*recovered.tolist(), gave_up, *median, *high, *later_than, *attempts, *lost)
    return (*(float(each) if np.isfinite(each) else None for each in numbers), int(outcomes.live.max()))


def _with_intervals(
    columns: Sequence[tuple[NDArray[Any], Callable[..., Any]]], *, confidence: float, seed: int
) -> list[list[float]]:
    """Return early, late, low and high of each measure, which takes an array and the axis of its outages."""
    _, repeats, count = columns[0][0].shape
    draw = np.random.default_rng(seed)
    resampled = np.empty((len(columns), 2, _RESAMPLES))
    most = max(1, _AT_ONCE // count)
    for begin in range(0, _RESAMPLES, most):
        end = min(begin + most, _RESAMPLES)
        outage, repetition = (
            draw.integers(count, size=(end - begin, count)),
            draw.integers(repeats, size=(end - begin, count)),
        )
        for column, (values, measure) in enumerate(columns):
            for bound in range(2):
                resampled[column, bound, begin:end] = measure(values[bound][repetition, outage], axis=1)
    tail = (1 - confidence) / 2
    return [
        [
            *(_overall(bound, measure) for bound in values),
            _quantile(resampled[column, 0], tail),
            _quantile(resampled[column, 1], 1 - tail),
        ]
        for column, (values, measure) in enumerate(columns)
    ]


def _overall(values: NDArray[Any], measure: Callable[..., Any]) -> float:
    """Return a measure of all repetitions: a median of everything, the mean of a sum."""
    return float(np.median(values) if measure is np.median else measure(values, axis=1).mean())


def _quantile(values: _Floats, share: float) -> float:
    # Without interpolation: between a number and infinity there is nothing.
    return float(np.quantile(values, share, method="inverted_cdf"))
