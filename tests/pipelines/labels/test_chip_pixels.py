import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from structlog.testing import capture_logs

from pipelines.config import StoreConfig
from pipelines.errors import ConfigError
from pipelines.imagery.pixels import PixelSpec
from pipelines.labels.chip_pixels import Unreadable, check_unreadable, read_chips
from pipelines.storage.store import Store

pytestmark = pytest.mark.usefixtures("ray_local")

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("uri", pa.string()),
        ("window", pa.struct([(side, pa.int32()) for side in "xywh"])),
    ]
)


def chips_table(places):
    """A table as in `Labels.chips` of (uri, window or None), in this order."""
    rows = [
        {"row": row, "uri": uri, "window": window and dict(zip("xywh", window, strict=True))}
        for row, (uri, window) in enumerate(places)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read(store, places, bands=(1, 2, 3)):
    """The rows that come of these places, in their order."""
    rows = read_chips(chips_table(places), PixelSpec(bands), store).take_all()
    assert all(set(row) == {"row", "height", "width", "pixels", "reason"} for row in rows)
    by_row = {row["row"]: row for row in rows}
    assert len(rows) == len(by_row) == len(places)
    return [by_row[row] for row in range(len(places))]


def pixels_HWC(row, bands=3):
    assert row["reason"] is None
    return np.frombuffer(row["pixels"], np.uint8).reshape(row["height"], row["width"], bands)


def reasons(rows):
    assert all(row["pixels"] is row["height"] is row["width"] is None for row in rows if row["reason"])
    return [row["reason"] for row in rows]


@pytest.fixture
def scene_HWC():
    return np.random.default_rng(0).integers(1, 255, (50, 70, 3), dtype=np.uint8)


def test_each_chip_has_the_pixels_of_its_window(store, any_root, geotiff, scene_HWC):
    store.write(f"{any_root}/a.tif", geotiff(scene_HWC))
    store.write(f"{any_root}/b.tif", geotiff(scene_HWC[:20, :30]))
    windows = [(0, 0, 16, 16), None, (54, 34, 16, 16), (5, 6, 7, 8)]
    places = [(f"{any_root}/{name}.tif", window) for window in windows for name in "ab"]
    places = [place for place in places if place != (f"{any_root}/b.tif", (54, 34, 16, 16))]
    for (uri, window), row in zip(places, read(store, places, bands=(3, 1)), strict=True):
        whole_HWC = scene_HWC if uri.endswith("a.tif") else scene_HWC[:20, :30]
        x, y, w, h = window or (0, 0, whole_HWC.shape[1], whole_HWC.shape[0])
        assert (row["height"], row["width"]) == (h, w)
        np.testing.assert_array_equal(pixels_HWC(row, bands=2), whole_HWC[y : y + h, x : x + w, [2, 0]])


def test_many_pictures_without_a_place_of_many_sizes(store, root):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (8 + n % 5, 9, 3), dtype=np.uint8) for n in range(70)]
    for number, picture_HWC in enumerate(pictures):
        buffer = io.BytesIO()
        Image.fromarray(picture_HWC).save(buffer, "PNG")
        store.write(f"{root}/{number}.png", buffer.getvalue())
    rows = read(store, [(f"{root}/{number}.png", None) for number in range(70)])
    for row, picture_HWC in zip(rows, pictures, strict=True):
        np.testing.assert_array_equal(pixels_HWC(row), picture_HWC)


