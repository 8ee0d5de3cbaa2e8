"""Pixels in and out: uploaded images to chips, chips of the archive to PNG.

Shapes: H x W pixels, C bands.
"""

import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from pipelines.errors import RejectedObject, StorageError
from pipelines.imagery import WindowTuple, open_raster
from pipelines.pixels import PixelSpec, check_bands, read_window, with_own_range
from pipelines.serve.refusals import Refusal
from pipelines.storage import Store

_STATUS = {"zero_bytes": 415, "not_an_image": 415, "too_large": 413}  # every other reason: 422
_THUMBNAIL_SIDE = 1024  # pixels, at most: a chip in metres may have any number of them in its source


def read_upload(content: bytes, pixels: PixelSpec, max_pixels: int) -> NDArray[np.uint8] | Refusal:
    """Return an uploaded image as one chip_HWC, or why it can't be one.

    A grey image counts as one whose bands are all alike.
    """
    try:
        with open_raster(content) as dataset:
            if _pixels_to_decode(dataset) > max_pixels:
                size = f"{dataset.width} x {dataset.height} pixels in blocks of {dataset.block_shapes[0]}"
                message = f"the image has {size}; {max_pixels} are decoded at most"
                return Refusal(413, "too_many_pixels", message, "send a smaller image, or a part of it")
            is_grey = dataset.count == 1 and dataset.colorinterp[0] == ColorInterp.gray
            taken = replace(pixels, bands=(1,) * len(pixels.bands)) if is_grey else pixels
            chip = read_window(dataset, (0, 0, dataset.width, dataset.height), taken)
            if chip.valid_fraction:
                return chip.pixels_HWC
            return Refusal(422, "empty", "no pixel of the image is valid", "send one that shows something")
    except RejectedObject as error:
        kind = f"values of {pixels.low} to {pixels.high}" if pixels.low else "8 bits"
        hint = f"send a JPEG, PNG, JPEG 2000 or GeoTIFF with bands {list(pixels.bands)} in {kind}"
        return Refusal(_STATUS.get(error.reason, 422), error.reason, error.detail, hint)


def _pixels_to_decode(dataset: DatasetReader) -> int:
    """Return the size of the image or of one of its blocks: a small image can claim huge ones."""
    blocks = [height * width for height, width in dataset.block_shapes]
    return int(max(dataset.width * dataset.height, *blocks))


def read_thumbnail(uri: str, window: WindowTuple, pixels: PixelSpec, store: Store) -> bytes | Refusal:
    """Return a chip as PNG, in the model's first three bands or its first, or why there is none."""
    size = _THUMBNAIL_SIDE if max(window[2:]) > _THUMBNAIL_SIDE else None
    try:
        with open_raster(store.read(uri)) as dataset:
            chip_HWC = read_window(dataset, window, _shown(dataset, pixels), size).pixels_HWC
    except (FileNotFoundError, RejectedObject):
        message = f"{uri} is gone, or has changed since it was encoded"
        return Refusal(404, "source_gone", message, "the next nightly removes its chips, or renews them")
    except StorageError as error:
        return Refusal(503, "source_unavailable", str(error), "try again in a moment")
    png = io.BytesIO()
    Image.fromarray(chip_HWC[..., 0] if chip_HWC.shape[2] == 1 else chip_HWC).save(png, "PNG")
    return png.getvalue()


def _shown(dataset: DatasetReader, pixels: PixelSpec) -> PixelSpec:
    """Return what the model sees or, where the night read this archive otherwise, what there is."""
    count = 3 if len(pixels.bands) >= 3 else 1
    shown = PixelSpec(pixels.bands[:count], pixels.low[:count], pixels.high[:count])
    try:
        check_bands(dataset, shown)
    except RejectedObject:
        bands = (1, 2, 3) if dataset.count >= 3 else (1,)
        return with_own_range(dataset, PixelSpec(bands, percentiles=(2, 98)))
    return shown
