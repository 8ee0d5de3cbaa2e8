"""The service follows what is published, and refuses what doesn't fit."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import ray

from tests.pipelines.serve.conftest import Archive, png, wait_for


@pytest.fixture
def published(archive: Archive, http: httpx.Client) -> Iterator[None]:
    """Publish the first version again at the end."""
    yield
    archive.publish(archive.versions[0])
    wait_for(http, archive.versions[0])


def test_answers_switch_to_a_new_version(archive: Archive, http: httpx.Client, published: None) -> None:
    code_Y, newer = archive.code(0), archive.versions[1]
    query = {"code": code_Y.tobytes().hex(), "k": 100}
    archive.publish(newer)
    deadline = time.monotonic() + 20
    seen = set()
    while newer not in seen:
        assert time.monotonic() < deadline
        answer = http.post("/v1/search", json=query).json()
        version = answer["search"]["snapshot"]
        seen.add(version)
        found = [(match["properties"]["distance"], match["id"]) for match in answer["features"]]
        assert found == archive.nearest(code_Y, version)  # never a mixture of two versions
    assert len(archive.rows[newer]) == 80


def test_another_model_brings_its_own_encoder(archive: Archive, http: httpx.Client, published: None) -> None:
    version = archive.versions[2]
    image = archive.pixels(0)
    old = http.post("/v1/encode", content=png(image)).json()["model_id"]
    archive.publish(version)
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        answer = http.post("/v1/search/image", content=png(image), params={"k": 16})
        # encoder and shards follow one after the other, but the shards still have what is older
        assert answer.status_code == 200, answer.text
        if answer.json()["search"]["model_id"] != old:
            break
    found = [(match["properties"]["distance"], match["id"]) for match in answer.json()["features"]]
    assert found == archive.like_picture(image, version)


def test_codes_in_parts_follow_codes_of_one_part_and_the_other_way(
    archive: Archive, http: httpx.Client, published: None
) -> None:
    one_part, two_parts = archive.versions[0], archive.versions[3]
    chip, picture = archive.ids()[5], archive.pixels(5)
    by_look = {"chip_ids": [chip], "compare": "look", "k": 64}
    for version in (two_parts, one_part, two_parts):
        archive.publish(version)
        wait_for(http, version)
        answer = http.post("/v1/search", json=by_look)
        search = http.post("/v1/search", json={"chip_ids": [chip]}).json()["search"]
        weights = [(part["name"], part["bits"], part["weight"]) for part in search["parts"]]
        if version == one_part:
            assert (answer.status_code, answer.json()["code"]) == (422, "no_such_part")
            assert weights == [("kind", 32, 1)]
        else:
            looks = archive.rows[version]["code"].to_pylist()
            distances = [(np.frombuffer(code, np.uint8)[2:] ^ archive.code(5, version)[2:]) for code in looks]
            wanted = sorted(int(np.bitwise_count(bits).sum()) for bits in distances)[1:]
            assert [match["properties"]["distance"] for match in answer.json()["features"]] == wanted
            assert weights == [("kind", 16, 3), ("look", 16, 1)]
        answer = http.post("/v1/search/image", content=png(picture), params={"k": 64})
        found = [(match["properties"]["distance"], match["id"]) for match in answer.json()["features"]]
        assert found == archive.like_picture(picture, version)


@pytest.mark.parametrize("flaw", ["model", "bundle", "version"])
def test_a_bad_pointer_is_refused(archive: Archive, http: httpx.Client, published: None, flaw: str) -> None:
    version = archive.versions[0]
    archive.publish(
        archive.versions[1],
        **{
            "model": {"model_id": "other@000000000000"},
            "bundle": {"bundle_uri": f"{archive.root}/bundles/none"},
            "version": {"table_version": 99},
        }[flaw],
    )
    deadline = time.monotonic() + 20
    while (served := http.get("/v1/snapshot").json())["refused"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert served["snapshot"] == version
    assert served["refused"]["snapshot"] == (99 if flaw == "version" else archive.versions[1])
    assert {"model": "other@", "bundle": "no bundle", "version": "version 99"}[flaw] in served["refused"][
        "reason"
    ]
    answer = http.post("/v1/search", json={"chip_ids": [archive.ids()[0]]})
    assert (answer.status_code, answer.json()["search"]["snapshot"]) == (200, version)
    assert http.post("/v1/search/image", content=png(archive.pixels(0))).status_code == 200
    assert http.get("/readyz").status_code == 200


def pages(http: httpx.Client, query: dict[str, object]) -> Iterator[dict[str, Any]]:
    """Yield the pages of an answer."""
    while True:
        answer = http.post("/v1/search", json=query)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        if not answer.json()["links"]:
            return
        query = {**query, **answer.json()["links"][0]["body"]}


def test_pages_are_of_one_snapshot_whatever_is_published_meanwhile(
    archive: Archive, http: httpx.Client, published: None
) -> None:
    query = {"code": archive.code(0).tobytes().hex(), "k": 64, "limit": 9}
    found = []
    for number, page in enumerate(pages(http, query)):
        assert page["search"]["snapshot"] == archive.versions[0]
        assert page["numberMatched"] == 64
        found += [(match["properties"]["distance"], match["id"]) for match in page["features"]]
        if number in (0, 3):
            newer = archive.versions[1 if number == 0 else 2]
            archive.publish(newer)
            wait_for(http, newer)
    assert found == archive.nearest(archive.code(0), archive.versions[0])


def test_an_older_version_can_be_asked_for_until_it_is_no_longer_kept(
    archive: Archive, http: httpx.Client, published: None
) -> None:
    old, newer, last = archive.versions[:3]
    query = {"code": archive.code(0).tobytes().hex(), "k": 64, "snapshot": old}
    for version in (newer, last, newer, last):
        archive.publish(version)
        wait_for(http, version)
        kept = http.get("/v1/snapshot").json()["kept"]
        answer = http.post("/v1/search", json=query)
        if old in kept:
            assert (answer.status_code, answer.json()["search"]["snapshot"]) == (200, old)
    assert (answer.status_code, answer.json()["code"]) == (410, "not_kept")


def test_a_link_of_a_version_that_was_rolled_back_shows_its_picture(
    archive: Archive, http: httpx.Client, published: None
) -> None:
    old, newer = archive.versions[:2]
    archive.publish(newer)
    wait_for(http, newer)
    only_newer = set(archive.rows[newer]["chip_id"].to_pylist()) - set(
        archive.rows[old]["chip_id"].to_pylist()
    )
    chip = min(only_newer)
    link = http.get(f"/v1/chips/{chip}").json()["assets"]["thumbnail"]["href"]
    archive.publish(old)
    wait_for(http, old)
    assert http.get(link).headers.get("content-type") == "image/png"
    assert http.get(f"/v1/chips/{chip}/thumbnail").status_code == 404
    assert http.get(f"/v1/chips/{chip}/thumbnail?version={'0' * 16}").status_code == 404


def test_a_killed_replica_comes_back_and_has_what_it_had(
    archive: Archive, http: httpx.Client, published: None
) -> None:
    query = {"code": archive.code(0).tobytes().hex(), "k": 64, "limit": 30}
    first = http.post("/v1/search", json=query).json()
    archive.publish(archive.versions[1])
    wait_for(http, archive.versions[1])
    names = [actor for actor in ray.util.list_named_actors(all_namespaces=True) if "Shard0" in actor["name"]]
    assert len(names) == 2
    for name in names:
        ray.kill(ray.get_actor(name["name"], name["namespace"]))
        deadline = time.monotonic() + 60
        while http.get("/readyz").is_error:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    deadline = time.monotonic() + 60
    while True:  # clients see at most that they should come again
        answer = http.post("/v1/search", json={**query, **first["links"][0]["body"]})
        if answer.status_code == 200:
            break
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert time.monotonic() < deadline
        time.sleep(0.1)
    found = first["features"] + answer.json()["features"]
    wanted = archive.nearest(archive.code(0), archive.versions[0])[:60]
    assert [(match["properties"]["distance"], match["id"]) for match in found] == wanted
