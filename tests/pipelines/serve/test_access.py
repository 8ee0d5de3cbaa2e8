"""Who is let in, how many at a time, and what is written down of it."""

import asyncio
import socket
import threading
import time
from pathlib import Path

import httpx
import ray
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from pipelines.serve.access import AccessMiddleware
from pipelines.serve.config import ServeConfig
from pipelines.serve.prometheus import RequestMetrics
from tests.pipelines.serve.conftest import ADMIN_KEY, KEY, Archive, png


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_roles(url: str) -> None:
    status = f"{url}/v1/status"
    assert httpx.get(status).status_code == 401
    refused = httpx.get(status, headers=bearer(KEY))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    shards = httpx.get(status, headers=bearer(ADMIN_KEY)).json()["shards"]
    assert [shard["chips"] for shard in shards] == [32, 32]
    assert httpx.get(f"{url}/v1/snapshot", headers=bearer(ADMIN_KEY)).status_code == 200


def test_a_request_has_an_id(http: httpx.Client) -> None:
    given = http.get("/v1/snapshot", headers={"X-Request-ID": "mine-1"})
    assert given.headers.get_list("X-Request-ID") == ["mine-1"]
    made = [http.get(path).headers["X-Request-ID"] for path in ("/v1/snapshot", "/v1/nothing")]
    assert made[0] != made[1]


def test_the_log_has_no_secrets(archive: Archive, http: httpx.Client) -> None:
    name = f"log-{time.time_ns()}"
    query = {"code": archive.code(0).tobytes().hex(), "collections": ["a-secret-place"]}
    assert http.post("/v1/search", json=query, headers={"X-Request-ID": name}).status_code == 200
    parameters = {"collections": "another-secret-place"}
    assert http.post("/v1/search/image", content=png(archive.pixels(0)), params=parameters).status_code == 200
    folder = Path(ray.get_runtime_context().worker.node.get_session_dir_path()) / "logs" / "serve"
    deadline = time.monotonic() + 20
    while name not in (text := "".join(path.read_text() for path in folder.rglob("*.log"))):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    line = next(line for line in text.splitlines() if name in line and "/v1/search" in line)
    assert "200" in line
    for secret in (KEY, ADMIN_KEY, "secret-place", query["code"]):
        assert secret not in text


def test_more_than_can_be_done_are_told_to_come_again(ray_local: None) -> None:
    async def run() -> None:
        released = asyncio.Event()

        async def work(scope: Scope, receive: Receive, send: Send) -> None:
            await released.wait()
            await PlainTextResponse("done")(scope, receive, send)

        config = ServeConfig(table="t", open=True, max_requests=3)
        transport = httpx.ASGITransport(AccessMiddleware(work, config, RequestMetrics()))
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            working = [asyncio.create_task(client.get("/v1/snapshot")) for _ in range(3)]
            await asyncio.sleep(0.1)
            refused = await client.get("/v1/snapshot")
            assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
            assert refused.headers["Retry-After"] == "1"
            probe = asyncio.create_task(client.get("/healthz"))  # is let in all the same
            released.set()
            answers = await asyncio.gather(*working, probe)
            assert [answer.status_code for answer in answers] == [200] * 4
            assert (await client.get("/v1/snapshot")).status_code == 200

    asyncio.run(run())


def test_no_address_of_the_clients_choosing_is_opened(archive: Archive, http: httpx.Client) -> None:
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        place = f"127.0.0.1:{trap.getsockname()[1]}/x.tif"

        def listen() -> None:
            while not stopped.is_set():
                try:
                    calls.append(trap.accept()[1])
                except TimeoutError:
                    continue

        stopped = threading.Event()
        listener = threading.Thread(target=listen)
        listener.start()
        for address in (f"http://{place}", f"/vsicurl/http://{place}", f"s3://{place}", f"//{place}"):
            source = f"<SimpleSource><SourceFilename>{address}</SourceFilename></SimpleSource>"
            band = f"<VRTRasterBand dataType='Byte' band='1'>{source}</VRTRasterBand>"
            vrt = f"<VRTDataset rasterXSize='9' rasterYSize='9'>{band}</VRTDataset>"
            for content in (address.encode(), vrt.encode()):
                assert http.post("/v1/encode", content=content).status_code == 415
            assert http.post("/v1/search", json={"chip_ids": [address]}).status_code == 404
            assert http.get(f"/v1/chips/{address}/thumbnail").status_code == 404
            assert http.post("/v1/search", json={"code": "00000000", "model_id": address}).status_code == 409
            for name in ("uri", "href", "table", "bundle_uri"):
                assert http.post("/v1/search", json={"code": "00000000", name: address}).status_code == 422
        time.sleep(0.3)
        stopped.set()
        listener.join()
    assert not calls
