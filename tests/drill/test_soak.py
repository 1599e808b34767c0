"""The soak in short, and that its judge can fail; an hour of it is ``make soak``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.two_hundred_faults import KINDS
from tests.drill.soak import Sample, findings, held, most_live, planned, soaked
from wsresearch.lab import Truth
from wsresearch.lab.truth import CONNECTIONS, FAULT_ROWS, SENT


def test_a_short_soak(tmp_path: Path) -> None:
    """A fault a second: rows and holes exact, one connection, segments sealed on the way, nothing held or left over."""
    result = soaked(tmp_path, seconds=14, every=1.0, rate=500, seed=3)
    assert [one for one in findings(result) if not one.is_well] == []
    assert len(result.truth.faults) >= 10
    assert len(list((result.capture.root / "trades").rglob("*.parquet"))) >= 5
    assert len(result.samples) > 50


def test_faults_are_every_kind_and_the_same_for_a_seed() -> None:
    """An hour has 359 faults, one every 10 s, each kind as often as any other; another seed, another order."""
    plan = planned(seconds=3600, every=10, seed=1)
    assert len(plan) == 359
    assert [int(fault.at / 10) for fault in plan] == list(range(1, 360))
    rows = [str({**fault.to_json(), "at": 0}) for fault in plan]
    counts = [rows.count(row) for row in set(rows)]
    assert len(counts) == len(KINDS)
    assert max(counts) - min(counts) <= 1
    assert planned(seconds=3600, every=10, seed=1) == plan
    assert planned(seconds=3600, every=10, seed=2) != plan


def hour(**held: Callable[[float], float]) -> list[Sample]:
    """Samples of an hour; what is told grows as told, the rest is as it is in a sound collector."""
    rng = np.random.default_rng(1)
    samples = []
    for at in np.arange(0.0, 3600.0, 5.0):
        warm = 40e6 * np.exp(-at / 60)
        sound = Sample(
            at=at,
            # A seal takes twenty megabytes for a moment, now and then.
            memory=int(160e6 - warm + rng.normal(0, 2e5) + 20e6 * (rng.random() < 0.2)),
            descriptors=20 + int(rng.integers(0, 4)),
            threads=12 + int(rng.integers(0, 2)),
            disk=0,
            journals=3,
        )
        samples.append(replace(sound, **{k: int(getattr(sound, k) + grows(at)) for k, grows in held.items()}))  # type: ignore[arg-type]
    return samples


def test_a_sound_hour_is_well() -> None:
    """Warm-up, noise, and seals that come and go are no growth."""
    assert all(one.is_well for one in held(hour()))


@pytest.mark.parametrize(
    ("what", "grows"),
    [
        ("memory", lambda at: 2e6 * at / 3600),
        ("descriptors", lambda at: at // 1000),
        ("descriptors", lambda at: at > 2000),
        ("threads", lambda at: at // 1000),
    ],
)
def test_what_grows_is_seen(what: str, grows: Callable[[float], float]) -> None:
    """Two megabytes an hour under ten times as much noise, a descriptor or thread in a hundred faults, or just one."""
    wrong = [one for one in held(hour(**{what: grows})) if not one.is_well]
    assert [one.what.split()[0].strip(",") for one in wrong] == [what]


def test_two_connections_at_one_time_are_seen() -> None:
    """Live from the answered upgrade until TCP is gone; one that begins as another ends is no second one."""

    def truth(*lives: tuple[int, int | None]) -> Truth:
        empty = dict.fromkeys(CONNECTIONS.names)
        rows = [
            empty | {"connection": number, "accepted_ns": opened, "opened_ns": opened, "closed_ns": closed}
            for number, (opened, closed) in enumerate(lives, 1)
        ]
        refused = empty | {"connection": 0, "accepted_ns": 12, "closed_ns": 13}
        table = CONNECTIONS.empty_table().from_pylist([*rows, refused], CONNECTIONS)
        return Truth(sent=SENT.empty_table(), faults=FAULT_ROWS.empty_table(), connections=table)

    assert most_live(truth()) == 0
    assert most_live(truth((10, 20), (20, 30), (31, None))) == 1
    assert most_live(truth((10, 21), (20, 30))) == 2
