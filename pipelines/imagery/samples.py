"""Samples that aren't plain bytes: of few bits, entries of a palette, grey with 0 as white.

Shapes: H x W pixels, C bands, V values that a sample can have.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

Values = NDArray[np.generic]
Mask = NDArray[np.bool_]
Read = Callable[[Window, tuple[int, int]], tuple[Values, Mask]]
"""Reads a window in (H, W) pixels; returns values_CHW and valid_HW."""

_BYTE = 8
_STRIP_PIXELS = 1 << 22  # averaged at a time


def has_palette(dataset: DatasetReader) -> bool:
    """Return whether the raster's only band holds palette entries; its colours then are bands 1 to 3."""
    return dataset.count == 1 and bool(dataset.colorinterp[0] == ColorInterp.palette)


def palette(dataset: DatasetReader) -> NDArray[np.uint8]:
    """Return the palette, colours_V4: red, green, blue and alpha of each entry."""
    colours_V4 = np.zeros((1 << 8 * np.dtype(dataset.dtypes[0]).itemsize, 4), np.uint8)
    for value, colour in dataset.colormap(1).items():
        colours_V4[value] = colour
    return colours_V4


def is_grey(dataset: DatasetReader) -> bool:
    """Return whether a picture has one band without a palette, or one and an alpha band."""
    kinds = dataset.colorinterp
    return (len(kinds) == 1 and not has_palette(dataset)) or (
        len(kinds) == 2 and kinds[1] == ColorInterp.alpha
    )


def bits_of(dataset: DatasetReader, band: int) -> int:
    """Return the bits of a sample in a band of integers: a file may declare fewer than its type has."""
    whole: int = 8 * np.dtype(dataset.dtypes[band - 1]).itemsize
    declared = dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return min(int(declared), whole) if declared.isdecimal() and int(declared) else whole


def has_few_bits(dataset: DatasetReader, bands: Sequence[int]) -> bool:
    """Return whether samples of one of these bands have fewer than 8 bits."""
    return any(dataset.dtypes[band - 1] == "uint8" and bits_of(dataset, band) < _BYTE for band in set(bands))


def black_and_white(dataset: DatasetReader, bands: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return the values of black_C and of white_C in bands of up to 8 bits.

    White is the largest value, unless a TIFF declares 0 as white (TIFF 6.0, WhiteIsZero, common in faxes).
    """
    largest_C = [float((1 << bits_of(dataset, band)) - 1) for band in bands]
    zeros_C = [0.0] * len(largest_C)
    is_reversed = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
    return (largest_C, zeros_C) if is_reversed else (zeros_C, largest_C)


def read_mean(read: Read, window: Window, shape: tuple[int, int]) -> tuple[Values, Mask]:
    """Return means_CHW (float32) of a window reduced to ``shape`` (H, W) pixels, and valid_HW.

    GDAL would round a mean to a value of the sample's type, such as black or white. Only valid values count;
    without any the mean is NaN. The window is read in strips, as it may be much larger than the result.
    """
    height, width = shape
    down = window.height / height
    rows = max(1, int(_STRIP_PIXELS / (window.width * down)))
    means, valid = [], []
    for first in range(0, height, rows):
        last = min(first + rows, height)
        top, bottom = int(first * down), min(int(np.ceil(last * down)), int(window.height))
        strip = Window(window.col_off, window.row_off + top, window.width, bottom - top)
        values_CHW, valid_HW = read(strip, (bottom - top, int(window.width)))
        box = (0.0, first * down - top, float(window.width), min(last * down, window.height) - top)
        weights_HW = _mean(valid_HW.astype(np.float32), (width, last - first), box)
        sums_CHW = [
            _mean(np.where(valid_HW, values_HW, 0).astype(np.float32), (width, last - first), box)
            for values_HW in values_CHW
        ]
        means.append(np.stack(sums_CHW) / np.where(weights_HW > 0, weights_HW, np.nan))
        valid.append(weights_HW > 0)
    return np.concatenate(means, axis=1), np.concatenate(valid)


def _mean(
    plane_HW: NDArray[np.float32], size: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane_HW).resize(size, Image.Resampling.BOX, box))
