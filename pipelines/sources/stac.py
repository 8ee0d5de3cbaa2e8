"""STAC: a static catalog, collection or item, or an API's answer to a search, one row an item.

Sources: STAC 1.1.0, the File extension 2.1.0 (``file:checksum``), STAC API 1.0.0 with the Query 1.0.0 and
Filter 1.0.0 extensions.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pystac
import pystac_client
import structlog
from pystac.stac_io import StacIO
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from pipelines.errors import ConfigError, StorageError
from pipelines.manifest import absolute, check_named
from pipelines.sources.config import ArchiveConfig
from pipelines.sources.objects import OBJECT_SCHEMA, time_of
from pipelines.storage import Store
from pipelines.threads import mapped_ahead

log = structlog.get_logger()

_SIGNS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "=": "eq", "!=": "neq"}
_EXTENSIONS = {"query": ConformanceClasses.QUERY, "filter": ConformanceClasses.FILTER}
_READS = 16  # JSON files at a time
_ITEMS = 1000  # in one table
_TRIES, _SECONDS = 5, 60.0  # of a request to an API


class StoreIO(StacIO):
    """Lets pystac read what the store reads."""

    def __init__(self, store: Store, root: str) -> None:
        """``root``: where reading begins; it bounds what links may name (see `check_named`)."""
        super().__init__()
        self.store, self.root = store, root

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401, ARG002 - pystac's
        """Return a JSON file's text. Raises StorageError where there is none; what `check_named` raises."""
        check_named(self.root, [str(source)])
        try:
            return self.store.read(str(source)).decode()
        except FileNotFoundError as error:
            raise StorageError(f"STAC: {source} doesn't exist; check the name, or the link to it") from error

    def write_text(self, dest: Any, txt: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Refuse: a source is only read."""
        raise NotImplementedError


def read_catalog(
    source: str, content: dict[str, Any], store: Store, config: ArchiveConfig
) -> Iterator[pa.Table]:
    """Yield the items of a static catalog, collection, item or item collection, whose JSON is ``content``.

    Raises StorageError where a linked file is missing, ConfigError where one can't be understood.
    """
    if content.get("type") == "FeatureCollection":
        yield from _tables(((_item(feature, source), None) for feature in content["features"]), config)
    else:
        yield from _tables(_walk(source, StoreIO(store, source)), config)


def search_api(source: str, config: ArchiveConfig) -> Iterator[pa.Table]:
    """Yield the items that a STAC API finds, a page at a time.

    Raises StorageError where the API can't be reached, ConfigError where it refuses the search.
    """
    asked = config.search.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    if config.by == "acquisition" and "datetime" not in asked and (config.since or config.until):
        asked["datetime"] = "/".join(
            time.isoformat() if time else ".." for time in (config.since, config.until)
        )
    if "query" in asked:
        asked["query"] = _conditions(config.search.query)
    if "filter" in asked:
        asked["filter_lang"] = "cql2-text"  # else it would be taken for JSON, as it is sent by POST
    try:
        client = pystac_client.Client.open(source, stac_io=_api_io(source))
        for name, extension in _EXTENSIONS.items():
            if name in asked and not client.conforms_to(extension):
                raise ConfigError(
                    f"STAC API {source} doesn't say that it conforms to {extension.valid_uri}: it may pass "
                    f"over search.{name}, and find everything; leave it out"
                )
        pages = client.search(**asked).pages()
        yield from _tables(((item, None) for page in pages for item in page), config)
    except (pystac.STACError, pystac.STACTypeError, NotImplementedError, ValueError, TypeError) as error:
        raise ConfigError(f"STAC API {source}: {_one_line(error)}") from error
    except APIError as error:
        # only an answer has a status
        if 400 <= (getattr(error, "status_code", None) or 500) < 500:
            raise ConfigError(f"STAC API {source} refuses: {_one_line(error)}") from error
        raise StorageError(f"STAC API {source} can't be reached: {_one_line(error)}") from error


class _OneHost(HTTPAdapter):
    """Sends requests to one host: an API's links name addresses, methods and headers as it likes."""

    def __init__(self, source: str) -> None:
        super().__init__(max_retries=_TRIES)
        self._host = urlsplit(source).hostname

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401
        """Send a request, of a redirect too. Raises ValueError where it leads to another host."""
        if urlsplit(str(request.url)).hostname != self._host:
            raise ValueError(f"it leads on to {request.url}, another host: give the API's own address")
        return super().send(request, *args, **kwargs)


def _api_io(source: str) -> StacApiIO:
    io = StacApiIO(timeout=_SECONDS)
    for scheme in ("https://", "http://"):
        io.session.mount(scheme, _OneHost(source))
    return io


def _conditions(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return conditions such as ``eo:cloud_cover<10`` as the Query extension 1.0.0 has them.

    Raises ConfigError where one can't be understood. Numbers are numbers: pystac-client would send strings.
    """
    conditions: dict[str, dict[str, Any]] = {}
    for text in texts:
        match = re.fullmatch(r"([^<>=!]+)(<=|>=|!=|<|>|=)(.+)", text)
        if not match:
            raise ConfigError(f"search.query: write name<value (or <=, >, >=, =, !=), not {text!r}")
        name, sign, value = match.groups()
        with suppress(ValueError):  # else it is a text
            value = json.loads(value)
        conditions.setdefault(name, {})[_SIGNS[sign]] = value
    return conditions


def _walk(source: str, io: StoreIO) -> Iterator[tuple[pystac.Item, str | None]]:
    """Yield the items below a catalog and the collection that they lie in; nothing is kept once passed."""
    waiting: list[tuple[str, str | None]] = [(source, None)]
    while waiting:
        href, collection = waiting.pop()
        found = _read(href, io)
        if isinstance(found, pystac.Item):
            yield found, collection
            continue
        if isinstance(found, pystac.Collection):
            collection = found.id
        waiting += [(_absolute(link), collection) for link in found.get_links(pystac.RelType.CHILD)]
        hrefs = [_absolute(link) for link in found.get_links(pystac.RelType.ITEM)]
        for item in mapped_ahead(lambda href: _read(href, io), hrefs, _READS):
            if not isinstance(item, pystac.Item):
                raise ConfigError(f"STAC: {href} links to {item.self_href} as an item, which it isn't")
            yield item, collection


def _read(href: str, io: StoreIO) -> pystac.Item | pystac.Catalog:
    try:
        found = pystac.read_file(href, stac_io=io)
    except (pystac.STACError, pystac.STACTypeError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{href} can't be read as STAC: {_one_line(error)}") from error
    if not isinstance(found, pystac.Item | pystac.Catalog):
        raise ConfigError(f"{href} is neither an item nor a catalog of STAC")
    return found


def _item(feature: dict[str, Any], href: str) -> pystac.Item:
    try:
        return pystac.Item.from_dict(feature)
    except (pystac.STACError, pystac.STACTypeError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{href}: {feature.get('id')} can't be read as a STAC item: {error}") from error


def _absolute(link: pystac.Link) -> str:
    href = link.get_absolute_href()
    if href is None:
        raise ConfigError(f"STAC: the link {link} has no address")
    return href


def _tables(items: Iterator[tuple[pystac.Item, str | None]], config: ArchiveConfig) -> Iterator[pa.Table]:
    rows: list[dict[str, Any]] = []
    passed_over = 0
    for item, collection in items:
        asset = _image(item, config.asset)
        if asset is None:
            passed_over += 1
            continue
        rows.append(_row(item, asset, collection))
        if len(rows) == _ITEMS:
            yield pa.Table.from_pylist(rows, schema=OBJECT_SCHEMA)
            rows = []
    if rows:
        yield pa.Table.from_pylist(rows, schema=OBJECT_SCHEMA)
    if passed_over:
        log.warning("items without this asset are passed over", asset=config.asset, items=passed_over)


def _image(item: pystac.Item, key: str | None) -> pystac.Asset | None:
    """Return the asset that is the image: of this key, or the only one, or the only one that is data."""
    if key:
        return item.assets.get(key)
    data = [asset for asset in item.assets.values() if asset.has_role("data")]
    for candidates in (data, list(item.assets.values())):
        if len(candidates) == 1:
            return candidates[0]
    if not item.assets:
        return None
    keys = ", ".join(sorted(item.assets))
    raise ConfigError(f"STAC item {item.id} has the assets {keys}; say which is the image with --asset")


def _row(item: pystac.Item, asset: pystac.Asset, collection: str | None) -> dict[str, Any]:
    what = f"of STAC item {item.id}"
    said = item.properties
    updated = asset.extra_fields.get("updated") or said.get("updated")
    acquired = said.get("datetime") or said.get("start_datetime")
    return {
        "uri": absolute(str(asset.get_absolute_href())),
        "etag": _etag(asset, updated),
        "modified": time_of(updated, f"updated {what}") if updated else None,
        "datetime": time_of(acquired, f"datetime {what}") if acquired else None,
        "collection": item.collection_id or collection,
        "properties": [
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in said.items()
            if name != "datetime" and value is not None
        ],
    }


def _etag(asset: pystac.Asset, updated: str | None) -> str | None:
    """Return what changes when the image does, as far as STAC tells; else the store is asked."""
    if checksum := asset.extra_fields.get("file:checksum"):
        return f"checksum={checksum}"
    return f"updated={updated}" if updated else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
