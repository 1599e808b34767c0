"""HTML that cannot forget to escape: text is escaped by its type; what is shown with it is not here."""

from __future__ import annotations

import html
from typing import Final

from wsresearch.safetext import MAX_CHARACTERS, safe

__all__ = ["Markup", "element", "foreign", "joined"]

_VOID: Final = frozenset({"br", "col", "img", "meta"})


class Markup(str):
    """Text that is HTML already; every other string is escaped where it is put into an element."""

    __slots__ = ()


def _escaped(content: str) -> str:
    return content if isinstance(content, Markup) else html.escape(content, quote=True)


def element(tag: str, /, *content: str, **attributes: str) -> Markup:
    """Return an element; an underscore in the name of an attribute is a hyphen, at its end it is dropped.

    Parameters
    ----------
    tag
        Its name.
    content
        Escaped unless it is :class:`Markup`.
    attributes
        Always escaped.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"' for key, value in attributes.items()
    )
    inside = "".join(map(_escaped, content))
    return Markup(f"<{tag}{said}>" if tag in _VOID else f"<{tag}{said}>{inside}</{tag}>")


def joined(*content: str) -> Markup:
    """Return contents one after the other; what is not :class:`Markup` is escaped."""
    return Markup("".join(map(_escaped, content)))


def foreign(text: object, *, limit: int = MAX_CHARACTERS) -> Markup:
    """Return foreign text as one isolated line: it can neither be markup nor turn its neighbours round.

    What is longer than ``limit`` characters ends with an ellipsis.
    """
    return element("bdi", safe("" if text is None else str(text), limit=limit))
