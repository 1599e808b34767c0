"""HTML that cannot forget to escape."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.elements import Elements
from wsresearch.markup import element, foreign, joined


@given(st.text())
def test_text_stays_text(text: str) -> None:
    """Whatever the text, it makes no element and comes back as it was, in contents and in attributes."""
    found = Elements(element("p", text, title=text) + joined(text))
    assert [tag for tag, _ in found.elements] == ["p"]
    assert found.elements[0][1] == {"title": text}
    assert "".join(found.words) == text + text


@given(st.text())
def test_foreign_text_is_isolated(text: str) -> None:
    """It is one line in an element of its own, so that right-to-left text turns nothing else round."""
    found = Elements(foreign(text))
    assert [tag for tag, _ in found.elements] == ["bdi"]
    assert "\n" not in "".join(found.words)


def test_names_of_attributes() -> None:
    """``class_`` and ``http_equiv`` are what Python can write."""
    written = element("meta", http_equiv="x", class_="y")
    assert written == '<meta http-equiv="x" class="y">'
    assert element("b", element("i", "1 < 2")) == "<b><i>1 &lt; 2</i></b>"
