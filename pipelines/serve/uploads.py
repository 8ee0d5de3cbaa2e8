"""Decodes uploaded images to chips.

Shapes: H x W pixels, C bands.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PictureError
from pipelines.imagery.picture import read_picture
from pipelines.imagery.pixels import PixelSpec
from pipelines.serve.refusals import Refusal

# HTTP status by the reason of a reject; any other reason: 422
_STATUS = {"zero_bytes": 415, "not_an_image": 415, "too_large": 413, "too_many_pixels": 413}


def read_upload(content: bytes, pixels: PixelSpec, max_pixels: int) -> NDArray[np.uint8] | Refusal:
    """Return an uploaded image as one chip, chip_HWC, or why it can't be decoded."""
    try:
        return read_picture(content, pixels, max_pixels)
    except PictureError as error:
        return Refusal(_STATUS.get(error.code, 422), error.code, error.message, error.hint)
