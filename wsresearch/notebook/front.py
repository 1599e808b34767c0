"""The front end as IPython knows it: showing a thing, and replacing what was shown; what is shown is not here."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from wsresearch.markup import Markup

__all__ = ["has_kernel", "prepare", "replace", "show", "show_live"]


def has_kernel() -> bool:
    """Tell whether there is a kernel, and so perhaps a front end that can show more than text."""
    # Whoever has a kernel has imported IPython; nobody else should wait for that.
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def prepare() -> None:
    """Have done before the first message what must be undone after the last one.

    pyzmq registers the end of its helper for large messages when the first of them is sent. What is registered first
    ends last, and a picture sent after that end would be an error in the kernel's log.
    """
    if has_kernel():
        importlib.import_module("zmq.utils.garbage")


def show_live(widget: Any, *, plain: str) -> Any:
    """Show a widget, with a text for front ends that have none; return what :func:`replace` needs to replace it."""
    from IPython.display import display

    # The widget's own text would be a page of the names of its children.
    bundle = {**widget._repr_mimebundle_(), "text/plain": plain}
    return display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]


def show(html: Markup, *, plain: str, replaceable: bool = False) -> Any:
    """Show HTML, with a text for front ends that have none."""
    from IPython.display import display

    return display(_bundle(html, plain), raw=True, display_id=True if replaceable else None)  # type: ignore[no-untyped-call]


def replace(shown: Any, html: Markup, *, plain: str) -> None:
    """Put HTML in the place of what was shown, wherever that is; any thread may do so."""
    shown.update(_bundle(html, plain), raw=True)


def _bundle(html: Markup, plain: str) -> dict[str, str]:
    return {"text/html": str(html), "text/plain": plain}
