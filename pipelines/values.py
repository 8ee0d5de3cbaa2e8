"""Values of a raster, and which of them are valid: nodata, NaN, alpha bands, masks, palettes.

Shapes: H x W pixels, C bands, V values that a band's type can have.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from pipelines.errors import RejectedObject
from pipelines.imagery import one_line

Values = NDArray[np.generic]


def read_values(
    dataset: DatasetReader,
    window: Window,
    bands: Sequence[int],
    shape: tuple[int, int],
    resampling: Resampling = Resampling.nearest,
    *,
    nodata: float | None = None,
    mask: bool = True,
) -> tuple[Values, NDArray[np.bool_]]:
    """Return values_HWC of a window inside the raster, in ``shape`` (H, W) pixels, and valid_HW.

    ``nodata`` is the value that means no data, None: what the file says; ``mask`` whether alpha and masks
    count. GDAL reduces with ``resampling``, from an overview where there is one; but takes the nearest where
    it can't average, as it doesn't know the nodata value or would mix up a palette's entries.
    Raises RejectedObject (``truncated``) where the pixels can't be decoded.
    """
    if has_palette(dataset):
        return _read_palette(dataset, window, bands, shape, nodata=nodata, mask=mask)
    if nodata is not None:
        resampling = Resampling.nearest
    values_CHW = _read(dataset, window, bands, shape, resampling)
    nodata_C = [dataset.nodatavals[band - 1] if nodata is None else nodata for band in bands]
    valid_HW = _find_valid(values_CHW, nodata_C)
    if mask:
        _apply_masks(valid_HW, dataset, window, bands)
    return np.ascontiguousarray(values_CHW.transpose(1, 2, 0)), valid_HW


def has_palette(dataset: DatasetReader) -> bool:
    """Tell whether the raster's one band holds entries of a palette: its colours are bands 1 to 3."""
    return dataset.count == 1 and bool(dataset.colorinterp[0] == ColorInterp.palette)


def _read_palette(
    dataset: DatasetReader,
    window: Window,
    bands: Sequence[int],
    shape: tuple[int, int],
    *,
    nodata: float | None,
    mask: bool,
) -> tuple[Values, NDArray[np.bool_]]:
    entries_1HW = _read(dataset, window, [1], shape, Resampling.nearest)
    valid_HW = _find_valid(entries_1HW, [dataset.nodatavals[0] if nodata is None else nodata])
    colours_V4 = np.zeros((1 << 8 * entries_1HW.dtype.itemsize, 4), np.uint8)
    for value, colour in dataset.colormap(1).items():
        colours_V4[value] = colour
    colours_HW4 = colours_V4[entries_1HW[0]]
    if mask:
        valid_HW &= colours_HW4[..., 3] > 0
        _apply_masks(valid_HW, dataset, window, [1])
    return np.ascontiguousarray(colours_HW4[..., [band - 1 for band in bands]]), valid_HW


def _read(
    dataset: DatasetReader,
    window: Window,
    bands: Sequence[int],
    shape: tuple[int, int],
    resampling: Resampling,
) -> Values:
    try:
        values_CHW: Values = dataset.read(
            list(bands), window=window, out_shape=(len(bands), *shape), resampling=resampling
        )
    except RasterioIOError as error:
        raise RejectedObject("truncated", one_line(error)) from error
    return values_CHW


def _find_valid(values_CHW: Values, nodata_C: Sequence[float | None]) -> NDArray[np.bool_]:
    """Return valid_HW: where one band at least has a value, as a pixel may well be 0 in some bands.

    In bands of floats, what isn't a value becomes NaN.
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


def _apply_masks(
    valid_HW: NDArray[np.bool_], dataset: DatasetReader, window: Window, bands: Sequence[int]
) -> None:
    """Clear where an alpha band or the file's mask is 0. Raises RejectedObject (``truncated``)."""
    for band, kind in enumerate(dataset.colorinterp, start=1):
        # GDAL calls the fourth of four 8-bit bands alpha, whatever it is: not where it is asked for
        if kind == ColorInterp.alpha and band not in bands:
            valid_HW &= _read(dataset, window, [band], valid_HW.shape, Resampling.nearest)[0] > 0
    flags = dataset.mask_flag_enums[0]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        try:
            valid_HW &= dataset.read_masks(bands[0], window=window, out_shape=valid_HW.shape) > 0
        except RasterioIOError as error:
            raise RejectedObject("truncated", one_line(error)) from error
