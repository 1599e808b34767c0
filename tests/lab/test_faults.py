"""Faults as values: their parameters are documented, defaulted, checked and named alike everywhere."""

from __future__ import annotations

import dataclasses

import pytest

from wsresearch.errors import FaultPlanError
from wsresearch.lab.faults import FAULTS, Fault, FaultKind, Flap, Garble
from wsresearch.lab.parameters import FlapHow, Garbage


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_needs_nothing_but_its_time(kind: FaultKind) -> None:
    """A plan can name any fault without parameters; the value is frozen."""
    fault = FAULTS[kind](at=2.5)
    assert fault.to_json()["at"] == 2.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        fault.at = 1.0  # type: ignore[misc]


def test_words_become_members() -> None:
    """A word from JSON is the member of its closed set; a symbol is written as the venue writes it."""
    assert Flap(how="reset").how is FlapHow.RESET  # type: ignore[arg-type]
    garble = Garble(garbage="huge_id", symbol="btcusdt")  # type: ignore[arg-type]
    assert (garble.garbage, garble.symbol) == (Garbage.HUGE_ID, "BTCUSDT")


def test_wrong_values_are_refused_in_python_too() -> None:
    """The same checks hold for faults made in code."""
    with pytest.raises(FaultPlanError, match="count 0"):
        Garble(count=0)


def test_parameters_by_their_names_in_json() -> None:
    """`for`, `bytes` and `rate` stand for attributes whose names carry the unit."""
    assert dict(FAULTS[FaultKind.BANDWIDTH].parameters()) == {"rate": "bytes_per_second", "for": "seconds"}
    assert dict(FAULTS[FaultKind.GIANT].parameters()) == {"bytes": "size_bytes"}
    assert not Fault.parameters()
