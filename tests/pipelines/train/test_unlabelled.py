"""Look bits of an archive that nobody labelled: a prefix and a STAC catalog, sampled evenly."""

import json
from collections import Counter

import numpy as np
import pytest

from pipelines.errors import ConfigError, StorageError
from pipelines.labels.features import compute_features
from pipelines.registry.bundles import read_bundle
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.config import PixelConfig
from pipelines.train.config import TrainConfig
from pipelines.train.prepare import build_network
from pipelines.train.run import run_train
from pipelines.train.unlabelled import draw_windows, list_scenes

pytestmark = pytest.mark.usefixtures("ray_local")

SCENES = 12  # of 64 pixels: 16 windows each


@pytest.fixture(scope="module")
def unlabelled(frozen, scenes, ray_local):
    """The config for the scenes below the prefix; nothing tells it of labels."""
    return TrainConfig(
        source=scenes.prefix,
        preset="unlabelled",
        chip_size=16,
        samples=100,
        network={"backbone": "resnet18", "node": "layer1", "look_bits": 32},
        bundles=f"{frozen.bundles}-unlabelled",
        input=frozen.input,
        weights=frozen.weights,
        store=frozen.store,
        tracking=frozen.tracking,
        name="unlabelled",
    )


def test_a_prefix_gives_a_bundle_of_look_bits_alone(unlabelled, store):
    report = run_train(unlabelled)
    assert (report.chips, report.scenes, report.classes, report.validation_chips) == (100, SCENES, 0, 0)
    assert report.promoted  # nobody held the alias
    manifest, network = read_bundle(report.bundle, store)
    assert manifest.class_names == ()
    assert [(part.name, part.bits) for part in manifest.network.code.parts] == [("look", 32)]
    assert report.metrics["val_distinct_ratio"] > 0.5
    assert network.encode_features(np.random.default_rng(0).random((5, 64), np.float32)).shape == (5, 4)
    again = run_train(unlabelled)
    assert not again.promoted  # nothing says that it is better
    second = read_bundle(again.bundle, store)[1].look.state_dict()
    assert all(value.equal(second[name]) for name, value in network.look.state_dict().items())


def test_a_stac_catalog_is_a_source_too(unlabelled, store, scenes, root):
    items = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"scene-{number}",
            "geometry": None,
            "properties": {"datetime": "2026-06-01T00:00:00Z"},
            "links": [],
            "assets": {"image": {"href": f"{scenes.prefix}/{number:03}.tif", "roles": ["data"]}},
        }
        for number in range(4)
    ]
    catalog = {"type": "FeatureCollection", "features": items}
    store.write(f"{root}/items.json", json.dumps(catalog).encode())
    report = run_train(unlabelled.model_copy(update={"source": f"{root}/items.json", "name": "stac"}))
    assert (report.chips, report.scenes) == (4 * 16, 4)


def draw(config, store):
    cuts = chip_specs_of(config, build_network(config, store).input_spec)
    return draw_windows(list_scenes(config, store)[0], config, cuts, store)


def test_windows_are_drawn_evenly_over_scenes_and_within_them(unlabelled, store):
    windows, without = draw(unlabelled.model_copy(update={"samples": SCENES * 4}), store)
    assert without == {}
    assert set(Counter(windows["uri"].to_pylist()).values()) == {4}
    rows = windows.to_pylist()
    assert len({(row["uri"], *row["window"].values()) for row in rows}) == len(rows)
    # one of each quarter of the scene's grid, which is read row by row
    for uri in set(windows["uri"].to_pylist()):
        assert sorted(row["window"]["y"] for row in rows if row["uri"] == uri) == [0, 16, 32, 48]
    assert {row["window"]["x"] for row in rows} == {0, 16, 32, 48}
    assert draw(unlabelled.model_copy(update={"samples": SCENES * 4}), store)[0].equals(windows)


def test_of_many_scenes_some_are_taken(unlabelled, store):
    windows, _ = draw(unlabelled.model_copy(update={"samples": 5}), store)
    assert len(set(windows["uri"].to_pylist())) == len(windows) == 5


def test_windows_without_enough_valid_pixels_and_what_is_no_image_are_left_out(
    unlabelled, store, root, geotiff
):
    pixels_HWC = np.random.default_rng(0).integers(1, 256, (64, 64, 3), np.uint8)
    store.write(f"{root}/whole.tif", geotiff(pixels_HWC))
    half_HWC = pixels_HWC.copy()
    half_HWC[:32] = 0  # nodata
    store.write(f"{root}/half.tif", geotiff(half_HWC))
    store.write(f"{root}/none.tif", geotiff(np.zeros((64, 64, 3), np.uint8)))
    store.write(f"{root}/torn.tif", b"no image")
    config = unlabelled.model_copy(update={"source": root})
    windows, without = draw(config, store)
    assert Counter(windows["uri"].to_pylist()) == {f"{root}/whole.tif": 16, f"{root}/half.tif": 8}
    assert without.keys() == {f"{root}/none.tif", f"{root}/torn.tif"}
    report = run_train(config.model_copy(update={"name": "awkward"}))
    assert (report.chips, report.scenes) == (24, 2)
    assert report.unreadable == without
    store.remove_folder(root)
    store.write(f"{root}/torn.tif", b"no image")
    with pytest.raises(ConfigError, match="none of 1 scenes"):
        run_train(config)
    with pytest.raises(StorageError, match="nowhere"):
        run_train(config.model_copy(update={"source": f"{root}/nowhere"}))


def test_chips_are_cut_as_a_night_would_cut_them(unlabelled, store, root, geotiff):
    """16 bits with a range of their own, resampled: the features are those of the chips that a night cuts."""
    rng = np.random.default_rng(0)
    store.write(f"{root}/deep.tif", geotiff(rng.integers(1, 4000, (64, 64, 3), np.uint16)))
    changes = {
        "source": root,
        "resolution": 22_000.0,  # of twice the size of the scene's pixels
        "pixels": PixelConfig(low=(0, 0, 0), high=(4000, 4000, 4000)),
    }
    config = unlabelled.model_copy(update=changes)
    network = build_network(config, store)
    windows, _ = draw(config, store)
    assert set(windows["window"].combine_chunks().field("w").to_pylist()) == {32}
    features = compute_features(windows, network, store, config.features, None)
    from pipelines.imagery.georeference import georeference
    from pipelines.imagery.grid import read_chips
    from pipelines.imagery.raster import open_raster

    cut = chip_specs_of(config, network.input_spec).default
    with open_raster(store.read(f"{root}/deep.tif")) as dataset:
        chips = {
            chip.window: chip.pixels_HWC
            for chip in read_chips(dataset, georeference(dataset), cut.grid, cut.pixels)
        }
    wanted = [chips[tuple(window.values())] for window in windows["window"].to_pylist()]
    assert wanted[0].shape == (16, 16, 3)
    np.testing.assert_allclose(features.features_ND, network.extract(wanted), rtol=0.02, atol=0.02)


def test_a_dry_run_lists_and_fits_nothing(unlabelled):
    report = run_train(unlabelled.model_copy(update={"dry_run": True}))
    assert (report.scenes, report.chips, report.bundle) == (SCENES, 0, None)
