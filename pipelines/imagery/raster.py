"""Opens an object as a raster, within limits, and reads when it was acquired."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import rasterio
from rasterio.enums import Interleaving, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from pipelines.errors import RejectedObject, one_line
from pipelines.imagery.crs_text import names_a_file
from pipelines.imagery.orientation import (
    AS_STORED,
    Orientation,
    orientation_by_number,
    png_orientation,
    tiff_orientation,
)

DRIVERS = ("GTiff", "JPEG", "PNG", "JP2OpenJPEG")
"""GDAL drivers that may open an object. None of them opens further files or addresses, as VRT would."""

_GDAL_OPTIONS = {
    # bytes of decoded blocks; by default GDAL takes a share of all memory, in each process
    "GDAL_CACHEMAX": 512 << 20,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # it returns blank pixels if a PNG breaks off
}

# The densest file in practice is a sparse TIFF: its tiles of 1024 x 1024 pixels take 16 bytes each.
_MOST_PIXELS_A_BYTE = 100_000
_MOST_BLOCK_BYTES = 1 << 30  # a block is decoded as a whole
_MOST_DIRECTORIES = 100  # of a TIFF with a mask

_UUID = "-".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12))  # a MemoryFile's name


class Raster(DatasetReader):  # type: ignore[misc]  # rasterio has no types
    """An object's content, opened. Its width, height and pixels are as stored."""

    orientation: Orientation = AS_STORED
    """How its pixels are turned when they are read; windows of chips are in the upright raster."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height [pixels] after turning."""
        return self.orientation.size(self.width, self.height)


@contextmanager
def open_raster(content: bytes) -> Iterator[Raster]:
    """Open an object's content as a raster.

    Raises RejectedObject: ``zero_bytes``, ``not_an_image`` or ``too_large``.
    """
    if not content:
        raise RejectedObject("zero_bytes", "the object has no content")
    if names_a_file(content):
        raise RejectedObject("not_an_image", "its coordinate system names a file, which would be opened")
    with rasterio.Env(**_GDAL_OPTIONS), MemoryFile(content) as memory:
        try:
            with warnings.catch_warnings():
                # images without georeference are allowed: their footprint is null
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = Raster(memory.name, driver=list(DRIVERS))
        except RasterioError as error:
            raise RejectedObject("not_an_image", gdal_message(error)) from error
        with dataset:
            _check_size(dataset, len(content))
            dataset.orientation = _orientation(dataset, content)
            yield dataset


def _orientation(dataset: DatasetReader, content: bytes) -> Orientation:
    """Return how viewers turn an image; a georeferenced raster is taken as stored, as in GIS software."""
    has_place = dataset.crs is not None or bool(dataset.gcps[0]) or not dataset.transform.is_identity
    if has_place:
        return AS_STORED
    if dataset.driver == "JPEG":
        return orientation_by_number(dataset.tags().get("EXIF_Orientation"))
    if dataset.driver == "GTiff":
        return tiff_orientation(content)
    return png_orientation(content) if dataset.driver == "PNG" else AS_STORED


def _check_size(dataset: DatasetReader, content_bytes: int) -> None:
    """Raise RejectedObject (``too_large``) if the header claims more than the content can hold."""
    size = f"{dataset.width} x {dataset.height} pixels"
    if dataset.width * dataset.height > _MOST_PIXELS_A_BYTE * content_bytes:
        raise RejectedObject("too_large", f"the header says {size}, but there are {content_bytes} bytes only")
    for raster in rasters_in(dataset):
        together = 1 if raster.interleaving == Interleaving.band else raster.count
        height, width = max(raster.block_shapes, key=lambda shape: shape[0] * shape[1])
        if height * width * together * _sample_bytes(raster.dtypes[0]) > _MOST_BLOCK_BYTES:
            raise RejectedObject(
                "too_large", f"{size} in blocks of {width} x {height}: write it in tiles, as a COG has them"
            )


def _sample_bytes(data_type: str) -> int:
    """Return the size of a sample [bytes]. numpy has no type for GDAL's complex 16-bit integers."""
    return 4 if data_type == "complex_int16" else np.dtype(data_type).itemsize


def rasters_in(dataset: DatasetReader) -> Iterator[DatasetReader]:
    """Yield the raster itself, then the overviews and masks of a TIFF, which have their own blocks.

    Raises RejectedObject (``too_large``) if a TIFF has too many of them.
    """
    yield dataset
    if dataset.driver != "GTiff":
        return
    for level in range(len(dataset.overviews(1))):
        with _opened(dataset.name, overview_level=level) as overview:
            yield overview
    flags = dataset.mask_flag_enums[0]
    if MaskFlags.per_dataset not in flags or MaskFlags.alpha in flags:
        return
    for number in range(2, _MOST_DIRECTORIES + 2):  # the first is the raster's own
        try:
            directory = _opened(f"GTIFF_DIR:{number}:{dataset.name}")
        except RasterioError:
            return  # no more
        with directory:
            yield directory
    raise RejectedObject("too_large", f"a TIFF with a mask and more than {_MOST_DIRECTORIES} directories")


def _opened(name: str, **options: int) -> DatasetReader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(name, driver="GTiff", **options)


def acquired_at(dataset: DatasetReader) -> datetime | None:
    """Return the acquisition time, UTC: the tag DateTime of TIFF 6.0, ``YYYY:MM:DD HH:MM:SS``."""
    try:
        return datetime.strptime(dataset.tags().get("TIFFTAG_DATETIME", ""), "%Y:%m:%d %H:%M:%S").replace(
            tzinfo=UTC
        )
    except ValueError:
        return None


def gdal_message(error: Exception) -> str:
    """Return GDAL's message about an object, without the object's temporary name."""
    cause = error.__cause__ if "previous exception" in str(error) and error.__cause__ else error
    return re.sub(rf"(/vsimem/)?({_UUID}/)?{_UUID}\.?\w*", "the object", one_line(cause))[:300]
