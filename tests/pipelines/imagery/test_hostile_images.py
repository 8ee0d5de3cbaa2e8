"""Images that mean harm: that name other files, or have decoders take what their bytes can't be worth."""

import os
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj.exceptions import CRSError
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from pipelines.errors import PictureError, RejectedObject
from pipelines.imagery.footprints import footprint
from pipelines.imagery.georeference import _to_lonlat, georeference
from pipelines.imagery.picture import read_picture
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.raster import open_raster

SECRET = 77
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES, COMPRESSION = 322, 323, 324, 325, 259  # TIFF 6.0
DEFLATE = 8


@pytest.fixture
def secret(tmp_path, geotiff) -> Path:
    """An image that lies beside the job, and is nobody else's."""
    file = tmp_path / "secret.tif"
    file.write_bytes(geotiff(np.full((64, 64, 3), SECRET, np.uint8)))
    return file


def rejected(content: bytes) -> RejectedObject:
    with pytest.raises(RejectedObject) as caught, open_raster(content):
        pass
    return caught.value


def vrt(file: Path) -> bytes:
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename relativeToVRT="0">{file}'
        f"</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    return f'<VRTDataset rasterXSize="64" rasterYSize="64">{bands}</VRTDataset>'.encode()


def wms(file: Path) -> bytes:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{file.as_uri()}</ServerUrl></Service></GDAL_WMS>'.encode()
    )


def test_a_raster_of_other_files_is_no_image(secret):
    with MemoryFile(vrt(secret)) as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open() as dataset:  # GDAL alone would show them
            assert (dataset.read() == SECRET).all()
    for content in (vrt(secret), wms(secret), f"GTIFF_DIR:1:{secret}".encode(), str(secret).encode()):
        assert rejected(content).reason == "not_an_image"
        with pytest.raises(PictureError, match="not recognized"):
            read_picture(content, PixelSpec((1, 2, 3)))


def test_what_lies_beside_an_image_is_not_looked_for(secret, geotiff, monkeypatch):
    """Sidecar files have names of the image's own; in memory an image has nobody beside it."""
    monkeypatch.chdir(secret.parent)
    with open_raster(geotiff(np.full((64, 64, 3), 5, np.uint8))) as dataset:
        assert dataset.files in ([], [dataset.name])


_PLAIN = (
    'DATUM["x",SPHEROID["WGS 84",6378137,298.257223563]{}],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925]'
)
_MERCATOR = 'PROJCS["x",GEOGCS["x",' + _PLAIN.format("") + '],PROJECTION["{}"],UNIT["metre",1]{}]'
_MERC = "+proj=merc +nadgrids=FILE +a=6378137 +b=6378137 +units=m +no_defs"
_SHIFTS = {
    "grids": 'GEOGCS["x",' + _PLAIN.format(',EXTENSION["PROJ4_GRIDS","FILE"]') + "]",
    "string": _MERCATOR.format("custom_proj4", f',EXTENSION["PROJ4","{_MERC}"]'),
    "method": _MERCATOR.format("PROJ hgridshift grids=FILE", ""),
}


@pytest.mark.server
@pytest.mark.parametrize("form", _SHIFTS)
@pytest.mark.parametrize("case", [str, str.lower])
def test_a_crs_that_names_a_file_has_none_opened(tmp_path, form, case):
    """PROJ opens the grid that a datum shift names. A pipe tells: it opens to writers once one reads."""
    pipe = tmp_path / "grid.gsb"
    os.mkfifo(pipe)
    wkt = case(_SHIFTS[form]).replace(case("FILE"), str(pipe))
    content = with_crs_text(wkt)
    gdal_opens = form == "grids" or (form == "method" and case is str)
    assert (b"opened" in watched(pipe, lambda: opened_by_gdal(content))) == gdal_opens
    assert not watched(pipe, lambda: rejected(content))
    assert rejected(content).detail == "its coordinate system names a file, which would be opened"

    def refused() -> None:  # as other formats may carry it
        with pytest.raises(CRSError, match="names a file"):
            _to_lonlat(wkt)

    if case is str:
        assert not watched(pipe, refused)


