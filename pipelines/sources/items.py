"""STAC items as rows, one for each item. An invalid item is passed over, and costs no other.

Sources: STAC 1.1.0, the File extension 2.1.0 (``file:checksum``).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pystac.utils import is_absolute_href, make_absolute_href

from pipelines.errors import ConfigError, one_line
from pipelines.sources.objects import OBJECT_SCHEMA, time_of
from pipelines.storage.listings import PassedOver
from pipelines.uris import absolute

Found = tuple[Any, str | None, str | None]
"""What may be an item, the collection that it is in, and its address, which relative links start from."""

_ROWS = 1000  # in one table


def rows_of(items: Iterable[Found], key: str | None, passed_over: PassedOver) -> Iterator[pa.Table]:
    """Yield the rows of STAC items; the asset with this ``key`` is the image.

    Without a key the image is the only asset, or the only one with the role "data". Items without this asset
    and invalid items are counted in ``passed_over``. Raises ConfigError if several assets may be the image.
    """
    rows: list[dict[str, Any]] = []
    for item, collection, location in items:
        try:
            row = _row(item, collection, location, key)
        except (ValueError, TypeError, RecursionError) as error:
            passed_over.add("bad_item", _name(item, location), one_line(error, 300), hides=True)
            continue
        if row is None:
            passed_over.add("no_such_asset", _name(item, location), f"it has no asset {key or 'at all'}")
            continue
        rows.append(row)
        if len(rows) == _ROWS:
            yield pa.Table.from_pylist(rows, schema=OBJECT_SCHEMA)
            rows = []
    if rows:
        yield pa.Table.from_pylist(rows, schema=OBJECT_SCHEMA)


def resolved(href: object, location: str | None) -> str:
    """Return the address that a link of a STAC file leads to; ``location`` is the file's own address.

    Raises ValueError if it isn't an address.
    """
    if not isinstance(href, str) or not href:
        raise ValueError(f"a link without an address: {href!r:.100}")
    try:
        if "://" in href or href.startswith("/vsi"):
            return absolute(href)
        if location is None:
            raise ValueError(f"{href} is relative, and there is no self link that it could go from")
        return absolute(str(make_absolute_href(href, location)))
    except ConfigError as error:
        raise ValueError(str(error)) from error


def links(content: dict[str, Any], rel: str) -> Iterator[object]:
    """Yield the addresses of the links of one kind, as they are written."""
    found = content.get("links")
    for link in found if isinstance(found, list) else ():
        if isinstance(link, dict) and link.get("rel") == rel:
            yield link.get("href")


def self_link(item: object, location: str | None) -> str | None:
    """Return the address of an item in a collection of items: its self link, or else ``location``."""
    for href in links(item, "self") if isinstance(item, dict) else ():
        if isinstance(href, str) and is_absolute_href(href) and "://" in href:
            return href
    return location


def _row(
    item: object, collection: str | None, location: str | None, key: str | None
) -> dict[str, Any] | None:
    """Return an item's row, None if it has no such asset. Raises ValueError, TypeError if it is invalid."""
    if not isinstance(item, dict) or item.get("type", "Feature") != "Feature":
        raise TypeError(f"no STAC item: {item!r:.100}")
    said = item.get("properties")
    if not isinstance(said, dict):
        raise TypeError("it has no properties")
    asset = _image(item, key)
    if asset is None:
        return None
    updated = asset.get("updated") or said.get("updated")
    acquired = said.get("datetime") or said.get("start_datetime")
    collection = item.get("collection") or collection
    if not isinstance(collection, str | None):
        raise TypeError(f"its collection is no text: {collection!r:.100}")
    etag = _etag(asset, updated)
    properties = [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in said.items()
        if name != "datetime" and value is not None
    ]
    texts = [collection or "", etag or "", *(text for pair in properties for text in pair)]
    "".join(texts).encode()  # raises ValueError on half a surrogate pair
    return {
        "uri": resolved(asset["href"], location),
        "etag": etag,
        "modified": _time("updated", updated),
        "datetime": _time("datetime", acquired),
        "collection": collection,
        "properties": properties,
    }


def _time(name: str, value: object) -> object:
    try:
        return time_of(value) if value else None
    except ValueError as error:
        raise ValueError(f"{name} is {error}") from error


def _image(item: dict[str, Any], key: str | None) -> dict[str, Any] | None:
    """Return the asset that is the image, None if there is none. Raises as `_row` and `rows_of` do."""
    assets = item.get("assets") or {}
    if not isinstance(assets, dict):
        raise TypeError("its assets have no keys")
    usable = {
        name: asset
        for name, asset in assets.items()
        if isinstance(asset, dict) and isinstance(asset.get("href"), str) and asset["href"]
    }
    if key in usable:
        return usable[str(key)]
    if key in assets or (assets and not usable):
        raise ValueError(f"its asset {key or ', '.join(sorted(assets))} has no href")
    if key or not assets:
        return None
    data = [asset for asset in usable.values() if "data" in (asset.get("roles") or ())]
    for candidates in (data, list(usable.values())):
        if len(candidates) == 1:
            return candidates[0]
    keys = ", ".join(sorted(usable))
    raise ConfigError(
        f"STAC item {item.get('id')} has the assets {keys}; say which is the image with --asset"
    )


def _etag(asset: dict[str, Any], updated: object) -> str | None:
    """Return a text that changes with the image: its checksum, or else its time; None if STAC has neither."""
    # checksum:multihash is the name before STAC 1.0
    if checksum := asset.get("file:checksum") or asset.get("checksum:multihash"):
        return f"checksum={checksum}"
    return f"updated={updated}" if updated else None


def _name(item: object, location: str | None) -> str:
    found = item.get("id") if isinstance(item, dict) else None
    return f"STAC item {found or 'without id'}" + (f" of {location}" if location else "")
