"""Decodes uploaded images to chips, and reads chips of the archive as PNG.

Shapes: H x W pixels, C bands.
"""

import io
import re
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import (
    PictureError,
    RejectedObject,
    ReplacedError,
    StorageError,
    StoreDownError,
)
from pipelines.imagery.picture import read_picture
from pipelines.imagery.pixels import PixelSpec, read_window, with_own_range
from pipelines.imagery.raster import open_raster
from pipelines.imagery.window import WindowTuple
from pipelines.serve.refusals import Refusal
from pipelines.storage.store import Store

# HTTP status by the reason of a reject; any other reason: 422
_STATUS = {"zero_bytes": 415, "not_an_image": 415, "too_large": 413, "too_many_pixels": 413}
_THUMBNAIL_SIDE = 1024  # pixels at most: a chip with a size in metres may have any number in its source


def read_upload(content: bytes, pixels: PixelSpec, max_pixels: int) -> NDArray[np.uint8] | Refusal:
    """Return an uploaded image as one chip, chip_HWC, or why it can't be decoded."""
    try:
        return read_picture(content, pixels, max_pixels)
    except PictureError as error:
        return Refusal(_STATUS.get(error.code, 422), error.code, error.message, error.hint)


def read_thumbnail(
    uri: str, window: WindowTuple, pixels: PixelSpec, store: Store, etag: str = ""
) -> bytes | Refusal:
    """Return a chip's pixels as PNG, in three bands or one, or why they can't be read.

    ``etag``: the object's etag when it was encoded. Pixels of another version of it are never returned.
    """
    size = _THUMBNAIL_SIDE if max(window[2:]) > _THUMBNAIL_SIDE else None
    try:
        with open_raster(_read_encoded_version(uri, etag, store)) as dataset:
            chip_HWC = read_window(dataset, window, with_own_range(dataset, pixels), size).pixels_HWC
    except (FileNotFoundError, RejectedObject):
        message = f"{uri} is gone, or has changed since it was encoded"
        return Refusal(404, "source_gone", message, "the next nightly removes its chips, or renews them")
    except ReplacedError as error:
        message = f"{error}; the chip's code is of the older one"
        return Refusal(409, "source_changed", message, "the next nightly encodes it anew")
    except StoreDownError as error:
        return Refusal(503, "source_unavailable", str(error), "try again in a moment")
    except StorageError as error:
        hint = "asking again won't help: let the service's operator give it access to the imagery"
        return Refusal(502, "source_refused", str(error), hint)
    png = io.BytesIO()
    Image.fromarray(chip_HWC[..., 0] if len(pixels.bands) < 3 else chip_HWC[..., :3]).save(png, "PNG")
    return png.getvalue()


def _read_encoded_version(uri: str, etag: str, store: Store) -> bytes:
    """Return an object's content. Raises ReplacedError if it isn't the version that was encoded."""
    content = store.read_version(uri, etag)
    if urlsplit(uri).scheme in ("http", "https"):
        now = store.etag(uri)  # asked after reading, so that an object replaced before is noticed
        if now and now != etag and _form(now) == _form(etag):
            raise ReplacedError(f"{uri} was replaced since it was encoded: its etag is {now}, not {etag}")
    return content


def _form(etag: str) -> str:
    """Return an etag's form. Etags of different forms come from different servers and can't be compared."""
    is_hash = re.fullmatch("[0-9a-fA-F]+", etag) is not None
    return f"a hash of {len(etag)} digits" if is_hash else re.sub("[0-9a-fA-F]+", "0", etag)
