"""Colours that colour-blind readers can tell apart."""

from __future__ import annotations

import itertools

import pytest

from tests.notebook.colour import DEFICIENCIES, contrast, distance
from wsresearch.errors import UsageError
from wsresearch.notebook.palette import DARK, LIGHT, PHASES, Palette, cause_looks, palette_named

PALETTES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=lambda palette: palette.name)


@PALETTES
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_every_two_causes_can_be_told_apart(palette: Palette, deficiency: str) -> None:
    """Whoever looks, two causes differ by five times what is just noticeable (0.02 in OKLab)."""
    least = 0.18 if deficiency == "normal" else 0.1
    for one, other in itertools.combinations([*palette.causes, palette.other], 2):
        assert distance(one, other, deficiency) > least, (one, other)


@PALETTES
def test_everything_stands_out_from_the_background(palette: Palette) -> None:
    """Graphics have a contrast of 3:1, text one of 4.5:1 (WCAG 2.2, 1.4.11 and 1.4.3)."""
    for colour in (*palette.causes, palette.other, palette.lane):
        assert contrast(colour, palette.background) >= 3, colour
    for colour in (palette.ink, palette.muted):
        assert contrast(colour, palette.background) >= 4.5, colour


@PALETTES
def test_causes_differ_without_colour(palette: Palette) -> None:
    """On a grey print the form tells the causes apart."""
    looks = cause_looks("abcdefgh", palette)
    assert len({look.marker for look in looks.values()}) == 8


def test_a_new_cause_repaints_no_old_one() -> None:
    """In a picture that grows, a cause keeps the look that it had."""
    causes = ["reset", "eof", "reset", "closed"]
    before = cause_looks(causes, LIGHT)
    after = cause_looks([*causes, "stalled", "a", "b", "c", "d", "e"], LIGHT)
    assert {cause: after[cause] for cause in before} == before
    assert after["d"] == after["e"]
    assert after["d"].colour == LIGHT.other


@PALETTES
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_every_two_phases_can_be_told_apart(palette: Palette, deficiency: str) -> None:
    """Whoever looks; and neighbours in a stack differ in lightness too, which is all that a grey print leaves."""
    colours = [palette.phases[phase] for phase in PHASES]
    for one, other in itertools.combinations(colours, 2):
        assert distance(one, other, deficiency) > 0.1, (one, other)
    for one, other in itertools.pairwise(colours):
        assert contrast(one, other) > 1.45, (one, other)


def test_a_palette_has_a_name() -> None:
    """By name or as itself; an unknown name is an error that lists the known ones."""
    assert palette_named("dark") is DARK
    assert palette_named(LIGHT) is LIGHT
    with pytest.raises(UsageError, match="no palette 'solarized'; choose from light, dark"):
        palette_named("solarized")
