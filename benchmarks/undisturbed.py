"""Real-time priority for what is measured, where the kernel grants it; measuring is not here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["undisturbed"]


@contextlib.contextmanager
def undisturbed() -> Iterator[bool]:
    """Go before all other work on this machine, with every process that is started meanwhile; tell whether we may."""
    if not hasattr(os, "sched_setscheduler"):
        yield False
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, *before)
