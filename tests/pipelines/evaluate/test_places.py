"""Scenes of the same places at several dates, to chips that know their place and date."""

import csv

import numpy as np
import pytest
import torch

from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.errors import ConfigError
from pipelines.evaluate.places import read_places
from pipelines.sources.config import ArchiveConfig


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HashNetwork(NetworkSpec(backbone="resnet18", node="layer1"), InputSpec(size=16)).eval()


@pytest.fixture(scope="module")
def pixels_HWC():
    return np.random.default_rng(0).integers(1, 255, (32, 48, 3), np.uint8)


def write(folder, geotiff, scenes):
    """Write scenes, name -> (pixels_HWC, west, date); return the URI of their manifest."""
    with (folder / "scenes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["uri", "datetime"])
        for name, (scene_HWC, west, date) in scenes.items():
            (folder / name).write_bytes(geotiff(scene_HWC, west=west))
            rows.writerow([name, date])
    return str(folder / "scenes.csv")


def test_chips_know_their_place_and_date(tmp_path, store, geotiff, network, pixels_HWC):
    """Six chips a scene: of one place twice on a day and once a year later, and of its neighbour."""
    source = write(
        tmp_path,
        geotiff,
        {
            "a.tif": (pixels_HWC, 10, "2020-05-01T08:00:00Z"),
            "b.tif": (pixels_HWC, 10, "2020-05-01T17:00:00Z"),
            "c.tif": (pixels_HWC, 10, "2021-05-01T08:00:00Z"),
            "d.tif": (pixels_HWC, 10 + 3.2, "2021-05-01T08:00:00Z"),
        },
    )
    placed = read_places(ArchiveConfig(source=source, chip_size=16), network, store)
    assert placed.dates_N.tolist() == [0] * 12 + [1] * 12
    places_SC = placed.places_N.reshape(4, 6)
    assert (places_SC[0] == places_SC[1]).all()
    assert (places_SC[0] == places_SC[2]).all()
    assert len(set(places_SC[0])) == 6
    assert places_SC[3, 0] == places_SC[0, 2], "32 pixels further to the east"
    assert len(set(placed.places_N)) == 10
    first = network.extract([pixels_HWC[:16, :16]])
    np.testing.assert_allclose(placed.chips.features_NF[0], first[0], rtol=0.05, atol=0.05)
    expected = network.encode_features(placed.chips.features_NF)
    np.testing.assert_array_equal(placed.chips.codes_NY, expected)


def test_scenes_without_a_date_count_as_dates_of_their_own(tmp_path, store, geotiff, network, pixels_HWC):
    for name in ("a.tif", "b.tif"):
        content = geotiff(pixels_HWC).replace(b"2024:06:01 10:00:00", b" " * 19)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "torn.tif").write_bytes(b"torn")
    placed = read_places(ArchiveConfig(source=str(tmp_path), chip_size=16), network, store)
    assert placed.dates_N.tolist() == [0] * 6 + [1] * 6
    assert len(set(placed.places_N)) == 6


def test_places_that_are_there_once_are_told(tmp_path, store, geotiff, network, pixels_HWC):
    """Two scenes of one day, as their tags say."""
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(geotiff(pixels_HWC))
    with pytest.raises(ConfigError, match=r"places.source .*: none of 6 places is there at two dates"):
        read_places(ArchiveConfig(source=str(tmp_path), chip_size=16), network, store)
