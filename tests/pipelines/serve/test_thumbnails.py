"""Thumbnails: a chip as the night saw it, which may be otherwise than the model was trained."""

import io

import numpy as np
import pytest
from PIL import Image

from pipelines.grid import Grid, read_chips
from pipelines.imagery import open_raster
from pipelines.pixels import PixelSpec
from pipelines.serve.uploads import read_thumbnail


@pytest.mark.parametrize(
    ("pixels", "shown"),
    [
        (PixelSpec((4, 3, 2), (100,) * 3, (3000,) * 3), slice(0, 3)),
        (PixelSpec((4, 3, 2, 1), percentiles=(2, 98)), slice(0, 3)),
        (PixelSpec((2, 4), (0, 0), (4000, 4000)), 0),
    ],
)
def test_a_thumbnail_shows_what_was_encoded(store, tmp_path, geotiff, pixels, shown):
    scene_HWC = np.random.default_rng(0).integers(100, 3000, (32, 32, 4), np.uint16)
    uri = f"{tmp_path}/deep.tif"
    store.write(uri, geotiff(scene_HWC))
    with open_raster(store.read(uri)) as dataset:
        chips = list(read_chips(dataset, None, Grid(16), pixels))
    assert len(chips) == 4
    for chip in chips:
        picture = np.asarray(Image.open(io.BytesIO(read_thumbnail(uri, chip.window, pixels, store))))
        assert (picture == chip.pixels_HWC[..., shown]).all()
