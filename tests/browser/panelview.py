"""A panel as it stands in a page, live or static, read as a person reads it; nothing here knows how it is made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.browser.jupyter import PATIENCE, until

if TYPE_CHECKING:
    from playwright.sync_api import Locator

__all__ = ["PanelView"]


class PanelView:
    """What a person sees of a panel and can do with it.

    Parameters
    ----------
    place
        Where it is shown: the output of a cell, or a whole page.
    """

    def __init__(self, place: Locator) -> None:
        self.place = place
        self._badge = place.locator(".wsr-badge")
        self._counters = place.locator(".wsr-counters")
        self._history = place.locator(".wsr table")

    def appears(self, *, timeout: float = PATIENCE) -> None:
        self._badge.first.wait_for(timeout=timeout * 1000)

    # -- what can be done -----------------------------------------------------------------------------------------

    def fill(self, **texts: str) -> None:
        """Fill in fields by the name that stands before them."""
        for name, text in texts.items():
            self.field(name).fill(text)

    def choose(self, name: str, option: str) -> None:
        self.field(name).select_option(option)

    def field(self, name: str) -> Locator:
        return self.place.get_by_label(name.replace("_", " "), exact=True)

    def button(self, name: str) -> Locator:
        # Not by its accessible name, in which the icon is a letter of a font.
        return self.place.locator("button").filter(has_text=re.compile(rf"^{re.escape(name)}$"))

    def press(self, name: str) -> None:
        self.button(name).click()

    # -- what is seen ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """What the badge says."""
        return self._badge.first.inner_text()

    def becomes(self, state: str, *, timeout: float = PATIENCE) -> None:
        """Wait until the badge says so."""
        words = re.compile(rf"^\s*{state}\b")
        self._badge.filter(has_text=words).first.wait_for(timeout=timeout * 1000)

    def is_static(self) -> None:
        """Wait until it says that it needs no kernel; its badge tells the end before that."""
        self.place.get_by_text("This panel is static").wait_for()

    def count(self, name: str) -> int:
        """Return a counter, such as ``trades``; -1 while it is not shown."""
        text = self._counters.first.inner_text() if self._counters.count() else ""
        found = re.search(rf"([\d,]+)\s+{name}\b(?!/)", text)
        return int(found[1].replace(",", "")) if found else -1

    def rises(self, name: str) -> int:
        """Wait until a counter has risen, and return it."""
        before = max(0, self.count(name))
        until(lambda: self.count(name) > before, f"the number of {name} rises above {before}")
        return self.count(name)

    def banner(self) -> str:
        """Return the alarms that are shown, empty without any."""
        return "\n".join(self.place.get_by_role("alert").all_inner_texts())

    def says(self, words: str) -> None:
        """Wait until an alarm says so."""
        self.place.get_by_role("alert").filter(has_text=words).first.wait_for()

    def history(self) -> list[list[str]]:
        """Return the cells of the outages, newest first."""
        rows = self._history.locator("tbody tr")
        return [row.locator("td").all_inner_texts() for row in rows.all()]

    def tells_of(self, words: str) -> Locator:
        """Wait until a row of the history says so."""
        row = self._history.locator("tbody tr").filter(has_text=words).first
        row.wait_for()
        return row

    def images(self) -> list[Locator]:
        """Return the pictures that are shown."""
        return [image for image in self.place.locator("img").all() if image.is_visible()]

    def has_pictures(self, number: int = 3) -> None:
        """Wait until so many pictures are shown, each one with something on it."""

        def shown() -> bool:
            images = self.images()
            return len(images) == number and all(len(_colours(image)) > 3 for image in images)

        until(shown, f"{number} pictures are shown")

    def is_drawn_on(self, background: str) -> None:
        """Wait until every picture has this background."""
        until(lambda: all(background in _colours(image) for image in self.images()), f"pictures on {background}")

    def colours(self, place: int = 0) -> set[str]:
        """Return the colours in one of the pictures, as ``#rrggbb``."""
        return _colours(self.images()[place])

    def shows_colour(self, colour: str, place: int = 0) -> None:
        """Wait until a colour is in a picture."""
        until(lambda: len(self.images()) > place and colour in self.colours(place), f"{colour} in picture {place}")


def _colours(image: Locator) -> set[str]:
    found: Any = image.evaluate(
        """async image => {
            if (!image.complete || !image.naturalWidth) return [];
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const data = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
            const hex = n => (n & 255).toString(16).padStart(2, '0');
            return [...new Set(data)].map(n => '#' + hex(n) + hex(n >> 8) + hex(n >> 16));
        }"""
    )
    return set(found)
