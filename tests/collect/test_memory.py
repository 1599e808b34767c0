"""What a collector's process keeps of freed memory, and what it gives back, as the system counts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEGABYTES = 100
CODE = """
import sys
import psutil
from wsresearch.collect.memory import give_back, keep_freed_memory

if sys.argv[1] == "collector":
    keep_freed_memory()
held = [b"x" * (100_000 + n) for n in range(1000)]
# What lies in between keeps an allocator from shrinking by itself.
held = held[::50]
before = psutil.Process().memory_info().rss
give_back()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is asked")
@pytest.mark.parametrize("process", ["collector", "another's"])
def test_what_is_free_goes_back_to_the_system(process: str) -> None:
    """A collector gives back what lies free between what is used; in another's process nothing is touched."""
    told = subprocess.run([sys.executable, "-c", CODE, process], capture_output=True, text=True, check=True)
    given = int(told.stdout) / 1e6
    assert given > 0.8 * MEGABYTES if process == "collector" else abs(given) < 0.05 * MEGABYTES
