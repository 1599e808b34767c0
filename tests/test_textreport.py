"""A report as lines for a terminal."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.study.eventlog import EventLog
from wsresearch.study import STALENESS, outages
from wsresearch.textreport import idle_timeout_line, loss_line, outage_table, silent_lines

NOTHING = dict.fromkeys(
    ("missing", "wire", "queue", "parser", "venue", "stop", "dropped", "rejected"), 0
) | dict.fromkeys(("dropped_elsewhere", "rejected_elsewhere"), 0)


def _lost(cause: str | None = "closed", *, times: int = 1) -> pa.Table:
    log = EventLog()
    log.connect()
    for number in range(times):
        log.wait(9)
        log.lost(0.5, cause=cause, close_code=1001, close_by="peer")  # type: ignore[arg-type]
        log.try_to_open(2.0)
        log.opened(0.25)
        log.first_message(0.25)
        log.hole(1000 + 2000 * number, 1000 + 2000 * number + 1233, cause="outage", outage=log.outages)
    return outages(log.table())


def test_each_outage_is_a_line() -> None:
    """Cause, attempts, phases, silence and what was lost stand below their names."""
    head, line = outage_table(_lost()).splitlines()
    assert head.split("  ")[0] == "outage"
    assert line.split() == ["1", "closed", "1001", "1", "2.000", "0.500", "2.000", "0.250", "0.250", "3.000", "1,234"]
    assert line.endswith("1,234")
    assert head.endswith("ids lost")
    assert outage_table(_lost(times=0)) == "no outages"


def test_of_many_the_newest_are_shown_and_the_rest_is_counted() -> None:
    """Nothing is left out in silence."""
    _, *lines, last = outage_table(_lost(times=7), most=3).splitlines()
    assert last == "(4 earlier outages are not shown)"
    assert [line.split()[0] for line in lines] == ["5", "6", "7"]


def test_text_from_elsewhere_cannot_steer_the_terminal() -> None:
    """A cause is any text in a capture that others made: no escape, no turned letters, no second line, no length."""
    shown = outage_table(_lost("\x1b]0;title\x07\x1b[31mred\N{RIGHT-TO-LEFT OVERRIDE}\nline" + 200 * "x"))
    assert len(shown.splitlines()) == 2
    assert not {"\x1b", "\x07", "\N{RIGHT-TO-LEFT OVERRIDE}"} & set(shown)
    assert "red line" in shown
    assert all(len(line) < 160 for line in shown.splitlines())
    assert "no cause given" in outage_table(_lost(None))


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


def test_symbols_without_a_trade_are_named_but_not_without_end() -> None:
    """Ten lines, then a count; no question where no connection was open, and none of what was removed on purpose."""
    symbols = {f"S{number}": {"trades": 0, "removed": 0} for number in range(13)}
    symbols |= {"A": {"trades": 1, "removed": 0}, "B": {"trades": 0, "removed": 9}}
    lines = silent_lines({"symbols": symbols, "connections": 2})
    assert lines[0] == "S0: no trade, ever: is the symbol right?"
    assert (len(lines), lines[-1]) == (11, "3 more symbols: no trade, ever")
    assert silent_lines({"symbols": symbols, "connections": 0})[0] == "S0: no trade, ever"
    foreign = {"\x1b[31mred\nline": {"trades": 0, "removed": 0}}
    assert silent_lines({"symbols": foreign, "connections": 0}) == ["red line: no trade, ever"]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            {"recommended": None, "watched": 12.0, "why": "it takes 24 h to tell a rate of 1 false alarm a day"},
            (
                "idle timeout: none can be recommended on 12 s of traffic: "
                "it takes 24 h to tell a rate of 1 false alarm a day"
            ),
        ),
        (
            {"recommended": 7.0, "measured": True, "watched": 4 * 86_400.0, "per_day_most": 0.7489},
            "idle timeout: 7 s, at most 0.75 false alarms a day on 96 h of traffic",
        ),
        (
            {
                "recommended": 10.0,
                "watched": 108_000.0,
                "per_day_most": 2.396,
                "per_day_fitted": 0.0213,
                "per_day_fitted_most": 0.395,
            },
            (
                "idle timeout: 10 s, for which a law fitted to the longest silences foretells 0.021 to 0.4 false "
                "alarms a day; none came in 30 h of traffic, which by itself allows up to 2.4 a day"
            ),
        ),
    ],
)
def test_the_recommended_timeout_with_its_rate(told: dict[str, Any], line: str) -> None:
    """What bounds the rate is said: the record, or a law and how little the record bounds."""
    assert idle_timeout_line(dict.fromkeys(STALENESS.names) | {"measured": False} | told) == line
