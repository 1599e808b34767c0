"""The register of all scenarios; a section adds its own here."""

from __future__ import annotations

from tests.drill import content, links, on_disk, on_files, on_security, process, reaching, weather, while_open
from tests.drill.scenario import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: tuple[Scenario, ...] = (
    *reaching.SCENARIOS,
    *while_open.SCENARIOS,
    *links.SCENARIOS,
    *weather.SCENARIOS,
    *content.SCENARIOS,
    *process.SCENARIOS,
    *on_disk.SCENARIOS,
    *on_files.SCENARIOS,
    *on_security.SCENARIOS,
)
"""In the order of the catalogue; names are unique."""
