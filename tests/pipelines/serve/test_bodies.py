"""What clients send in other ways than the API describes: taken where it is clear, else a hint that helps."""

import gzip
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from pipelines.serve.config import ServeConfig
from tests.pipelines.serve.conftest import KEY, ORIGIN, Archive, png

GZIP = {"Content-Encoding": "gzip"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_gzip_is_taken(archive: Archive, http: httpx.Client) -> None:
    query = {"chip_ids": [archive.ids()[0]]}
    body = json.dumps(query).encode()
    plain = http.post("/v1/search", json=query).json()["features"]
    members = gzip.compress(body[:10]) + gzip.compress(body[10:])
    for packed in (gzip.compress(body), members):
        answer = http.post("/v1/search", content=packed, headers=JSON | GZIP)
        assert answer.json()["features"] == plain
    picture = png(archive.pixels(0))
    code = http.post("/v1/encode", content=picture).json()["code"]
    assert http.post("/v1/encode", content=gzip.compress(picture), headers=GZIP).json()["code"] == code


@pytest.mark.parametrize("path", ["/v1/search", "/v1/encode"])
def test_damaged_gzip_and_bombs(http: httpx.Client, path: str) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    assert len(bomb) < 200_000  # as packed it is within the limit
    headers = (JSON if path == "/v1/search" else {}) | GZIP
    refused = http.post(path, content=bomb, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    for damaged in (b"", b"no gzip", gzip.compress(bytes(1000))[:-5], gzip.compress(b"{}") + b"x"):
        refused = http.post(path, content=damaged, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_gzip"), damaged
    refused = http.post(path, content=b"x", headers=headers | {"Content-Encoding": "br"})
    assert (refused.status_code, refused.json()["code"]) == (415, "unknown_encoding")
    assert "gzip" in refused.json()["hint"]


def test_hints_lead_to_the_right_call(archive: Archive, http: httpx.Client) -> None:
    picture = png(archive.pixels(0))
    query = json.dumps({"chip_ids": [archive.ids()[0]]}).encode()
    form = {"files": {"image": ("a.png", picture, "image/png")}}
    asked = {
        ("form", "/v1/search/image", "--data-binary"): form,
        ("form", "/v1/encode", "--data-binary"): form,
        ("form", "/v1/search", "/v1/search/image"): form,
        ("curl -d", "/v1/search", "application/json"): {"content": query, "headers": FORM},
        ("text", "/v1/search/batch", "application/json"): {
            "content": query,
            "headers": {"Content-Type": "text/plain; charset=utf-8"},
        },
        ("no type", "/v1/search", "application/json"): {"content": query},
        ("a picture", "/v1/search", "/v1/search/image"): {
            "content": picture,
            "headers": {"Content-Type": "image/png"},
        },
        ("a query", "/v1/search/image", "POST /v1/search"): {"content": query, "headers": JSON},
        ("curl -d @", "/v1/search/image", "--data-binary"): {
            "content": picture.replace(b"\n", b"").replace(b"\r", b""),
            "headers": FORM,
        },
    }
    for (name, path, hint), request in asked.items():
        answer = http.post(path, **request)  # type: ignore[arg-type]
        assert answer.status_code == 415, (name, answer.text)
        assert hint in answer.json()["hint"], (name, answer.text)
    # curl --data-binary names the type of a form too: the bytes are right
    assert http.post("/v1/encode", content=picture, headers=FORM).status_code == 200


def test_pictures_of_few_bits_and_grey_with_alpha(http: httpx.Client) -> None:
    black_HW = np.indices((32, 32)).sum(axis=0) % 16 > 7
    grey_HW = black_HW.astype(np.uint8) * 255
    wanted = http.post("/v1/encode", content=png(np.dstack([grey_HW] * 3))).json()["code"]
    with_alpha = np.dstack([grey_HW, np.full_like(grey_HW, 255)])
    for pixels in (black_HW, grey_HW, with_alpha):
        assert http.post("/v1/encode", content=png(pixels)).json()["code"] == wanted
    tiff = io.BytesIO()
    Image.fromarray(black_HW).save(tiff, "TIFF", compression="group4")
    assert http.post("/v1/encode", content=tiff.getvalue()).json()["code"] == wanted


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/snapshot", "/openapi.json", "/docs"])
def test_head_is_get_without_a_body(http: httpx.Client, path: str) -> None:
    head, get = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_head_of_a_chip_and_of_what_is_refused(archive: Archive, http: httpx.Client, url: str) -> None:
    chip = f"/v1/chips/{archive.ids()[0]}"
    for path in (chip, f"{chip}/thumbnail"):
        assert (http.head(path).status_code, http.head(path).content) == (200, b"")
    assert http.head("/v1/chips/nothing").status_code == 404
    assert http.head("/v1/search").status_code == 405
    assert http.delete("/v1/snapshot").headers["Allow"] == "GET, HEAD"
    assert httpx.head(f"{url}/v1/snapshot").status_code == 401


def test_pages_of_allowed_origins_may_ask(url: str, http: httpx.Client) -> None:
    wish = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    wish |= {"Access-Control-Request-Headers": "authorization,content-type"}
    allowed = httpx.options(f"{url}/v1/search", headers=wish)  # without a key
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "authorization" in allowed.headers["Access-Control-Allow-Headers"].lower()
    other = httpx.options(f"{url}/v1/search", headers=wish | {"Origin": "https://evil.example"})
    assert other.status_code == 400
    assert "Access-Control-Allow-Origin" not in other.headers
    for answer in (
        http.get("/v1/snapshot", headers={"Origin": ORIGIN}),
        httpx.get(f"{url}/v1/snapshot", headers={"Origin": ORIGIN}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Origin" not in http.get("/v1/snapshot").headers
    refused = httpx.post(f"{url}/v1/search", json={}, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in refused.headers


def test_no_origin_is_allowed_by_default() -> None:
    assert ServeConfig(table="t", open=True).cors_origins == ()
    assert ServeConfig(table="t", open=True, cors_origins=("*",)).cors_origins == ("*",)
    for origin in ("maps.example.org", "https://maps.example.org/", "https://Maps.example.org", "", "null"):
        with pytest.raises(ValueError, match="must be an origin"):
            ServeConfig(table="t", open=True, cors_origins=(origin,))


def test_a_request_without_a_key_is_refused_before_its_body(url: str) -> None:
    answer = httpx.post(f"{url}/v1/search", content=b"no gzip", headers=JSON | GZIP)
    assert answer.status_code == 401
    keyed = {"Authorization": f"Bearer {KEY}"}
    assert httpx.post(f"{url}/v1/search", content=b"no gzip", headers=JSON | GZIP | keyed).status_code == 400
