"""Whole days in seconds: the real collector, journal and recovery against a simulated venue on one virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.day import pace, simulate
from tests.simulation.weather import PATTERNS
from wsresearch.capture.reader import Reader
from wsresearch.reconnect.budget import BudgetWindow


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_bad_day_is_accounted_for(pattern: str, seed: int, tmp_path: Path) -> None:
    """Every row once, every hole and outage as in truth, the budget kept, one connection at most, stops at once.

    The first seed has a row of stats every second, as a user's days have; the second one is of the many that do not.
    """
    day = simulate(pattern, seed, tmp_path / "capture", seconds=2 * 3600)
    again = f"python -m tests.simulation --pattern {pattern!r} --first-seed {seed} --seeds 1 --hours 2"
    assert not day.wrong, f"{day.wrong}; {again}"
    assert day.trades
    due = 2 * 3600 / pace(seed)
    assert 0.8 * due <= Reader(tmp_path / "capture").stats().num_rows <= due + day.runs


def test_a_budget_that_is_not_kept_is_seen_on_a_day_with_a_clock_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That somebody sets the clock excuses attempts that a restart misplaces, and not a day without a budget."""
    monkeypatch.setattr(BudgetWindow, "ready_at", lambda self, at: at)
    day = simulate("everything", 3, tmp_path / "capture", seconds=2 * 3600, budget="10/300")
    assert any(what.startswith("11 attempts within") for what in day.wrong)


def test_the_same_seed_gives_the_same_day(tmp_path: Path) -> None:
    """Whoever has the seed of a failure can watch it happen again: every event, to the nanosecond."""
    first, again = (
        simulate("everything", 3, tmp_path / name, seconds=2 * 3600).fingerprint for name in ("first", "again")
    )
    assert first == again
    assert simulate("everything", 4, tmp_path / "other", seconds=2 * 3600).fingerprint != first
