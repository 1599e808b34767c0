"""The collector process; and, called as ``wsresearch.collect(…)``, the function that starts one.

The public function and this folder bear the same name. So that both are right whichever is imported first, the
folder itself is callable; the function is :func:`wsresearch.api.collect`, and nothing else is here.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """What ``help(wsresearch.collect)`` shows: of the function, with every option, as `Config` tells of them."""
        told = inspect.getdoc(importlib.import_module("wsresearch.api").collect) or ""
        fields = inspect.getdoc(importlib.import_module("wsresearch.collect.config").Config) or ""
        options = fields.partition("----------\n")[2].partition("\nRaises\n")[0]
        options = options[options.index("url\n") :].strip()  # without stream and directory, told before
        return f"{told}\n\nOptions\n-------\n{options}\n"

    def __call__(self, stream: str, out: str | os.PathLike[str], **options: Any) -> Any:
        """Collect in the background, or attach to the collector that already does; see wsresearch.api.collect."""
        # By name, because no room imports the place where the rooms meet.
        return importlib.import_module("wsresearch.api").collect(stream, out, **options)


sys.modules[__name__].__class__ = _Room
