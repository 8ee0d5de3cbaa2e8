"""Hits of a watch, and their files: GeoJSON (RFC 7946) and JSON lines.

A file of GeoJSON may be large. It is read in pieces: a place in it is where a hit begins [bytes].
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.api.geojson import chip_properties, json_number, located
from pipelines.api.watches import Hit, HitCollection, HitProperties
from pipelines.storage.listings import ObjectInfo
from pipelines.storage.ranges import Reading
from pipelines.storage.store import Store
from pipelines.table.pointer import Published

_FILE = re.compile(r"([0-9]{6,9})\.geojson")
_HEAD = b'{"type":"FeatureCollection","features":['
_PIECE = 1 << 20  # bytes: a thousand hits and more
_READING = Reading(first=_PIECE, whole=_PIECE, keep=0, ahead=0)
_scan = json.JSONDecoder().raw_decode


def hit_of(row: dict[str, Any], watch: str, published: Published) -> Hit:
    """Return a row of the table as a hit; besides the table's columns it has a ``distance``."""
    return Hit(
        **located([row])[0],
        properties=HitProperties(
            **chip_properties(row),
            watch=watch,
            distance=json_number(row["distance"]),
            publication=published.number,
            snapshot=published.table_version,
            model_id=published.model_id,
            encoded_at=row["encoded_at"],
        ),
    )


def geojson(hits: Sequence[Hit]) -> bytes:
    """Return hits as a GeoJSON document."""
    return HitCollection(features=hits).model_dump_json().encode() + b"\n"


def json_lines(hits: Sequence[Hit]) -> bytes:
    """Return hits as JSON lines: one hit on each line."""
    lines = (
        {"watch": hit.properties.watch, "chip_id": hit.id, "distance": hit.properties.distance}
        | hit.properties.model_dump(mode="json")
        | {"bbox": hit.bbox}
        for hit in hits
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def hits_uri(folder: str, watch: str, publication: int) -> str:
    """Return the URI of the GeoJSON with a watch's hits of one publication."""
    return f"{folder.rstrip('/')}/{watch}/{publication:06}.geojson"


def hit_files(folder: str, watch: str, store: Store) -> dict[int, ObjectInfo]:
    """Return the GeoJSON files of a watch's hits by publication, the newest first. Raises StorageError."""
    files, token = {}, None
    while True:
        page = store.page(f"{folder.rstrip('/')}/{watch}", token)
        for info in page.objects:
            name = _FILE.fullmatch(info.uri.rpartition("/")[2])
            if name is not None:
                files[int(name[1])] = info
        token = page.token
        if token is None:
            return dict(sorted(files.items(), reverse=True))


class FileHit(NamedTuple):
    """A hit as a file has it."""

    place: int
    """Where it begins [bytes]"""
    json: bytes


def read_hits(file: ObjectInfo, place: int, most: int, store: Store) -> tuple[list[FileHit], int | None]:
    """Return some hits of a file, and the place of the next one; None: there is none.

    ``place``: where the first of them begins; 0: the file's first hit. Returns at least one hit and at most
    ``most``, and reads a megabyte. Raises ValueError if no hit begins there, StorageError.
    """
    content = store.open_version(file.uri, file.etag, _READING)
    place = place or len(_HEAD)
    wanted = place, place + _PIECE
    piece = content[slice(*wanted)] if isinstance(content, bytes) else content.read([wanted])[0]
    text = piece.decode("latin-1")  # one character a byte; all that isn't ASCII stands within strings
    hits: list[FileHit] = []
    start = 0
    while len(hits) < most:
        try:
            _, end = _scan(text, start)
        except json.JSONDecodeError:
            end = len(text)
        following = text[end : end + 1]
        if not following:  # the piece ends within a hit
            break
        hit = piece[start:end]
        Hit.model_validate_json(hit)
        hits.append(FileHit(place + start, hit))
        start = end + 1
        if following == "]":
            return hits, None
    if not hits:
        raise ValueError(f"{file.uri}: no hit begins at byte {place}")
    return hits, place + start
