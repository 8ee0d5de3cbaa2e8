"""A gallery of broken and awkward objects in one bucket: each ends where it should, and costs no other.

Shapes: H x W pixels, C bands.
"""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import Affine, from_origin

from model.spec import InputSpec
from pipelines.encode.chips import CHIP, FAILED, read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.config import PixelConfig
from tests.pipelines.chip_rows import chip_rows

RNG = np.random.default_rng(0)
SCENE_HWC = RNG.integers(1, 255, (32, 48, 3), dtype=np.uint8)
CHIPS = 6  # of 16 pixels in it
CONFIG = {"chip_size": 16, "min_valid_fraction": 0.5, "table": "-", "bundle": "-"}
AS_IT_IS = PixelConfig(low=(0, 0, 0), high=(255, 255, 255))  # for 16 bits and floats, too


def picture(image, kind="PNG", **options):
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    def part(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + part(b"IDAT", zlib.compress(bytes(1000))) + part(b"IEND", b"")


def claiming(tiff, old, new):
    """The TIFF with another size in its header."""
    for tag, was, claimed in ((256, old[0], new[0]), (257, old[1], new[1])):
        tiff = tiff.replace(struct.pack("<HHII", tag, 3, 1, was), struct.pack("<HHII", tag, 4, 1, claimed))
    return tiff


def jpeg2000(pixels_HWC):
    height, width, bands = pixels_HWC.shape
    profile = {"driver": "JP2OpenJPEG", "dtype": "uint8", "QUALITY": 100, "REVERSIBLE": "YES"}
    place = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10)}
    with MemoryFile(ext=".jp2") as memory:  # without the ending GDAL writes no boxes, so no place
        with memory.open(width=width, height=height, count=bands, **profile, **place) as dataset:
            dataset.write(pixels_HWC.transpose(2, 0, 1))
        return bytes(memory.read())


def edited(content, path, edit):
    path.write_bytes(content)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        edit(dataset)
    return path.read_bytes()


def with_alpha(opaque_rows):
    alpha_HW1 = np.where(np.arange(32)[:, None, None] < opaque_rows, 255, 0) * np.ones((1, 48, 1))
    return np.concatenate([SCENE_HWC, alpha_HW1.astype(np.uint8)], axis=2)


