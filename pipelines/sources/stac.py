"""A search in a STAC API; its items become rows.

Sources: STAC API 1.0.0 with the Query 1.0.0 and Filter 1.0.0 extensions.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pyarrow as pa
import pystac
import pystac_client
from pystac_client.conformance import ConformanceClasses

from pipelines.errors import ConfigError, StorageError, one_line
from pipelines.sources.config import ArchiveConfig
from pipelines.sources.items import rows_of, self_link
from pipelines.storage.listings import PassedOver
from pipelines.storage.web import request_json, web_client

_SIGNS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "=": "eq", "!=": "neq"}
_EXTENSIONS = {"query": ConformanceClasses.QUERY, "filter": ConformanceClasses.FILTER}
_OTHER_METHOD = (405, 501)  # not allowed, not implemented
_MOST_IDLE = 50  # pages in a row without a new item
_MOST_PAGES = 1_000_000
_PATIENCE = 30.0  # seconds


@dataclass(frozen=True)
class _Request:
    """The request for one page of a search."""

    method: str
    url: str
    body: str | None = None
    """JSON; only with POST."""
    headers: tuple[tuple[str, str], ...] = ()


def search_api(
    source: str,
    config: ArchiveConfig,
    patience: float = _PATIENCE,
    passed_over: PassedOver | None = None,
) -> Iterator[pa.Table]:
    """Yield the items that a STAC API finds; requests to a busy one are repeated for ``patience`` seconds.

    Invalid items are counted in ``passed_over``. Raises StorageError if the API can't be reached or its pages
    never end, ConfigError if it refuses the search or isn't a STAC API with item search.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    with web_client() as client:
        api = _Api(source, client, patience)
        items = api.search(config)
        found = ((item, None, self_link(item, None)) for item in items)
        yield from rows_of(found, config.asset, passed_over)


