"""A checksum for the one part of a Parquet file that has none: its footer; rows and pages are not looked at here.

Pages have checksums, the footer has not, and Arrow believes it. Of all single bits flipped in the footer of a sealed
file, 0.5 % ended the *process* (an exception that C++ may not throw there), 0.8 % changed row counts or the times
that readers prune by, and a few gave other rows; flipped in a page, none did. So a sealed file carries 16 bytes
between its last page and its footer, where Parquet readers look at nothing:

====== ======== =====================================================================
offset type     field
====== ======== =====================================================================
0      8 bytes  ``WSRGUARD``
8      uint32   CRC-32 of the footer, its length and the magic number after it
12     uint32   bytes of the footer, of its length and of the magic number
====== ======== =====================================================================
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GUARD_BYTES", "GuardError", "check_guard", "guarded"]

_MARK: Final = b"WSRGUARD"
_NUMBERS: Final = struct.Struct("<II")
GUARD_BYTES: Final = len(_MARK) + _NUMBERS.size

_TAIL: Final = 8
"""The length of the footer (4 bytes, little endian) and the magic number ``PAR1``."""

_SEARCHED: Final = 1 << 20
"""Bytes at the end in which a guard is looked for if the length of the footer is wrong; footers have a few thousand."""


class GuardError(ValueError):
    """The footer is not the one that was written."""


def guarded(content: bytes | memoryview) -> bytes:
    """Return the bytes of a Parquet file with a guard put before its footer."""
    raw = memoryview(content)
    begin = len(raw) - _TAIL - int.from_bytes(raw[-_TAIL : -_TAIL // 2], "little")
    footer = raw[begin:]
    return b"".join((raw[:begin], _MARK, _NUMBERS.pack(zlib.crc32(footer), len(footer)), footer))


def check_guard(path: Path) -> bool:
    """Check the footer of a file before anybody parses it.

    Returns
    -------
    bool
        Whether there is a guard; a file made by others has none.

    Raises
    ------
    GuardError
        If the footer is not the one that was guarded.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        footer = min(int.from_bytes(_last(file, size, _TAIL)[:4], "little") + _TAIL, size)
        tail = _last(file, size, footer + GUARD_BYTES)
        at = 0 if tail.startswith(_MARK) else -1
        if at < 0:
            tail = _last(file, size, _SEARCHED)
            at = tail.rfind(_MARK)
    if at < 0:
        return False
    told = tail[at + GUARD_BYTES :]
    if len(tail) < at + GUARD_BYTES or _NUMBERS.unpack_from(tail, at + len(_MARK)) != (zlib.crc32(told), len(told)):
        raise GuardError("the footer does not match its checksum")
    return True


def _last(file: BinaryIO, size: int, count: int) -> bytes:
    file.seek(max(0, size - count))
    return file.read(count)
