"""The parameters of faults: what each may be, and how it is called in JSON.

Not here: which fault takes which (:mod:`~wsresearch.lab.faults`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from wsresearch.errors import FaultPlanError

__all__ = ["JSON_NAMES", "FlapHow", "Garbage", "HttpTarget", "checked"]


class HttpTarget(StrEnum):
    """Which requests an `http` fault answers."""

    STREAM = "stream"
    REST = "rest"
    BOTH = "both"


class FlapHow(StrEnum):
    """How a flapping exchange ends what it has just accepted."""

    CLOSE = "close"
    EOF = "eof"
    RESET = "reset"
    ACCEPT_EOF = "accept_eof"
    ACCEPT_RESET = "accept_reset"


class Garbage(StrEnum):
    """What a garbled message looks like."""

    TRUNCATED = "truncated"
    NOT_JSON = "not_json"
    EMPTY = "empty"
    ARRAY = "array"
    NULL = "null"
    STRING_ID = "string_id"
    HUGE_ID = "huge_id"
    NO_PRICE = "no_price"
    BAD_PRICE = "bad_price"
    DEEP = "deep"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object) -> bool:
    """Whether it is text that can be sent: JSON may write half of a surrogate pair, which no encoding has."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


# One rule for each attribute name, whichever fault it belongs to: a parameter means the same everywhere.
_RULES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = MappingProxyType(
    {
        "at": (lambda v: _number(v) and v >= 0, "a number of seconds, 0 or more"),
        "seconds": (lambda v: _number(v) and v > 0, "a number of seconds above 0"),
        "delay": (lambda v: _number(v) and v >= 0, "a number of seconds, 0 or more"),
        "latency": (lambda v: _number(v) and v >= 0, "a number of seconds, 0 or more"),
        "jitter": (lambda v: _number(v) and v >= 0, "a number of seconds, 0 or more"),
        "code": (lambda v: _whole(v) and 0 <= v <= 65_535, "a close code, 0 to 65535, or null"),
        "reason": (lambda v: _text(v) and len(v.encode()) <= 123, "a text of at most 123 bytes"),
        "status": (lambda v: _whole(v) and 200 <= v <= 599, "an HTTP status, 200 to 599"),
        "retry_after": (
            lambda v: (_number(v) and v >= 0) or (isinstance(v, str) and v.isascii() and v.isprintable() and v != ""),
            "a number of seconds, 0 or more, or the text of the header",
        ),
        "body": (
            lambda v: _text(v) and len(v) <= 1_000_000,
            "a text of at most 1,000,000 characters",
        ),
        "drop": (lambda v: isinstance(v, bool), "true or false"),
        "replace": (lambda v: isinstance(v, bool), "true or false"),
        "after": (lambda v: _whole(v) and v >= 0, "a number of messages, 0 or more"),
        "count": (lambda v: _whole(v) and 1 <= v <= 1_000_000, "a number of trades, 1 to 1,000,000"),
        "size_bytes": (lambda v: _whole(v) and 1 <= v <= 2**28, "a number of bytes, 1 to 268,435,456"),
        "average_size": (lambda v: _whole(v) and v >= 1, "a number of bytes, 1 or more"),
        "size_variation": (lambda v: _whole(v) and v >= 0, "a number of bytes, 0 or more"),
        "bytes_per_second": (lambda v: _number(v) and v >= 1, "a number of bytes a second, 1 or more"),
        "symbol": (lambda v: _text(v) and v != "", "the name of a symbol"),
    }
)

_ENUMS: Final[Mapping[str, type[StrEnum]]] = MappingProxyType({"on": HttpTarget, "how": FlapHow, "garbage": Garbage})

JSON_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"seconds": "for", "size_bytes": "bytes", "bytes_per_second": "rate"}
)


def checked(name: str, value: object) -> object:
    """Return `value` as the attribute `name` of a fault holds it.

    Raises
    ------
    FaultPlanError
        Naming the parameter, the value and what it must be.
    """
    shown = JSON_NAMES.get(name, name)
    if name in _ENUMS:
        choices = _ENUMS[name]
        if not isinstance(value, str) or value not in set(choices):
            raise FaultPlanError(f"{shown} {value!r} must be one of {', '.join(choices)}")
        return choices(value)
    is_right, rule = _RULES[name]
    if not is_right(value):
        raise FaultPlanError(f"{shown} {value!r} must be {rule}")
    return value.upper() if name == "symbol" and isinstance(value, str) else value
