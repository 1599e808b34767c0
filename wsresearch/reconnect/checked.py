"""The one gate for numbers that people give to the rules of reconnection.

What the numbers mean is not here; the policies, the reset rule and the budget each say that for themselves.
"""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import Final

from wsresearch.errors import UsageError

__all__ = ["LONGEST", "checked_count", "checked_number", "parse_count", "parse_number", "short"]

LONGEST: Final = 1e9
"""The longest duration that is taken for meant: 32 years. Beyond it lies a unit mistaken for seconds."""

# float() and int() also take "1_000", " 1 ", "nan" and digits of other scripts: nobody means those.
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,18}", re.ASCII)


def checked_number(
    name: str,
    value: object,
    *,
    low: float,
    high: float = LONGEST,
    above_low: bool = False,
    low_is: str = "",
    high_is: str = "",
) -> float:
    """Return ``value`` as a float if it is a finite number in range.

    Parameters
    ----------
    name
        What the caller calls the number; it opens the error text.
    value
        What was given: any real number, but neither a bool nor text.
    low, high
        Bounds, inclusive unless ``above_low``.
    above_low
        Whether ``low`` itself is out of range.
    low_is, high_is
        Which other parameter a bound is, for the error text.

    Raises
    ------
    UsageError
        Naming the parameter, the value and the allowed range.
    """
    floor = f"{'above' if above_low else 'at least'} {short(low)}{f' ({low_is})' if low_is else ''}"
    ceiling = f"at most {short(high)}{f' ({high_is})' if high_is else ''}"
    wrong = UsageError(f"{name} must be a number {floor} and {ceiling}, not {str(value)[:40]!r}")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong
    try:
        number = float(value)
    except OverflowError:
        raise wrong from None
    if not low <= number <= high or (above_low and number == low):  # a NaN fails the first comparison
        raise wrong
    return number


def checked_count(name: str, value: object, *, high: int = 10**9) -> int:
    """Return ``value`` if it is a whole number from 1 to ``high``; raise :class:`UsageError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise UsageError(f"{name} must be a whole number from 1 to {high}, not {str(value)[:40]!r}")
    return value


def parse_number(name: str, text: str) -> float:
    """Read a plain decimal number; raise :class:`UsageError` for anything else, NaN and infinity included."""
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise UsageError(f"{name} must be a decimal number such as 1.5, not {text[:40]!r}")
    return number


def parse_count(name: str, text: str) -> int:
    """Read a whole number; raise :class:`UsageError` for anything else."""
    if not _COUNT.fullmatch(text):
        raise UsageError(f"{name} must be a whole number such as 10, not {text[:40]!r}")
    return int(text)


def short(number: float) -> str:
    """Write a number as people do, ``60`` for 60.0, without losing a digit."""
    return repr(float(number)).removesuffix(".0")
