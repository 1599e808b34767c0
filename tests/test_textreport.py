"""Lines of a report for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from wsresearch.study import STALENESS
from wsresearch.textreport import idle_timeout_line, loss_line

NOTHING = dict.fromkeys(
    ("missing", "wire", "queue", "parser", "venue", "stop", "dropped", "rejected"), 0
) | dict.fromkeys(("dropped_elsewhere", "rejected_elsewhere"), 0)


@pytest.mark.parametrize(
    ("losses", "line"),
    [
        ({}, "missing ids: 0"),
        ({"missing": 1200, "wire": 1195, "stop": 5}, "missing ids: 1,200, lost 1,195 by the wire, 5 by stops of ours"),
        (
            {"missing": 2, "queue": 2, "dropped": 5, "dropped_elsewhere": 3},
            "missing ids: 2, lost 2 by our queue; 3 of 5 dropped messages cost no known id",
        ),
        (None, "missing ids: not defined, this venue does not number its trades"),
    ],
)
def test_who_lost_what(losses: dict[str, int] | None, line: str) -> None:
    """Who lost nothing is not named; drops that cost nothing are."""
    assert loss_line(None if losses is None else NOTHING | losses) == line


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"recommended": None, "watched": 12.0}, "idle timeout: none can be recommended on 12 s of traffic"),
        (
            {"recommended": 7.0, "measured": True, "watched": 4 * 86_400.0, "per_day_most": 0.7489},
            "idle timeout: 7 s, at most 0.75 false alarms a day on 96 h of traffic",
        ),
        (
            {"recommended": 10.0, "watched": 650.4, "per_day_most": 397.9, "per_day_fitted_most": 0.395},
            (
                "idle timeout: 10 s, at most 0.4 false alarms a day by a law fitted to the longest silences; "
                "650 s of traffic alone bound them by 398 a day"
            ),
        ),
    ],
)
def test_the_recommended_timeout_with_its_rate(told: dict[str, Any], line: str) -> None:
    """What bounds the rate is said: the record, or a law and how little the record bounds."""
    assert idle_timeout_line(dict.fromkeys(STALENESS.names) | {"measured": False} | told) == line
