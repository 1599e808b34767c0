"""Numbers and foreign text as people read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import findfont, get_font

from wsresearch.notebook.canvas import FONT
from wsresearch.notebook.words import cause_label, cause_labels, counted, duration, hard_start, moment, plain, share


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.000_02, "20 µs"),
        (0.0421, "42 ms"),
        (0.9996, "1.00 s"),
        (1.25, "1.25 s"),
        (9.996, "10.0 s"),
        (59.96, "1 min"),
        (65.2, "1 min 5 s"),
        (3599.6, "1 h"),
        (7300, "2 h 2 min"),
        (86_399, "1 d"),
        (200_000, "2 d 8 h"),
    ],
)
def test_a_duration_has_two_or_three_digits(seconds: float, words: str) -> None:
    """Never "59 min 60 s", never more digits than matter."""
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("part", "words"),
    [(0, "0 %"), (0.001, "< 0.01 %"), (0.5, "0.50 %"), (37.4, "37 %"), (99.5, "99.50 %"), (99.999, "> 99.99 %")],
)
def test_a_share_is_never_rounded_to_nothing_or_all(part: float, words: str) -> None:
    """A single second lost in a year is not 0 %, and open all but a second is not 100 %."""
    assert share(part, 100) == words
    assert share(100, 100) == "100 %"
    assert share(1, 0) == "0 %"


def test_counts_and_moments() -> None:
    """Plural where it is due, times in UTC to the millisecond."""
    assert (counted(1, "outage"), counted(12_345, "outage")) == ("1 outage", "12,345 outages")
    assert moment(1_795_000_000_123_456_789) == "2026-11-18 11:06:40.123"
    assert moment(None) == "–"


@given(st.text())
def test_plain_text_has_a_glyph_for_every_character(text: str) -> None:
    """No text of a server's makes matplotlib warn of a missing glyph, break a line or hide a direction mark."""
    shown = plain(text)
    font = get_font(findfont(FONT))
    assert all(font.get_char_index(ord(character)) for character in shown)
    assert len(shown) <= 40
    assert shown.isprintable()


@given(st.one_of(st.none(), st.text()))
def test_a_cause_label_is_never_empty_nor_hidden(cause: str | None) -> None:
    """A label that begins with an underscore would be left out of a legend."""
    label = cause_label(cause)
    assert label.strip()
    assert not label.startswith("_")


def test_many_labels_are_each_as_one() -> None:
    """In their order."""
    assert cause_labels(["ping_timeout", None, "ping_timeout"]) == ["ping timeout", "no cause given", "ping timeout"]


_BEGAN: dict[str, Any] = {
    "run": 3,
    "first_message": 1,
    "silence": 0.1,
    "attempts": 1,
    "attempts_failed": 0,
    "attempts_opened": 1,
    "cause": None,
    "detail": None,
    "ended": "stopped",
}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, None),
        ({"silence": 40.0}, "run 3 waited 40.0 s for its first message: 1 attempt"),
        (
            {"silence": 4.0, "attempts": 2, "attempts_failed": 1, "cause": "eof", "detail": "\x1b[31mred\nline"},
            (
                "run 3 waited 4.00 s for its first message: 2 attempts, 1 failed, the last because the connection "
                "ended without a Close frame (red line)"
            ),
        ),
        (
            {"first_message": None, "silence": 4.0},
            "run 3 received no market data in 4.00 s and was stopped: 1 attempt, 1 opened",
        ),
        (
            {"first_message": None, "silence": 4.0, "attempts_opened": 0, "attempts_failed": 1, "ended": None},
            "run 3 has not connected in 4.00 s so far: 1 attempt, 1 failed",
        ),
        (
            {"first_message": None, "silence": 4.0, "attempts_opened": 0, "cause": "of\nothers", "ended": "killed"},
            "run 3 never connected in 4.00 s and was killed: 1 attempt, the last because of others",
        ),
    ],
)
def test_a_hard_start_is_a_sentence(row: dict[str, Any], words: str | None) -> None:
    """A run that simply began gets none; what others wrote is safe."""
    assert hard_start(_BEGAN | row) == words
