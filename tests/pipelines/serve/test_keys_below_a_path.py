"""Keys guard a service below a path too, where a Serve config's `route_prefix` or another app puts it."""

import asyncio
import hashlib

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from pipelines.serve.access import AccessMiddleware
from pipelines.serve.config import ServeConfig
from pipelines.serve.prometheus import RequestMetrics
from tests.pipelines.serve.conftest import ADMIN_KEY, KEY


def hash_of(key: str) -> tuple[str, ...]:
    return (hashlib.sha256(key.encode()).hexdigest(),)


async def status(app: Starlette, method: str, path: str, key: str | None, kind: str) -> int:
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {key}"} if key else {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        return (await http.request(method, path, headers=headers)).status_code


@pytest.mark.parametrize("prefix", ["", "/a", "/a/b", "/v1"])
def test_keys_and_bodies(prefix: str) -> None:
    config = ServeConfig(table="x", key_hashes=hash_of(KEY), admin_key_hashes=hash_of(ADMIN_KEY))
    paths = ("/v1/search", "/v1/status", "/healthz")
    routes = [Route(path, lambda _: PlainTextResponse("ok"), methods=["POST"]) for path in paths]
    own = Starlette(routes=routes)
    guarded = AccessMiddleware(own, config, RequestMetrics())
    app = Starlette(routes=[Mount(prefix, guarded)])
    json = "application/json"
    for path, key, wanted in (
        ("/v1/search", None, 401),
        ("/v1/search", "another", 401),
        ("/v1/search", KEY, 200),
        ("/v1/status", KEY, 403),
        ("/v1/status", ADMIN_KEY, 200),
        ("/healthz", None, 200),
    ):
        assert asyncio.run(status(app, "POST", f"{prefix}{path}", key, json)) == wanted, path
    assert asyncio.run(status(app, "POST", f"{prefix}/v1/search", KEY, "image/png")) == 415
