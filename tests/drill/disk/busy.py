"""How long others keep a process of this machine from a processor; nothing is waited for here, nor judged."""

from __future__ import annotations

import time

__all__ = ["stretch"]


def stretch(seconds: float = 0.1) -> float:
    """Return how many seconds pass while a process works for one: 1 on an idle machine.

    What a short test beside other tests may ask of a machine is what is promised, so many times as long; alone on it
    the same test asks for no more than the promise.
    """
    began, spent = time.perf_counter(), time.process_time()
    while time.process_time() - spent < seconds:
        pass
    return max(1.0, (time.perf_counter() - began) / seconds)