class _Api:
    """A STAC API: its address, and the connection to it."""

    def __init__(self, source: str, client: httpx.Client, patience: float) -> None:
        self.source, self.client, self.patience = source, client, patience

    def search(self, config: ArchiveConfig) -> Iterator[Any]:
        """Yield the items that a search finds, ``search.max_items`` at most."""
        left = config.search.max_items
        for features in self._pages(config):
            yield from features[:left]
            if left is not None:
                left -= len(features)
                if left <= 0:
                    return

    def _pages(self, config: ArchiveConfig) -> Iterator[list[Any]]:
        """Yield the features of each page. Raises StorageError if pages repeat themselves.

        An empty page may have a next one. Links alone don't show a circle: they may change with each step of
        one, and may stay the same while a cursor on the server moves on. So pages are remembered too.
        """
        request, page = self._first(config)
        seen: set[int] = set()  # hashes: of pages, and of pages with their requests
        idle = 0
        for _ in range(_MOST_PAGES):
            features = page.get("features") or []
            if not isinstance(features, list):
                raise ConfigError(f"STAC API {self.source}: a page's features are no list")
            of_page = hash(tuple(_identity(item) for item in features))
            of_both = hash((request, of_page))
            idle = idle + 1 if not features or of_page in seen else 0
            if of_both in seen or idle > _MOST_IDLE:
                raise StorageError(
                    f"STAC API {self.source} never ends: its link to the next page leads to pages that were "
                    f"there before, such as {request.url}"
                )
            seen |= {of_page, of_both}
            yield features
            following = self._next(page, request)
            if following is None:
                return
            request = following
            page = self._ask(request)
        raise StorageError(f"STAC API {self.source} never ends: {_MOST_PAGES} pages, and a link to one more")

    def _first(self, config: ArchiveConfig) -> tuple[_Request, dict[str, Any]]:
        """Return the request of the search, and the first page of the answer.

        It is sent by POST if the API offers POST, else by GET; if that method isn't allowed, by the other.
        """
        landing = self._ask(_Request("GET", self.source))
        try:
            api = pystac_client.Client.from_dict(landing)
            links = {
                str(link.extra_fields.get("method") or "GET").upper(): urljoin(self.source, str(link.target))
                for link in api.links
                if link.rel == "search"
            }
            if not api.conforms_to(ConformanceClasses.ITEM_SEARCH) or not links:
                raise ConfigError(
                    f"STAC API {self.source} doesn't say that it can be searched (item-search, and a link "
                    "search); give the address of its landing page, or of a catalog.json"
                )
            self._check_extensions(api, config)
            methods = ("POST", "GET") if "POST" in links else ("GET", "POST")
            for method in methods:
                url = links.get(method) or next(iter(links.values()))
                request = _search(api, method, url, config)
                answer = self._answer(request)
                if answer.status_code not in _OTHER_METHOD:
                    break
        except (pystac.STACError, pystac.STACTypeError, NotImplementedError) as error:
            raise ConfigError(f"STAC API {self.source}: {one_line(error, 300)}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"STAC API {self.source}: {one_line(error, 300)}") from error
        return request, self._content(answer)

    def _check_extensions(self, api: pystac_client.Client, config: ArchiveConfig) -> None:
        for name, extension in _EXTENSIONS.items():
            if getattr(config.search, name) and not api.conforms_to(extension):
                raise ConfigError(
                    f"STAC API {self.source} doesn't say that it conforms to {extension.valid_uri}: it may "
                    f"pass over search.{name}, and find everything; leave it out"
                )

    def _next(self, page: dict[str, Any], request: _Request) -> _Request | None:
        """Return the request for the next page, None if there is none. Raises ConfigError on a wrong link."""
        links = page.get("links")
        found = [
            link
            for link in (links if isinstance(links, list) else ())
            if isinstance(link, dict) and link.get("rel") == "next" and isinstance(link.get("href"), str)
        ]
        if not found:
            return None
        link = found[0]
        url = urljoin(request.url, link["href"])
        if urlsplit(url).hostname != urlsplit(self.source).hostname:
            raise ConfigError(
                f"STAC API {self.source} leads on to {url}, another host: give the API's own address"
            )
        method = str(link.get("method") or "GET").upper()
        if method not in ("GET", "POST"):
            raise ConfigError(f"STAC API {self.source}: its link to the next page is to be sent by {method}")
        headers = link.get("headers")
        pairs = headers.items() if isinstance(headers, dict) else ()
        return _Request(
            method, url, _body(link, request), tuple((str(name), str(value)) for name, value in pairs)
        )

    def _ask(self, request: _Request) -> dict[str, Any]:
        return self._content(self._answer(request))

    def _answer(self, request: _Request) -> httpx.Response:
        headers = dict(request.headers)
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        return request_json(
            self.client, request.method, request.url, self.patience, headers=headers, content=request.body
        )

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        if not answer.is_success:
            raise ConfigError(f"STAC API {self.source} refuses: {answer.status_code} {answer.text[:300]}")
        try:
            content = json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"STAC API {self.source} answers no JSON: {one_line(error, 300)}") from error
        if not isinstance(content, dict):
            raise ConfigError(f"STAC API {self.source} answers no object of JSON")
        return content


def _search(api: pystac_client.Client, method: str, url: str, config: ArchiveConfig) -> _Request:
    """Return the request of a search. Raises pystac-client's errors if the search is invalid."""
    asked = config.search.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    asked.pop("max_items", None)
    if config.by == "acquisition" and "datetime" not in asked and (config.since or config.until):
        asked["datetime"] = "/".join(
            time.isoformat() if time else ".." for time in (config.since, config.until)
        )
    if "query" in asked:
        asked["query"] = _conditions(config.search.query)
    if "filter" in asked:
        asked["filter_lang"] = "cql2-text"  # else an API takes a filter in a POST for JSON
    search = pystac_client.ItemSearch(url, method=method, client=api, **asked)
    parameters = search.get_parameters()
    if method == "POST":
        return _Request("POST", url, json.dumps(parameters, sort_keys=True))
    return _Request("GET", str(httpx.URL(url).copy_merge_params(parameters)))


def _body(link: dict[str, Any], request: _Request) -> str | None:
    """Return the body of a link's POST: its own, or if it says so merged into that of the last request."""
    if str(link.get("method")).upper() != "POST":
        return None
    body = link.get("body") or {}
    if link.get("merge") and request.body is not None and isinstance(body, dict):
        body = json.loads(request.body) | body
    return json.dumps(body, sort_keys=True)


def _conditions(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return conditions such as ``eo:cloud_cover<10`` in the form of the Query extension 1.0.0.

    Numbers stay numbers; pystac-client would send texts. Raises ConfigError if a condition is invalid.
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


def _identity(item: object) -> tuple[str, str]:
    """Return what identifies an item within its API: collection and id."""
    if not isinstance(item, dict) or "id" not in item:
        return "", repr(item)
    return str(item.get("collection")), str(item["id"])
