"""Strict checks of columns: exact where good, marked where not, never an exception."""

from __future__ import annotations

import re
from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.venues.checks import (
    FEW,
    MAX_INT64,
    is_natural,
    is_plain_decimal,
    is_zero,
    plausible_times,
    positive_decimals,
)

EXACT = Context(prec=60)
NOT_PLAIN = [
    "", " 1", "1 ", "1\n", "+1", "-1", "1e3", "1E3", "1_000", "1,5", ".5", "5.", "1.2.3", "NaN", "Infinity", "0x1",
    "٣", "１", "1" * 21, "0." + "1" * 19, "\x001", "−1",
]  # fmt: skip
PLAIN = ["1", "0.1", "61837.63000000", "0" * 20 + "." + "0" * 17 + "1", "9" * 20 + "." + "9" * 18, "007"]
ZERO = ["0", "0.0", "00.000000000000000000"]


def test_decimals_are_exact_to_the_last_digit() -> None:
    """A price is stored as the venue wrote it, up to 20 digits before the point and 18 after."""
    values, good = positive_decimals(PLAIN)
    assert good.all()
    assert [EXACT.create_decimal(v) for v in values.to_pylist()] == [EXACT.create_decimal(t) for t in PLAIN]


@pytest.mark.parametrize("copies", [1, FEW])
@pytest.mark.parametrize("text", NOT_PLAIN)
def test_what_a_lenient_parser_takes_is_marked(text: str, copies: int) -> None:
    """``float()`` takes blanks, underscores and Arabic digits; here each is refused, and costs no neighbour."""
    values, good = positive_decimals(["1.5", text, "2.5"] * copies)
    assert good.tolist() == [True, False, True] * copies
    assert values.to_pylist()[:3:2] == [Decimal("1.5"), Decimal("2.5")]
    assert not is_plain_decimal(text)


@pytest.mark.parametrize("text", ZERO)
def test_zero_is_a_decimal_but_no_price(text: str) -> None:
    """Nothing is traded for nothing."""
    assert positive_decimals([text])[1].tolist() == [False]
    assert is_plain_decimal(text)
    assert is_zero(text)


@given(
    st.lists(st.text(alphabet="0123456789.eE+- _٣\n", max_size=24) | st.text(max_size=5)),
    st.sampled_from([0, FEW]),
)
def test_a_column_judges_each_text_as_the_single_check_does(texts: list[str], more: int) -> None:
    """The check of a column, of few texts or of many, and that of a value draw the same line."""
    texts = [t for t in texts if t.isascii() or t.encode(errors="replace").decode() == t] + ["1.5"] * more
    values, good = positive_decimals(texts)
    assert good.tolist() == [is_plain_decimal(t) and not is_zero(t) for t in texts]
    for text, value in zip(texts, values.to_pylist(), strict=True):
        if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,18})?", text):
            assert EXACT.compare(value, EXACT.create_decimal(text)) == 0


@pytest.mark.parametrize("value", [None, 7, True, 1.5, b"1", ["1"], {}])
def test_what_is_no_text_is_no_decimal(value: object) -> None:
    """A JSON number in place of a text has already lost digits somewhere."""
    assert not is_plain_decimal(value)
    assert not is_zero(value)


@pytest.mark.parametrize("value", [0, 1, MAX_INT64])
def test_naturals(value: int) -> None:
    """Ids start at 0 and end where 64 bits do."""
    assert is_natural(value)


@pytest.mark.parametrize("value", [-1, MAX_INT64 + 1, True, False, 1.0, "7", None])
def test_no_naturals(value: object) -> None:
    """What Python would count as an integer, or turn into one, is still refused."""
    assert not is_natural(value)


def test_units_cannot_be_taken_for_each_other() -> None:
    """Every plausible time in one unit is implausible in the others, so a wrong unit shows at once."""
    milli, micro, nano = (plausible_times(10**n) for n in (3, 6, 9))
    assert milli.stop < micro.start < micro.stop < nano.start
    assert 1723161255342 in milli
    assert 0 not in milli
