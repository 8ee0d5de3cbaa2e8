"""What share of an archive's pixels is in chips, and how a night and a dry run tell it."""

import numpy as np
import pytest
from structlog.testing import capture_logs

from pipelines.encode.config import EncodeConfig
from pipelines.encode.run import run_encode
from tests.pipelines.encode.changing import encode_in_process

SCENE, SMALL, CHIP = 40, 24, 32  # pixels a side


@pytest.fixture
def config(store, tmp_path, write_model, geotiff, monkeypatch):
    """Four scenes of 40 x 40 pixels, a broken one, and one of 24 x 24; chips have 32 x 32."""
    encode_in_process(monkeypatch)
    bundle, _ = write_model(str(tmp_path), "tiny")
    sides = {"a": SCENE, "b": SCENE, "c": SMALL, "d": SCENE, "e": SCENE}
    for name, side in sides.items():
        pixels_HWC = np.random.default_rng(side).integers(1, 255, (side, side, 3), np.uint8)
        store.write(f"{tmp_path}/scenes/{name}.tif", geotiff(pixels_HWC))
    store.write(f"{tmp_path}/scenes/broken.tif", b"not a raster")
    return EncodeConfig(
        source=f"{tmp_path}/scenes",
        table=f"{tmp_path}/codes",
        bundle=bundle,
        chip_size=CHIP,
        objects_per_unit=2,
        store=store.config,
    )


def told(report):
    return report.objects_opened, report.too_small, report.covered_share


def warns(lines):
    return any("not all pixels are in a chip" in line["event"] for line in lines)


@pytest.mark.parametrize(("edges", "covered"), [("drop", CHIP**2), ("shift", SCENE**2), ("pad", CHIP**2)])
def test_a_night_and_its_dry_run_say_how_much_is_covered(config, edges, covered):
    config = config.model_copy(update={"edges": edges})
    with capture_logs() as lines:
        dry = run_encode(config.model_copy(update={"dry_run": True}))
    small = SMALL**2 if edges == "pad" else 0
    share = (4 * covered + small) / (4 * SCENE**2 + SMALL**2)
    assert told(dry) == (5, 1 - bool(small), round(share, 4))
    assert warns(lines) == (share < 1)
    with capture_logs() as lines:
        night = run_encode(config)
    assert told(night) == told(dry)
    assert night.rejects == {"not_an_image": 1} | ({} if small else {"too_small": 1})
    assert warns(lines) == (share < 1)
    assert night.numbers()["covered_share"] == night.covered_share
    idle = run_encode(config)
    assert told(idle) == (0, 0, None), "nothing was opened"


def test_all_of_a_scene_is_covered_unless_the_user_says_otherwise(config):
    assert config.edges == "shift"
    report = run_encode(config)
    assert report.chips == 4 * 4
    assert report.covered_share == round(4 * SCENE**2 / (4 * SCENE**2 + SMALL**2), 4)


def test_a_dry_run_opens_a_sample_of_a_large_archive(config, store, geotiff):
    content = geotiff(np.full((SCENE, SCENE, 3), 9, np.uint8))
    for number in range(60):
        store.write(f"{config.source}/more-{number:02}.tif", content)
    report = run_encode(config.model_copy(update={"dry_run": True}))
    assert report.new == 66
    assert 12 <= report.objects_opened <= 20
