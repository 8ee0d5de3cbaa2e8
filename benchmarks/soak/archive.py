"""An archive that changes: which objects the source holds, with which pixels, at any moment.

An object never goes back to a content that it had before, so an etag stands for one content; and a name that
was removed isn't used again. Shapes: H x W pixels, C bands.
"""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from pipelines.imagery.grid import Grid, grid_windows
from pipelines.imagery.window import WindowTuple, chip_id
from pipelines.storage.store import Store

CHIP = 16
"""Side of a chip [pixels]."""
_SIDE = 64  # of a scene [pixels]
_STILL, _LASTING, _FIRST = 8, 24, 40  # objects that never change, that are never removed, and at first
_CHANGED, _REMOVED = 3, 2  # objects of a night; as many are added as are removed

Row = tuple[str, str, WindowTuple]
"""A chip as the table should have it: uri, etag, window."""


@dataclass
class Archive:
    """The scenes below a prefix. Threads may read it while one changes it."""

    source: str
    store: Store
    etags: dict[str, str] = field(default_factory=dict)
    """The objects that are there, by uri."""
    _seeds: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _revisions: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Write the objects of the first night."""
        for number in range(_FIRST):
            self._put(number, 0)

    def change(self, night: int) -> None:
        """Change some objects, remove some, and add as many."""
        rng = np.random.default_rng(night)
        there = sorted(self._revisions)
        passing = [number for number in there if number >= _LASTING]
        changing = [number for number in there if _STILL <= number < _LASTING]
        for number in rng.choice(changing, _CHANGED, replace=False).tolist():
            self._put(number, self._revisions[number] + 1)
        for number in rng.choice(passing, _REMOVED, replace=False).tolist():
            self._remove(number)
        for number in range(there[-1] + 1, there[-1] + 1 + _REMOVED):
            self._put(number, 0)

    def _uri(self, number: int) -> str:
        return f"{self.source}/{number:04}.tif"

    def _put(self, number: int, revision: int) -> None:
        uri, content = self._uri(number), _geotiff(_scene(number, revision), number)
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()  # as S3 has it
        with self._lock:  # first, so that no client sees the new object before this knows it
            self.etags[uri] = etag
            self._seeds[uri, etag] = number, revision
        self.store.write(uri, content)
        self._revisions[number] = revision

    def _remove(self, number: int) -> None:
        with self._lock:
            del self.etags[self._uri(number)]
        self.store.remove(self._uri(number))
        del self._revisions[number]

    def lasting_chips(self) -> list[str]:
        """Return the ids of the chips that every version has; the first ones are of objects that stay."""
        return [chip_id(self._uri(number), window) for number in range(_LASTING) for window in windows()]

    def rows(self) -> Iterator[Row]:
        """Yield the chips that the table should have now."""
        for uri, etag in sorted(self.etags.items()):
            for window in windows():
                yield uri, etag, window

    def is_still(self, uri: str, etag: str) -> bool:
        """Return whether an object is there with this content."""
        with self._lock:
            return self.etags.get(uri) == etag

    def pixels(self, uri: str, etag: str, window: WindowTuple) -> NDArray[np.uint8] | None:
        """Return a chip_HWC of an object as it was with this etag; None if it never had it."""
        with self._lock:
            seed = self._seeds.get((uri, etag))
        if seed is None:
            return None
        x, y, w, h = window
        return _scene(*seed)[y : y + h, x : x + w]


def windows() -> Iterator[WindowTuple]:
    """Yield the windows of a scene's chips."""
    return grid_windows(_SIDE, _SIDE, Grid(CHIP))


def _scene(number: int, revision: int) -> NDArray[np.uint8]:
    """Return a scene_HWC: patches of colours, in a pattern of its own, with a little noise."""
    rng = np.random.default_rng([number, revision])
    pixels_HWC = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    pixels_HWC ^= rng.integers(0, 16, pixels_HWC.shape, np.uint8)
    pixels_HWC[pixels_HWC == 0] = 1  # 0 would be nodata
    return pixels_HWC


def _geotiff(pixels_HWC: NDArray[np.uint8], number: int) -> bytes:
    place = from_origin(-170 + 7 * (number % 48), 60 - 7 * (number // 48), 0.1, 0.1)
    profile = {"driver": "GTiff", "dtype": "uint8", "crs": "EPSG:4326", "transform": place}
    with MemoryFile() as memory:
        with memory.open(width=_SIDE, height=_SIDE, count=3, **profile) as dataset:
            dataset.write(pixels_HWC.transpose(2, 0, 1))
        return bytes(memory.read())
