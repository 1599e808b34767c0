"""Every target of the fuzzers, with hypothesis and a few hundred inputs each; `tests.fuzz.long` goes on for hours."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS


@st.composite
def altered(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with a few changes, two seeds put together, or anything."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["replace", "insert", "delete", "join"])):
            case "replace":
                piece = draw(st.binary(min_size=1, max_size=4))
                content[at : at + len(piece)] = piece
            case "insert":
                content[at:at] = draw(st.binary(max_size=8))
            case "delete":
                del content[at : at + draw(st.integers(1, 16))]
            case "join":
                content[at:] = draw(st.sampled_from(seeds))[-at:]
    return bytes(content)


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_promise(name: str) -> None:
    """Each target says in its own words what must hold for any bytes; here for seeds, altered seeds and anything."""
    target = TARGETS[name]
    for seed in (*target.seeds, b""):
        target.run(seed)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(altered(target.seeds) | st.binary(max_size=80))
    def run(data: bytes) -> None:
        target.run(data)

    run()
