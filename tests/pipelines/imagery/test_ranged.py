"""TIFFs that are read by ranges: the same pixels, places and refusals as of whole ones, of fewer bytes."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import from_origin

from pipelines.errors import RejectedObject, StorageError
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import Grid, read_chips
from pipelines.imagery.pixels import PixelSpec, read_window
from pipelines.imagery.raster import acquired_at, open_raster
from tests.pipelines.imagery import test_hostile_images as hostile

RGB = PixelSpec((1, 2, 3))


class InMemory:
    """Ranges of a content, and which of them were read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.size = content, len(content)
        self.asked: list[tuple[int, int]] = []
        self.fails = False

    def read(self, wanted):
        if self.fails:
            raise StorageError("the store is down")
        self.asked += wanted
        return [self.content[start:stop] for start, stop in wanted]

    @property
    def bytes_read(self) -> int:
        seen = np.zeros(self.size, np.bool_)
        for start, stop in self.asked:
            seen[start:stop] = True
        return int(seen.sum())


def scene(side: int = 512, **changes: object) -> bytes:
    """A GeoTIFF of noise in tiles of 64 pixels."""
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    profile |= {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "pixel"}
    profile |= {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10)} | changes
    pixels_CHW = np.random.default_rng(0).integers(1, 255, (profile["count"], side, side), np.uint8)
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.update_tags(TIFFTAG_DATETIME="2024:06:01 10:00:00")
            dataset.write(pixels_CHW.astype(profile["dtype"]))
        return bytes(memory.read())


def as_cog(content: bytes, tmp_path: Path, **options: object) -> bytes:
    with MemoryFile(content) as memory:
        copy(memory.name, tmp_path / "cog.tif", driver="COG", blocksize=128, **options)
    return (tmp_path / "cog.tif").read_bytes()


def overviews(content: bytes, path: Path) -> bytes:
    """Add overviews at the end of a file, as `gdaladdo` does."""
    path.write_bytes(content)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.average)
    return path.read_bytes()


VARIANTS = {
    "plain": lambda _: scene(),
    "deflate": lambda _: scene(compress="deflate", predictor=2),
    "planes": lambda _: scene(interleave="band", compress="lzw"),
    "strips": lambda _: scene(tiled=False, blockxsize=None, blockysize=16, compress="deflate"),
    "one strip": lambda _: scene(tiled=False, blockxsize=None, blockysize=512),
    "big": lambda _: scene(BIGTIFF="YES"),
    "16 bits": lambda _: scene(dtype="uint16", nodata=7),
    "cog": lambda folder: as_cog(scene(), folder, compress="deflate"),
    "jpeg cog": lambda folder: as_cog(scene(), folder, compress="jpeg"),
    "masked cog": lambda folder: as_cog(scene(nodata=9), folder, compress="jpeg", add_mask="yes"),
    "overviews at the end": lambda folder: overviews(scene(), folder / "a.tif"),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [None, 48, 16])
def test_all_windows_are_those_of_the_whole_object(tmp_path, variant, size):
    content = VARIANTS[variant](tmp_path)
    spec = PixelSpec((3, 1, 2), (0,) * 3, (255,) * 3)
    windows = [(0, 0, 64, 64), (100, 90, 130, 150), (448, 448, 64, 64), (400, 5, 200, 60), (-30, -40, 90, 90)]
    with open_raster(content) as whole, open_raster(InMemory(content)) as ranged:
        assert ranged.transform == whole.transform
        assert ranged.crs == whole.crs
        assert acquired_at(ranged) == acquired_at(whole)
        for window in windows:
            expected, found = (read_window(each, window, spec, size) for each in (whole, ranged))
            assert (found.pixels_HWC == expected.pixels_HWC).all()
            assert found.valid_fraction == expected.valid_fraction


def test_a_window_reads_its_blocks(tmp_path):
    """All of them in one call; a reduced one from the overview."""
    content = as_cog(scene(1024), tmp_path, compress="deflate")
    ranges = InMemory(content)
    with open_raster(ranges) as dataset:
        ranges.asked.clear()
        read_window(dataset, (128, 128, 256, 256), RGB)
        assert 0.04 < ranges.bytes_read / ranges.size < 0.08
        ranges.asked.clear()
        read_window(dataset, (0, 0, 1024, 1024), RGB, 256)
        assert ranges.bytes_read / ranges.size < 0.06


def test_chips_at_a_quarter_of_the_resolution_read_an_overview(tmp_path):
    content = as_cog(scene(1024), tmp_path, compress="deflate", overview_resampling="average")
    ranges = InMemory(content)
    with open_raster(ranges) as dataset:
        place = georeference(dataset)
        chips = list(read_chips(dataset, place, Grid(64, resolution=40, edges="shift"), RGB))
        assert len(chips) == 16
        with MemoryFile(content) as memory, memory.open(overview_level=1) as overview:
            pixels_HWC = overview.read().transpose(1, 2, 0)
        assert (chips[0].pixels_HWC == pixels_HWC[:64, :64]).all()
    assert ranges.bytes_read < ranges.size / 8


