"""Samples that aren't plain bytes: few bits, palettes, white as 0, grey with alpha, complex numbers.

Shapes: H x W pixels, C bands.
"""

import io
import struct
import warnings
import zlib

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from model.spec import InputSpec
from pipelines.config import StoreConfig
from pipelines.encode.chips import read_objects
from pipelines.errors import PictureError, RejectedObject
from pipelines.imagery.picture import read_picture
from pipelines.imagery.pixels import PixelSpec, read_window, with_own_range
from pipelines.imagery.raster import open_raster
from pipelines.labels.chip_pixels import _read_object
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.config import ArchiveConfig
from pipelines.storage.store import Store
from tests.pipelines.chip_rows import chip_rows

RGB, GREY = PixelSpec((1, 2, 3)), PixelSpec((1,))


def ramp(bits, side=32):
    """Values_HW that are all that so many bits can hold."""
    return (np.add.outer(np.arange(side), np.arange(side)) % (1 << bits)).astype(np.uint8)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(values_HW, bits, *chunks):
    """A grey PNG of 1, 2 or 4 bits a sample."""
    height, width = values_HW.shape
    bits_HWB = np.unpackbits(values_HW[..., None], axis=2)[..., 8 - bits :]
    rows = b"".join(b"\0" + np.packbits(row_WB.ravel()).tobytes() for row_WB in bits_HWB)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def raster(values_HWC, driver="GTiff", **profile):
    height, width, bands = values_HWC.shape
    profile = {"driver": driver, "dtype": values_HWC.dtype, "count": bands} | profile
    with MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(width=width, height=height, **profile) as dataset:
            dataset.write(values_HWC.transpose(2, 0, 1))
        return bytes(memory.read())


def jp2(values_HW, bits):
    return raster(values_HW[..., None], "JP2OpenJPEG", nbits=bits, quality=100, reversible="YES")


def read(content, spec=GREY, window=None, size=None):
    with open_raster(content) as dataset:
        chip = read_window(
            dataset, window or (0, 0, dataset.width, dataset.height), with_own_range(dataset, spec), size
        )
    return chip.pixels_HWC


def night_rows(tmp_path, content, **config):
    """What the night's reading task makes of one object."""
    (tmp_path / "x.tif").write_bytes(content)
    archive = ArchiveConfig(source=str(tmp_path), chip_size=16, **config)
    objects = pa.table({"uri": [f"{tmp_path}/x.tif"], "etag": [""], "collection": ["default"]})
    chip_specs = chip_specs_of(archive, InputSpec(size=16))
    return [
        row for batch in read_objects(objects, chip_specs, Store(StoreConfig())) for row in chip_rows(batch)
    ]


def label_row(tmp_path, content):
    """What training makes of one labelled picture."""
    (tmp_path / "x.png").write_bytes(content)
    entry = {"uri": f"{tmp_path}/x.png", "row_list": [0]}
    entry |= {f"window.{side}_list": [None] for side in "xywh"}
    return _read_object(entry, RGB, Store(StoreConfig()))[0]


FEW_BITS = {
    **{f"png {bits}": (png(ramp(bits), bits), bits) for bits in (1, 2, 4)},
    **{f"tiff {bits}": (raster(ramp(bits)[..., None], nbits=bits), bits) for bits in (1, 2, 4, 7)},
    **{f"jp2 {bits}": (jp2(ramp(bits), bits), bits) for bits in (1, 4)},
}


@pytest.mark.parametrize("name", FEW_BITS)
def test_few_bits_go_from_black_to_white(tmp_path, name):
    content, bits = FEW_BITS[name]
    expected_HW = np.rint(ramp(bits) * (255 / ((1 << bits) - 1))).astype(np.uint8)
    expected_HWC = np.dstack([expected_HW] * 3)
    np.testing.assert_array_equal(read_picture(content, RGB), expected_HWC)
    rows = night_rows(tmp_path, content, pixels={"bands": (1, 1, 1)})
    np.testing.assert_array_equal(
        np.frombuffer(rows[0]["pixels"], np.uint8).reshape(16, 16, 3), expected_HWC[:16, :16]
    )
    label = label_row(tmp_path, content)
    assert label["pixels"] == expected_HWC.tobytes()


