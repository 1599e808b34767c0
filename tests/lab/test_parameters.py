"""Parameters of faults: one rule a name, whichever fault it belongs to."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsresearch.errors import FaultPlanError
from wsresearch.lab.faults import FAULTS
from wsresearch.lab.parameters import checked


@pytest.mark.parametrize("name", sorted({f.name for cls in FAULTS.values() for f in dataclasses.fields(cls)}))
@settings(max_examples=30)
@given(value=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_any_value_is_taken_or_refused_in_words(name: str, value: object) -> None:
    """No value of any type makes a check fail in another way than by saying what is wrong."""
    says = "must be"
    try:
        assert checked(name, value) is not None
    except FaultPlanError as error:
        says = str(error)
    assert "must be" in says
