"""Fixtures that every room's tests may use."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

# How long an example takes says more about the machine than about the code; what must be fast has a test that says so.
hypothesis.settings.register_profile("wsresearch", deadline=None)
hypothesis.settings.load_profile("wsresearch")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and expected values beside the project, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "recordings").is_dir():
        pytest.skip("no ../shared beside the project: recordings and peer expectations are not here")
    return folder
