"""Imagery: open an object as a raster, cut it into chips, and say where on Earth each chip lies.

Shapes: N chips, H x W pixels, C bands. A window is (x, y, w, h) in pixels of the source.
"""

import hashlib
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window

from pipelines.errors import RejectedObject

DRIVERS = ("GTiff", "JPEG", "PNG", "JP2OpenJPEG")
"""GDAL drivers that may open an object. None of them opens further files or addresses, as VRT would."""

_GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # it returns blank pixels where a PNG breaks off
}

WindowTuple = tuple[int, int, int, int]


@dataclass(frozen=True)
class SceneChips:
    """The chips of one scene that have enough valid pixels."""

    windows: list[WindowTuple]
    chips_NHWC: NDArray[np.uint8]
    valid_fractions_N: NDArray[np.float32]


@contextmanager
def open_raster(content: bytes) -> Iterator[DatasetReader]:
    """Open an object's content as a raster.

    Raises RejectedObject: ``zero_bytes`` or ``not_an_image``.
    """
    if not content:
        raise RejectedObject("zero_bytes", "the object has no content")
    with rasterio.Env(**_GDAL_OPTIONS), MemoryFile(content) as memory:
        try:
            with warnings.catch_warnings():
                # images without georeference are welcome: their footprint is null
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = memory.open(driver=list(DRIVERS))
        except RasterioError as error:
            raise RejectedObject("not_an_image", _one_line(error)) from error
        with dataset:
            yield dataset


def grid_windows(width: int, height: int, chip_size: int) -> list[WindowTuple]:
    """Return the whole windows of a regular grid, row by row; what is left at the edges isn't covered."""
    return [
        (x, y, chip_size, chip_size)
        for y in range(0, height - chip_size + 1, chip_size)
        for x in range(0, width - chip_size + 1, chip_size)
    ]


def read_window(dataset: DatasetReader, window: WindowTuple, bands: Sequence[int]) -> NDArray[np.uint8]:
    """Return one chip_HWC. Raises RejectedObject: ``wrong_bands`` or ``truncated``."""
    check_bands(dataset, bands)
    try:
        pixels_CHW = dataset.read(list(bands), window=Window(*window))
    except RasterioIOError as error:
        raise RejectedObject("truncated", _one_line(error)) from error
    return np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0))


def check_bands(dataset: DatasetReader, bands: Sequence[int]) -> None:
    """Raise RejectedObject (``wrong_bands``) unless the raster has these bands, all of them uint8."""
    if dataset.count < max(bands):
        raise RejectedObject("wrong_bands", f"band {max(bands)} is needed, there are {dataset.count}")
    types = {dataset.dtypes[band - 1] for band in bands}
    if types != {"uint8"}:
        raise RejectedObject("wrong_bands", f"bands must be uint8, not {', '.join(sorted(types))}")


def read_chips(
    dataset: DatasetReader, chip_size: int, bands: Sequence[int], min_valid_fraction: float
) -> SceneChips:
    """Read every grid chip of a scene that has enough valid pixels.

    Raises RejectedObject: ``too_small``, ``wrong_bands``, ``truncated``, or ``empty`` where no chip does.
    """
    windows = grid_windows(dataset.width, dataset.height, chip_size)
    if not windows:
        size = f"{dataset.width} x {dataset.height}"
        raise RejectedObject("too_small", f"{size} pixels hold no chip of {chip_size}")
    chips, valid_fractions, kept = [], [], []
    for window in windows:
        chip_HWC = read_window(dataset, window, bands)
        valid_HW = dataset.dataset_mask(window=Window(*window))
        valid_fraction = np.count_nonzero(valid_HW) / valid_HW.size
        if valid_fraction >= min_valid_fraction and valid_fraction > 0:
            kept.append(window)
            chips.append(chip_HWC)
            valid_fractions.append(valid_fraction)
    if not kept:
        raise RejectedObject("empty", f"none of {len(windows)} chips has enough valid pixels")
    return SceneChips(kept, np.stack(chips), np.asarray(valid_fractions, np.float32))


def acquired_at(dataset: DatasetReader) -> datetime | None:
    """Return the acquisition time, UTC: the tag DateTime of TIFF 6.0, ``YYYY:MM:DD HH:MM:SS``."""
    try:
        return datetime.strptime(dataset.tags().get("TIFFTAG_DATETIME", ""), "%Y:%m:%d %H:%M:%S").replace(
            tzinfo=UTC
        )
    except ValueError:
        return None


def chip_id(uri: str, window: WindowTuple) -> str:
    """Return the chip's stable name: 24 hex digits of a hash over source URI and window."""
    x, y, w, h = window
    return hashlib.sha256(f"{uri}#{x},{y},{w},{h}".encode()).hexdigest()[:24]


def _one_line(error: Exception) -> str:
    return re.sub(r"/vsimem/\S+?(?=[:,' ]|$)", "the object", " ".join(str(error).split()))[:300]
