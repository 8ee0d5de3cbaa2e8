"""Thumbnails: a chip as the night saw it, which may be otherwise than the model was trained."""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from s3fs import S3FileSystem

from pipelines.config import StoreConfig
from pipelines.imagery.grid import Grid, read_chips
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.raster import open_raster
from pipelines.serve.picture_form import ChipSource, PictureForm
from pipelines.serve.picture_sources import PictureSources
from pipelines.serve.pictures import make_picture
from pipelines.storage.store import Store


def read_thumbnail(uri, window, pixels, store, etag="", form=PictureForm()):  # noqa: B008
    """A picture of a chip, from objects that nobody has opened before."""
    return make_picture(ChipSource(uri, window, pixels, etag, "1"), form, PictureSources(store, 1 << 20))


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


def encoded(store, uri, content):
    """Write an object; return what the table knows of a chip of it."""
    store.write(uri, content)
    return {"uri": uri, "window": (0, 0, 16, 16), "pixels": PixelSpec((1, 2, 3)), "store": store} | {
        "etag": store.etag(uri)
    }


def test_pixels_of_another_version_are_never_shown(store, any_root, geotiff):
    """Beside the old code they would be of another chip."""
    chip = encoded(store, f"{any_root}/scene.tif", geotiff(np.full((32, 32, 3), 9, np.uint8)))
    assert isinstance(read_thumbnail(**chip), bytes)
    store.write(chip["uri"], geotiff(np.full((33, 32, 3), 200, np.uint8)))
    refusal = read_thumbnail(**chip)
    assert (refusal.status, refusal.code) == (409, "source_changed")
    assert chip["uri"] in refusal.message
    assert isinstance(read_thumbnail(**chip | {"etag": store.etag(chip["uri"])}), bytes)
    if chip["uri"].startswith("s3://"):  # the new object was uploaded in another number of parts
        refusal = read_thumbnail(**chip | {"etag": f"{store.etag(chip['uri'])}-2"})
        assert (refusal.status, refusal.code) == (409, "source_changed")
    # of a source that tells versions apart by other means
    assert isinstance(read_thumbnail(**chip | {"etag": "1220-a-checksum"}), bytes)


@pytest.mark.server
def test_pixels_of_another_version_on_the_web(geotiff):
    """A web server's etags have any form: those of one form are compared."""
    pages = {"etag": '"5f3-61a2b"', "content": geotiff(np.full((32, 32, 3), 9, np.uint8))}

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("ETag", pages["etag"])
            self.send_header("Content-Length", str(len(pages["content"])))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(pages["content"])

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = Store(StoreConfig(private_hosts=True))
        chip = {"uri": f"http://127.0.0.1:{server.server_port}/a.tif", "window": (0, 0, 16, 16)}
        chip |= {"pixels": PixelSpec((1, 2, 3)), "store": store, "etag": "5f3-61a2b"}
        assert isinstance(read_thumbnail(**chip), bytes)
        assert isinstance(read_thumbnail(**chip | {"etag": "0123456789abcdef0123456789abcdef"}), bytes)
        pages["etag"] = '"60a-61b00"'
        assert read_thumbnail(**chip).code == "source_changed"
        server.shutdown()


def test_access_that_stays_refused_isnt_asked_for_again(store, tmp_path):
    """Only 429 and 503 are asked again by clients."""
    chip = {"window": (0, 0, 16, 16), "pixels": PixelSpec((1, 2, 3))}
    wrong_scheme = read_thumbnail("gs://bucket/x.tif", store=store, **chip)
    assert (wrong_scheme.status, wrong_scheme.code) == (502, "source_refused")
    assert "operator" in wrong_scheme.hint
    no_bucket = read_thumbnail("s3://there-is-no-such-bucket/x.tif", store=store, **chip)
    assert (no_bucket.status, no_bucket.code) == (502, "source_refused")
    assert "no such bucket" in no_bucket.message, "a wrong endpoint says so too: no image has gone"
    private = read_thumbnail("http://127.0.0.1:9/x.tif", store=Store(StoreConfig()), **chip)
    assert (private.status, private.code) == (502, "source_refused")


def test_a_key_that_is_refused(store, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    uri = f"s3://archive/{uuid4().hex}.tif"
    store.write(uri, b"x")
    own = Store(store.config.model_copy(update={"patience": 1.0}))
    S3FileSystem.clear_instance_cache()
    try:
        refused = read_thumbnail(uri, (0, 0, 16, 16), PixelSpec((1, 2, 3)), own)
    finally:
        S3FileSystem.clear_instance_cache()
    assert refused.status in (404, 502)
    assert refused.hint


def test_a_store_that_is_down_is_asked_again(store):
    down = Store(store.config.model_copy(update={"endpoint": "http://127.0.0.1:9", "patience": 0.1}))
    refused = read_thumbnail("s3://archive/x.tif", (0, 0, 16, 16), PixelSpec((1, 2, 3)), down)
    assert (refused.status, refused.code) == (503, "source_unavailable")