def broken(geotiff):
    """Key -> (content, outcome)."""
    whole = geotiff(SCENE_HWC)
    strips = geotiff(SCENE_HWC, blockysize=1)
    photo = picture(RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8), "JPEG", quality=95)
    return {
        "zero_bytes.tif": (b"", "zero_bytes"),
        "error_page.tif": (b"<!DOCTYPE html><html><body>503 Slow Down</body></html>", "not_an_image"),
        "wrong_magic.png": (b"GIF89a" + picture(SCENE_HWC)[6:], "not_an_image"),
        "names_other_files.tif": (b'<VRTDataset rasterXSize="1" rasterYSize="1"/>', "not_an_image"),
        "header_only.tif": (whole[:8], "not_an_image"),
        "truncated.tif": (whole[: len(whole) // 2], "truncated"),
        "last_strip_missing.tif": (strips[:-100], "truncated"),
        "truncated.jpg": (photo[: len(photo) // 2], "truncated"),
        "truncated.png": (picture(SCENE_HWC)[:2000], "truncated"),
        "truncated.jp2": (jpeg2000(SCENE_HWC)[:-1000], "truncated"),
        "damaged.png": (picture(SCENE_HWC)[:900] + bytes(200) + picture(SCENE_HWC)[1100:], "truncated"),
        "0x0.png": (png_header(0, 0), "not_an_image"),
        "0x0.tif": (claiming(whole, (48, 32), (0, 0)), "not_an_image"),
        "1x1.png": (picture(SCENE_HWC[:1, :1]), "too_small"),
        "thin.tif": (geotiff(SCENE_HWC[:15]), "too_small"),
        "100kx100k.png": (png_header(100_000, 100_000), "too_large"),
        "100kx100k.tif": (claiming(whole, (48, 32), (100_000, 100_000)), "too_large"),
        "grey.png": (picture(SCENE_HWC[..., 0]), "wrong_bands"),
        "complex.tif": (geotiff(SCENE_HWC.astype(np.complex64)), "wrong_bands"),
        "all_nodata.tif": (geotiff(np.zeros_like(SCENE_HWC)), "empty"),
        "all_nan.tif": (geotiff(np.full((32, 48, 3), np.nan, np.float32)), "empty"),
        "transparent.png": (picture(with_alpha(0)), "empty"),
    }


def awkward(geotiff, tmp_path):
    """Key -> (content, chips)."""
    with_nan_HWC = SCENE_HWC.astype(np.float32)
    with_nan_HWC[:8, :16] = np.nan  # half of one chip
    with_nan_HWC[:12, 16:32] = np.nan  # more than half of another
    turned = Affine.translation(10, 50) @ Affine.rotation(30) @ Affine.scale(0.1, -0.1)
    corners = [GroundControlPoint(y, x, *(turned @ (x, y))) for x, y in ((0, 0), (48, 0), (48, 32), (0, 32))]
    polar = {"crs": "EPSG:3995", "transform": from_origin(-24_000, 16_000, 1_000, 1_000)}
    mask_HW = np.arange(32)[:, None] < np.full(48, 24)
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    return {
        "plain.tif": (geotiff(SCENE_HWC), CHIPS),
        "a b/Žeň 雪 +%25?#.tif": (geotiff(SCENE_HWC), CHIPS),
        "cmyk.jpg": (picture(Image.fromarray(SCENE_HWC).convert("CMYK"), "JPEG"), CHIPS),
        "palette.png": (picture(Image.fromarray(SCENE_HWC).quantize(16)), CHIPS),
        "alpha.png": (picture(with_alpha(24)), CHIPS),
        "half_transparent.png": (picture(with_alpha(16)), CHIPS // 2),
        "masked.tif": (
            edited(geotiff(SCENE_HWC, nodata=None), tmp_path / "m.tif", lambda it: it.write_mask(mask_HW)),
            CHIPS,
        ),
        "16_bit.tif": (geotiff(SCENE_HWC.astype(np.uint16)), CHIPS),
        "float_with_nan.tif": (geotiff(with_nan_HWC, nodata=None), CHIPS - 1),
        "no_crs.tif": (geotiff(SCENE_HWC, crs=None), CHIPS),
        "rotated.tif": (geotiff(SCENE_HWC, transform=turned), CHIPS),
        "over_180.tif": (geotiff(SCENE_HWC, west=178), CHIPS),
        "at_a_pole.tif": (geotiff(SCENE_HWC, **polar), CHIPS),
        "control_points.tif": (geotiff(SCENE_HWC, transform=None, gcps=corners), CHIPS),
        "scene.jp2": (jpeg2000(SCENE_HWC), CHIPS),
        "cog.tif": (
            edited(
                geotiff(SCENE_HWC, **tiles),
                tmp_path / "c.tif",
                lambda it: it.build_overviews([2], Resampling.average),
            ),
            CHIPS,
        ),
        "big_endian.tif": (geotiff(SCENE_HWC, ENDIANNESS="BIG"), CHIPS),
        "bigtiff.tif": (geotiff(SCENE_HWC, BIGTIFF="YES"), CHIPS),
        "after_all.tif": (geotiff(SCENE_HWC), CHIPS),
    }


@pytest.fixture
def rows_of(store, root, geotiff, tmp_path):
    """All rows of the gallery by key, read in one call."""
    contents = {key: content for key, (content, _) in broken(geotiff).items()}
    contents |= {key: content for key, (content, _) in awkward(geotiff, tmp_path).items()}
    contents |= {"vanishes.tif": geotiff(SCENE_HWC), "is_replaced.tif": geotiff(SCENE_HWC)}
    for key, content in contents.items():
        store.write(f"{root}/{key}", content)
    listed = {info.uri.removeprefix(f"{root}/"): info for info in store.list(root)}
    assert listed.keys() == contents.keys()
    store.remove_folder(f"{root}/vanishes.tif")
    store.write(f"{root}/is_replaced.tif", geotiff(SCENE_HWC[::-1]))
    config = EncodeConfig(source=root, store=store.config, pixels=AS_IT_IS, **CONFIG)
    objects = [{"uri": info.uri, "etag": info.etag, "collection": "c"} for info in listed.values()]
    objects.insert(3, {"uri": "s3://no-such-bucket/a.tif", "etag": "0", "collection": "c"})
    rows = {entry["uri"].removeprefix(f"{root}/"): [] for entry in objects}
    for batch in read_objects(pa.Table.from_pylist(objects), chip_specs_of(config, InputSpec()), store):
        for row in chip_rows(batch):
            rows[row["uri"].removeprefix(f"{root}/")].append(row)
    return rows


def test_each_ends_where_it_should(rows_of, geotiff, tmp_path):
    ends = {key: [row["outcome"] for row in rows] for key, rows in rows_of.items()}
    expected = {key: [outcome] for key, (_, outcome) in broken(geotiff).items()}
    expected |= {key: [CHIP] * chips for key, (_, chips) in awkward(geotiff, tmp_path).items()}
    expected |= {key: [FAILED] for key in ("vanishes.tif", "is_replaced.tif", "s3://no-such-bucket/a.tif")}
    assert ends == expected
    for rows in rows_of.values():
        for row in rows:
            assert (row["pixels"] is None) == (row["detail"] is not None) == (row["outcome"] != CHIP)

    details = {key: rows[0]["detail"] for key, rows in rows_of.items() if rows[0]["detail"]}
    assert not [detail for detail in details.values() if "vsimem" in detail or "previous exception" in detail]
    assert "has gone since it was listed" in details["vanishes.tif"]
    assert "was replaced since it was listed" in details["is_replaced.tif"]

    plain = [row["pixels"] for row in rows_of["plain.tif"]]
    same = (
        "after_all.tif",
        "cog.tif",
        "no_crs.tif",
        "16_bit.tif",
        "scene.jp2",
        "big_endian.tif",
        "bigtiff.tif",
    )
    assert all([row["pixels"] for row in rows_of[key]] == plain for key in same)
    np.testing.assert_array_equal(np.frombuffer(plain[0], np.uint8).reshape(16, 16, 3), SCENE_HWC[:16, :16])

    def valid_fractions(key):
        return [round(row["valid_fraction"], 3) for row in rows_of[key]]

    assert valid_fractions("alpha.png") == [1, 1, 1, 0.5, 0.5, 0.5]
    assert valid_fractions("masked.tif") == [1, 1, 1, 0.5, 0.5, 0.5]
    assert valid_fractions("float_with_nan.tif") == [0.5, 1, 1, 1, 1]

    places = {key: [row["geometry"] for row in rows] for key, rows in rows_of.items()}
    nowhere = ("no_crs.tif", "cmyk.jpg", "palette.png", "alpha.png")
    assert all(set(places[key]) == {None} for key in nowhere)
    for key in ("rotated.tif", "over_180.tif", "at_a_pole.tif", "control_points.tif", "scene.jp2"):
        assert None not in places[key], key
        assert all(shapely.from_wkb(place).is_valid for place in places[key])
    kinds = [shapely.from_wkb(place).geom_type for place in places["over_180.tif"]]
    assert "MultiPolygon" in kinds
    assert places["control_points.tif"] != places["plain.tif"]
    for by_points, by_transform in zip(places["control_points.tif"], places["rotated.tif"], strict=True):
        assert shapely.from_wkb(by_points).equals_exact(shapely.from_wkb(by_transform), 1e-6)
    assert max(row["bbox"]["ymax"] for row in rows_of["at_a_pole.tif"]) == 90
