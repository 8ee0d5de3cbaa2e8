"""Pictures of chips: in every size, with their surroundings, by ranges, kept on disk, shared."""

import asyncio
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from pipelines.api.pictures import accepted_format
from pipelines.errors import StoreDownError
from pipelines.imagery.pixels import PixelSpec, read_window
from pipelines.imagery.raster import open_raster
from pipelines.serve.config import ServeConfig
from pipelines.serve.picture_files import PictureFiles
from pipelines.serve.picture_form import ChipSource, PictureForm
from pipelines.serve.picture_sources import PictureSources
from pipelines.serve.pictures import Pictures, make_picture
from pipelines.storage.ranges import ObjectRanges

RGB = PixelSpec((1, 2, 3))


def cog(tmp_path: Path, side: int = 1024, block: int = 256, **options: object) -> bytes:
    """A scene of soft shapes as a COG with overviews."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 255, (side // 32, side // 32, 3), np.uint8))
    pixels_HWC = np.asarray(soft.resize((side, side), Image.Resampling.BICUBIC))
    pixels_HWC = pixels_HWC + rng.integers(0, 8, pixels_HWC.shape, np.uint8)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    target = tmp_path / "cog.tif"
    with MemoryFile() as memory:
        with memory.open(
            **profile, crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)
        ) as scene:
            scene.write(pixels_HWC.transpose(2, 0, 1))
        copy(memory.name, target, driver="COG", blocksize=block, overview_resampling="average", **options)
    return target.read_bytes()


@pytest.fixture
def scene(store, root, tmp_path):
    """A COG in the bucket, and what the table knows of a chip of it."""
    uri = f"{root}/cog.tif"
    store.write(uri, cog(tmp_path))
    return ChipSource(uri, (256, 512, 256, 256), RGB, store.etag(uri), "0123456789abcdef")


def shown(picture) -> np.ndarray:
    assert isinstance(picture, bytes), picture
    return np.asarray(Image.open(io.BytesIO(picture)))


@pytest.mark.parametrize("size", [None, 64, 128, 256, 512])
@pytest.mark.parametrize("context", [1, 3])
def test_a_picture_by_ranges_is_the_one_of_the_whole_object(store, scene, size, context):
    """In every size, and with the chip in the middle of its surroundings."""
    sources = PictureSources(store, 1 << 20)
    picture_HWC = shown(make_picture(scene, PictureForm(size, context), sources))
    x, y, w, h = scene.window
    around = (x - w * (context // 2), y - h * (context // 2), w * context, h * context)
    side = None if size is None or size >= around[2] else size
    with open_raster(store.read(scene.uri)) as dataset:
        expected_HWC = read_window(dataset, around, RGB, side).pixels_HWC
    assert picture_HWC.shape == (side or around[2], side or around[3], 3)
    assert (picture_HWC == expected_HWC).all()


def test_a_picture_reads_its_blocks_only(store, scene):
    sources = PictureSources(store, 1 << 30)
    make_picture(scene, PictureForm(256), sources)
    (source,) = sources._sources.values()
    assert isinstance(source.content, ObjectRanges)
    assert source.content.requests <= 2
    assert source.content.bytes_read < source.content.size / 3
    make_picture(scene, PictureForm(128), sources)
    assert source.content.requests <= 3, "the header is there already; the overview isn't"


def test_surroundings_beyond_the_scene_are_black(store, scene):
    corner = ChipSource(scene.uri, (0, 0, 256, 256), RGB, scene.etag, "1")
    picture_HWC = shown(make_picture(corner, PictureForm(None, 3), PictureSources(store, 0)))
    assert picture_HWC.shape == (768, 768, 3)
    assert not picture_HWC[:256].any()
    assert not picture_HWC[:, :256].any()
    with open_raster(store.read(scene.uri)) as dataset:
        inside_HWC = dataset.read(window=((0, 512), (0, 512))).transpose(1, 2, 0)
    assert (picture_HWC[256:, 256:] == inside_HWC).all()
    last = ChipSource(scene.uri, (768, 768, 256, 256), RGB, scene.etag, "1")
    reduced_HWC = shown(make_picture(last, PictureForm(128, 3), PictureSources(store, 0)))
    assert not reduced_HWC[87:].any()
    assert reduced_HWC[:84, :84].all(axis=2).mean() > 0.9


@pytest.mark.parametrize(
    ("media_type", "kind"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")]
)
def test_formats(store, scene, media_type, kind):
    sources = PictureSources(store, 1 << 20)
    picture = make_picture(scene, PictureForm(256, 1, media_type), sources)
    assert Image.open(io.BytesIO(picture)).format == kind
    exact_HWC = shown(make_picture(scene, PictureForm(256), sources)).astype(int)
    assert np.abs(shown(picture) - exact_HWC).mean() < 6
    grey = ChipSource(scene.uri, scene.window, PixelSpec((2,)), scene.etag, "1")
    grey_HW = shown(make_picture(grey, PictureForm(256, 1, media_type), sources))
    assert np.abs(grey_HW[..., 0] if grey_HW.ndim == 3 else grey_HW).any()


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "image/png"),
        ("", "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/webp"),  # Chromium
        ("image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/jpeg;q=0.5, image/png;q=0.9", "image/png"),
        ("image/jpeg, image/png", "image/jpeg"),
        ("IMAGE/WEBP; q=1.0", "image/webp"),
        ("image/webp;q=0, */*;q=0.1", "image/png"),
        ("image/png;q=0, image/*", "image/jpeg"),
        ("image/png;q=much", "image/png"),
        ("text/html", None),
        ("image/webp;q=0", None),
    ],
)
def test_accept(accept, media_type):
    assert accepted_format(accept) == media_type


def test_a_source_that_changes_while_it_is_open(store, scene, tmp_path):
    """The header of one version, the blocks of another: that is no picture."""
    sources = PictureSources(store, 1 << 20)
    make_picture(ChipSource(scene.uri, (0, 0, 256, 256), RGB, scene.etag, "1"), PictureForm(), sources)
    store.write(scene.uri, cog(tmp_path, 512))
    refusal = make_picture(scene, PictureForm(), sources)
    assert (refusal.status, refusal.code) == (409, "source_changed")
    assert scene.uri in refusal.message
    again = make_picture(scene, PictureForm(), sources)
    assert again.code == "source_changed"
    assert store.etag(scene.uri) in again.message, "what there is now"


def test_a_scene_that_breaks_off(store, scene, root):
    """Blocks beyond the end must not become pixels of whatever is in memory."""
    content = store.read(scene.uri)
    for share in (0.02, 0.5, 0.9):
        uri = f"{root}/cut.tif"
        store.write(uri, content[: int(len(content) * share)])
        cut = ChipSource(uri, (768, 768, 256, 256), RGB, store.etag(uri), "1")
        assert make_picture(cut, PictureForm(), PictureSources(store, 1 << 20)).code == "source_gone"


def pictures(store, folder: Path, **changes: object) -> Pictures:
    config = {"table": "t", "open": True, "store": store.config, "index_folder": folder}
    return Pictures(ServeConfig(**config | changes))


def test_a_picture_is_made_once(store, scene, tmp_path):
    """Many ask at once, and later again, also after a restart, and when the object is gone."""

    async def ask(service: Pictures, count: int) -> list[object]:
        calls = [service.picture(scene, PictureForm(128), scene.version) for _ in range(count)]
        return await asyncio.gather(*calls)

    made = asyncio.run(ask(service := pictures(store, tmp_path), 20))
    assert len(set(made)) == 1
    (source,) = service._sources._sources.values()
    assert source.content.requests <= 2
    store.remove(scene.uri)
    assert asyncio.run(ask(pictures(store, tmp_path), 2)) == made[:2]
    gone = asyncio.run(ask(pictures(store, tmp_path / "other"), 1))
    assert gone[0].code == "source_gone"


def test_another_version_is_told_from_this_one(store, scene, tmp_path):
    """Of an older version there may be a kept picture; the new pixels aren't its picture."""
    service = pictures(store, tmp_path)
    older = asyncio.run(service.picture(scene, PictureForm(), "0" * 16))
    assert (older.status, older.code) == (409, "source_changed")
    now = asyncio.run(service.picture(scene, PictureForm(), scene.version))
    later = ChipSource(scene.uri, scene.window, RGB, "another", "f" * 16)
    assert asyncio.run(service.picture(later, PictureForm(), scene.version)) == now


