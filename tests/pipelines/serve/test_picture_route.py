"""Pictures over HTTP: sizes, formats, and what caches are told."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from pipelines.client import Client
from pipelines.errors import NotFoundError
from tests.pipelines.serve.conftest import KEY, Archive


@pytest.fixture
def chip(archive: Archive) -> str:
    return archive.ids()[archive.row_at("0.tif", 16, 32)]


@pytest.fixture
def link(http: httpx.Client, chip: str) -> str:
    """The picture's address, as answers have it."""
    href: str = http.get(f"/v1/chips/{chip}").json()["assets"]["thumbnail"]["href"]
    return href


def test_a_link_of_an_answer_may_be_kept_for_ever(http, archive, chip, link):
    answer = http.get(link)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert "Accept" in answer.headers["vary"].split(", ")
    pixels_HWC = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert (pixels_HWC == archive.pixels(archive.ids().index(chip))).all()
    found = http.post("/v1/search", json={"chip_ids": [chip], "k": 3}).json()["features"]
    assert all("?version=" in match["assets"]["thumbnail"]["href"] for match in found)
    assert http.get(found[0]["assets"]["thumbnail"]["href"]).is_success


def test_without_a_version_a_cache_asks_again(http, chip):
    """The chip may be encoded anew, and its picture is another one then."""
    first = http.get(f"/v1/chips/{chip}/thumbnail")
    assert first.headers["cache-control"] == "private, no-cache"
    again = http.get(f"/v1/chips/{chip}/thumbnail", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = {"If-None-Match": first.headers["etag"], "Accept": "image/webp"}
    assert http.get(f"/v1/chips/{chip}/thumbnail", headers=other).status_code == 200


def test_a_version_that_is_no_more(http, chip):
    answer = http.get(f"/v1/chips/{chip}/thumbnail", params={"version": "0" * 16})
    assert (answer.status_code, answer.json()["code"]) == (409, "source_changed")


@pytest.mark.parametrize(("accept", "kind"), [("image/webp,*/*", "WEBP"), ("image/jpeg", "JPEG")])
@pytest.mark.parametrize("context", [1, 3])
def test_formats_and_surroundings(http, link, accept, kind, context):
    answer = http.get(link, params={"size": 128, "context": context}, headers={"Accept": accept})
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.size) == (kind, (16 * context, 16 * context))


def test_what_is_refused(http, chip):
    path = f"/v1/chips/{chip}/thumbnail"
    for wrong in ({"size": 100}, {"size": "large"}, {"context": 2}, {"version": "x"}, {"colour": "red"}):
        answer = http.get(path, params=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), wrong
    answer = http.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_the_client_takes_size_and_surroundings(url, chip, link):
    with Client(url, KEY) as client:
        assert Image.open(io.BytesIO(client.thumbnail(chip))).size == (16, 16)
        assert Image.open(io.BytesIO(client.thumbnail(chip, 64, 3))).size == (48, 48)
        version = link.rpartition("=")[2]
        assert client.thumbnail(chip, version=version) == client.thumbnail(chip)
        with pytest.raises(NotFoundError):
            client.thumbnail(chip, version="0" * 16)
