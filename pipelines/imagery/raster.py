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

from pipelines.errors import RejectedObject, RejectReason, one_line
from pipelines.imagery.crs_text import NAMES_A_FILE, names_a_file
from pipelines.imagery.orientation import (
    AS_STORED,
    Orientation,
    orientation_by_number,
    png_orientation,
    read_orientation,
    tiff_orientation,
)
from pipelines.imagery.ranged import NAME, RangedFile, Ranges, is_tiff

# Images without georeference are welcome: their footprint is null. Warning filters are the whole process's,
# and several threads open rasters at a time: so this one is set once, not around each opening.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

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

_UUID = "-".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12))
# of a MemoryFile; of what is read by ranges
_TEMPORARY_NAME = rf"(/vsimem/)?({_UUID}/)?{_UUID}\.?\w*|(/vsiriopener_[0-9a-f]+/)?{NAME}\b"


class Raster(DatasetReader):  # type: ignore[misc]  # rasterio has no types
    """An object's content, opened. Its width, height and pixels are as stored."""

    orientation: Orientation = AS_STORED
    """How its pixels are turned when they are read; windows of chips are in the upright raster."""
    file: RangedFile | None = None
    """What it is read from, if it isn't in memory as a whole."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height [pixels] after turning."""
        return self.orientation.size(self.width, self.height)

    @contextmanager
    def reading(self, reason: RejectReason) -> Iterator[None]:
        """Raise errors of reading this raster as RejectedObject for a reason, or as what caused them.

        Also raises what has failed without GDAL's saying so, if the object is read by ranges.
        """
        try:
            with _rejected(reason):
                yield
        except RejectedObject:
            if self.file:
                self.file.raise_failure()
            raise
        if self.file:
            self.file.raise_failure()


@contextmanager
def open_raster(content: bytes | Ranges, *, is_checked: bool = False) -> Iterator[Raster]:
    """Open an object's content, or a large object by ranges, as a raster. Only a TIFF is read by ranges.

    ``is_checked``: the sizes in its header have been looked at before.
    Raises RejectedObject: ``zero_bytes``, ``not_an_image`` or ``too_large``; of ranges, what reading them
    raises.
    """
    if not isinstance(content, bytes) and not is_tiff(content.read([(0, 4)])[0]):
        (content,) = content.read([(0, content.size)])
    opened = _in_memory(content) if isinstance(content, bytes) else _by_ranges(content)
    with rasterio.Env(**_GDAL_OPTIONS), opened as dataset:
        if not is_checked:
            with dataset.reading("not_an_image"):
                _check_size(dataset, len(content) if isinstance(content, bytes) else content.size)
        yield dataset


@contextmanager
def _in_memory(content: bytes) -> Iterator[Raster]:
    if not content:
        raise RejectedObject("zero_bytes", "the object has no content")
    if names_a_file(content):
        raise RejectedObject("not_an_image", NAMES_A_FILE)
    with MemoryFile(content) as memory:
        with _rejected("not_an_image"):
            dataset = Raster(memory.name, driver=list(DRIVERS))
        with dataset:
            dataset.orientation = _orientation(dataset, content)
            yield dataset


@contextmanager
def _by_ranges(ranges: Ranges) -> Iterator[Raster]:
    file = RangedFile(ranges)
    try:
        with _rejected("not_an_image"):
            dataset = rasterio.open(NAME, driver="GTiff", opener=file)
    except RejectedObject:
        file.raise_failure()
        raise
    with dataset:
        dataset.__class__ = Raster  # rasterio.open makes no other one, and rasters in memory have no opener
        dataset.file = file
        file.raise_failure()
        if not _has_place(dataset):
            dataset.orientation = read_orientation(lambda start, stop: ranges.read([(start, stop)])[0])
        yield dataset


@contextmanager
def _rejected(reason: RejectReason) -> Iterator[None]:
    """Raise an error of rasterio as RejectedObject for a reason."""
    try:
        yield
    except RasterioError as error:
        raise RejectedObject(reason, gdal_message(error)) from error


def _orientation(dataset: DatasetReader, content: bytes) -> Orientation:
    """Return how viewers turn an image; a georeferenced raster is taken as stored, as in GIS software."""
    if _has_place(dataset):
        return AS_STORED
    if dataset.driver == "JPEG":
        return orientation_by_number(dataset.tags().get("EXIF_Orientation"))
    if dataset.driver == "GTiff":
        return tiff_orientation(content)
    return png_orientation(content) if dataset.driver == "PNG" else AS_STORED


def _has_place(dataset: DatasetReader) -> bool:
    return dataset.crs is not None or bool(dataset.gcps[0]) or not dataset.transform.is_identity


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
    return DatasetReader(name, driver="GTiff", **options)


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
    return re.sub(_TEMPORARY_NAME, "the object", one_line(cause))[:300]
