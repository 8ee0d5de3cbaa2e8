"""How values of a raster become pixels of a chip: the same in training, encoding and queries.

Shapes: H x W pixels, C bands, S = side of a resampled chip.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.windows import Window

from model.spec import InputSpec
from pipelines.errors import RejectedObject
from pipelines.imagery.raster import Raster
from pipelines.imagery.samples import Values, bits_of, black_and_white, has_palette, is_grey
from pipelines.imagery.values import WantedValues, read_values
from pipelines.imagery.window import WindowTuple

_NEARLY = 1.02
_SURVEY_SIDE = 512  # a scene's percentiles are taken from at most so many pixels a side


@dataclass(frozen=True)
class PixelSpec:
    """Which values of a raster become a chip's pixels, and how.

    A pixel is ``255 (value - low) / (high - low)`` per band, rounded and clipped to 0..255. Values are those
    in the file, before any scale and offset that it names. Without a range, values of up to 8 bits become
    pixels from black to white, as in viewers: those of 8 bits are taken as they are, unless the file says
    that 0 is white. If samples have fewer than 8 bits and the range goes beyond them, the range is meant in
    8 bits, from black to white. Invalid pixels are 0.
    """

    bands: tuple[int, ...]
    """Band of the raster (from 1) for each band of the chip. A palette's colours are bands 1 to 3."""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    percentiles: tuple[float, float] | None = None
    """Instead of a range: each scene's own, between these percentiles of its valid values."""
    nodata: float | None = None
    """Value that means no data; None: the file's own. NaN and infinity always mean it."""
    mask: bool = True
    """Whether a mask, or an alpha band that isn't among ``bands``, makes pixels invalid."""

    @property
    def values(self) -> WantedValues:
        """The values that are read of a raster."""
        return WantedValues(self.bands, self.nodata, self.mask)

    @classmethod
    def of(cls, spec: InputSpec) -> "PixelSpec":
        """Return the pixels that a network was trained on."""
        return cls(spec.bands, spec.low, spec.high)


@dataclass(frozen=True)
class Chip:
    """A window of a scene, as the network takes it."""

    window: WindowTuple
    pixels_HWC: NDArray[np.uint8]
    valid_fraction: float
    """Share of the window's pixels that are valid; pixels outside of the raster aren't."""


def check_bands(dataset: Raster, spec: PixelSpec) -> None:
    """Raise RejectedObject (``wrong_bands``) unless the raster has these bands, with values that fit."""
    kinds = ["uint8"] * 3 if has_palette(dataset) else dataset.dtypes
    of_complex = sorted({kind for kind in kinds if kind.startswith("complex")})
    if of_complex:
        message = f"bands are complex numbers ({of_complex[0]}): write their amplitudes as real numbers"
        raise RejectedObject("wrong_bands", message)
    if len(kinds) < max(spec.bands):
        raise RejectedObject("wrong_bands", f"band {max(spec.bands)} is needed, there are {len(kinds)}")
    types = {kinds[band - 1] for band in spec.bands}
    found = ", ".join(sorted(types))
    if len(types) > 1 or np.dtype(found).kind not in "uif":
        raise RejectedObject("wrong_bands", f"bands must be real numbers of one type, not {found}")
    if found != "uint8" and not spec.low and spec.percentiles is None:
        bits = min(bits_of(dataset, band) for band in spec.bands)
        kind = found if bits == 8 * np.dtype(found).itemsize else f"{found} of {bits} bits"
        message = f"bands are {kind}: declare which values become 0 and 255 (low and high, or percentiles)"
        raise RejectedObject("wrong_bands", message)
    if np.dtype(found).itemsize == 1 and max(spec.high, default=0) > 255:
        message = f"bands are {found}, the declared range goes to {max(spec.high):g}: other values are meant"
        raise RejectedObject("wrong_bands", message)


def grey_as_colours(dataset: Raster, spec: PixelSpec) -> PixelSpec:
    """Return a spec that takes the band of a grey picture for each of its bands; of others, the spec itself.

    For pictures that people choose, as examples or with labels. For the objects of an archive this must be
    declared, as one band may hold heights or classes.
    """
    return replace(spec, bands=(1,) * len(spec.bands)) if is_grey(dataset) else spec


def with_own_range(dataset: Raster, spec: PixelSpec) -> PixelSpec:
    """Return the spec with the scene's percentiles as its range, if it asks for percentiles.

    They are taken from at most 512 x 512 pixels, always the same ones, of an overview if there is one.
    Raises RejectedObject: ``wrong_bands``, ``truncated``, or ``empty`` if none of them is valid.
    """
    if spec.percentiles is None:
        return spec
    check_bands(dataset, spec)
    width, height = dataset.upright_size
    step = max(1.0, max(width, height) / _SURVEY_SIDE)
    shape = max(1, round(height / step)), max(1, round(width / step))
    whole = Window(0, 0, width, height)
    values_HWC, valid_HW = read_values(dataset, whole, spec.values, shape)
    kept_NC = values_HWC[valid_HW].astype(np.float64)
    kept_NC = kept_NC[np.isfinite(kept_NC).all(axis=1)]
    if not len(kept_NC):
        raise RejectedObject("empty", "no pixel is valid")
    low_C, high_C = np.percentile(kept_NC, spec.percentiles, axis=0)
    high_C = np.where(high_C > low_C, high_C, low_C + 1)  # a band of one value: black
    return replace(spec, low=tuple(low_C.tolist()), high=tuple(high_C.tolist()), percentiles=None)


