"""A single shard is a part of the ingress: its answers are those of shards that are deployments."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.serve.app import Ingress
from pipelines.serve.config import ServeConfig
from tests.pipelines.serve.conftest import Archive

QUERIES: list[dict[str, Any]] = [
    {"k": 5},
    {"k": 3, "exclude_self": False},
    {"max_distance": 32, "limit": 7},
    {"k": 20, "bbox": [-1, -20, 5, 10], "collections": ["none", "scenes"]},
    {"k": 4, "min_valid_fraction": 2},
]


async def _asked(ingress: Ingress, calls: list[tuple[str, str, Any]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())
    async with httpx.AsyncClient(transport=transport, base_url="http://alone") as client:
        return [await client.request(method, path, json=body) for method, path, body in calls]


def _without_time(response: httpx.Response) -> Any:
    body = response.json()
    for answer in body.get("answers", [body]):
        if "search" in answer:
            answer["search"].pop("took_ms")
            answer["search"].pop("codes_compared")  # shards look elsewhere
            answer["search"].pop("method")
    return body


def test_its_answers_are_those_of_several_shards(
    alone: Ingress, http: httpx.Client, archive: Archive
) -> None:
    chip_ids = archive.ids()
    queries = [query | {"chip_ids": chip_ids[:number]} for query in QUERIES for number in (1, 2)]
    queries += [{"chip_ids": ["stranger"]}, {"k": 0, "chip_ids": chip_ids[:1]}, {"snapshot": 10**6}]
    calls: list[tuple[str, str, Any]] = [("POST", "/v1/search", query) for query in queries]
    calls += [("POST", "/v1/search/batch", {"queries": queries[:6]})]
    calls += [("GET", f"/v1/chips/{chip_id}", None) for chip_id in (chip_ids[0], chip_ids[-1], "stranger")]
    for call, response in zip(calls, asyncio.run(_asked(alone, calls)), strict=True):
        others = http.request(call[0], call[1], json=call[2])
        assert (response.status_code, _without_time(response)) == (
            others.status_code,
            _without_time(others),
        ), call


def test_its_replicas_are_the_shard_s(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shard_replicas"):
        ServeConfig(table=archive.table, open=True, index_folder=tmp_path, ingress_replicas=2)


@pytest.mark.server
def test_what_searches_needs_no_torch() -> None:
    heavy = "import sys, pipelines.serve.app; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", done.stderr
