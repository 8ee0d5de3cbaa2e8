"""A static STAC catalog, collection, item or collection of items, walked link by link. Source: STAC 1.1.0."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import structlog

from pipelines.errors import ConfigError
from pipelines.runtime.threads import mapped_ahead
from pipelines.sources.items import Found, links, resolved, rows_of, self_link
from pipelines.storage.listings import PassedOver
from pipelines.storage.store import Store
from pipelines.uris import check_named

log = structlog.get_logger()

_READS = 16  # JSON files that are read at a time
_DEEPEST = 64  # levels of catalogs
_MOST = 1_000_000  # catalogs in all


@dataclass(frozen=True)
class _Catalog:
    """A catalog or collection that is to be read."""

    href: str
    collection: str | None
    """The collection that it is in."""
    depth: int
    """How many catalogs it is nested in."""


def read_catalog(
    source: str, content: dict[str, Any], store: Store, key: str | None, passed_over: PassedOver
) -> Iterator[pa.Table]:
    """Yield the items below a STAC file, whose JSON is ``content``; the asset ``key`` is the image.

    Links to files that are missing or aren't STAC, and invalid items, are counted in ``passed_over``. Raises
    StorageError if a file can't be read, ConfigError if a catalog elsewhere links to files of this machine,
    or if the catalogs never end.
    """
    if content.get("type") != "FeatureCollection":
        yield from rows_of(_walk(source, content, store, passed_over), key, passed_over)
        return
    features = content.get("features")
    if not isinstance(features, list):
        raise ConfigError(f"{source} is a FeatureCollection without a list of features")
    if next(links(content, "next"), None):
        log.warning("one page of a search: the next isn't read; give the STAC API itself", source=source)
    yield from rows_of(((item, None, self_link(item, source)) for item in features), key, passed_over)


def _walk(source: str, content: dict[str, Any], store: Store, passed_over: PassedOver) -> Iterator[Found]:
    """Yield the items below a catalog. Only the addresses of catalogs are kept in memory.

    Each catalog is opened once, however many links lead to it, so circles end.
    """
    if content.get("type") == "Feature":
        yield content, None, source
        return
    read = partial(_read, source=source, store=store)
    seen = {source}
    waiting = [_Catalog(source, None, 0)]
    while waiting:
        catalog = waiting.pop()
        if catalog.depth > _DEEPEST or len(seen) > _MOST:
            raise ConfigError(
                f"{source} doesn't end: {catalog.href} is catalog {len(seen)}, {catalog.depth} levels down"
            )
        found, problem = (content, "") if catalog.depth == 0 else read(catalog.href)
        if problem:
            passed_over.add("bad_link", catalog.href, problem, hides=True)
            continue
        if found.get("type") == "Feature":
            yield found, catalog.collection, catalog.href
            continue
        is_collection = found.get("type") == "Collection" or "extent" in found  # the latter before STAC 1.0
        collection = str(found.get("id")) if is_collection else catalog.collection
        children = [
            child for child in _resolved(found, "child", catalog.href, passed_over) if child not in seen
        ]
        seen.update(children)
        waiting += [_Catalog(child, collection, catalog.depth + 1) for child in children]
        hrefs = _resolved(found, "item", catalog.href, passed_over)
        for href, (item, problem) in zip(hrefs, mapped_ahead(read, hrefs, _READS), strict=True):
            if problem:
                passed_over.add("bad_link", href, problem, hides=True)
            else:
                yield item, collection, href


def _resolved(catalog: dict[str, Any], rel: str, href: str, passed_over: PassedOver) -> list[str]:
    """Return the addresses that links of one kind lead to, each once."""
    found: dict[str, None] = {}
    for link in links(catalog, rel):
        try:
            found[resolved(link, href).partition("#")[0]] = None
        except ValueError as error:
            passed_over.add("bad_link", href, str(error), hides=True)
    return list(found)


def _read(href: str, source: str, store: Store) -> tuple[dict[str, Any], str]:
    """Return a linked file's JSON object and "", or an empty one and what is wrong with it.

    Raises StorageError if it can't be read, ConfigError if it must not be (`check_named`).
    """
    check_named(source, [href])
    try:
        content = json.loads(store.read(href))
    except FileNotFoundError:
        return {}, f"{href} doesn't exist; check the link to it"
    except (ValueError, RecursionError) as error:
        return {}, f"no JSON: {error}"
    return (content, "") if isinstance(content, dict) else ({}, "no object of JSON")
