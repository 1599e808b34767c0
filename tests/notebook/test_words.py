"""Numbers and foreign text as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import findfont, get_font

from wsresearch.notebook.canvas import FONT
from wsresearch.notebook.words import cause_label, cause_labels, counted, duration, moment, plain, share


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