def test_one_bad_object_never_costs_another(store, any_root, geotiff, scene_HWC):
    whole = geotiff(scene_HWC)
    contents = {
        "good.tif": whole,
        "empty.tif": b"",
        "page.tif": b"<html>404</html>",
        "broken.tif": whole[: len(whole) // 2],
        "two_bands.tif": geotiff(scene_HWC[:, :, :2]),
        "deep.tif": geotiff(scene_HWC.astype(np.uint16)),
        "late.tif": whole,
    }
    for name, content in contents.items():
        store.write(f"{any_root}/{name}", content)
    places = [(f"{any_root}/{name}", None) for name in (*contents, "none.tif")]
    places += [("s3://no-such-bucket/x.tif", None), ("ftp://example.com/x.tif", None)]
    found = reasons(read(store, places))
    assert [reason and reason.partition(":")[0] for reason in found[:8]] == [
        None,
        "zero_bytes",
        "not_an_image",
        "truncated",
        "wrong_bands",
        "wrong_bands",
        None,
        "missing",
    ]
    assert found[4] == "wrong_bands: band 3 is needed, there are 2"
    assert found[8] == "missing" or "bucket" in found[8]
    assert "ftp:// isn't read here" in found[9]


def test_an_unreachable_store_is_a_reason(ray_local):
    nowhere = Store(StoreConfig(endpoint="http://127.0.0.1:1", patience=0))
    (reason,) = reasons(read(nowhere, [("s3://archive/a.tif", None)]))
    assert "s3://archive/a.tif can't be read" in reason


def test_a_window_that_leaves_the_image_costs_no_other(store, tmp_path, geotiff, scene_HWC):
    uri = f"{tmp_path}/a.tif"
    store.write(uri, geotiff(scene_HWC))
    windows = [(0, 0, 70, 50), (60, 0, 11, 8), (0, 40, 8, 11), (70, 50, 1, 1), (-1, 0, 8, 8), (62, 42, 8, 8)]
    found = reasons(read(store, [(uri, window) for window in windows]))
    assert [reason is None for reason in found] == [True, False, False, False, False, True]
    assert found[1] == "outside: window 60, 0, 11, 8 leaves the image of 70 x 50 pixels"


def test_where_an_object_breaks_off_the_windows_before_are_read(store, tmp_path, geotiff, scene_HWC):
    content = geotiff(scene_HWC, tiled=False, blockysize=1, interleave="pixel")
    uri = f"{tmp_path}/a.tif"
    store.write(uri, content[:-210])  # the last line of pixels
    whole, above, last = read(store, [(uri, None), (uri, (0, 0, 70, 20)), (uri, (0, 49, 70, 1))])
    np.testing.assert_array_equal(pixels_HWC(above), scene_HWC[:20])
    assert [reason.partition(":")[0] for reason in reasons([whole, last])] == ["truncated", "truncated"]


def test_nothing_is_read_before_it_is_asked_for(store, root, geotiff, scene_HWC):
    dataset = read_chips(chips_table([(f"{root}/a.tif", None)]), PixelSpec((1, 2, 3)), store)
    store.write(f"{root}/a.tif", geotiff(scene_HWC))
    np.testing.assert_array_equal(pixels_HWC(dataset.take_all()[0]), scene_HWC)


def test_no_chips_are_no_rows(store):
    assert read_chips(chips_table([]), PixelSpec((1, 2, 3)), store).take_all() == []


def unreadable(count):
    return [Unreadable(f"{number}.tif", "missing") for number in range(count)]


def test_a_few_unreadable_chips_are_told():
    with capture_logs() as logs:
        check_unreadable([], 100, 0.0)
        check_unreadable([], 0, 0.0)
        assert logs == []
        check_unreadable([*unreadable(9), *unreadable(1)], 100, 0.1)
    assert logs == [
        {
            "event": "labelled chips can't be read",
            "log_level": "warning",
            "count": 10,
            "uris": [f"{number}.tif" for number in range(5)],
        }
    ]


def test_too_many_unreadable_chips_end_the_run():
    with pytest.raises(ConfigError) as caught, capture_logs():
        check_unreadable([*unreadable(5), *unreadable(5)], 100, 0.05)
    assert str(caught.value) == (
        "10 of 100 labelled chips can't be read (0.tif: missing; 1.tif: missing; 2.tif: missing); "
        "mend them, leave them out, or raise max_unreadable_share, which is 0.05"
    )
