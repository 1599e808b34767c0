"""Fault plans: read, drawn and refused with the entry, the value and the choices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import FaultPlanError
from wsresearch.lab.faults import FAULTS, Close, FaultKind, ResetPeer, Silence
from wsresearch.lab.plan import FaultPlan, parse_fault


def test_the_example_of_the_design() -> None:
    """The plan that the design shows is read, `reset` being another word for `reset_peer`."""
    plan = FaultPlan.parse([{"at": 12, "fault": "silence", "for": 8}, {"at": 5.0, "fault": "reset"}])
    assert plan.faults == (ResetPeer(at=5.0), Silence(at=12, seconds=8))


def test_from_text_and_file(tmp_path: Path) -> None:
    """The same plan from a list, from JSON text and from a file."""
    entries = [{"at": 1, "fault": "close", "code": 1013, "reason": "slow consumer"}]
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(entries))
    assert FaultPlan.parse(entries) == FaultPlan.parse(json.dumps(entries)) == FaultPlan.parse(path)
    assert FaultPlan.parse(str(path)).faults == (Close(at=1, code=1013, reason="slow consumer"),)


@given(st.lists(st.tuples(st.sampled_from(list(FaultKind)), st.floats(0, 1e6)), max_size=30))
def test_json_round_trip(entries: list[tuple[FaultKind, float]]) -> None:
    """Every plan survives JSON, and is in order of time."""
    plan = FaultPlan(tuple(FAULTS[kind](at=at) for kind, at in entries))
    assert FaultPlan.parse(plan.to_json()) == plan
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)


def test_every_kind_has_a_fault() -> None:
    """No name of the list is without a meaning."""
    assert set(FAULTS) == set(FaultKind)
    assert all(FAULTS[kind].kind is kind and FAULTS[kind].__doc__ for kind in FaultKind)


def test_random_plans() -> None:
    """Twenty random disconnects are the same for the same seed, and within their time."""
    plan = FaultPlan.random(seed=4, count=20, seconds=60, after=1)
    assert plan == FaultPlan.random(seed=4, count=20, seconds=60, after=1)
    assert plan != FaultPlan.random(seed=5, count=20, seconds=60, after=1)
    assert len(plan) == 20
    assert all(1 <= fault.at <= 60 for fault in plan)
    assert {fault.kind for fault in plan} == {FaultKind.RESET_PEER, FaultKind.CLOSE}
    every = FaultPlan.random(seed=1, count=400, seconds=60, kinds=list(FaultKind))
    assert {fault.kind for fault in every} == set(FaultKind)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("reset", "'reset' is no fault"),
        ({"fault": "reset"}, "'at' is missing"),
        ({"at": 1, "fault": "rest"}, "fault 'rest' is unknown; choose from latency"),
        ({"at": 1, "fault": ["reset"]}, "is unknown"),
        ({"at": 1}, "fault None is unknown"),
        ({"at": 1, "fault": "close", "kode": 1}, "'kode' is no parameter of it; choose from at, code, reason"),
        ({"at": -1, "fault": "reset"}, "at -1 must be"),
        ({"at": "5", "fault": "reset"}, "at '5' must be"),
        ({"at": True, "fault": "reset"}, "at True must be"),
        ({"at": float("nan"), "fault": "reset"}, "at nan must be"),
        ({"at": 1, "fault": "silence", "for": 0}, "for 0 must be a number of seconds above 0"),
        ({"at": 1, "fault": "refuse", "for": None}, "for None must be"),
        ({"at": 1, "fault": "close", "code": 70_000}, "code 70000 must be"),
        ({"at": 1, "fault": "close", "reason": "ä" * 62}, "at most 123 bytes"),
        ({"at": 1, "fault": "close", "reason": "\ud800"}, "reason '.ud800' must be"),
        ({"at": 1, "fault": "http", "body": "\udfff"}, "body '.udfff' must be"),
        ({"at": 1, "fault": "duplicate", "symbol": "\ud800"}, "symbol '.ud800' must be"),
        ({"at": 1, "fault": "http", "status": 101}, "status 101 must be"),
        ({"at": 1, "fault": "http", "retry_after": "a\r\nb"}, "retry_after"),
        ({"at": 1, "fault": "http", "on": "all"}, "on 'all' must be one of stream, rest, both"),
        ({"at": 1, "fault": "flap", "how": []}, "how .* must be one of"),
        ({"at": 1, "fault": "flap", "after": -1}, "after -1"),
        ({"at": 1, "fault": "garble", "garbage": "html"}, "garbage 'html' must be one of truncated"),
        ({"at": 1, "fault": "garble", "replace": 1}, "replace 1 must be true or false"),
        ({"at": 1, "fault": "skip_ids", "count": 1.5}, "count 1.5"),
        ({"at": 1, "fault": "giant", "bytes": 2**40}, "bytes 1099511627776"),
        ({"at": 1, "fault": "bandwidth", "rate": 0}, "rate 0"),
    ],
)
def test_entries_that_cannot_be_played(entry: object, says: str) -> None:
    """The number of the entry, the value and what it must be stand in one line."""
    good = {"at": 0, "fault": "reset"}
    with pytest.raises(FaultPlanError, match=says) as caught:
        FaultPlan.parse([good, entry])
    assert "entry 2" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[", "[1", "{}", "[" * 100_000])
def test_text_that_is_no_plan(tmp_path: Path, text: str) -> None:
    """A file that is no JSON list is refused with its path."""
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(FaultPlanError, match=r"plan\.json"):
        FaultPlan.parse(path)


def test_a_missing_file(tmp_path: Path) -> None:
    """A path that is none says so."""
    with pytest.raises(FaultPlanError, match="cannot be read"):
        FaultPlan.parse(str(tmp_path / "none.json"))


def test_a_span_that_is_none() -> None:
    """There is nothing to draw from no kinds or no time."""
    with pytest.raises(FaultPlanError, match="no"):
        FaultPlan.random(seed=1, count=1, seconds=0)
    with pytest.raises(FaultPlanError, match="0 kinds"):
        FaultPlan.random(seed=1, count=1, seconds=1, kinds=())


def test_a_single_fault() -> None:
    """A fault to inject by hand needs no time."""
    assert parse_fault({"fault": "reset"}) == ResetPeer()
    assert parse_fault(ResetPeer(at=3)) == ResetPeer(at=3)
