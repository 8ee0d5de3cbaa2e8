"""Each way to be refused: its status, and a body that says what was wrong and what to do."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from pipelines.api.answers import ErrorBody
from tests.pipelines.serve.conftest import KEY, Archive, png


def check(answer: httpx.Response, status: int, code: str, part: str) -> None:
    assert answer.status_code == status, answer.text
    body = ErrorBody.model_validate_json(answer.content)
    assert (body.code, body.hint != "") == (code, True)
    assert part in body.message


@pytest.mark.parametrize(
    ("query", "status", "code", "part"),
    [
        ({}, 400, "contradiction", "not none"),
        ({"code": "00000000", "point": [0, 0]}, 400, "contradiction", "code and point"),
        ({"code": "00000000", "exclude_self": True}, 400, "contradiction", "exclude_self"),
        ({"code": "00000000", "negative_ids": ["a"]}, 400, "contradiction", "negative_ids"),
        ({"code": "00000000", "max_distance": -1}, 400, "contradiction", "max_distance below 0"),
        ({"chip_ids": []}, 422, "invalid", "chip_ids: "),
        ({"chip_ids": ["a"] * 101}, 422, "invalid", "chip_ids: "),
        ({"code": "xyz"}, 422, "invalid", "code: "),
        ({"code": "00"}, 422, "invalid", "8 bits, this model's codes have 32"),
        ({"point": [200, 0]}, 422, "invalid", "point.0: "),
        ({"point": [0]}, 422, "invalid", "point.1: "),
        ({"code": "00000000", "k": 0}, 422, "invalid", "k: "),
        ({"code": "00000000", "k": 10_001}, 422, "invalid", "k: "),
        ({"code": "00000000", "compare": "look"}, 422, "no_such_part", "kind bits, no look bits"),
        ({"code": "00000000", "compare": "colour"}, 422, "invalid", "compare: "),
        ({"code": "00000000", "kind_weight": 2}, 400, "contradiction", "have kind bits only"),
        ({"code": "00000000", "compare": "kind", "kind_weight": 2}, 400, "contradiction", "compare is kind"),
        ({"code": "00000000", "kind_weight": 9}, 422, "invalid", "kind_weight: "),
        ({"code": "00000000", "kind_weight": True}, 422, "invalid", "kind_weight: "),
        ({"code": "00000000", "bit_weights": "88"}, 422, "invalid", "one hex digit a bit of the code, 32"),
        ({"chip_ids": ["a"], "bit_weights": "88"}, 400, "contradiction", "bit_weights goes with code"),
        ({"code": "00000000", "max_distance": 8193}, 422, "invalid", "max_distance: "),
        ({"code": "00000000", "max_distance": -9000}, 422, "invalid", "max_distance: "),
        ({"code": "00000000", "limit": 0}, 422, "invalid", "limit: "),
        ({"code": "00000000", "ids": ["a"]}, 422, "invalid", "ids: isn't supported"),
        ({"code": "00000000", "bbox": [0, 0, 1]}, 422, "invalid", "bbox.3: "),
        ({"code": "00000000", "bbox": [0, 1, 1, 0]}, 422, "invalid", "bbox: south (1) lies north"),
        ({"code": "00000000", "bbox": [0, 0, 1, 91]}, 422, "invalid", "bbox.3: "),
        (
            {
                "code": "00000000",
                "bbox": [0, 0, 1, 1],
                "intersects": {"type": "Point", "coordinates": [0, 0]},
            },
            400,
            "contradiction",
            "bbox or intersects",
        ),
        ({"code": "00000000", "intersects": {"type": "Blob"}}, 422, "invalid", "intersects: no GeoJSON"),
        (
            {"code": "00000000", "intersects": {"type": "Point", "coordinates": [200, 0]}},
            422,
            "invalid",
            "longitude",
        ),
        ({"code": "00000000", "datetime": "yesterday"}, 422, "invalid", "datetime: "),
        (
            {"code": "00000000", "datetime": "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"},
            400,
            "bad_interval",
            "ends before",
        ),
        ({"code": "00000000", "datetime": "2026-02-30T00:00:00Z"}, 400, "bad_interval", "2026-02-30"),
        ({"code": "00000000", "collections": []}, 422, "invalid", "collections: "),
        ({"code": "00000000", "min_valid_fraction": 1.5}, 422, "invalid", "min_valid_fraction: "),
        ({"code": "00000000", "token": "abc"}, 400, "bad_token", "token"),
        ({"code": "00000000", "snapshot": 999}, 410, "not_kept", "999"),
        ({"code": "00000000", "model_id": "other@000000000000"}, 409, "other_model", "tiny@"),
        ({"chip_ids": ["nobody"]}, 404, "no_such_chip", "nobody"),
        ({"point": [100, 50]}, 404, "no_chip_here", "longitude 100"),
    ],
)
def test_queries(http: httpx.Client, query: dict[str, object], status: int, code: str, part: str) -> None:
    check(http.post("/v1/search", json=query), status, code, part)


def test_a_body_that_is_not_json(http: httpx.Client) -> None:
    answer = http.post("/v1/search", content=b"{", headers={"Content-Type": "application/json"})
    check(answer, 400, "not_json", "JSON")


def test_paths_and_methods(http: httpx.Client) -> None:
    check(http.get("/v1/nothing"), 404, "no_such_path", "/v1/nothing")
    check(http.get("/v1/search"), 405, "wrong_method", "GET /v1/search")
    check(http.get("/v1/chips/nobody"), 404, "no_such_chip", "nobody")
    check(http.get("/v1/chips/nobody/thumbnail"), 404, "no_such_chip", "nobody")


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}])
def test_no_answer_without_the_key(url: str, header: dict[str, str]) -> None:
    for path in ("/v1/snapshot", "/v1/chips/x"):
        answer = httpx.get(url + path, headers=header)
        check(answer, 401, "unauthorized", "key")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    check(httpx.post(f"{url}/v1/search", headers=header, content=b"{"), 401, "unauthorized", "key")


@pytest.mark.parametrize(
    ("path", "asked", "field"),
    [
        ("/v1/search/grid", {"code": "00000000", "width": 513}, "width"),
        ("/v1/search/grid", {"code": "00000000", "height": 513}, "height"),
        ("/v1/search/grid", {"code": "00000000", "width": 0}, "width"),
        ("/v1/search/grid", {"code": "00000000", "view": [0, 1, 1, 0]}, "view"),
        ("/v1/changes", {"k": 10_001}, "k"),
        ("/v1/changes", {"k": 0}, "k"),
        ("/v1/coverage?width=1025", None, "width"),
        ("/v1/coverage?height=0", None, "height"),
        ("/v1/chips?bbox=0,0,1,1&limit=10001", None, "limit"),
    ],
)
def test_more_than_there_may_be(
    http: httpx.Client, path: str, asked: dict[str, object] | None, field: str
) -> None:
    answer = http.get(path) if asked is None else http.post(path, json=asked)
    check(answer, 422, "invalid", field)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_what_needs_no_key(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 200


def _truncated(archive: Archive) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return png(noise)[:3000]


def _tiff_with_a_bad_strip(archive: Archive) -> bytes:
    content = archive.store.read(f"{archive.root}/scenes/0.tif")
    return content[: len(content) // 2]


@pytest.mark.parametrize("path", ["/v1/encode", "/v1/search/image"])
def test_images(archive: Archive, http: httpx.Client, path: str) -> None:
    def post(content: bytes) -> httpx.Response:
        return http.post(path, content=content)

    check(post(b""), 415, "zero_bytes", "no content")
    check(post(b"not an image at all"), 415, "not_an_image", "")
    check(post(b'<VRTDataset rasterXSize="1" rasterYSize="1"/>'), 415, "not_an_image", "")
    check(post(_truncated(archive)), 422, "truncated", "")
    check(post(_tiff_with_a_bad_strip(archive)), 422, "truncated", "")
    check(post(png(np.zeros((16, 16), np.uint16))), 422, "wrong_bands", "uint16")
    check(post(png(np.zeros((16, 16, 2), np.uint8))), 422, "empty", "no pixel")  # grey, all of it transparent
    check(post(png(np.zeros((300, 300, 3), np.uint8))), 413, "too_many_pixels", "300 x 300")


def test_bodies_that_are_too_large(http: httpx.Client) -> None:
    check(http.post("/v1/encode", content=bytes(200_001)), 413, "too_large", "200000")

    def endless() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(10_000)

    check(http.post("/v1/encode", content=endless()), 413, "too_large", "200000")
    check(http.post("/v1/search", json={"code": "0" * 300_000}), 413, "too_large", "200000")


def test_image_queries(archive: Archive, http: httpx.Client) -> None:
    content = png(archive.pixels(0))
    for params, status, code, part in (
        ({"k": 0}, 422, "invalid", "k: "),
        ({"bbox": "0,0,1"}, 422, "invalid", "bbox.3: "),
        ({"ids": "a"}, 422, "invalid", "ids: isn't supported"),
        ({"rank_by": "size"}, 422, "invalid", "rank_by: "),
        ({"compare": "look"}, 422, "no_such_part", "kind"),
        ({"bit_weights": "88"}, 422, "invalid", "bit_weights: isn't supported"),
        ({"model_id": "other@0"}, 409, "other_model", "tiny@"),
    ):
        check(http.post("/v1/search/image", content=content, params=params), status, code, part)


def test_a_picture_of_another_version_of_its_chip(archive: Archive, http: httpx.Client) -> None:
    """What becomes of a source that is gone is in test_pictures.py: what was read of it is still shown."""
    chip = archive.ids()[archive.row_at("0.tif", 0, 0)]
    answer = http.get(f"/v1/chips/{chip}/thumbnail", params={"version": "f" * 16})
    check(answer, 409, "source_changed", f"{archive.root}/scenes/0.tif")
