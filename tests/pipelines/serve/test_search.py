"""Queries over real HTTP: every answer equals the brute-force one."""

import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import shapely
import torch
from PIL import Image

from pipelines.api.answers import SearchAnswer
from tests.pipelines.serve.conftest import Archive, png
from tests.pipelines.serve.divided import chance


def parsed(answer: httpx.Response) -> SearchAnswer:
    assert answer.status_code == 200, answer.text
    return SearchAnswer.model_validate_json(answer.content)


def pairs(answer: httpx.Response) -> list[tuple[int, str]]:
    return [(match.properties.distance, match.id) for match in parsed(answer).features]


@pytest.mark.parametrize("k", [1, 7, 63, 10_000])
def test_search_by_chip_id(archive: Archive, http: httpx.Client, k: int) -> None:
    for row in (0, 20, 63):
        chip = archive.ids()[row]
        wanted = archive.nearest(archive.code(row), leave_out=chip)
        answer = http.post("/v1/search", json={"chip_ids": [chip], "k": k})
        assert pairs(answer) == wanted[:k]
        search = parsed(answer).search
        cutoff = wanted[:k][-1][0]
        assert search.kth_distance == cutoff
        assert search.ties_at_cutoff == sum(distance == cutoff for distance, _ in wanted[k:])
        assert search.codes_compared >= archive.distinct_codes()  # once a shard


def test_the_example_is_in_the_answer_where_it_is_asked_for(archive: Archive, http: httpx.Client) -> None:
    query = {"chip_ids": [archive.ids()[5]], "exclude_self": False}
    assert pairs(http.post("/v1/search", json=query)) == archive.nearest(archive.code(5))[:10]


def test_search_by_code_within_a_radius(archive: Archive, http: httpx.Client) -> None:
    code_Y = archive.code(9)
    wanted = [pair for pair in archive.nearest(code_Y) if pair[0] <= 4]
    assert len(wanted) > 3
    within = http.post("/v1/search", json={"code": code_Y.tobytes().hex(), "max_distance": 4})
    assert pairs(within) == wanted
    assert parsed(within).search.ties_at_cutoff == 0
    both = http.post("/v1/search", json={"code": code_Y.tobytes().hex().upper(), "max_distance": 4, "k": 3})
    assert pairs(both) == wanted[:3]
    assert (parsed(both).numberMatched, parsed(both).numberReturned) == (3, 3)


def test_a_radius_that_holds_nothing(archive: Archive, http: httpx.Client) -> None:
    far_Y = next(
        code_Y
        for code_Y in np.random.default_rng(0).integers(0, 256, (1000, 4), np.uint8)
        if archive.nearest(code_Y)[0][0] > 0
    )
    answer = parsed(http.post("/v1/search", json={"code": far_Y.tobytes().hex(), "max_distance": 0}))
    assert (answer.numberMatched, answer.features, answer.search.kth_distance) == (0, [], None)


def test_the_answer_names_its_snapshot_and_is_the_same_twice(archive: Archive, http: httpx.Client) -> None:
    query = {"code": archive.code(0).tobytes().hex(), "k": 20}
    first, second = (http.post("/v1/search", json=query).json() for _ in range(2))
    for answer in (first, second):
        assert answer["search"].pop("took_ms") > 0
    assert first == second
    assert first["search"] | {"kth_distance": 0, "ties_at_cutoff": 0} == {
        "model_id": archive.models[0].manifest.model_id,
        "bits": 32,
        "compare": "both",
        "parts": [{"name": "kind", "bits": 32, "weight": 1}],
        "rank_by": "bits",
        "chance_distance": chance(archive, query, archive.versions[0]),
        "snapshot": archive.versions[0],
        "exact": True,
        "method": "scan",
        "codes_compared": http.get("/v1/snapshot").json()["distinct_codes"],
        "kth_distance": 0,
        "ties_at_cutoff": 0,
    }


def test_search_by_point_takes_the_latest_chip_there(archive: Archive, http: httpx.Client) -> None:
    row = archive.row_at("1.tif", 16, 32)  # scene 0 lies at the same place, without a date
    answer = http.post("/v1/search", json={"point": [2.0, 6.0]})
    assert pairs(answer) == archive.nearest(archive.code(row))[:10]
    alone = http.post("/v1/search", json={"point": [2.0, 6.0], "exclude_self": True})
    assert pairs(alone) == archive.nearest(archive.code(row), leave_out=archive.ids()[row])[:10]


@pytest.mark.parametrize("longitude", [179.9, -179.9])
def test_search_by_point_on_both_sides_of_the_antimeridian(
    archive: Archive, http: httpx.Client, longitude: float
) -> None:
    row = archive.row_at("2.tif", 0, 0)
    answer = http.post("/v1/search", json={"point": [longitude, 9.0], "k": 64})
    assert pairs(answer) == archive.nearest(archive.code(row))
    feature = next(match for match in parsed(answer).features if match.id == archive.ids()[row])
    assert feature.geometry is not None
    assert feature.geometry["type"] == "MultiPolygon"
    assert feature.bbox == pytest.approx((179.2, 8.4, -179.2, 10))


