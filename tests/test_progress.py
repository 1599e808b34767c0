"""Progress for people: a living line in a terminal, few plain lines elsewhere."""

from __future__ import annotations

import io
import time

import pytest

from wsresearch import progress
from wsresearch.progress import ProgressLine, Rate


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert progress.time is time
    return now


def test_plain_lines_when_something_changes_or_it_is_time(clock: list[float]) -> None:
    """In a log file: a line when the state changes, else one every few seconds, and no control characters."""
    out = io.StringIO()
    line = ProgressLine(out, every=5.0)
    for second in range(12):
        clock[0] = 100.0 + second
        line.show(f"at {second}", key="open" if second < 8 else "backing off")
    line.close()
    assert out.getvalue().splitlines() == ["at 0", "at 5", "at 8"]


def test_one_line_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal the line is rewritten in place, never longer than the terminal, and left on its own line."""
    monkeypatch.setenv("COLUMNS", "20")
    out = Terminal()
    line = ProgressLine(out)
    line.show("short")
    line.show("x" * 100)
    line.close()
    line.close()
    assert out.getvalue() == "\r\x1b[Kshort\r\x1b[K" + "x" * 19 + "\n"


def test_nothing_shown_nothing_left() -> None:
    """Closing a line that was never shown prints nothing."""
    out = Terminal()
    ProgressLine(out).close()
    assert out.getvalue() == ""


def test_a_rate_settles_within_seconds(clock: list[float]) -> None:
    """A steady stream shows its rate after a few looks, and zero soon after it ends."""
    rate, count = Rate(), 0
    for _ in range(20):
        clock[0] += 0.5
        count += 500
        shown = rate.of(count)
    assert shown is not None
    assert shown == pytest.approx(1000, rel=0.01)
    for _ in range(20):
        clock[0] += 0.5
        shown = rate.of(count)
    assert shown is not None
    assert shown < 10


def test_two_looks_at_one_moment_do_no_harm(clock: list[float]) -> None:
    """A rate over no time at all is none yet, and one that is known stays as it is."""
    rate = Rate()
    assert [rate.of(0), rate.of(10)] == [None, None]
    clock[0] += 1
    assert rate.of(100) == 100
    assert rate.of(100_000) == 100


def test_what_was_there_before_is_no_rate(clock: list[float]) -> None:
    """The first look at a total of years shows nothing; the second shows what has come since, whole at once."""
    rate = Rate()
    clock[0] += 0.001
    assert rate.told(163_534) == ""
    clock[0] += 0.5
    assert rate.told(164_034) == "   1,000/s · "
