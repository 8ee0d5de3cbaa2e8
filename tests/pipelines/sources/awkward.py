"""Awkward sources, and servers that behave as real ones do now and then: a small S3, busy web servers."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.runtime.spill import read_spilled
from pipelines.sources.listing import Listing, list_source
from pipelines.storage.store import Store

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class Handler(BaseHTTPRequestHandler):
    """Answers a request of any method by `reply`."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, content: object, status: int = 200) -> None:
        self.answer(status, json.dumps(content).encode(), Content_Type="application/json")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.reply()

    do_HEAD = do_POST = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(reply: Callable[[Any], None]) -> Iterator[str]:
    """Yield the address of a server whose requests are answered by ``reply``, which gets the handler."""
    handler = type("Answering", (Handler,), {"reply": reply})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class S3(Handler):
    """A bucket `b` whose keys are AWS's: ``a//b`` isn't ``a/b``. Source: Amazon S3 API Reference."""

    objects: dict[str, bytes]
    may_list: str = ""
    """Prefix that the key may list; it may read below it only, and not ask for the bucket."""
    requester_pays = False
    same_token = False
    asked: list[str]

    def reply(self) -> None:
        self.asked.append(self.path)
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path)[1:].partition("/")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        pays = self.headers.get("x-amz-request-payer") == "requester"
        is_denied = not (key or query.get("prefix", "")).startswith(self.may_list)
        if is_denied or (self.requester_pays and not pays):
            self.refuse(403, "AccessDenied")
        elif bucket != "b":
            self.refuse(404, "NoSuchBucket")
        elif not key:
            self.list(query)
        elif key in self.objects:
            self.answer(200, self.objects[key], ETag=f'"{md5(self.objects[key])}"', Last_Modified=TIME)
        else:
            self.refuse(404, "NoSuchKey")

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        found: dict[str, str] = {}
        for key in sorted(self.objects):
            below = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in below:
                folder = prefix + below.partition(delimiter)[0] + delimiter
                found[folder] = f"<CommonPrefixes><Prefix>{named(folder)}</Prefix></CommonPrefixes>"
            else:
                found[key] = (
                    f"<Contents><Key>{named(key)}</Key><LastModified>2026-06-01T00:00:00.000Z</LastModified>"
                    f"<ETag>&quot;{md5(self.objects[key])}&quot;</ETag><Size>1</Size></Contents>"
                )
        token = "<NextContinuationToken>1</NextContinuationToken>" if self.same_token else ""
        listing = (
            f"<ListBucketResult {NAMESPACE}><EncodingType>url</EncodingType>{token}{''.join(found.values())}"
        )
        self.answer(200, f"{listing}</ListBucketResult>".encode(), Content_Type="application/xml")


TIME = "Mon, 01 Jun 2026 00:00:00 GMT"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def named(key: str) -> str:
    return escape(quote(key, safe="/*-._~"))


@contextmanager
def s3_with(
    *keys: str, config: dict[str, Any] | None = None, **attributes: object
) -> Iterator[tuple[Store, list[str]]]:
    """Yield a store on a bucket `b` with these keys, and the requests that it gets."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "any")  # boto3 sends nothing without
    asked: list[str] = []
    handler = type(
        "Running", (S3,), {"objects": {key: key.encode() for key in keys}, "asked": asked} | attributes
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield (
            Store(
                StoreConfig(endpoint=f"http://127.0.0.1:{server.server_port}", patience=2, **(config or {}))
            ),
            asked,
        )
        server.shutdown()
        thread.join()


def item(number: int, **changes: object) -> dict[str, Any]:
    """Return a STAC item whose image lies at h.example."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"i{number}",
        "geometry": None,
        "collection": "c",
        "properties": {"datetime": "2026-06-01T10:00:00Z"},
        "links": [],
        "assets": {"image": {"href": f"https://h.example/{number}.tif"}},
    } | changes


CONFORMS = ("https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search")


def landing(url: str, *methods: str, conforms: tuple[str, ...] = CONFORMS) -> dict[str, Any]:
    """Return a STAC API's landing page, with a link search for each method."""
    search = {"rel": "search", "href": f"{url}/search", "type": "application/geo+json"}
    return {
        "type": "Catalog",
        "id": "api",
        "stac_version": "1.0.0",
        "description": "d",
        "conformsTo": list(conforms),
        "links": [search | ({"method": method} if method else {}) for method in methods],
    }


def page(*items: object, following: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a page of an API's answer; ``following``: its link to the next one, without rel."""
    links = [{"rel": "next"} | following] if following else []
    return {"type": "FeatureCollection", "features": list(items), "links": links}


LOCAL = Store(StoreConfig(private_hosts=True, patience=2))
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def listing_of(source: object, folder: Path, **fields: object) -> Listing:
    folder.mkdir(exist_ok=True)
    return list_source(EncodeConfig(source=str(source), table="t", bundle="b", **fields), LOCAL, folder)


def uris(listing: Listing) -> set[str]:
    return {uri for table in read_spilled(listing.objects) for uri in table["uri"].to_pylist()}


def parquet(path: Path, table: pa.Table) -> str:
    pq.write_table(table, path)
    return str(path)
