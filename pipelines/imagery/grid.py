"""A scene's chips: a regular grid of windows, in pixels or in metres.

Shapes: H x W pixels, C bands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pipelines.errors import RejectedObject
from pipelines.imagery.georeference import Georeference
from pipelines.imagery.pixels import Chip, PixelSpec, check_bands, read_window, with_own_range
from pipelines.imagery.raster import Raster
from pipelines.imagery.window import WindowTuple

Edges = Literal["drop", "shift", "pad"]
"""A window that crosses the right or lower edge is dropped, shifted inside (over other windows), or padded:
the part outside isn't valid."""

_SAME = 0.01  # no resampling if the source's resolution differs by less than this share


@dataclass(frozen=True)
class Grid:
    """Which windows of a scene are its chips."""

    chip_size: int
    """Side of a chip [pixels, as the network takes them]."""
    stride: int | None = None
    """Distance from one chip to the next [the same pixels]; None: chip_size."""
    resolution: float | None = None
    """Ground size of these pixels [metres]; None: the source's own."""
    edges: Edges = "drop"
    """The default is that of chip specs in tables, which leave it out; a config's own default is "shift"."""
    min_valid_fraction: float = 0.0
    """Chips with a smaller valid share [0..1], and those without a valid pixel, are left out."""


def grid_windows(
    width: int, height: int, grid: Grid, ratios: tuple[float, float] = (1, 1)
) -> Iterator[WindowTuple]:
    """Yield the windows of a raster of width x height pixels, row by row.

    ``ratios``: how many pixels of the source make one of the grid, along rows and along columns.
    """
    (w, x_starts), (h, y_starts) = _axes(width, height, grid, ratios)
    for y in y_starts:
        for x in x_starts:
            yield x, y, w, h


def covered_pixels(dataset: Raster, place: Georeference | None, grid: Grid) -> int:
    """Return how many pixels of a scene lie in a window of its grid; 0 if the scene is too small for any.

    Padded windows with less than ``min_valid_fraction`` inside the scene don't count; nor does it matter here
    which pixels are valid. Raises RejectedObject (``no_place``).
    """
    width, height = dataset.upright_size
    (w, x_starts), (h, y_starts) = _axes(width, height, grid, _ratios(place, grid))
    inner_w, edge_w, inside_w = _covered(width, w, x_starts)
    inner_h, edge_h, inside_h = _covered(height, h, y_starts)
    parts = (
        (inner_w * inner_h, 1),
        (edge_w * inner_h, inside_w),
        (inner_w * edge_h, inside_h),
        (edge_w * edge_h, inside_w * inside_h),
    )
    return sum(pixels for pixels, inside in parts if inside >= grid.min_valid_fraction)


def _covered(length: int, side: int, starts: list[int]) -> tuple[int, int, float]:
    """Return what is covered along one axis: by windows inside, and by the padded one alone.

    The third value is the share of the padded one that is inside; 1 if there is none.
    """
    inner = end = 0
    for start in starts:
        if start + side > length:
            return inner, length - max(start, end), (length - start) / side
        inner += start + side - max(start, end)
        end = start + side
    return inner, 0, 1.0


def _axes(
    width: int, height: int, grid: Grid, ratios: tuple[float, float]
) -> tuple[tuple[int, list[int]], tuple[int, list[int]]]:
    """Return the windows' side and their starts, along rows and along columns."""
    stride = grid.stride or grid.chip_size
    w, h = (round(grid.chip_size * ratio) for ratio in ratios)
    across, down = (max(1, round(stride * ratio)) for ratio in ratios)
    return (w, _starts(width, w, across, grid.edges)), (h, _starts(height, h, down, grid.edges))


def _starts(length: int, side: int, stride: int, edges: Edges) -> list[int]:
    """Return the starts of windows along one axis: one each ``stride``, until a window reaches the end."""
    if side < 1:
        return []
    whole = list(range(0, length - side + 1, stride))
    following = len(whole) * stride
    reached = whole[-1] + side if whole else 0
    if edges == "drop" or reached >= length or following >= length:
        return whole
    if edges == "pad":
        return [*whole, following]
    return [*whole, length - side] if length >= side else []


def read_chips(dataset: Raster, place: Georeference | None, grid: Grid, pixels: PixelSpec) -> Iterator[Chip]:
    """Yield the chips of a scene with enough valid pixels, row by row; one is in memory at a time.

    Files are decoded row by row too, so GDAL still has the blocks that neighbouring chips share.
    Raises RejectedObject: ``wrong_bands``, ``no_place``, ``too_small``, ``truncated``, or last ``empty``.
    """
    check_bands(dataset, pixels)
    windows = scene_windows(dataset, place, grid)
    ranged = with_own_range(dataset, pixels)
    count = kept = 0
    for window in windows:
        chip = read_window(dataset, window, ranged, grid.chip_size)
        count += 1
        if chip.valid_fraction >= grid.min_valid_fraction and chip.valid_fraction > 0:
            kept += 1
            yield chip
    if not kept:
        raise RejectedObject("empty", f"none of {count} chips has enough valid pixels")


def scene_windows(dataset: Raster, place: Georeference | None, grid: Grid) -> Iterator[WindowTuple]:
    """Return the windows of a scene's chips, row by row, valid or not.

    Raises RejectedObject: ``no_place``, or ``too_small`` if there are none.
    """
    ratios = _ratios(place, grid)
    width, height = dataset.upright_size
    windows = grid_windows(width, height, grid, ratios)
    first = next(windows, None)
    if first is None:
        w, h = (grid.chip_size * ratio for ratio in ratios)
        raise RejectedObject("too_small", f"{width} x {height} pixels hold no chip of {w:g} x {h:g}")
    return chain([first], windows)


def _ratios(place: Georeference | None, grid: Grid) -> tuple[float, float]:
    """Return how many source pixels make one of the grid, by axis. Raises RejectedObject (``no_place``)."""
    if grid.resolution is None:
        return 1, 1
    metres = place.metres_per_pixel() if place else None
    if metres is None:
        raise RejectedObject(
            "no_place", "resolution is set, and the object doesn't say how large its pixels are on Earth"
        )
    across, down = (grid.resolution / distance for distance in metres)
    return (1, 1) if abs(across - 1) < _SAME and abs(down - 1) < _SAME else (across, down)
