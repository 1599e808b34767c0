"""The elements and the words of an HTML document, for tests of what is shown; nothing is checked here."""

from __future__ import annotations

from html.parser import HTMLParser


class Elements(HTMLParser):
    """Collects the elements and the text of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)