def test_a_failure_is_not_kept(store, scene, tmp_path, monkeypatch):
    service = pictures(store, tmp_path)
    content = store.read(scene.uri)
    store.remove(scene.uri)
    assert asyncio.run(service.picture(scene, PictureForm(), scene.version)).code == "source_gone"
    store.write(scene.uri, content)
    assert isinstance(asyncio.run(service.picture(scene, PictureForm(), scene.version)), bytes)


def test_the_folder_has_a_limit(tmp_path):
    files = PictureFiles(tmp_path, 100_000)
    for number in range(500):
        files.keep(f"picture {number}", bytes(1000))
        assert files.find("picture 0") is not None, "what is used stays"
        size = sum(path.stat().st_size for path in tmp_path.glob("*/*"))
        assert size <= 105_000
    assert files.find("picture 499") is not None
    assert files.find("picture 5") is None
    PictureFiles(tmp_path, 0).keep("none", b"x")
    assert PictureFiles(tmp_path, 0).find("none") is None


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    files = PictureFiles(tmp_path / "file", 1000)
    files.keep("a", b"x")
    assert files.find("a") is None


def test_what_a_killed_process_left_is_removed(tmp_path):
    PictureFiles(tmp_path, 100_000).keep("a", b"x")
    (path,) = tmp_path.glob("*/*")
    left, young = path.with_name("left.tmp"), path.with_name("young.tmp")
    for unfinished in (left, young):
        unfinished.write_bytes(b"a part")
    os.utime(left, (0, 0))
    PictureFiles(tmp_path, 100_000).keep("b", b"x")  # the first that a process keeps
    assert not left.exists()
    assert young.exists(), "another process may be writing it"
    assert PictureFiles(tmp_path, 100_000).find("a") == b"x"