def read_window(dataset: Raster, window: WindowTuple, spec: PixelSpec, size: int | None = None) -> Chip:
    """Read one chip: the window as it is, or resampled to ``size`` pixels a side.

    The window is in the upright image (`pipelines.imagery.orientation`). It may cross the edges; pixels
    beyond aren't valid. Resampling is antialiased, invalid pixels have no weight, and reductions start from
    the smallest overview that isn't smaller than the chip.
    Raises RejectedObject: ``wrong_bands``, ``truncated``, or ``too_small`` if the window lies outside.
    """
    check_bands(dataset, spec)
    x, y, w, h = window
    width, height = dataset.upright_size
    if not (-w < x < width and -h < y < height):
        message = f"window {x}, {y}, {w}, {h} lies outside of {width} x {height} pixels"
        raise RejectedObject("too_small", message)
    across, down = (_reduction(dataset, side / size) if size else 1 for side in (w, h))
    left, top = max(0, x), max(0, y)
    inside = Window(left, top, min(x + w, width) - left, min(y + h, height) - top)
    shape = _reduced(inside.height, down), _reduced(inside.width, across)
    values_HWC, valid_HW = read_values(dataset, inside, spec.values, shape, Resampling.average)
    whole = max(shape[0], _reduced(h, down)), max(shape[1], _reduced(w, across))
    if whole != shape:
        rows = _margins(top - y, down, whole[0] - shape[0])
        columns = _margins(left - x, across, whole[1] - shape[1])
        values_HWC = np.pad(values_HWC, (rows, columns, (0, 0)))
        valid_HW = np.pad(valid_HW, (rows, columns))
    valid_fraction = np.count_nonzero(valid_HW) / valid_HW.size
    if size and whole != (size, size):
        values_HWC, valid_HW = _resized(values_HWC, valid_HW, size)
    pixels_HWC = _to_uint8(values_HWC, _in_own_values(dataset, spec))
    if valid_fraction < 1:
        pixels_HWC[~valid_HW] = 0
    return Chip(window, pixels_HWC, valid_fraction)


def _reduction(dataset: Raster, ratio: float) -> float:
    """Return by how much GDAL reduces pixels, of which ``ratio`` become one: at least 1.

    To twice as many as are wanted, which are then resampled with antialiasing; or to the pixels of an
    overview. It may be 2 % coarser than the ratio, as metres per pixel are rarely whole.
    """
    overviews = [factor for factor in dataset.overviews(1) if factor <= ratio * _NEARLY]
    return float(max(1, ratio / 2, *overviews))


def _reduced(pixels: float, reduction: float) -> int:
    """Return how many pixels are left, rounded down: GDAL takes no overview that has fewer than asked for."""
    return max(1, math.floor(pixels / reduction + 1e-6))


def _margins(outside: int, reduction: float, missing: int) -> tuple[int, int]:
    """Return how many of the missing pixels stand before and after those that there are, along one axis."""
    before = min(_reduced(outside, reduction), missing) if outside else 0
    return before, missing - before


def _in_own_values(dataset: Raster, spec: PixelSpec) -> PixelSpec:
    """Return the spec with its range in values of the file, if it has no range or one in 8 bits."""
    if has_palette(dataset) or any(dataset.dtypes[band - 1] != "uint8" for band in spec.bands):
        return spec
    black_C, white_C = map(np.asarray, black_and_white(dataset, spec.bands))
    largest_C = np.maximum(black_C, white_C)
    is_of_8_bits = bool((largest_C == 255).all())
    if not spec.low and is_of_8_bits and not black_C.any():
        return spec
    if spec.low and (is_of_8_bits or (np.asarray(spec.high) <= largest_C + 1).all()):
        return spec
    low_C, high_C = (np.asarray(side) / 255 for side in (spec.low or (0.0,), spec.high or (255.0,)))
    low_C, high_C = (black_C + share_C * (white_C - black_C) for share_C in (low_C, high_C))
    return replace(spec, low=tuple(low_C.tolist()), high=tuple(high_C.tolist()))


def _resized(
    values_HWC: Values, valid_HW: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values_SSC, each the weighted mean of the valid values that it covers, and valid_SS."""
    floats_HWC = values_HWC.astype(np.float32)
    if valid_HW.all() and np.isfinite(floats_HWC).all():
        planes = [_resize(floats_HW, size) for floats_HW in floats_HWC.transpose(2, 0, 1)]
        return np.stack(planes, axis=2), np.ones((size, size), np.bool_)
    values_SSC = np.full((size, size, values_HWC.shape[2]), np.nan, np.float32)
    for band, floats_HW in enumerate(floats_HWC.transpose(2, 0, 1)):
        weights_HW = valid_HW & np.isfinite(floats_HW)
        sums_SS = _resize(np.where(weights_HW, floats_HW, np.float32(0)), size)
        weights_SS = _resize(weights_HW.astype(np.float32), size)
        np.divide(sums_SS, weights_SS, out=values_SSC[..., band], where=weights_SS > 1e-3)
    return values_SSC, np.asarray(np.isfinite(values_SSC).any(axis=2))


def _resize(plane_HW: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane_HW).resize((size, size), Image.Resampling.BILINEAR))


def _to_uint8(values_HWC: Values, spec: PixelSpec) -> NDArray[np.uint8]:
    """Map the range to 0..255; NaN, as one band of a valid pixel may be, becomes 0."""
    if not spec.low and values_HWC.dtype == np.uint8:
        return np.ascontiguousarray(values_HWC).view(np.uint8)
    floats_HWC = values_HWC.astype(np.result_type(values_HWC, np.float32))
    if spec.low:
        low_C, high_C = (np.asarray(side, floats_HWC.dtype) for side in (spec.low, spec.high))
        floats_HWC = (floats_HWC - low_C) * (255 / (high_C - low_C))
    pixels_HWC: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(floats_HWC), 0, 255)).astype(np.uint8)
    return pixels_HWC
