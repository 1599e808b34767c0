"""Fault plans: the timeline of what goes wrong, read from JSON or drawn from a seed.

Not here: what the faults are (:mod:`~wsresearch.lab.faults`) and who plays them.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, TypeAlias

from wsresearch.errors import FaultPlanError
from wsresearch.lab.faults import FAULTS, Fault, FaultKind

__all__ = ["FaultPlan", "Plan", "parse_fault"]

Plan: TypeAlias = "Iterable[object] | str | os.PathLike[str]"
"""What `FaultPlan.parse` reads: a plan, a list of faults or of dicts, JSON text, or the path of a file."""

_ALIASES: Final[Mapping[str, FaultKind]] = MappingProxyType({"reset": FaultKind.RESET_PEER})
_DISCONNECTS: Final = (FaultKind.RESET_PEER, FaultKind.CLOSE)


def parse_fault(entry: object) -> Fault:
    """Return the fault that `entry`, such as ``{"at": 12, "fault": "silence", "for": 8}``, stands for.

    Raises
    ------
    FaultPlanError
        Naming the value that is wrong and the choices there are.
    """
    if isinstance(entry, Fault):
        return entry
    if not isinstance(entry, Mapping):
        raise FaultPlanError(f'{entry!r} is no fault; write {{"at": seconds, "fault": kind, …}}')
    values: dict[Any, Any] = dict(entry)
    name = values.pop("fault", None)
    kind = _ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(kind, str) or kind not in set(FaultKind):
        raise FaultPlanError(f"fault {name!r} is unknown; choose from {', '.join(FaultKind)}")
    cls = FAULTS[FaultKind(kind)]
    parameters = cls.parameters()
    for key in values:
        if key != "at" and key not in parameters:
            raise FaultPlanError(
                f"({kind}) {key!r} is no parameter of it; choose from {', '.join(('at', *parameters))}"
            )
    try:
        return cls(**{parameters.get(key, key): value for key, value in values.items()})
    except FaultPlanError as error:
        raise FaultPlanError(f"({kind}) {error}") from None


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults in order of their time; empty when nothing is to go wrong.

    Attributes
    ----------
    faults
        Sorted by ``at``; faults of one moment keep the order they were given in.
    """

    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", tuple(sorted(self.faults, key=lambda fault: fault.at)))

    @classmethod
    def parse(cls, source: Plan) -> Self:
        """Read a plan.

        Parameters
        ----------
        source
            A plan, a list of entries (dicts, or faults), JSON text of such a list (it begins with ``[``), or the path
            of a file holding it.

        Raises
        ------
        FaultPlanError
            Naming the number of the entry (from 1), the value, and the choices.
        """
        if isinstance(source, str) and source.lstrip().startswith("["):
            return cls.parse(_load(source, "fault plan"))
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise FaultPlanError(f"fault plan {path} cannot be read: {error}; give JSON or its path") from error
            return cls.parse(_load(text, f"fault plan {path}"))
        if isinstance(source, Mapping) or not isinstance(source, Iterable):
            raise FaultPlanError(f'{source!r} is no fault plan; write a list, [{{"at": 5.0, "fault": "reset"}}, …]')
        faults = []
        for number, entry in enumerate(source, start=1):
            if isinstance(entry, Mapping) and "at" not in entry:
                raise FaultPlanError(f"fault plan: entry {number}: 'at' is missing; say after how many seconds")
            try:
                faults.append(parse_fault(entry))
            except FaultPlanError as error:
                raise FaultPlanError(f"fault plan: entry {number}: {error}") from None
        return cls(tuple(faults))

    @classmethod
    def random(
        cls,
        *,
        seed: int,
        count: int,
        seconds: float,
        kinds: Sequence[FaultKind | str] = _DISCONNECTS,
        after: float = 0.0,
    ) -> Self:
        """Draw a plan: `count` faults at uniform times from `after` to `seconds`, each of one of `kinds`.

        All parameters but the time are the faults' defaults. Same arguments, same plan.

        Raises
        ------
        FaultPlanError
            For an unknown kind, no kinds, or a span that is none.
        """
        if not kinds or count < 0 or not 0 <= after < seconds:
            raise FaultPlanError(
                f"cannot draw {count} faults of {len(kinds)} kinds between {after} and {seconds} s; "
                "give at least one kind and a span above 0"
            )
        rng = random.Random(seed)
        entries = [{"at": round(rng.uniform(after, seconds), 6), "fault": str(rng.choice(kinds))} for _ in range(count)]
        return cls.parse(entries)

    def to_json(self) -> str:
        """Return the plan as JSON text, every parameter written out; `parse` reads it back."""
        return json.dumps([fault.to_json() for fault in self.faults])

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    def __len__(self) -> int:
        return len(self.faults)


def _load(text: str, what: str) -> list[object]:
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FaultPlanError(f"{what} is no JSON: {error}; write a list of faults") from None
    if not isinstance(document, list):
        raise FaultPlanError(f'{what} must be a list of faults, [{{"at": 5.0, "fault": "reset"}}, …]')
    return document
