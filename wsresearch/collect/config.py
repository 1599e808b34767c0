"""What a collector is asked to do, checked when it is written down; reading files or arguments is not here."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import FullJitter, Policy
from wsresearch.reconnect.budget import Budget
from wsresearch.reconnect.lifecycle import Rules
from wsresearch.reconnect.presets import PRESETS, parse_policy, unknown
from wsresearch.reconnect.reset import Reset
from wsresearch.venues import Stream, parse_stream

__all__ = ["Config", "make_config"]

_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "idle_timeout": (0.1, 86_400),
    "open_timeout": (0.1, 300),
    "ping_interval": (0.1, 3600),
    "ping_timeout": (0.1, 3600),
    "flush": (0.001, 1),
    "rotate_age": (1, 86_400),
}
_WHOLE: Final[Mapping[str, tuple[int, int]]] = {
    "max_attempts": (1, 10**9),
    "queue_bytes": (1 << 16, 1 << 40),
    "rotate_rows": (1, 10**9),
    "seed": (0, 2**63 - 1),
}
_KINDS: Final[Mapping[str, type]] = {
    "stream": Stream,
    "out": Path,
    "policy": Policy,
    "reset": Reset,
    "budget": Budget,
}
_OPTIONAL: Final = frozenset({"max_attempts", "seed"})
_TEXTS: Final = ("stream", "out", "policy", "reset", "budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a collector needs to know.

    Parameters
    ----------
    stream
        What to collect, written ``venue:symbol[,symbol…]``.
    out
        The capture directory.
    url
        Replaces scheme, host and port of the venue; the venue still makes the path.
    policy, reset, budget, max_attempts
        The rules of reconnection, see :mod:`wsresearch.reconnect`. ``max_attempts`` counts attempts in a row
        and overrides the policy's own limit.
    idle_timeout
        Seconds without market data after which an open connection is given up as stalled.
    open_timeout
        Seconds an attempt may take altogether.
    ping_interval, ping_timeout
        Seconds between keepalive pings, and to wait for the answer.
    duration
        Seconds after which the run stops by itself; None runs until it is stopped.
    flush
        Longest time in seconds that received messages wait to be written.
    queue_bytes
        Bytes of memory for messages between socket and journal; beyond that they are dropped and counted.
    rotate_age, rotate_rows
        A segment is sealed after that many seconds or rows.
    seed
        Makes the jitter repeatable; None draws a fresh one.

    Raises
    ------
    UsageError
        Naming the value that is wrong and the range or choices.
    """

    stream: Stream
    out: Path
    url: str | None = None
    policy: Policy = field(default_factory=lambda: FullJitter(base=1.0, cap=30.0))
    reset: Reset = field(default_factory=Reset)
    budget: Budget = field(default_factory=Budget)
    max_attempts: int | None = None
    idle_timeout: float = 30.0
    open_timeout: float = 10.0
    ping_interval: float = 5.0
    ping_timeout: float = 5.0
    duration: float | None = None
    flush: float = 0.05
    queue_bytes: int = 64 << 20
    rotate_age: float = 300.0
    rotate_rows: int = 1_000_000
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            if not isinstance(value := getattr(self, name), kind):
                raise UsageError(f"{_dashed(name)} is {value!r}, but must be a {kind.__name__}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not _is_number(value) or not low <= value <= high:
                raise UsageError(
                    f"{_dashed(name)} is {value!r}, but must be a finite number of seconds, {low:g} to {high:g}"
                )
        for name, (least, most) in _WHOLE.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if not _is_number(value) or not isinstance(value, int) or not least <= value <= most:
                raise UsageError(f"{_dashed(name)} is {value!r}, but must be a whole number from {least} to {most}")
        if self.duration is not None and not (_is_number(self.duration) and 0 < self.duration < math.inf):
            raise UsageError(f"duration is {self.duration!r}, but must be a finite number of seconds above 0, or None")
        if not isinstance(self.url, str | None):
            raise UsageError(f"url is {self.url!r}, but must be text such as ws://127.0.0.1:9443")
        self.stream.venue.url(self.stream.symbols, self.url)  # says what is wrong with the url

    @property
    def target(self) -> str:
        """The full URL to connect to."""
        return self.stream.venue.url(self.stream.symbols, self.url)

    @property
    def rules(self) -> Rules:
        """What decides about waiting."""
        return Rules(
            policy=self.policy, reset=self.reset, idle_timeout=self.idle_timeout, max_attempts=self.max_attempts
        )

    @property
    def in_short(self) -> str:
        """One line for the ``run_started`` event: what is studied, so that runs can be told apart later."""
        return (
            f"{self.policy} reset={self.reset} idle_timeout={self.idle_timeout:g} budget={self.budget} "
            f"max_attempts={self.max_attempts} {self.stream}"
        )

    def kept(self) -> dict[str, Any]:
        """Return what ``capture.json`` keeps: all but the directory, which may be moved."""
        return {name: value for name, value in self.as_json().items() if name != "out"}

    def as_json(self) -> dict[str, Any]:
        """Return a JSON document that :meth:`from_json` reads back as an equal value."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **told,
            "stream": str(self.stream),
            "out": str(self.out),
            "policy": str(self.policy),
            "reset": str(self.reset),
            "budget": str(self.budget),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_json` wrote.

        Raises
        ------
        UsageError
            If a key is unknown, one that is needed is missing, or a value is out of range.
        """
        known = {f.name for f in fields(cls)}
        if unknown := set(document) - known:
            raise UsageError(f"configuration has unknown keys {sorted(unknown)}; known are {sorted(known)}")
        told = dict(document)
        if wrong := [name for name in _TEXTS if not isinstance(told.get(name), str)]:
            raise UsageError(f"configuration must give {', '.join(wrong)} as text; it was not written by a collector")
        return cls(
            **told
            | {
                "stream": parse_stream(told["stream"]),
                "out": Path(told["out"]),
                "policy": parse_policy(told["policy"]),
                "reset": Reset.parse(told["reset"]),
                "budget": Budget.parse(told["budget"]),
            }
        )

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Name what differs from another configuration's JSON document, as ``idle-timeout 30.0 (running: 5.0)``."""
        mine = json.loads(json.dumps(self.kept()))
        return [
            f"{_dashed(name)} {mine[name]} (running: {other.get(name)})"
            for name in mine
            if mine[name] != other.get(name)
        ]


def make_config(
    stream: str,
    out: str | os.PathLike[str],
    *,
    policy: Policy | str | None = None,
    policy_args: Mapping[str, object] | None = None,
    reset: Reset | str | None = None,
    budget: Budget | str | None = None,
    **others: Any,
) -> Config:
    """Turn what people write into a checked configuration.

    Parameters
    ----------
    stream
        ``venue:symbol[,symbol…]``.
    out
        The capture directory.
    policy
        A policy, the name of one or of a preset, or a full text such as ``"full-jitter(base=1, cap=30)"``.
    policy_args
        Parameters for a policy given by name, or for the default one.
    reset, budget
        As values or as text (``stable:60``, ``60/300``). A preset brings the reset rule of its original.
    **others
        The other fields of :class:`Config`.

    Raises
    ------
    UsageError
        Naming the value that is wrong.
    """
    known = [f.name for f in fields(Config)]
    for name in others:
        if name not in known:
            raise UsageError(unknown("option", name, [*known, "policy_args"]))
    if not isinstance(out, str | os.PathLike):
        raise UsageError(f"the directory is {out!r}, but must be a path such as 'data/btc'")
    if reset is None and isinstance(policy, str) and policy in PRESETS:
        reset = PRESETS[policy].reset
    if policy is None or isinstance(policy, str):
        policy = parse_policy(policy or "full-jitter", policy_args)
    elif policy_args:
        raise UsageError(f"policy-args {dict(policy_args)} are for a policy given by name, not for {policy}")
    return Config(
        stream=parse_stream(stream),
        out=Path(out),
        policy=policy,
        reset=Reset.parse(reset) if isinstance(reset, str) else reset or Reset(),
        budget=Budget.parse(budget) if isinstance(budget, str) else budget or Budget(),
        **others,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dashed(name: str) -> str:
    return name.replace("_", "-")
