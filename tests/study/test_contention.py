"""Contending clients: the published results, and the model by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.contention import ALGORITHMS, loop, looped, published, vectorised
from wsresearch.errors import UsageError
from wsresearch.reconnect import Constant, Decorrelated, Exponential, FullJitter
from wsresearch.study.contention import CONTENTION, _Network, contention


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_published_results_are_reproduced(name: str, shared: Path) -> None:
    """Calls within 2 % and time within 5 % of the mean of the published runs, at every number of clients from 50 on."""
    known = {clients: value for (algorithm, clients), value in published(shared).items() if algorithm == name}
    assert len(known) == 19
    _, means = vectorised(name, 400, seed=5)
    for clients, (calls, took) in known.items():
        if clients >= 50:
            assert means[clients][0] == pytest.approx(calls, rel=0.02), clients
            assert means[clients][1] == pytest.approx(took, rel=0.05), clients


@pytest.mark.parametrize("name", ALGORITHMS)
def test_success_by_success_is_message_by_message(name: str) -> None:
    """Against loops that step through every message: means of calls and time within five of their standard errors."""
    runs = 150
    looped = np.array([loop(ALGORITHMS[name][1], 20) for _ in range(runs)])
    table = contention(ALGORITHMS[name][0], clients=[20], runs=2000, rng=generator())
    for at, column in enumerate(("calls", "time")):
        ours = table[column].to_numpy()
        error = np.hypot(looped[:, at].std() / runs**0.5, ours.std() / 2000**0.5)
        assert abs(looped[:, at].mean() - ours.mean()) < 5 * error


def test_one_client_has_nobody_to_contend_with() -> None:
    """One read, one write and their answers: four messages, whatever the policy."""
    table = contention(Exponential(), clients=[1], runs=5000, rng=generator())
    assert set(table["calls"].to_pylist()) == {1}
    assert table["time"].to_numpy().mean() == pytest.approx(40, abs=0.3)
    assert table["time"].to_numpy().std() == pytest.approx(2 * 4**0.5, rel=0.1)


def test_two_clients_by_hand() -> None:
    """Without spread both read at 10 and write at 30; one of them fails, reads at 55 and has written by 85."""
    table = contention(Constant(delay=5), clients=[2], runs=3, rng=generator(), spread=0)
    assert table["calls"].to_pylist() == [3, 3, 3]
    # It hears of it at 40, waits 5, reads at 55, hears at 65, writes at 75, hears at 85.
    assert table["time"].to_pylist() == [85, 85, 85]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 6), st.integers(0, 99))
def test_rows_come_as_they_were_asked_for(clients: list[int], runs: int, seed: int) -> None:
    """By clients in the order given, then by run; each success fails another client once at most: n(n+1)/2 calls."""
    table = contention(Decorrelated(), clients=clients, runs=runs, rng=generator(seed))
    assert table.schema == CONTENTION
    assert table["clients"].to_pylist() == [each for each in clients for _ in range(runs)]
    assert table["run"].to_pylist() == list(range(1, runs + 1)) * len(clients)
    for count, calls in zip(table["clients"].to_pylist(), table["calls"].to_pylist(), strict=True):
        assert count <= calls <= count * (count + 1) // 2
    assert table.equals(contention(Decorrelated(), clients=clients, runs=runs, rng=generator(seed)))


def test_messages_take_normal_times() -> None:
    """What is drawn for one message and for two is within 2e-5 of the normal distributions, and never below 0."""
    network = _Network(10.0, 2.0, generator())
    for times, law in ((network._one, stats.norm(10, 2)), (network._two, stats.norm(20, 8**0.5))):
        known = law.cdf(times)
        steps = np.arange(len(times)) / len(times)
        assert max(abs(known - steps).max(), abs(known - steps - 1 / len(times)).max()) < 2e-5
        assert times.std() == pytest.approx(law.std())
        assert times.min() > 0


def test_no_numbers_of_clients_give_no_rows() -> None:
    """An empty question has an empty answer with all its columns."""
    table = contention(FullJitter(), clients=[], rng=generator())
    assert (len(table), table.schema) == (0, CONTENTION)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clients": [0]}, "each of clients must be a whole number from 1 .*, not '0'"),
        ({"runs": 0}, "runs must be a whole number from 1"),
        ({"delay": 0}, "delay must be a number above 0"),
        ({"spread": 3}, r"spread must be a number at least 0 and at most 2 \(a fifth of delay\), not '3'"),
        ({"spread": float("nan")}, "spread must be .*, not 'nan'"),
        ({"clients": [100_000], "runs": 2000}, r"2,000 runs for each of clients=\[100000\] are 200,000,000 places"),
        ({"policy": Constant(max_attempts=3)}, "max_attempts must be left out here, not 3"),
    ],
)
def test_a_wrong_value_is_named(arguments: dict[str, object], message: str) -> None:
    """One line says which parameter, which value, and what would be allowed."""
    given: dict[str, object] = {"policy": FullJitter(), "clients": [5], "rng": generator()} | arguments
    with pytest.raises(UsageError, match=message):
        contention(given.pop("policy"), **given)  # type: ignore[arg-type]


def test_it_is_much_faster_than_loops() -> None:
    """CPU time per simulated client, alternating with plain loops; how much exactly, ``benchmarks.contention`` says."""
    ratios = [looped("FullJitter", 1) / vectorised("FullJitter", 100, seed)[0] for seed in range(3)]
    assert max(ratios) > 25
