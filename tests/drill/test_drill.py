"""The drill in short: every fault of the table twice, with two seeds; ``make drill`` plays each 200 times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drill.judge import drilled
from tests.drill.scenario import Scenario
from tests.drill.table import SCENARIOS

SHORT = [scenario for scenario in SCENARIOS if not scenario.long]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("scenario", SHORT, ids=[scenario.name for scenario in SHORT])
def test_survives(scenario: Scenario, seed: int) -> None:
    """Rows stored are rows sent, holes exact, one connection, nothing leaked, stopped in time, the cause told."""
    verdict = drilled(scenario, seed)
    if verdict.not_played:
        pytest.skip(verdict.not_played)
    again = f'python -m tests.drill --only "{scenario.name}" --seed {seed} --runs 1'
    assert verdict.is_well, "\n".join([again, *verdict.problems])


@pytest.mark.parametrize("name", ["everything at once", "close 4xxx", "late rows", "flapping, after one message"])
def test_a_seed_says_everything(name: str, tmp_path: Path) -> None:
    """The same seed tells the same trades in the same order; another seed tells others."""
    scenario = next(one for one in SCENARIOS if one.name == name)

    def told(seed: int, place: str) -> list[tuple[str, int, str, str]]:
        sent = scenario.run(seed, tmp_path / place).sent
        return [(trade.symbol, trade.trade_id, trade.price, trade.quantity) for trade in sent]

    once = told(7, "once")
    assert once == told(7, "again")
    assert once != told(8, "another")


def test_names_are_unique() -> None:
    """A name is what a run is found again by, together with its seed."""
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
