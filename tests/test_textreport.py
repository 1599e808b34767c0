"""Outages as lines for a terminal."""

from __future__ import annotations

import pyarrow as pa

from tests.study.eventlog import EventLog
from wsresearch.study import outages
from wsresearch.textreport import outage_table


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
