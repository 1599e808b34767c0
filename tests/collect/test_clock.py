"""Wall time within a connection: read once, then carried on by the monotonic clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.collect.clock import Anchor

SECONDS = st.floats(0, 10**7, allow_nan=False)


@given(st.integers(10**18, 2 * 10**18), SECONDS, SECONDS)
def test_it_never_steps_back(wall_ns: int, began: float, later: float) -> None:
    """As long as a connection lives its times do not fall, whatever happens to the wall clock."""
    anchor = Anchor(wall_ns=wall_ns, mono=began)
    assert anchor.wall(began) == wall_ns
    assert anchor.wall(began + later) >= wall_ns


@given(st.integers(10**18, 2 * 10**18), SECONDS, st.floats(0, 10**6, allow_nan=False))
def test_there_and_back(wall_ns: int, began: float, later: float) -> None:
    """A wall time leads back to the monotonic second it was made from."""
    anchor = Anchor(wall_ns=wall_ns, mono=began)
    assert anchor.monotonic(anchor.wall(began + later)) == pytest.approx(began + later, abs=1e-6)
