"""Bodies that mean harm: each is refused, no replica dies, and none grows by more than 200 MB."""

import io
import json
import socket
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from tests.pipelines.serve.conftest import KEY, Archive, png

JSON = {"Content-Type": "application/json"}


def replicas() -> dict[int, int]:
    """Memory [bytes] of each Serve replica of this test's Ray, by process."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any("ray::ServeReplica" in part for part in process.cmdline()):
                found[process.pid] = process.memory_info().rss
    return found


@pytest.fixture(autouse=True)
def unharmed(archive: Archive, http: httpx.Client) -> Iterator[None]:
    """Check that all replicas are still there and have not grown, and that they answer."""
    until = time.monotonic() + 60
    while len(before := replicas()) != 7 and time.monotonic() < until:
        time.sleep(0.5)  # one that another test has killed is on its way back
    assert len(before) == 7
    yield
    after = replicas()
    assert after.keys() == before.keys()
    assert max(after[process] - before[process] for process in before) < 200e6
    answer = http.post("/v1/search", json={"chip_ids": [archive.ids()[0]]})
    assert answer.status_code == 200


def png_bomb(side: int) -> bytes:
    """A PNG of side x side grey pixels, in a thousandth of the bytes: within its header's own limits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sparse_tiff(side: int, blocks: int) -> bytes:
    with MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(
            driver="GTiff",
            width=side,
            height=side,
            count=3,
            dtype="uint8",
            tiled=True,
            blockxsize=blocks,
            blockysize=blocks,
            sparse_ok=True,
            compress="deflate",
        ) as dataset:
            dataset.write(np.ones((3, 16, 16), np.uint8), window=((0, 16), (0, 16)))
        return bytes(memory.read())


def flipped(content: bytes, seed: int) -> bytes:
    """An image with some of its bytes changed."""
    rng = np.random.default_rng(seed)
    changed = np.frombuffer(content, np.uint8).copy()
    places = rng.integers(0, changed.size, 20)
    changed[places] = rng.integers(0, 256, 20)
    return changed.tobytes()


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: png_bomb(10_000),
        lambda: sparse_tiff(100_000, 16_384),
        lambda: sparse_tiff(1024, 8192),
        lambda: b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 2**31 - 1, 2**31 - 1) + bytes(30),
        lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20),
        lambda: b"<VRTDataset rasterXSize='9' rasterYSize='9'><SRSDataSource/></VRTDataset>",
        lambda: b"/vsicurl/http://127.0.0.1:9/x.tif",
        lambda: b"http://127.0.0.1:9/x.tif",
        lambda: bytes(150_000),
    ],
)
def test_bombs(http: httpx.Client, bomb: Callable[[], bytes]) -> None:
    for path in ("/v1/encode", "/v1/search/image"):
        answer = http.post(path, content=bomb())
        assert answer.status_code in (413, 415, 422), answer.text
        assert set(answer.json()) == {"code", "message", "hint"}


def test_broken_images(archive: Archive, http: httpx.Client) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    tiff = io.BytesIO()
    Image.fromarray(noise).save(tiff, "TIFF", compression="tiff_lzw")
    for content in (png(noise), png(noise, "JPEG"), tiff.getvalue()):
        for seed in range(25):
            for body in (flipped(content, seed), content[: seed * len(content) // 25]):
                answer = http.post("/v1/encode", content=body)
                assert answer.status_code in (200, 413, 415, 422), answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'{"code":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"code": "00000000", "intersects": '
        + b'{"type":"GeometryCollection","geometries":[' * 2000
        + b"]}" * 2000
        + b"}",
        b'{"point": [NaN, 1]}',
        b'{"point": [1e999, 1]}',
        b'{"point": [-Infinity, 1]}',
        b'{"code": "00000000", "bbox": [NaN, NaN, NaN, NaN]}',
        b'{"code": "00000000", "intersects": {"type": "Point", "coordinates": [NaN, 0]}}',
        b'{"code": "00000000", "k": 1e400}',
        b'{"code": "00000000", "k": ' + b"9" * 5000 + b"}",
        b'{"code": "' + b"0" * 100_000 + b'"}',
        b'{"chip_ids": ["\\ud800"]}',
        b'{"chip_ids": ["' + b"a" * 100_000 + b'"]}',
        b"\xff\xfe\x00",
        b"null",
        b"",
        b'{"code": "00000000", "token": "' + b"A" * 1000 + b'"}',
        json.dumps({"queries": [{"code": "00000000"}] * 257}).encode(),
    ],
)
def test_json(http: httpx.Client, body: bytes) -> None:
    for path in ("/v1/search", "/v1/search/batch"):
        answer = http.post(path, content=body, headers=JSON)
        assert 400 <= answer.status_code < 500, answer.text
        assert set(answer.json()) == {"code", "message", "hint"}
        assert len(answer.content) < 20_000  # what was sent isn't sent back


def test_a_body_of_50_mb(http: httpx.Client) -> None:
    for content in (bytes(50_000_000), (bytes(100_000) for _ in range(500))):
        try:
            answer = http.post("/v1/encode", content=content)
        except httpx.TransportError:  # the server needn't listen to the end
            continue
        assert answer.status_code == 413


def test_a_body_that_never_ends(url: str) -> None:
    """A hundred bytes, then silence: the connection is answered and given up, others aren't disturbed."""
    address = urlsplit(url)
    head = (
        f"POST /v1/encode HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 5000\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        connection.sendall(head.encode() + bytes(100))
        connection.settimeout(20)
        started = time.monotonic()
        answer = b""
        while b"slow_body" not in answer and (part := connection.recv(10_000)):
            answer += part
    assert time.monotonic() - started < 15
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"slow_body" in answer