def test_processes_share_the_folder(tmp_path):
    several = [PictureFiles(tmp_path, 50_000) for _ in range(4)]

    def write(files: PictureFiles, first: int) -> None:
        for number in range(100):
            files.keep(f"{first}-{number}", bytes(1000))

    threads = [threading.Thread(target=write, args=each) for each in zip(several, range(4), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 60_000


def test_who_waits_for_an_object_learns_that_it_cannot_be_read(store, scene):
    """Else each would wait for a store that is down in turn."""

    class Slow(type(store)):
        asked = 0

        def open_version(self, *args):
            Slow.asked += 1
            time.sleep(0.3)
            raise StoreDownError("nobody answers")

    sources = PictureSources(Slow(store.config), 1 << 20)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_picture(scene, PictureForm(), sources), range(8)))
    assert {picture.code for picture in made} == {"source_unavailable"}
    assert Slow.asked == 1
    make_picture(scene, PictureForm(), sources)
    assert Slow.asked == 2, "the next one asks again"


def test_a_chip_outside_fails_alone(store, scene):
    sources = PictureSources(store, 1 << 20)
    outside = ChipSource(scene.uri, (5000, 0, 256, 256), RGB, scene.etag, "1")

    def make(number: int) -> object:
        return make_picture(outside if number % 2 == 0 else scene, PictureForm(128), sources)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(16)))
    assert all(isinstance(picture, bytes) == (number % 2 == 1) for number, picture in enumerate(made))
