"""The service follows what is published, and refuses what doesn't fit."""

import time
from collections.abc import Iterator

import httpx
import pytest
import torch

from tests.pipelines.serve.conftest import Archive, png


@pytest.fixture
def published(archive: Archive, http: httpx.Client) -> Iterator[None]:
    """Publish the first version again at the end."""
    yield
    archive.publish(archive.versions[0])
    wait_for(http, archive.versions[0])


def wait_for(http: httpx.Client, version: int) -> None:
    """Wait until shard and encoder both follow."""
    deadline = time.monotonic() + 20
    while http.get("/v1/snapshot").json()["snapshot"] != version or http.get("/readyz").is_error:
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
    version, model = archive.versions[2], archive.models[1]
    image = archive.pixels(0)
    old = http.post("/v1/encode", content=png(image)).json()["model_id"]
    archive.publish(version)
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        answer = http.post("/v1/search/image", content=png(image), params={"k": 16})
        if answer.status_code == 503:  # encoder and shard follow one after the other
            assert answer.json()["code"] == "model_changing"
            assert answer.headers["Retry-After"] == "1"
            continue
        assert answer.status_code == 200
        if answer.json()["search"]["model_id"] != old:
            break
    code_Y = model.network.encode(torch.from_numpy(image)[None])[0]
    found = [(match["properties"]["distance"], match["id"]) for match in answer.json()["features"]]
    assert found == archive.nearest(code_Y, version)


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
    time.sleep(1)  # five looks at the pointer
    assert http.get("/v1/snapshot").json()["snapshot"] == version
    answer = http.post("/v1/search", json={"chip_ids": [archive.ids()[0]]})
    assert (answer.status_code, answer.json()["search"]["snapshot"]) == (200, version)
    assert http.post("/v1/search/image", content=png(archive.pixels(0))).status_code == 200
    assert http.get("/readyz").status_code == 200
