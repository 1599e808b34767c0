"""What a collector's process asks of those who hand out memory; how much is held at once is decided where it is held.

Each allocator, and within glibc each thread, keeps for itself what was freed and gives it to nobody else. Decoding,
the queue and sealing take turns at a few dozen megabytes, and each would keep its own.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Final

__all__ = ["ARROW_POOL", "give_back", "keep_freed_memory"]

ARROW_POOL: Final = ("ARROW_DEFAULT_MEMORY_POOL", "system")
"""A variable of the environment and its value: let Arrow ask where all others ask. Read when pyarrow is loaded and at
no other time, so whoever starts a collector sets it before, unless somebody has set another."""

# Parameters of mallopt(3), and how many bytes are kept at most; the largest that the second one takes.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_KEPT_BYTES: Final = 32 << 20
_KEEPS: Final = threading.Event()


def give_back() -> None:
    """Hand pages that nothing lies on to the system; what follows would not fit in between, and take others.

    For after a seal, which leaves many: it takes milliseconds, in which no other thread is given memory. Only where
    :func:`keep_freed_memory` was called: the memory of another's process is not ours to arrange.
    """
    if _KEEPS.is_set() and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed for the next block of messages, whichever thread; elsewhere nothing happens.

    Decoding a block takes about a megabyte of arrays for a millisecond. By default they go back to the system each
    time, and having it hand out the same pages again costs as much as the decoding.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for parameter, value in ((_TRIM_THRESHOLD, _KEPT_BYTES), (_MMAP_THRESHOLD, _KEPT_BYTES), (_ARENA_MAX, 1)):
            mallopt(parameter, value)
        _KEEPS.set()