def test_a_chip_as_a_feature(archive: Archive, http: httpx.Client) -> None:
    row = archive.row_at("1.tif", 0, 16)
    feature = http.get(f"/v1/chips/{archive.ids()[row]}").json()
    assert shapely.geometry.shape(feature["geometry"]).bounds == pytest.approx((0, 6.8, 1.6, 8.4))
    assert feature["bbox"] == pytest.approx([0, 6.8, 1.6, 8.4])
    assert feature["properties"] == {
        "datetime": "2025-01-02T00:00:00Z",
        "collection": "tests",
        "uri": f"{archive.root}/scenes/1.tif",
        "etag": "etag-1",
        "window": [0, 16, 16, 16],
    }
    assert (feature["type"], feature["snapshot"]) == ("Feature", archive.versions[0])


def test_a_chip_without_a_place(archive: Archive, http: httpx.Client) -> None:
    feature = http.get(f"/v1/chips/{archive.ids()[archive.row_at('3.tif', 0, 0)]}").json()
    assert feature["geometry"] is None
    assert "bbox" not in feature  # null isn't allowed (RFC 7946, 5)


def test_a_thumbnail_shows_the_pixels(archive: Archive, http: httpx.Client) -> None:
    feature = http.get(f"/v1/chips/{archive.ids()[7]}").json()
    answer = http.get(feature["assets"]["thumbnail"]["href"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == archive.pixels(7)).all()


def test_an_uploaded_chip_has_the_code_of_the_table(archive: Archive, http: httpx.Client) -> None:
    content = png(archive.pixels(3))
    code_Y = archive.code(3)
    encoded = http.post("/v1/encode", content=content).json()
    bit_weights = encoded.pop("bit_weights")
    assert encoded == {
        "code": code_Y.tobytes().hex(),
        "bits": 32,
        "model_id": archive.models[0].manifest.model_id,
    }
    by_values, by_bits = archive.like_picture(archive.pixels(3)), archive.nearest(code_Y)
    assert pairs(http.post("/v1/search/image", content=content)) == by_values[:10]
    again = {"code": encoded["code"], "bit_weights": bit_weights, "max_distance": 5}
    assert pairs(http.post("/v1/search", json=again)) == [pair for pair in by_values if pair[0] <= 5]
    for rank_by, nearest in (("values", by_values), ("bits", by_bits)):
        params = {"k": 5, "max_distance": 3, "rank_by": rank_by}
        answer = http.post("/v1/search/image", content=content, params=params)
        assert pairs(answer) == [pair for pair in nearest[:5] if pair[0] <= 3]
        assert parsed(answer).search.rank_by == rank_by


def test_uploads_that_come_together_get_each_its_own_code(archive: Archive, http: httpx.Client) -> None:
    sizes = [16, 24] * 10  # two sizes: one batch can't hold both
    images = [
        np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
        for seed, size in enumerate(sizes)
    ]
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(lambda image: http.post("/v1/encode", content=png(image)).json(), images))
    network = archive.models[0].network
    wanted = [network.encode(torch.from_numpy(image)[None]).tobytes().hex() for image in images]
    assert [answer["code"] for answer in answers] == wanted
    assert len(set(wanted)) > 1


def test_a_grey_image_counts_as_one_with_equal_bands(archive: Archive, http: httpx.Client) -> None:
    grey = archive.pixels(0)[..., 0]
    alone, repeated = (
        http.post("/v1/encode", content=png(image)).json() for image in (grey, np.stack([grey] * 3, axis=-1))
    )
    assert alone == repeated


def test_a_jpeg_is_read(archive: Archive, http: httpx.Client) -> None:
    answer = http.post("/v1/search/image", content=png(archive.pixels(0), "JPEG"), params={"k": 1})
    assert parsed(answer).numberReturned == 1


def test_the_snapshot(archive: Archive, http: httpx.Client) -> None:
    distinct = len(set(archive.rows[archive.versions[0]]["code"].to_pylist()))
    answer = http.get("/v1/snapshot").json()
    assert distinct <= answer["distinct_codes"] <= 2 * distinct  # a code may be in both shards
    assert answer["kept"][0] == archive.versions[0]
    assert answer == {
        "snapshot": archive.versions[0],
        "model_id": archive.models[0].manifest.model_id,
        "bits": 32,
        "chips": 64,
        "distinct_codes": answer["distinct_codes"],
        "run_id": f"run-{archive.versions[0]}",
        "published_at": "2026-01-02T00:00:00Z",
        "shards": 2,
        "kept": answer["kept"],
        "refused": None,
        "base_map": False,
    }
