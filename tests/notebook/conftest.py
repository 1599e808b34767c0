"""A recording in the folder of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.recording import Recording


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """A capture that has just connected, two seconds ago."""
    made = Recording(tmp_path / "capture")
    made.log.connect()
    made.log.wait(2)
    made.write()
    yield made
    made.writer.close()