def test_colours_of_few_bits():
    values_HWC = np.random.default_rng(0).integers(0, 16, (16, 16, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read(raster(values_HWC, nbits=4), RGB), values_HWC * 17)


def test_a_palette_of_few_bits_has_its_colours(tmp_path):
    image = Image.fromarray(ramp(2), "P")
    colours = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]
    image.putpalette(colours)
    content = io.BytesIO()
    image.save(content, "PNG", bits=2)
    np.testing.assert_array_equal(
        read_picture(content.getvalue(), RGB), np.array(colours, np.uint8).reshape(4, 3)[ramp(2)]
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_where_0_is_white(bits):
    """TIFF 6.0, WhiteIsZero: what fax machines and scanners write."""
    content = raster(ramp(bits)[..., None], nbits=bits, photometric="MINISWHITE")
    expected_HW = 255 - np.rint(ramp(bits) * (255 / ((1 << bits) - 1))).astype(np.uint8)
    np.testing.assert_array_equal(read_picture(content, RGB)[..., 0], expected_HW)


def test_a_declared_range_is_the_files_own_or_one_of_8_bits():
    content = raster(ramp(4)[..., None], nbits=4)
    own = read(content, PixelSpec((1,), low=(0,), high=(10,)))
    np.testing.assert_array_equal(own[..., 0], np.rint(np.clip(ramp(4) / 10, 0, 1) * 255))
    of_8_bits = read(content, PixelSpec((1,), low=(51,), high=(204,)))
    np.testing.assert_array_equal(
        of_8_bits[..., 0], np.rint(np.clip((ramp(4) * 17.0 - 51) / 153, 0, 1) * 255)
    )
    percentiles = read(content, PixelSpec((1,), percentiles=(0, 100)))
    np.testing.assert_array_equal(percentiles[..., 0], ramp(4) * 17)
    one_value = raster(np.full((8, 8, 1), 15, np.uint8), nbits=4)
    assert not read(one_value, PixelSpec((1,), percentiles=(2, 98))).any()


@pytest.mark.parametrize("photometric", ["MINISBLACK", "MINISWHITE"])
def test_reduced_black_and_white_is_grey(photometric):
    """As the same picture of 8 bits is reduced: a mean, not whichever pixel is nearest."""
    values_HW = np.random.default_rng(0).integers(0, 2, (256, 256)).astype(np.uint8)
    white_HW = values_HW if photometric == "MINISBLACK" else 1 - values_HW
    expected = read(raster(white_HW[..., None] * 255), GREY, size=16)
    for content in (
        raster(values_HW[..., None], nbits=1, photometric=photometric),
        png(white_HW, 1),
        raster(np.dstack([white_HW, white_HW]), nbits=1),
    ):
        found = read(content, GREY, size=16)
        assert np.abs(found.astype(int) - expected).max() <= 1
        assert 90 < found.mean() < 160


def test_nodata_of_few_bits_weighs_nothing():
    values_HW = np.full((64, 64), 6, np.uint8)
    values_HW[::2] = 3
    transparent = chunk(b"tRNS", struct.pack(">H", 3))
    assert set(read(png(values_HW, 4, transparent), GREY, size=8).ravel()) == {6 * 17}


@pytest.mark.parametrize(("bits", "kind"), [(10, "GTiff"), (12, "GTiff"), (12, "JP2OpenJPEG")])
def test_10_and_12_bits_need_a_declared_range(bits, kind):
    """Sentinel-2 declares 15 bits and uses a third of them: black to white would be black."""
    values_HWC = (np.arange(256, dtype=np.uint16).reshape(16, 16, 1)) * ((1 << bits) // 256)
    options = {"quality": 100, "reversible": "YES"} if kind == "JP2OpenJPEG" else {}
    content = raster(values_HWC, kind, nbits=bits, **options)
    with pytest.raises(RejectedObject, match=f"uint16 of {bits} bits: declare which values"):
        read(content)
    top = (1 << bits) - 1
    ranged = read(content, PixelSpec((1,), low=(0,), high=(top,)))
    np.testing.assert_array_equal(ranged, np.rint(values_HWC * (255 / top)))


def test_grey_with_alpha_is_grey(tmp_path):
    grey_HW = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    alpha_HW = np.full((16, 16), 255, np.uint8)
    alpha_HW[:4] = 0
    expected_HWC = np.dstack([np.where(alpha_HW > 0, grey_HW, 0)] * 3)
    for kind in ("PNG", "TIFF"):
        content = io.BytesIO()
        Image.fromarray(np.dstack([grey_HW, alpha_HW])).save(content, kind)
        np.testing.assert_array_equal(read_picture(content.getvalue(), RGB), expected_HWC)
        assert label_row(tmp_path, content.getvalue())["pixels"] == expected_HWC.tobytes()
    rows = night_rows(tmp_path, content.getvalue(), pixels={"bands": (1, 1, 1)})
    assert rows[0]["pixels"] == expected_HWC.tobytes()


def test_two_bands_that_are_no_alpha_arent_grey():
    with pytest.raises(PictureError, match="band 3 is needed, there are 2"):
        read_picture(raster(np.ones((8, 8, 2), np.uint8)), RGB)


@pytest.mark.parametrize("data_type", ["complex_int16", "complex64", "complex128"])
def test_complex_numbers_are_refused_by_name(tmp_path, data_type):
    values_HWC = (np.ones((16, 16, 1)) * (1 + 1j)).astype("complex128")
    values_HWC = values_HWC if data_type == "complex128" else values_HWC.astype("complex64")
    content = raster(values_HWC, dtype=data_type)
    for bands in ((), (1, 1, 1)):
        (row,) = night_rows(tmp_path, content, pixels={"bands": bands})
        assert row["outcome"] == "wrong_bands"
        assert row["detail"] == (
            f"bands are complex numbers ({data_type}): write their amplitudes as real numbers"
        )
    with pytest.raises(PictureError) as caught:
        read_picture(content, RGB)
    assert caught.value.code == "wrong_bands"
