"""Which form of an answer a request takes: `Accept` and `Accept-Encoding` (RFC 9110, 12.5.1 and 12.5.3)."""

import gzip
from functools import lru_cache
from typing import Literal

import pyarrow as pa
from starlette.datastructures import Headers

from pipelines.serve.refusals import Refusal, RefusedRequest

JSON, GEOJSON = "application/json", "application/geo+json"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
MediaType = Literal["json", "arrow", "parquet"]

_RANGES: dict[str, MediaType] = {
    GEOJSON: "json",
    JSON: "json",
    "*/*": "json",
    "application/*": "json",
    ARROW: "arrow",
    PARQUET: "parquet",
}
"""What an answer may be, and the media ranges that take it; of those equally welcome the first."""
_NOT_ACCEPTABLE = Refusal(
    406,
    "not_acceptable",
    "the answer has none of the media types that Accept names",
    f"accept {GEOJSON}, {ARROW} or {PARQUET}",
)
WINDOW_BYTES = 14_600
"""Answers up to this size aren't packed: they arrive in one round trip (TCP's initial window, RFC 6928)."""
_ZSTD, _GZIP_LEVEL = pa.Codec("zstd", 1), 1


def media_type(headers: Headers) -> MediaType:
    """Return the form that a request likes best. Raises RefusedRequest if it takes none of ours."""
    accept = headers.get("accept")
    if accept is None:
        return "json"
    wanted = _weighed(accept)
    taken = [(weight, kind) for name, kind in _RANGES.items() if (weight := wanted.get(name, 0)) > 0]
    if not taken:
        raise RefusedRequest(_NOT_ACCEPTABLE)
    return max(taken, key=lambda each: each[0])[1]


def packed(body: bytes, headers: Headers) -> tuple[bytes, dict[str, str]]:
    """Return a body as the request takes it best, and the headers that say so."""
    taken = _weighed(headers.get("accept-encoding", ""))
    if len(body) <= WINDOW_BYTES:
        return body, {}
    if taken.get("zstd", 0) > 0:
        return _ZSTD.compress(body, asbytes=True), {"Content-Encoding": "zstd"}
    if taken.get("gzip", taken.get("*", 0)) > 0:
        return gzip.compress(body, _GZIP_LEVEL, mtime=0), {"Content-Encoding": "gzip"}
    return body, {}


@lru_cache(256)
def _weighed(text: str) -> dict[str, float]:
    """Return each item of a header and its weight, q; an item whose weight isn't a number counts as 1."""
    weights = {}
    for item in text.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        given = next((each.removeprefix("q=") for each in parameters if each.startswith("q=")), "1")
        weights[name] = float(given) if given.replace(".", "", 1).isdecimal() else 1.0
    return weights