def opened_by_gdal(content: bytes) -> None:
    with MemoryFile(content) as memory, memory.open() as dataset:
        dataset.crs.to_wkt()


# another process: PROJ would hold the interpreter while it waits for somebody to write
_WATCH = """
import os, sys, time
print("ready", flush=True)
while True:
    try:
        opened = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
        os.write(1, b"opened")  # before the reader is let go on
        os.close(opened)
    except OSError:
        time.sleep(.001)
"""


def watched(pipe: Path, act: Callable[[], object]) -> bytes:
    """Do something; return what the watcher of the pipe has to say of it."""
    with subprocess.Popen([sys.executable, "-c", _WATCH, str(pipe)], stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout
        watcher.stdout.readline()
        try:
            act()
        finally:
            watcher.terminate()
        return watcher.stdout.read()


def with_crs_text(wkt: str) -> bytes:
    """A GeoTIFF whose coordinate system is this text, the way ESRI writes it."""
    shape = {
        "width": 32,
        "height": 32,
        "count": 3,
        "dtype": "uint8",
        "transform": from_origin(0, 10, 0.1, 0.1),
    }
    name = "x" * 1000  # room
    crs = rasterio.crs.CRS.from_wkt('GEOGCS["' + name + '",' + _PLAIN.format("") + "]")
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=crs, GEOTIFF_KEYS_FLAVOR="ESRI_PE", **shape) as dataset:
            dataset.write(np.ones((3, 32, 32), np.uint8))
        content = bytes(memory.read())
    start = content.index(b"ESRI PE String = ") + len(b"ESRI PE String = ")
    end = content.index(b"|", start)
    return content[:start] + wkt.encode().ljust(end - start) + content[end:]


@pytest.mark.parametrize("epsg", [3857, 27700, 31370, 2154, 32633, 4326, 3413])
def test_common_crs_name_no_file(epsg):
    """Also where they are written as text, with the string of PROJ that older software adds."""
    shape = {
        "width": 32,
        "height": 32,
        "count": 1,
        "dtype": "uint8",
        "transform": from_origin(4e5, 5e5, 1, 1),
    }
    for flavour in ("STANDARD", "ESRI_PE"):
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", crs=epsg, GEOTIFF_KEYS_FLAVOR=flavour, **shape) as dataset:
                dataset.write(np.ones((1, 32, 32), np.uint8))
            with open_raster(bytes(memory.read())) as dataset:
                assert georeference(dataset) is not None


@pytest.mark.parametrize(
    "proj4",
    [
        "+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80 +units=m",  # GOES
        "+proj=geos +h=35785831 +lon_0=0 +sweep=y +a=6378169 +rf=295.488 +units=m",  # Meteosat
        "+proj=merc +a=6378137 +b=6378137 +nadgrids=@null +wktext +units=m",
    ],
)
@pytest.mark.parametrize("flavour", ["STANDARD", "ESRI_PE"])
def test_a_crs_that_gdal_writes_as_a_string_of_proj_names_no_file(proj4, flavour):
    shape = {"width": 32, "height": 32, "count": 1, "dtype": "uint8"}
    transform = from_origin(0, 3e6, 2000, 2000)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", crs=proj4, transform=transform, GEOTIFF_KEYS_FLAVOR=flavour, **shape
        ) as dataset:
            dataset.write(np.ones((1, 32, 32), np.uint8))
        content = bytes(memory.read())
    with open_raster(content) as dataset:
        assert footprint(georeference(dataset), (0, 0, 32, 32)) is not None


