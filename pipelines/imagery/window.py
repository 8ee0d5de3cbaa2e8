"""Windows of a raster, and the names of the chips in them. Quick to import: configs lead here."""

import hashlib

WindowTuple = tuple[int, int, int, int]
"""x, y, w, h [pixels]."""


def chip_id(uri: str, window: WindowTuple) -> str:
    """Return the chip's stable name: 24 hex digits of a hash over source URI and window."""
    x, y, w, h = window
    return hashlib.sha256(f"{uri}#{x},{y},{w},{h}".encode()).hexdigest()[:24]
