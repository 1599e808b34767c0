"""Pixels as a PNG file; what draws them is not here."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode_png"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGB: Final = 2
_RGBA: Final = 6

_LEVEL: Final = 3
"""Of zlib. On a timeline of 200 outages 1 to 9 take 7 to 58 ms and 129 to 94 KB; the step from 3 to 4 costs most."""

_INCH: Final = 0.0254


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_png(pixels: NDArray[np.uint8], *, dpi: float) -> bytes:
    """Return pixels as PNG, the same bytes for the same pixels.

    Rows are stored unfiltered: in a drawing of lines and plain surfaces the filters, which predict a pixel from its
    neighbours, only hide repetitions. Against the writer of Pillow, which tries them all, that is a third of the
    time and a quarter less to store (measured on timelines).

    Parameters
    ----------
    pixels
        Red, green, blue and alpha, shape (height, width, 4), neither side 0. Alpha is left out if all is opaque.
    dpi
        Pixels per inch, for whoever prints it.
    """
    height, width, depth = pixels.shape
    kind = _RGBA
    if (pixels[:, :, 3] == 255).all():
        depth, kind = 3, _RGB
    rows = np.zeros((height, 1 + width * depth), dtype=np.uint8)
    rows[:, 1:].reshape(height, width, depth)[...] = pixels[:, :, :depth]
    per_metre = round(dpi / _INCH)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
            _chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)),
            _chunk(b"IDAT", zlib.compress(rows.data, _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )
