"""Taking a capture over: refuse what cannot be collected into, lock, repair, remember; collecting is not here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.identity import open_for_collecting, replace_config
from wsresearch.capture.layout import Layout
from wsresearch.capture.seal import recover
from wsresearch.collect import lock
from wsresearch.collect.config import Config
from wsresearch.collect.resume import Past, ledger_of, past_of
from wsresearch.collect.sequence import Ledger

__all__ = ["Taken", "taken_over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A capture that is ours.

    Attributes
    ----------
    run
        Number of the run that begins.
    past
        Where the counters of the capture stand.
    ledger
        The ids that are stored.
    untold
        Event rows that a crash kept from being written.
    problems
        One line for everything that was found damaged or could not be sealed.
    held
        The lock, whose note tells of us.
    """

    run: int
    past: Past
    ledger: Ledger
    untold: list[dict[str, Any]]
    problems: tuple[str, ...]
    held: lock.Held


@contextlib.contextmanager
def taken_over(config: Config, *, now_ns: int, disk: Disk = REAL_DISK) -> Iterator[Taken]:
    """Hold a capture for the length of a ``with`` block; it is made if the directory is new or empty.

    Repairing reads and writes every journal that is left, and may take seconds.

    Parameters
    ----------
    config
        Where, what of, and what to write down as the capture's configuration.
    now_ns
        The wall clock, ns since 1970 UTC.
    disk
        What changes the disk.

    Raises
    ------
    UsageError, CaptureError
        If the directory cannot be collected into; nothing has changed then.
    """
    root = config.out
    identity = {"venue": config.stream.venue.name, "symbols": list(config.stream.symbols)}
    open_for_collecting(root, identity=identity, config=config.kept())
    with lock.held(root) as held:
        # Once more: of two that found an empty directory at the same moment, one has made it a capture of its own.
        open_for_collecting(root, identity=identity, config=config.kept())
        replace_config(Layout(root), config.kept())
        recovered = recover(root, disk=disk)
        past = past_of(root, now_ns=now_ns, window=config.budget.window)
        ledger, untold = ledger_of(past)
        held.note(run=past.run + 1)
        yield Taken(
            run=past.run + 1,
            past=past,
            ledger=ledger,
            untold=untold,
            problems=(*recovered.problems, *(f"{segment}: {why}" for segment, why in recovered.unsealed)),
            held=held,
        )
