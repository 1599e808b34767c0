"""The list of defects stays true to the code that they are planted in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.defects import DEFECTS, Defect

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_can_be_planted(defect: Defect) -> None:
    """Its place is found once, what results is Python that differs, and the tests that must notice exist."""
    text = (ROOT / "wsresearch" / defect.path).read_text(encoding="utf-8")
    assert text.count(defect.old) == 1
    planted = text.replace(defect.old, defect.new)
    assert planted != text
    compile(planted, defect.path, "exec")
    assert defect.tests
    for name in defect.tests:
        module, _, function = name.partition("::")
        written = (ROOT / "tests" / module).read_text(encoding="utf-8")
        assert f"\ndef {function}" in written


def test_there_are_fifty_different_ones() -> None:
    """A list that shrank would make every table look good."""
    assert len({(defect.path, defect.old, defect.new) for defect in DEFECTS}) == len(DEFECTS) >= 50
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
