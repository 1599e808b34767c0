"""The notebooks that come with the package, and a user's own copy of them; what stands in them is not here.

A copy is the user's. A file of it is written when it is missing, or when it is still what was handed out before and the
package brings a newer one; whatever the user has changed stays, for ever. What was handed out is remembered as a
checksum for each file, in a file beside them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from wsresearch.errors import UsageError

__all__ = ["Copies", "hand_out", "open_lab", "originals", "require_lab"]

_FIRST: Final = "01_first_capture.ipynb"
_REMEMBERED: Final = ".handed-out.json"
_PACKAGE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What became of each file, by its name in the directory.

    Attributes
    ----------
    written
        Missing before.
    renewed
        Not changed by the user, and newer in the package.
    removed
        Not changed by the user, and no longer in the package: an old sample beside a new one would be read with it.
    kept
        Changed by the user.
    """

    written: tuple[str, ...]
    renewed: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


def originals() -> dict[str, Path]:
    """Return the notebooks and the sample capture they open: name in a copy, and where the original is.

    Raises
    ------
    UsageError
        If this installation has none.
    """
    packaged, checkout = _PACKAGE / "_notebooks", _PACKAGE.parent
    found = _files_in(packaged, "")
    if not found and (checkout / "pyproject.toml").is_file():
        found = _files_in(checkout / "notebooks", "") | _files_in(checkout / "data/sample", "data/sample/")
    if _FIRST not in found:
        raise UsageError(f"the notebooks are not in {str(_PACKAGE)!r}: install wsresearch from its wheel or a checkout")
    return found


def hand_out(directory: Path, files: Mapping[str, Path]) -> Copies:
    """Bring a user's copy up to date without touching what they changed.

    Parameters
    ----------
    directory
        Made if it is missing.
    files
        Name in the copy, with ``/`` between folders, and the original.

    Raises
    ------
    UsageError
        If the directory cannot be written.
    """
    written, renewed, removed, kept = [], [], [], []
    try:
        remembered = _read_remembered(directory)
        for name in sorted(remembered.keys() - files.keys()):
            if _is_untouched(directory, name, remembered.pop(name)):
                (directory / name).unlink()
                removed.append(name)
        for name, original in sorted(files.items()):
            content, target = original.read_bytes(), directory / name
            fresh = _checksum(content)
            there = _checksum(target.read_bytes()) if target.is_file() else None
            if there is None and not os.path.lexists(target):
                _write(target, content)
                written.append(name)
            elif there == remembered.get(name) and there != fresh:
                _write(target, content)
                renewed.append(name)
            elif there != fresh:
                kept.append(name)
                continue
            remembered[name] = fresh
        _write(directory / _REMEMBERED, json.dumps(remembered, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise UsageError(
            f"the notebooks cannot be copied to {str(directory)!r}: {error.strerror or error}; name another directory"
        ) from error
    return Copies(written=tuple(written), renewed=tuple(renewed), removed=tuple(removed), kept=tuple(kept))


def require_lab() -> None:
    """Say what to install if JupyterLab is missing.

    Raises
    ------
    UsageError
        If it is.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise UsageError(
            "JupyterLab is not installed; install it with: python -m pip install 'wsresearch[notebook]', "
            "or use --only-copy and open the copy in an editor of yours"
        )


def open_lab(directory: Path, options: Sequence[str] = ()) -> NoReturn:
    """Become JupyterLab, opened on the first notebook; this process is replaced, so that Ctrl-C is JupyterLab's.

    Its kernels import this very package, also from a checkout that is not installed.

    Parameters
    ----------
    directory
        A copy of the notebooks.
    options
        Further options of JupyterLab's.
    """
    first = directory / _FIRST
    paths = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.execve(  # noqa: S606 - no shell is the point
        sys.executable,
        [sys.executable, "-m", "jupyterlab", str(first if first.is_file() else directory), *options],
        {**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def _files_in(folder: Path, prefix: str) -> dict[str, Path]:
    """Return the files below a folder but hidden ones, such as the checkpoints that JupyterLab leaves."""
    below = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    return {
        prefix + name.as_posix(): path for name, path in below if not any(part.startswith(".") for part in name.parts)
    }


def _read_remembered(directory: Path) -> dict[str, str]:
    try:
        told = json.loads((directory / _REMEMBERED).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # never written, or no longer readable: every file may be the user's
        return {}
    return {str(name): str(checksum) for name, checksum in told.items()} if isinstance(told, dict) else {}


def _is_untouched(directory: Path, name: str, checksum: str) -> bool:
    target = directory / name
    # The list stands in a file that anybody may have edited: it never reaches outside of the directory.
    if not target.resolve().is_relative_to(directory.resolve()) or not target.is_file():
        return False
    return _checksum(target.read_bytes()) == checksum


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(target: Path, content: bytes) -> None:
    """Write a file at one stroke."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
