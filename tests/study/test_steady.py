"""What is recommended is a property of the traffic, not of the window in which it was watched."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.study.test_staleness import _swept as really
from wsresearch.study import MISSING, OUTAGES, SYMBOLS, staleness
from wsresearch.study.sweep import LONGEST, Sweep

_Floats = NDArray[np.float64]
_Draw = Callable[[np.random.Generator, float], _Floats]

NO_OUTAGES = OUTAGES.empty_table()
A_DAY = 25 * 3600.0


def _even(rng: np.random.Generator, seconds: float) -> _Floats:
    """Ten messages a second, independent of each other."""
    return rng.exponential(0.1, int(seconds * 10))


def _moody(rng: np.random.Generator, seconds: float) -> _Floats:
    """Five a second on average, at a rate that changes every minute."""
    rates = 5 * rng.lognormal(0, 0.7, int(seconds / 60))
    return np.concatenate([rng.exponential(1 / rate, max(1, int(60 * rate))) for rate in rates])


def _hiccups(rng: np.random.Generator, seconds: float) -> _Floats:
    """Sixty a second, and in one of 1,000 silences something of the machine's, of 50 ms give or take."""
    lengths = rng.exponential(1 / 60, int(seconds * 60))
    late = rng.choice(len(lengths), len(lengths) // 1000)
    lengths[late] += rng.lognormal(np.log(0.05), 1.0, len(late))
    return lengths


def _swept(lengths: _Floats) -> Sweep:
    """As `sweep` sums up messages that are so far apart, without making a table of a million rows."""
    longest = np.sort(np.partition(lengths, -LONGEST)[-LONGEST:] if len(lengths) > LONGEST else lengths)
    return Sweep(
        gaps=None,
        missing=MISSING.empty_table(),
        symbols=SYMBOLS.empty_table(),
        longest=(longest * 1e9).astype(np.int64),
        ordinary=len(lengths),
        watched=float(lengths.sum()),
    )


def _recommended(draw: _Draw, seconds: float, windows: int) -> list[float | None]:
    rng = np.random.default_rng(1)
    return [staleness(_swept(draw(rng, seconds)), NO_OUTAGES).idle_timeout for _ in range(windows)]


def _told(found: list[float | None]) -> str:
    counts = sorted(Counter(found).items(), key=lambda item: (item[0] is None, item[0]))
    return "recommended: " + ", ".join(f"{timeout} s × {count}" for timeout, count in counts)


def _spread(found: list[float | None]) -> float:
    """Return how many times larger the 95th percentile of what is recommended is than the fifth."""
    low, high = np.quantile([each for each in found if each is not None], [0.05, 0.95], method="nearest")
    return float(high / low)


@pytest.mark.parametrize("draw", [_even, _moody, _hiccups])
def test_windows_of_one_steady_process_are_recommended_the_same(draw: _Draw) -> None:
    """A day of it: nine in ten within a factor of 3, and not one window of which there is nothing to say."""
    found = _recommended(draw, A_DAY, 20)
    assert None not in found, _told(found)
    assert _spread(found) <= 3, _told(found)


@pytest.mark.parametrize("draw", [_even, _moody, _hiccups])
@pytest.mark.parametrize("seconds", [60.0, 1200.0, 11 * 3600.0])
def test_a_window_too_short_to_tell_is_recommended_nothing(draw: _Draw, seconds: float) -> None:
    """A minute, twenty, half a day: what a law fitted to that says of a day is noise, so it is not asked."""
    found = _recommended(draw, seconds, 20 if seconds < 3600 else 3)
    assert set(found) == {None}, _told(found)


def test_without_the_rule_it_would_be_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a law fitted to a minute says of a day differs by 20 times and more from minute to minute."""
    monkeypatch.setattr(sys.modules["wsresearch.study.staleness"], "_EXPECTED", 0.0)
    found = _recommended(_hiccups, 60.0, 60)
    assert _spread(found) >= 20, _told(found)


def test_a_stand_in_for_a_sweep_is_one() -> None:
    """The sums that these tests make are those of the real thing."""
    lengths = np.random.default_rng(3).exponential(1.0, 2000)
    ours, theirs = _swept(lengths), really(lengths)
    assert ours.ordinary == theirs.ordinary
    assert ours.watched == pytest.approx(theirs.watched, abs=1e-3)
    assert np.abs(ours.longest - theirs.longest).max() <= 1
