"""Pixels in and out: uploaded images to chips, chips of the archive to PNG.

Shapes: H x W pixels, C bands.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import PictureError, RejectedObject, StorageError
from pipelines.imagery import WindowTuple, open_raster
from pipelines.picture import read_picture
from pipelines.pixels import PixelSpec, read_window, with_own_range
from pipelines.serve.refusals import Refusal
from pipelines.storage import Store

# every other reason: 422
_STATUS = {"zero_bytes": 415, "not_an_image": 415, "too_large": 413, "too_many_pixels": 413}
_THUMBNAIL_SIDE = 1024  # pixels, at most: a chip in metres may have any number of them in its source


def read_upload(content: bytes, pixels: PixelSpec, max_pixels: int) -> NDArray[np.uint8] | Refusal:
    """Return an uploaded image as one chip_HWC, or why it can't be one."""
    try:
        return read_picture(content, pixels, max_pixels)
    except PictureError as error:
        return Refusal(_STATUS.get(error.code, 422), error.code, error.message, error.hint)


def read_thumbnail(uri: str, window: WindowTuple, pixels: PixelSpec, store: Store) -> bytes | Refusal:
    """Return a chip as PNG, as it was encoded: its first three bands, or its first; or why there is none."""
    size = _THUMBNAIL_SIDE if max(window[2:]) > _THUMBNAIL_SIDE else None
    try:
        with open_raster(store.read(uri)) as dataset:
            chip_HWC = read_window(dataset, window, with_own_range(dataset, pixels), size).pixels_HWC
    except (FileNotFoundError, RejectedObject):
        message = f"{uri} is gone, or has changed since it was encoded"
        return Refusal(404, "source_gone", message, "the next nightly removes its chips, or renews them")
    except StorageError as error:
        return Refusal(503, "source_unavailable", str(error), "try again in a moment")
    png = io.BytesIO()
    Image.fromarray(chip_HWC[..., 0] if len(pixels.bands) < 3 else chip_HWC[..., :3]).save(png, "PNG")
    return png.getvalue()