@pytest.mark.parametrize("compress", [None, "deflate", "jpeg"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_blocks_beyond_the_end_are_never_pixels(compress, interleave):
    """GDAL takes whatever is in memory for a block that didn't come."""
    content = scene(compress=compress, interleave=interleave)
    for share in (0.3, 0.6, 0.99):
        with open_raster(InMemory(content[: int(len(content) * share)])) as dataset:
            with pytest.raises(RejectedObject) as caught:
                read_window(dataset, (448, 448, 64, 64), RGB)
            assert caught.value.reason == "truncated"
            with pytest.raises(RejectedObject):  # also the next time, as GDAL now has it in its cache
                read_window(dataset, (448, 448, 64, 64), RGB)


@pytest.mark.parametrize("cut", [3, 4, 8, 20, 100, 300])
def test_a_header_that_breaks_off(cut):
    with pytest.raises(RejectedObject) as caught, open_raster(InMemory(scene()[:cut])):
        pass
    assert caught.value.reason in ("not_an_image", "too_large")


def test_a_store_that_fails_is_not_the_images_fault(tmp_path):
    """While opening, and while reading: the object isn't rejected, and may be read again later."""
    content = as_cog(scene(1024), tmp_path)
    ranges = InMemory(content)
    with open_raster(ranges) as dataset:
        ranges.fails = True
        with pytest.raises(StorageError, match="down"):
            read_window(dataset, (512, 512, 256, 256), RGB)
        ranges.fails = False
        with pytest.raises(StorageError, match="down"):  # its cache can't be trusted any more
            read_window(dataset, (512, 512, 256, 256), RGB)
    late = InMemory(content)

    def read(wanted):
        late.fails = bool(late.asked)
        return InMemory.read(late, wanted)

    late.read = read
    with pytest.raises(StorageError, match="down"), open_raster(late):
        pass
    with open_raster(ranges) as dataset:
        assert read_window(dataset, (512, 512, 256, 256), RGB).valid_fraction == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_other_formats_are_read_whole(kind):
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(file, kind)
    content = file.getvalue()
    ranges = InMemory(content)
    with open_raster(ranges) as dataset:
        assert (read_window(dataset, (0, 0, 64, 64), RGB).pixels_HWC == 99).all()
    assert ranges.asked == [(0, 4), (0, len(content))]


def test_no_content():
    with pytest.raises(RejectedObject) as caught, open_raster(InMemory(b"")):
        pass
    assert caught.value.reason == "zero_bytes"


def test_a_photo_as_tiff_is_turned(tmp_path):
    """The tag is in the first directory, which is read by ranges too."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.tif", exif=exif)
    content = (tmp_path / "a.tif").read_bytes()
    with open_raster(content) as whole, open_raster(InMemory(content)) as ranged:
        assert ranged.orientation == whole.orientation
        assert ranged.upright_size == (30, 20)
        window = (0, 0, 30, 20)
        expected_HWC = read_window(whole, window, RGB).pixels_HWC
        assert (read_window(ranged, window, RGB).pixels_HWC == expected_HWC).all()


@pytest.mark.parametrize("form", hostile._SHIFTS)
@pytest.mark.parametrize("case", [str, str.lower])
@pytest.mark.parametrize("room", [0, 16_000, 16_370, 16_384])
def test_a_crs_that_names_a_file_has_none_opened(tmp_path, form, case, room):
    """Wherever the text stands beside the borders of what is read at a time."""
    pipe = tmp_path / "grid.gsb"
    os.mkfifo(pipe)
    wkt = case(hostile._SHIFTS[form]).replace(case("FILE"), str(pipe))
    content = moved(hostile.with_crs_text(wkt), room)

    def refused() -> None:
        with pytest.raises(RejectedObject) as caught, open_raster(InMemory(content)):
            pass
        assert caught.value.detail == "its coordinate system names a file, which would be opened"

    assert not hostile.watched(pipe, refused)


def moved(content: bytes, room: int) -> bytes:
    """Copy the text of a TIFF's coordinate system (tag 34737) to behind ``room`` bytes after its end."""
    changed = bytearray(content)
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, _, length, place = struct.unpack_from("<HHII", content, entry)
        if tag == 34737 and room:
            text = content[place : place + length]
            changed[place : place + length] = bytes(length)
            struct.pack_into("<I", changed, entry + 8, len(changed) + room)
            return bytes(changed) + bytes(room) + text
    return bytes(changed)


def test_moved_texts_are_read_by_gdal(tmp_path):
    """Else the test above would prove nothing."""
    content = moved(hostile.with_crs_text(hostile._MERCATOR.format("Mercator_1SP", "")), 16_370)
    with open_raster(InMemory(content)) as dataset:
        assert dataset.crs is not None


def test_limits_hold():
    larger = hostile.with_large_blocks(1, 36_864, hostile.small_tiff(128, mask=True))
    for content, said in (
        (larger, "in blocks of 36864 x 36864"),
        (hostile.with_large_blocks(1, 24_576, hostile.small_tiff(512, overviews=True)), "24576 x 24576"),
    ):
        with pytest.raises(RejectedObject, match=said), open_raster(InMemory(content)):
            pass


def test_nothing_else_can_be_opened(geotiff):
    """By any name that GDAL makes of the object's own."""
    with open_raster(InMemory(geotiff(np.full((64, 64, 3), 5, np.uint8)))) as dataset:
        assert dataset.file is not None
        for name in (
            "x.tif",
            "../ranged-object",
            "/etc/passwd",
            "ranged-object.aux.xml",
            "ranged-object.msk",
        ):
            with pytest.raises(FileNotFoundError):
                dataset.file.open(name)
        assert dataset.files in ([], [dataset.name])
