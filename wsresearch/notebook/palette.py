"""Colours and marks that colour-blind readers can tell apart, on white and on dark; no drawing is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from wsresearch.errors import UsageError

__all__ = ["DARK", "LIGHT", "PHASES", "Look", "Palette", "cause_looks", "palette_named"]


PHASES: Final = ("detect", "backoff", "connect", "first_message")
"""The phases of an outage in their order, as the outages table names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How one cause appears: never by colour alone, so that it survives a grey print."""

    colour: str
    marker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """The colours of a picture.

    Parameters
    ----------
    name
        ``light`` or ``dark``.
    background
        Behind everything.
    ink, muted, faint
        Text and what matters; second-rank text and frames; grid lines and quiet surfaces.
    lane
        The bars of the timeline.
    causes
        One colour for each cause, in the order in which causes appear.
    other
        For every cause after those, and for what has no cause.

    Notes
    -----
    ``causes`` and ``other`` were found by searching OKLCH for the eight colours whose least pairwise distance
    in OKLab is largest, seen normally (counted 1/1.7) and as by protanopes, deuteranopes and tritanopes
    (matrices of Machado, Oliveira and Fernandes, 2009, severity 1), with a contrast to the background of at
    least 3:1, the least that WCAG 2.2 (1.4.11) asks of graphics. The tests compute both again.
    """

    name: str
    background: str
    ink: str
    muted: str
    faint: str
    lane: str
    causes: tuple[str, ...]
    other: str

    @property
    def phases(self) -> Mapping[str, str]:
        """Return the colour of each phase of an outage, in their order; neighbours differ in lightness as well."""
        colours = (self.causes[0], self.lane, self.causes[6], self.causes[1])
        return dict(zip(PHASES, colours, strict=True))


LIGHT: Final = Palette(
    name="light",
    background="#ffffff",
    ink="#1a1d23",
    muted="#5c626c",
    faint="#e3e6ea",
    lane="#7f8793",
    causes=("#064bd5", "#f06b1f", "#790500", "#ca63f4", "#68631d", "#a7387f", "#580486"),
    other="#8a8f98",
)

DARK: Final = Palette(
    name="dark",
    background="#15181e",
    ink="#eceff3",
    muted="#a3a9b4",
    faint="#2d323b",
    lane="#8b93a0",
    causes=("#94f2f9", "#f68f24", "#d43121", "#df9dfb", "#25c490", "#f2e52c", "#ab43d3"),
    other="#7d838d",
)

_PALETTES: Final = (LIGHT, DARK)
_MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X")
_OTHER_MARKER: Final = "*"


def palette_named(name: str | Palette) -> Palette:
    """Return a palette by its name; a palette is returned as it is.

    Raises
    ------
    UsageError
        If there is no palette of that name.
    """
    if isinstance(name, Palette):
        return name
    for palette in _PALETTES:
        if palette.name == name:
            return palette
    names = ", ".join(palette.name for palette in _PALETTES)
    raise UsageError(f"there is no palette {name!r}; choose from {names}")


def cause_looks(causes: Iterable[str], palette: Palette) -> dict[str, Look]:
    """Give each cause a look, in the order of first appearance, so that a growing capture never repaints.

    From the eighth cause on all look the same, ``other``: nobody tells nine colours apart.
    """
    looks: dict[str, Look] = {}
    for cause in causes:
        if cause not in looks:
            at = len(looks)
            looks[cause] = (
                Look(colour=palette.causes[at], marker=_MARKERS[at])
                if at < len(palette.causes)
                else Look(colour=palette.other, marker=_OTHER_MARKER)
            )
    return looks
