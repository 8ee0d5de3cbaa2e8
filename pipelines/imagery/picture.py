"""A picture that a user sends as an example, read as one chip.

Shapes: H x W pixels, C bands.
"""

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from pipelines.errors import PictureError, RejectedObject
from pipelines.imagery.pixels import PixelSpec, grey_as_colours, read_window
from pipelines.imagery.raster import open_raster, rasters_in

MAX_PIXELS = 4_194_304
"""Largest picture that is decoded by default."""


def read_picture(content: bytes, pixels: PixelSpec, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return a picture as one chip_HWC. Raises PictureError if that isn't possible.

    In a grey picture, with or without alpha, all bands are the grey one.
    """
    try:
        with open_raster(content) as dataset:
            if _pixels_to_decode(dataset) > max_pixels:
                size = f"{dataset.width} x {dataset.height} pixels in blocks of {dataset.block_shapes[0]}"
                message = f"the image has {size}; {max_pixels} are decoded at most"
                raise PictureError("too_many_pixels", message, "send a smaller image, or a part of it")
            chip = read_window(dataset, (0, 0, *dataset.upright_size), grey_as_colours(dataset, pixels))
    except RejectedObject as error:
        kind = f"values of {pixels.low} to {pixels.high}" if pixels.low else "8 bits"
        hint = f"send a JPEG, PNG, JPEG 2000 or GeoTIFF with bands {list(pixels.bands)} in {kind}"
        raise PictureError(error.reason, error.detail, hint) from error
    if not chip.valid_fraction:
        raise PictureError("empty", "no pixel of the image is valid", "send one that shows something")
    return chip.pixels_HWC


def _pixels_to_decode(dataset: DatasetReader) -> int:
    """Return the pixels of the image, or of its largest block: a small image can claim huge blocks."""
    blocks = [height * width for raster in rasters_in(dataset) for height, width in raster.block_shapes]
    return int(max(dataset.width * dataset.height, *blocks))
