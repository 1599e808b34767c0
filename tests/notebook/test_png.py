"""Pixels as a file."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import image

from wsresearch.notebook.png import encode_png


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4))), st.booleans())
def test_another_reader_sees_the_same_pixels(pixels: np.ndarray, opaque: bool) -> None:
    """Each as it was; without alpha where nothing is to be seen through."""
    if opaque:
        pixels[:, :, 3] = 255
    png = encode_png(pixels, dpi=110)
    seen = np.rint(image.imread(BytesIO(png), format="png") * 255).astype(np.uint8)
    depth = 3 if (pixels[:, :, 3] == 255).all() else 4
    np.testing.assert_array_equal(seen, pixels[:, :, :depth])


def test_the_same_pixels_are_the_same_bytes() -> None:
    """No time, no version: a picture that did not change is no change in a notebook's file."""
    pixels = np.full((5, 7, 4), 200, dtype=np.uint8)
    assert encode_png(pixels, dpi=110) == encode_png(pixels.copy(), dpi=110)


@pytest.mark.parametrize(("dpi", "per_metre"), [(110, 4331), (72, 2835)])
def test_it_prints_in_its_size(dpi: float, per_metre: int) -> None:
    """The file says how many pixels are an inch."""
    png = encode_png(np.zeros((1, 1, 4), dtype=np.uint8), dpi=dpi)
    at = png.index(b"pHYs") + 4
    assert png[at : at + 9] == 2 * per_metre.to_bytes(4, "big") + b"\x01"
