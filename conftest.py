"""What is asked of every notebook that ``pytest --nbmake notebooks`` executes, beside that no cell raises.

It stands here because whatever lies in ``notebooks/`` is handed out to users.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.notebooks.leftovers import MARK, assert_nothing_left

PATIENCE = 120.0
"""Seconds in which a notebook has run from top to bottom: whoever reads it waits for it."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """See that a notebook is done in time, and that no process of it stays behind."""
    if not getattr(item, "nbmake", False):
        return (yield)  # type: ignore[return-value]
    mark = uuid.uuid4().hex
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(MARK, mark)
        paths = [str(item.config.rootpath), *filter(None, [os.environ.get("PYTHONPATH")])]
        patched.setenv("PYTHONPATH", os.pathsep.join(paths))
        done = yield
    took = time.monotonic() - began
    assert took < PATIENCE, f"{item.name} took {took:.0f} s"
    assert_nothing_left(mark)
    return done
