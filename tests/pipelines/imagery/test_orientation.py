"""Photos that say how they must be turned: pixels are as viewers show them.

Shapes: H x W pixels, C bands.
"""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from rasterio.windows import Window

from pipelines.imagery.grid import Grid, read_chips
from pipelines.imagery.orientation import orientation_by_number, png_orientation, tiff_orientation
from pipelines.imagery.picture import read_picture
from pipelines.imagery.pixels import PixelSpec, read_window
from pipelines.imagery.raster import open_raster
from pipelines.serve.picture_form import ChipSource, PictureForm
from pipelines.serve.picture_sources import PictureSources
from pipelines.serve.pictures import make_picture
from tests.pipelines.imagery.test_samples import label_row

RGB = PixelSpec((1, 2, 3))
ORIENTATIONS = range(1, 9)


def photo(kind, orientation, width=48, height=32):
    """A picture that is smooth enough for JPEG, and whose corners differ."""
    y_HW, x_HW = np.mgrid[:height, :width]
    stored_HWC = np.dstack([x_HW * 5, y_HW * 7, (x_HW + y_HW) * 2]).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    content = io.BytesIO()
    Image.fromarray(stored_HWC).save(content, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    return content.getvalue()


def shown(content):
    """What viewers show of it; Pillow turns a TIFF itself, and says so."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_are_as_viewers_show_them(store, tmp_path, kind, orientation):
    content = photo(kind, orientation)
    expected_HWC = shown(content)
    query_HWC = read_picture(content, RGB)
    assert query_HWC.shape == expected_HWC.shape
    # JPEG decoders differ a little
    assert np.abs(query_HWC.astype(int) - expected_HWC).mean() < (1 if kind == "JPEG" else 1e-9)
    with open_raster(content) as dataset:
        chips = list(read_chips(dataset, None, Grid(16), RGB))
    assert len(chips) == 6
    uri = f"{tmp_path}/photo"
    store.write(uri, content)
    for chip in chips:
        x, y, w, h = chip.window
        np.testing.assert_array_equal(chip.pixels_HWC, query_HWC[y : y + h, x : x + w])
        source = ChipSource(uri, chip.window, RGB, "", "1")
        thumbnail = make_picture(source, PictureForm(), PictureSources(store, 1 << 20))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(thumbnail))), chip.pixels_HWC)
    assert label_row(tmp_path, content)["pixels"] == query_HWC.tobytes()


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_reduced_and_padded_windows_are_turned_too(orientation):
    content = photo("PNG", orientation, 96, 64)
    upright = io.BytesIO()
    Image.fromarray(shown(content)).save(upright, "PNG")
    for window in ((0, 0, 64, 64), (10, 20, 80, 90)):
        chips = []
        for each in (content, upright.getvalue()):
            with open_raster(each) as dataset:
                chips.append(read_window(dataset, window, RGB, 16))
        assert chips[0].valid_fraction == chips[1].valid_fraction
        assert np.abs(chips[0].pixels_HWC.astype(int) - chips[1].pixels_HWC).max() <= 1


def test_a_raster_with_a_place_is_taken_as_stored(geotiff):
    """As GIS take it: its geotransform is of the stored rows."""
    pixels_HWC = np.random.default_rng(0).integers(1, 255, (8, 12, 3)).astype(np.uint8)
    content = bytearray(geotiff(pixels_HWC))
    assert content[:4] == b"II*\0"
    # one of its tags becomes Orientation 6: SampleFormat isn't needed for bytes
    old = (339).to_bytes(2, "little") + (3).to_bytes(2, "little")
    at = content.index(old)
    content[at : at + 12] = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
    with open_raster(bytes(content)) as dataset:
        assert dataset.upright_size == (12, 8)
        np.testing.assert_array_equal(read_window(dataset, (0, 0, 12, 8), RGB).pixels_HWC, pixels_HWC)


@pytest.mark.parametrize("number", [0, 9, 65535, None, "", "6 ", "x", "66"])
def test_what_is_no_orientation_turns_nothing_but_what_is_one_does(number):
    assert (orientation_by_number(number).exchanged) == (number == "6 ")


def test_damaged_tags_turn_nothing():
    for content in (photo("TIFF", 6), photo("PNG", 6)):
        for end in range(0, min(len(content), 400), 7):
            cut = content[:end]
            assert tiff_orientation(cut).size(3, 2) in ((3, 2), (2, 3))
            assert png_orientation(cut).size(3, 2) in ((3, 2), (2, 3))
    assert tiff_orientation(b"II*\0\xff\xff\xff\xff" + bytes(20)).size(3, 2) == (3, 2)


def test_windows_of_each_orientation_are_where_they_are_stored():
    stored_HW = np.arange(6 * 4).reshape(6, 4)
    for number in ORIENTATIONS:
        turn = orientation_by_number(number)
        upright_HW = turn.upright(stored_HW)
        height, width = upright_HW.shape
        assert turn.size(4, 6) == (width, height)
        x, y, w, h = turn.stored_window((1, 2, 2, 1), width, height)
        window = Window(x, y, w, h).toslices()
        np.testing.assert_array_equal(turn.upright(stored_HW[window]), upright_HW[2:3, 1:3])
