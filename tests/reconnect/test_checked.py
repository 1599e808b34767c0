"""The gate for numbers that people give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.reconnect.checked import (
    LONGEST,
    checked_count,
    checked_number,
    parse_count,
    parse_number,
    short,
)


@given(st.floats(allow_nan=True, allow_infinity=True), st.booleans())
def test_a_number_in_range_is_returned_and_any_other_refused(value: float, above_low: bool) -> None:
    """The range holds exactly: NaN and infinities are outside of every range."""
    inside = 0.0 < value <= LONGEST or (value == 0.0 and not above_low)
    if inside:
        assert checked_number("x", value, low=0.0, above_low=above_low) == value
    else:
        with pytest.raises(UsageError, match="x must be a number"):
            checked_number("x", value, low=0.0, above_low=above_low)


@pytest.mark.parametrize("value", [3, 3.0, np.float64(3), np.int64(3), np.float32(3)])
def test_any_real_number_becomes_a_float(value: object) -> None:
    """Numbers out of a NumPy array are as good as Python's."""
    number = checked_number("x", value, low=0.0)
    assert type(number) is float
    assert number == 3.0


@pytest.mark.parametrize("value", [True, "3", None, 3j, [3], math.nan])
def test_what_is_no_number_is_refused(value: object) -> None:
    """Text and flags are not guessed at."""
    with pytest.raises(UsageError, match="x must be a number at least 0"):
        checked_number("x", value, low=0.0)


def test_a_bound_that_is_another_parameter_is_named() -> None:
    """The message tells the value that was wrong and which parameter it hangs on."""
    with pytest.raises(UsageError, match=r"^cap must be a number at least 2 \(base\) and at most 9 \(top\), not '1'$"):
        checked_number("cap", 1, low=2.0, high=9.0, low_is="base", high_is="top")


@pytest.mark.parametrize("value", [1, 7, 9])
def test_a_count_in_range_is_returned(value: int) -> None:
    """Both ends are allowed."""
    assert checked_count("n", value, high=9) == value


@pytest.mark.parametrize("value", [0, -1, 10, 2.0, True, "3", None])
def test_any_other_count_is_refused(value: object) -> None:
    """Zero included: to have no limit, leave it out."""
    with pytest.raises(UsageError, match="n must be a whole number from 1 to 9"):
        checked_count("n", value, high=9)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_trip(number: float) -> None:
    """Written as people do and read back to the last bit."""
    assert parse_number("x", short(number)) == number
    assert parse_number("x", repr(number)) == number


@pytest.mark.parametrize(("text", "number"), [("60", 60.0), ("1.", 1.0), (".5", 0.5), ("-2e3", -2000.0), ("+1", 1.0)])
def test_plain_decimals_are_read(text: str, number: float) -> None:
    """Whatever reads unambiguously as a decimal number."""
    assert parse_number("x", text) == number


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1_000", "nan", "inf", "1e999", "0x1", "1,5", "٣", "1\n", ".", "e5"])
def test_other_text_is_refused(text: str) -> None:
    """What Python's float() would let through, but nobody means."""
    with pytest.raises(UsageError, match="x must be a decimal number"):
        parse_number("x", text)


def test_counts_are_read() -> None:
    """Digits only."""
    assert parse_count("n", "10") == 10
    for text in ("", "-1", "1.0", "1_0", "٣", "9" * 5000):
        with pytest.raises(UsageError, match="n must be a whole number such as 10"):
            parse_count("n", text)
