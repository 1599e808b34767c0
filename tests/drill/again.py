"""Plays scenarios many times, in several processes; what is played and how it is judged is not here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.drill.judge import Verdict, drilled
from tests.drill.scenario import Scenario
from tests.drill.table import SCENARIOS

__all__ = ["played"]


def played(scenarios: Sequence[Scenario], seeds: range, *, jobs: int) -> Iterator[tuple[Scenario, dict[int, Verdict]]]:
    """Yield each scenario of the table with the verdict of each seed, of a long one of each tenth, as they end."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_strict) as pool:
        waiting = [
            (
                scenario,
                {seed: pool.submit(_one, SCENARIOS.index(scenario), seed) for seed in seeds[:: _stride(scenario)]},
            )
            for scenario in scenarios
        ]
        try:
            for scenario, futures in waiting:
                yield scenario, {seed: future.result() for seed, future in futures.items()}
        finally:
            # Whoever breaks it off waits for the runs under way, which end their collectors, and for no others.
            pool.shutdown(cancel_futures=True)


def _stride(scenario: Scenario) -> int:
    return 10 if scenario.long else 1


def _strict() -> None:
    warnings.simplefilter("error")


def _one(place: int, seed: int) -> Verdict:
    return drilled(SCENARIOS[place], seed)
