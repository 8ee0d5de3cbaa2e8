"""Pixels in and out: uploaded images to chips, chips of the archive to PNG.

Shapes: H x W pixels, C bands.
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from pipelines.errors import RejectedObject, StorageError
from pipelines.imagery import WindowTuple, open_raster, read_window
from pipelines.serve.refusals import Refusal
from pipelines.storage import Store

_STATUS = {"zero_bytes": 415, "not_an_image": 415}  # every other reason: 422


def read_upload(content: bytes, bands: Sequence[int], max_pixels: int) -> NDArray[np.uint8] | Refusal:
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
            whole = (0, 0, dataset.width, dataset.height)
            return read_window(dataset, whole, [1] * len(bands) if is_grey else bands)
    except RejectedObject as error:
        hint = f"send a JPEG, PNG, JPEG 2000 or GeoTIFF with bands {list(bands)} in 8 bits"
        return Refusal(_STATUS.get(error.reason, 422), error.reason, error.detail, hint)


def _pixels_to_decode(dataset: DatasetReader) -> int:
    """Return the size of the image or of one of its blocks: a small image can claim huge ones."""
    blocks = [height * width for height, width in dataset.block_shapes]
    return int(max(dataset.width * dataset.height, *blocks))


def read_thumbnail(uri: str, window: WindowTuple, bands: Sequence[int], store: Store) -> bytes | Refusal:
    """Return a chip's pixels as PNG, in its first three bands or its first, or why there are none."""
    shown = bands[:3] if len(bands) >= 3 else bands[:1]
    try:
        with open_raster(store.read(uri)) as dataset:
            chip_HWC = read_window(dataset, window, shown)
    except (FileNotFoundError, RejectedObject):
        message = f"{uri} is gone, or has changed since it was encoded"
        return Refusal(404, "source_gone", message, "the next nightly removes its chips, or renews them")
    except StorageError as error:
        return Refusal(503, "source_unavailable", str(error), "try again in a moment")
    png = io.BytesIO()
    Image.fromarray(chip_HWC[..., 0] if len(shown) == 1 else chip_HWC).save(png, "PNG")
    return png.getvalue()
