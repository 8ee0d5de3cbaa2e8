"""Windows of a raster, and the ids of the chips in them."""

import hashlib

WindowTuple = tuple[int, int, int, int]
"""x, y, w, h [pixels]: the upper left corner, width and height."""


def chip_id(uri: str, window: WindowTuple) -> str:
    """Return the chip's stable id: the first 24 hex digits of the SHA-256 of source URI and window."""
    x, y, w, h = window
    return hashlib.sha256(f"{uri}#{x},{y},{w},{h}".encode()).hexdigest()[:24]
