"""Reads values of a raster, and which pixels are valid: nodata, NaN, alpha bands, masks, palettes.

Windows are in the upright raster (`pipelines.imagery.orientation`); GDAL reads the stored ones.

Shapes: H x W pixels, C bands.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window

from pipelines.imagery.raster import Raster
from pipelines.imagery.samples import Mask, Values, has_few_bits, has_palette, palette, read_mean


class WantedValues(NamedTuple):
    """Which values of a raster are read, and which of them are valid."""

    bands: Sequence[int]
    nodata: float | None = None
    """The value that means no data; None: the file's own."""
    mask: bool = True
    """Whether alpha bands and masks count."""


def read_values(
    dataset: Raster,
    window: Window,
    wanted: WantedValues,
    shape: tuple[int, int],
    resampling: Resampling = Resampling.nearest,
) -> tuple[Values, Mask]:
    """Return values_HWC of a window inside the raster, in ``shape`` (H, W) pixels, and valid_HW.

    GDAL reduces with ``resampling``, from an overview if there is one. With a nodata value of ours, which
    GDAL doesn't know, it takes the nearest pixel. Palettes and samples of few bits are averaged here.
    Raises RejectedObject (``truncated``) if the pixels can't be decoded.
    """
    bands, nodata, mask = wanted
    turn = dataset.orientation
    x, y, w, h = turn.stored_window(
        (window.col_off, window.row_off, window.width, window.height), *dataset.upright_size
    )
    stored = Window(x, y, w, h)
    stored_shape = shape[::-1] if turn.exchanged else shape

    def read(part: Window, size: tuple[int, int], method: Resampling) -> tuple[Values, Mask]:
        if has_palette(dataset):
            return _read_palette(dataset, part, bands, size, nodata=nodata, mask=mask)
        values_CHW = _read(dataset, part, bands, size, method)
        nodata_C = [dataset.nodatavals[band - 1] if nodata is None else nodata for band in bands]
        return values_CHW, _find_valid(values_CHW, nodata_C)

    is_special = has_palette(dataset) or has_few_bits(dataset, bands)
    if is_special and resampling == Resampling.average and stored_shape != (h, w):
        values_CHW, valid_HW = read_mean(
            lambda part, size: read(part, size, Resampling.nearest), stored, stored_shape
        )
    else:
        method = resampling if nodata is None else Resampling.nearest
        values_CHW, valid_HW = read(stored, stored_shape, method)
    if mask:
        _apply_masks(valid_HW, dataset, stored, [1] if has_palette(dataset) else bands)
    return _bands_last(turn.upright(values_CHW)), np.ascontiguousarray(turn.upright(valid_HW))


def _bands_last(values_CHW: Values) -> Values:
    """Return values_HWC: band by band, a quarter of the time of numpy's copy of a transposed array."""
    values_HWC = np.empty((*values_CHW.shape[1:], len(values_CHW)), values_CHW.dtype)
    for band, values_HW in enumerate(values_CHW):
        values_HWC[..., band] = values_HW
    return values_HWC


def _read_palette(
    dataset: Raster,
    window: Window,
    bands: Sequence[int],
    shape: tuple[int, int],
    *,
    nodata: float | None,
    mask: bool,
) -> tuple[Values, Mask]:
    """Return the colours of palette entries as values_CHW, and valid_HW."""
    entries_1HW = _read(dataset, window, [1], shape, Resampling.nearest)
    valid_HW = _find_valid(entries_1HW, [dataset.nodatavals[0] if nodata is None else nodata])
    colours_HW4 = palette(dataset)[entries_1HW[0]]
    if mask:
        valid_HW &= colours_HW4[..., 3] > 0
    return colours_HW4[..., [band - 1 for band in bands]].transpose(2, 0, 1), valid_HW


def _read(
    dataset: Raster,
    window: Window,
    bands: Sequence[int],
    shape: tuple[int, int],
    resampling: Resampling,
) -> Values:
    with dataset.reading("truncated"):
        values_CHW: Values = dataset.read(
            list(bands), window=window, out_shape=(len(bands), *shape), resampling=resampling
        )
    return values_CHW


def _find_valid(values_CHW: Values, nodata_C: Sequence[float | None]) -> Mask:
    """Return valid_HW: pixels with a value in one band at least, as some bands may well equal nodata.

    In bands of floats, nodata and infinity become NaN in place.
    """
    shape = values_CHW.shape[1:]
    if values_CHW.dtype.kind != "f" and all(nodata is None for nodata in nodata_C):
        return np.ones(shape, np.bool_)
    valid_HW = np.zeros(shape, np.bool_)
    for values_HW, nodata in zip(values_CHW, nodata_C, strict=True):
        has_value_HW = np.isfinite(values_HW)
        if nodata is not None:
            with np.errstate(over="ignore"):  # a nodata value beyond the band's type
                has_value_HW &= values_HW != float(nodata)
        if values_CHW.dtype.kind == "f":
            values_HW[~has_value_HW] = np.nan
        valid_HW |= has_value_HW
    return valid_HW


def _apply_masks(valid_HW: Mask, dataset: Raster, window: Window, bands: Sequence[int]) -> None:
    """Clear valid_HW where an alpha band or the file's mask is 0. Raises RejectedObject (``truncated``)."""
    for band, kind in enumerate(dataset.colorinterp, start=1):
        # GDAL takes the fourth of any four 8-bit bands for alpha: it isn't if it is one of the chip's bands
        if kind == ColorInterp.alpha and band not in bands:
            valid_HW &= _read(dataset, window, [band], valid_HW.shape, Resampling.nearest)[0] > 0
    flags = dataset.mask_flag_enums[0]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        with dataset.reading("truncated"):
            valid_HW &= dataset.read_masks(bands[0], window=window, out_shape=valid_HW.shape) > 0
