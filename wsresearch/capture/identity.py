"""What makes a directory a capture: the file ``capture.json``; what stands in its configuration is not judged here."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from wsresearch.capture.disk import REAL_DISK, Disk, replace_file
from wsresearch.capture.layout import Layout
from wsresearch.errors import CaptureError, CaptureTooNew, NotACapture, UsageError
from wsresearch.schema import FORMAT_VERSION

__all__ = ["Identity", "create_identity", "open_for_collecting", "read_identity", "replace_config"]

_TEMPORARY_PREFIX: Final = ".capture.json."
_LONGEST: Final = 1 << 24
"""Bytes; 1024 streams with all their settings are a thousandth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a capture is of.

    Attributes
    ----------
    format_version
        Version of the directory layout and of the schemas.
    created
        When the capture was made, UTC.
    venue, symbols
        Which exchange and which instruments; they never change.
    config
        How the last collector was told to collect: a JSON object that only the collector understands.
    """

    format_version: int
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    venue: str
    symbols: tuple[str, ...]
    config: Mapping[str, Any]


class _Header(msgspec.Struct):
    """The part of the file that every format version has."""

    format_version: Annotated[int, msgspec.Meta(ge=1)]


def read_identity(layout: Layout) -> Identity:
    """Read what a capture is of.

    Raises
    ------
    NotACapture
        If the root is no directory, or has no ``capture.json`` or one that is not ours.
    CaptureTooNew
        If a later format version wrote it.
    CaptureError
        If the file may not be read.
    """
    root, path = layout.root, layout.identity
    with _in_words(root, "read"):
        if path.is_symlink() or not path.is_file():
            what = "is no directory" if not root.is_dir() else "holds no capture.json"
            raise NotACapture(f"{str(root)!r} {what}, so it is no capture: give the directory a collector wrote to")
        with path.open("rb") as file:
            raw = file.read(_LONGEST)
    return _parsed(raw, path)


def create_identity(
    layout: Layout,
    *,
    venue: str,
    symbols: Sequence[str],
    config: Mapping[str, Any],
    created: datetime | None = None,
    disk: Disk = REAL_DISK,
) -> Identity:
    """Make a new or empty directory a capture, at one stroke.

    Parameters
    ----------
    layout
        The directory; it and its parents are made where they are missing, for their owner only.
    venue, symbols, config
        See `Identity`; `config` must be plain JSON.
    created
        When; now by default.
    disk
        What changes the disk.

    Raises
    ------
    UsageError
        If it is a capture already, or `config` is no JSON.
    NotACapture
        If it holds other files. Nothing has changed then.
    CaptureError
        If the disk refused.
    """
    identity = Identity(
        format_version=FORMAT_VERSION,
        created=created or datetime.now(UTC),
        venue=venue,
        symbols=tuple(symbols),
        config=config,
    )
    content = _content(identity, layout.identity)
    with _in_words(layout.root, "made a capture"):
        _check_free(layout)
        _make_folder(layout.root, disk)
        for left in _temporaries(layout):
            if not _is_being_written(left):
                disk.unlink(left)
        _replace(layout, content, disk)
        disk.fsync_dir(layout.root.absolute().parent)
    return _parsed(content, layout.identity)


def replace_config(layout: Layout, config: Mapping[str, Any], *, disk: Disk = REAL_DISK) -> Identity:
    """Write down another configuration, at one stroke; the caller holds the lock of the capture.

    Raises
    ------
    UsageError
        If `config` is no JSON.
    NotACapture, CaptureTooNew, CaptureError
        As `read_identity`, or if the disk refused.
    """
    content = _content(replace(read_identity(layout), config=config), layout.identity)
    with _in_words(layout.root, "written to"):
        _replace(layout, content, disk)
    return _parsed(content, layout.identity)


def open_for_collecting(
    root: Path, *, identity: Mapping[str, Any], config: Mapping[str, Any], disk: Disk = REAL_DISK
) -> Identity:
    """Return the identity of the capture to collect into, which is made if `root` is new or empty.

    Parameters
    ----------
    root
        The directory.
    identity
        ``venue`` and ``symbols``: what is to be collected.
    config
        For a new capture. That of an old one stays as it is; `replace_config` changes it, under the lock.
    disk
        What changes the disk.

    Raises
    ------
    UsageError
        If the capture is of another venue or of other symbols.
    NotACapture, CaptureTooNew, CaptureError
        As `read_identity` and `create_identity`.
    """
    layout = Layout(root)
    venue, symbols = identity["venue"], tuple(identity["symbols"])
    if not os.path.lexists(layout.identity):
        try:
            return create_identity(layout, venue=venue, symbols=symbols, config=config, disk=disk)
        except UsageError:
            if not os.path.lexists(layout.identity):
                raise
            # Somebody else made it a capture just now: what holds for theirs decides.
    found = read_identity(layout)
    for what, there, here in (("venue", found.venue, venue), ("symbols", found.symbols, symbols)):
        if there != here:
            raise UsageError(
                f"{str(root)!r} is a capture of {what} {_listed(there)}, not {_listed(here)}: choose another directory"
            )
    return found


def _parsed(raw: bytes, path: Path) -> Identity:
    try:
        version = msgspec.json.decode(raw, type=_Header).format_version
        if version > FORMAT_VERSION:
            raise CaptureTooNew(
                f"{str(path)!r} has format version {version}, this program knows {FORMAT_VERSION}: "
                "use a later version of wsresearch; nothing was touched"
            )
        return msgspec.json.decode(raw, type=Identity)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        why = ascii(" ".join(str(error).split())[:200])[1:-1]
        raise NotACapture(
            f"{str(path)!r} is not the file a collector writes ({why}): restore it, or choose another directory"
        ) from error


def _content(identity: Identity, path: Path) -> bytes:
    """Return the bytes of the file, after making sure that they can be read back."""
    fields = asdict(identity) | {"created": identity.created.isoformat()}
    try:
        content = (json.dumps(fields, indent=2, allow_nan=False) + "\n").encode()
        if len(content) > _LONGEST:
            raise ValueError(f"{len(content)} bytes of JSON")
        _parsed(content, path)
    except (TypeError, ValueError, RecursionError, NotACapture) as error:
        raise UsageError(
            f"the configuration cannot be kept in {str(path)!r}: {error}; use plain JSON values"
        ) from error
    return content


def _check_free(layout: Layout) -> None:
    """Raise unless the directory may become a capture."""
    root = layout.root
    if not os.path.lexists(root):
        return
    if not root.is_dir():
        raise NotACapture(f"{str(root)!r} is a file, so it cannot become a capture: give a new or empty directory")
    # One look at the directory: another collector may be making it a capture at this moment.
    names = sorted(path.name for path in root.iterdir())
    if layout.identity.name in names:
        read_identity(layout)
        raise UsageError(f"{str(root)!r} is a capture already: open it, or give a new or empty directory")
    # A collector may have died when it had the lock and nothing else.
    others = [name for name in names if name != layout.lock.name and not name.startswith(_TEMPORARY_PREFIX)]
    if others:
        raise NotACapture(
            f"{str(root)!r} holds other files ({others[0]!r} first) and no capture.json: give a new or empty directory"
        )


def _temporaries(layout: Layout) -> list[Path]:
    """List what a `_replace` left that was cut off."""
    return [path for path in layout.root.iterdir() if path.name.startswith(_TEMPORARY_PREFIX)]


def _is_being_written(temporary: Path) -> bool:
    """Tell whether the process that a temporary file is named after lives: another collector starts beside us."""
    pid = temporary.name.removeprefix(_TEMPORARY_PREFIX).partition("-")[0]
    try:
        os.kill(int(pid), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _make_folder(root: Path, disk: Disk) -> None:
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    for folder in reversed(missing):
        disk.mkdir(folder)
    if not missing:
        root.chmod(0o700)


def _replace(layout: Layout, content: bytes, disk: Disk) -> None:
    """Put `content` in the place of ``capture.json``; a reader finds the old or the new, whole."""
    temporary = layout.root / f"{_TEMPORARY_PREFIX}{os.getpid()}-{threading.get_ident()}"
    replace_file(layout.identity, content, temporary=temporary, disk=disk)


def _listed(value: str | tuple[str, ...]) -> str:
    return repr(value if isinstance(value, str) else ",".join(value))[:200]


@contextmanager
def _in_words(root: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CaptureError(
            f"{str(root)!r} cannot be {what} ({error.strerror or error}): mend that or choose another directory"
        ) from error