@pytest.mark.parametrize(
    "proj4",
    [
        "+proj=geos +h=35786023 +sweep=x +nadgrids={}",
        "+proj=geos +h=35786023 +sweep=x +nadgrids=@null,{}",
        "+proj=geos +h=35786023 +NADGRIDS = {}",
        "+proj=pipeline +step +proj=hgridshift +grids={}",
        "+proj=geos +sweep=x +init={}:1",
        "+proj=geos +sweep={}",
        "+proj=tinshift +file={}",
        "+proj=defmodel +model={}",
    ],
)
def test_strings_of_proj_that_name_a_file_are_refused(tmp_path, proj4):
    wkt = _MERCATOR.format("custom_proj4", f',EXTENSION["PROJ4","{proj4.format(tmp_path / "x.gsb")}"]')
    for text in (wkt, wkt.replace('"PROJ4",', '"proj4" , ')):
        assert "names a file" in rejected(with_crs_text(text)).detail


def test_texts_that_look_like_a_crs_take_no_time():
    """Each byte is looked at a bounded number of times."""
    started = time.process_time()
    for content in (b"esri pe string" * 50_000, b'esri pe string"PROJ4","+a=' + b'"PROJ4"' * 50_000):
        assert rejected(content).reason == "not_an_image"
    assert time.process_time() - started < 5


def with_large_blocks(directory: int, side: int, content: bytes) -> bytes:
    """Say of a directory of a TIFF that it is one tile of ``side`` pixels of ones, a bit or a byte each."""
    changed = bytearray(content)
    tile = zlib.compress(b"\xff" * (side * side // 8), 9)
    values = {TILE_WIDTH: side, TILE_LENGTH: side, COMPRESSION: DEFLATE}
    values |= {TILE_OFFSETS: len(content), TILE_BYTES: len(tile)}
    (at,) = struct.unpack_from("<I", content, 4)
    for _ in range(directory):
        (count,) = struct.unpack_from("<H", content, at)
        (at,) = struct.unpack_from("<I", content, at + 2 + 12 * count)
    (count,) = struct.unpack_from("<H", content, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", content, entry)
        if tag in values:
            struct.pack_into("<HHII", changed, entry, tag, 4, 1, values[tag])
    return bytes(changed) + tile


def small_tiff(side: int, *, mask: bool = False, overviews: bool = False) -> bytes:
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    profile |= {"tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as dataset:
            dataset.write(np.full((3, side, side), 9, np.uint8))
            if mask:
                dataset.write_mask(np.full((side, side), 255, np.uint8))
            if overviews:
                dataset.build_overviews([4])
        return bytes(memory.read())


def test_blocks_of_masks_and_overviews_count_too():
    """A mask of 100 kB would take a gigabyte, in a query as well."""
    masked = with_large_blocks(1, 16_384, small_tiff(128, mask=True))
    assert len(masked) < 200_000
    with pytest.raises(PictureError, match=r"in blocks of|are decoded at most") as caught:
        read_picture(masked, PixelSpec((1, 2, 3)))
    assert caught.value.code == "too_many_pixels"
    larger = with_large_blocks(1, 36_864, small_tiff(128, mask=True))
    assert "in blocks of 36864 x 36864" in rejected(larger).detail
    reduced = with_large_blocks(1, 24_576, small_tiff(512, overviews=True))
    assert "in blocks of 24576 x 24576" in rejected(reduced).detail


def test_honest_masks_and_overviews_are_read():
    content = small_tiff(256, mask=True, overviews=True)
    assert read_picture(content, PixelSpec((1, 2, 3))).shape == (256, 256, 3)


def test_more_directories_than_anybody_needs():
    """Each is looked at, so there must be an end."""
    content = bytearray(small_tiff(128, mask=True))
    at = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, at)[0]
    mask_at = struct.unpack_from("<I", content, at + 2 + 12 * count)[0]
    mask_count = struct.unpack_from("<H", content, mask_at)[0]
    directory = bytes(content[mask_at : mask_at + 2 + 12 * mask_count])
    link = mask_at + 2 + 12 * mask_count
    for _ in range(150):
        struct.pack_into("<I", content, link, len(content))
        link = len(content) + len(directory)
        content += directory + bytes(4)
    assert "more than 100 directories" in rejected(bytes(content)).detail
