"""What the service shows of watches: the files that `jobs.watch` writes, read when somebody asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

import orjson

from pipelines.api.watches import HitsParameters, WatchSummary
from pipelines.errors import ConfigError
from pipelines.runtime.threads import mapped_ahead
from pipelines.serve.config import ServeConfig
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.storage.listings import ObjectInfo
from pipelines.storage.store import Store
from pipelines.watch_files.hits import FileHit, hit_files, read_hits
from pipelines.watch_files.watch_state import (
    names_in,
    read_state,
    read_watch,
    state_uri,
    summary_of,
    watch_uri,
)

_READS = 8  # at a time, for one request
_MOST_FILES = 64  # of hits, for one page: a night with a single hit has a file, too
_LARGEST = 16 << 20  # bytes of a watch or a state, which are read whole: a state of some 200,000 hits
_BAD_PLACE = Refusal(
    400, "bad_token", "no page of these hits begins there", "take `after` from a link, or leave it out"
)
_UNREADABLE = Refusal(
    502,
    "watch_unreadable",
    "the files of this watch aren't valid, or too large",
    "asking again won't help: let the service's operator look at them with `jobs.watch list`",
)

Objects = Mapping[str, ObjectInfo]
"""The files in the folder of watches, by URI."""


@dataclass(frozen=True)
class KnownWatch:
    """What is kept of a watch's files for as long as they don't change."""

    etags: tuple[str, str]
    """Of the watch and of its state; "" if it has none"""
    start: int
    """The publication after which it reports. Files of earlier ones are those of a watch that it replaced"""
    summary: WatchSummary


@dataclass(frozen=True)
class Watches:
    """The watches of a folder, and their hits. Threads may share it."""

    folder: str
    hits_folder: str
    store: Store
    _known: dict[str, KnownWatch] = field(default_factory=dict)

    @classmethod
    def of(cls, config: ServeConfig) -> "Watches | None":
        """Return the watches that a config names; None if it names none."""
        if config.watches is None or config.watch_hits is None:
            return None
        # reading must end before its request times out
        patience = min(config.store.patience, config.timeout_seconds / 2)
        store = Store(config.store.model_copy(update={"patience": patience}))
        return cls(config.watches, config.watch_hits, store)

    def watches(self) -> dict[str, Any]:
        """Return a `WatchesAnswer`. Raises StorageError."""
        objects = self._objects()
        names = names_in(objects)
        found = list(mapped_ahead(partial(self._watch, objects), names, _READS))
        return {
            "configured": True,
            "watches": [watch.summary.model_dump(mode="json") for watch in found if watch is not None],
            "unreadable": [name for name, watch in zip(names, found, strict=True) if watch is None],
        }

    def hits(self, name: str, asked: HitsParameters) -> dict[str, Any]:
        """Return a `HitsAnswer`, the features as JSON. Raises RefusedRequest, StorageError."""
        objects = self._objects(name)
        if watch_uri(self.folder, name) not in objects:
            raise RefusedRequest(no_such_watch(name))
        watch = self._watch(objects, name)
        if watch is None:
            raise RefusedRequest(_UNREADABLE)
        files = hit_files(self.hits_folder, name, self.store)
        files = {number: file for number, file in files.items() if number > watch.start}
        hits, after = self._page(files, asked)
        nights = [{"publication": number, "written_at": file.modified} for number, file in files.items()]
        return {
            "type": "FeatureCollection",
            "watch": name,
            "nights": nights,
            "numberReturned": len(hits),
            "links": [] if after is None else [_next_link(name, asked, after)],
            "features": [orjson.Fragment(hit.json) for hit in hits],
        }

    def _objects(self, name: str | None = None) -> Objects:
        """Return the files of all watches; with a ``name`` those of one, if there is such a watch."""
        if name is not None:
            uris = (watch_uri(self.folder, name), state_uri(self.folder, name))
            return {uri: info for uri in uris if (info := self.store.info(uri)) is not None}
        objects: dict[str, ObjectInfo] = {}
        token = None
        while True:
            page = self.store.page(self.folder, token)
            objects |= {info.uri: info for info in page.objects}
            token = page.token
            if token is None:
                return objects

    def _watch(self, objects: Objects, name: str) -> KnownWatch | None:
        """Return a watch, read only if one of its files has changed; None if they can't be."""
        file, state_file = objects[watch_uri(self.folder, name)], objects.get(state_uri(self.folder, name))
        etags = file.etag, state_file.etag if state_file is not None else ""
        known = self._known.get(name)
        if known is not None and known.etags == etags:
            return known
        if max(file.size, state_file.size if state_file is not None else 0) > _LARGEST:
            return None
        try:
            watch = read_watch(self.folder, name, self.store)
            state, _ = read_state(self.folder, watch, self.store)
        except ConfigError:
            return None
        self._known[name] = KnownWatch(etags, watch.start.publication, summary_of(watch, state))
        return self._known[name]

    def _page(
        self, files: Mapping[int, ObjectInfo], asked: HitsParameters
    ) -> tuple[list[FileHit], tuple[int, int] | None]:
        """Return the hits of a page, and (publication, place) of the next one. Raises RefusedRequest."""
        number, place = (0, 0) if asked.after is None else map(int, asked.after.split("-"))
        if asked.after is not None and number not in files:
            raise RefusedRequest(_BAD_PLACE)
        least, most = asked.from_publication or 0, asked.to_publication
        wanted = [each for each in files if least <= each <= (each if most is None else most)]
        if asked.after is not None:
            wanted = [each for each in wanted if each <= number]

        def read(of: int) -> tuple[list[FileHit], int | None]:
            return read_hits(files[of], place if of == number else 0, asked.limit, self.store)

        hits: list[FileHit] = []
        try:
            for each, (found, following) in zip(
                wanted, mapped_ahead(read, wanted[:_MOST_FILES], _READS), strict=False
            ):
                room = asked.limit - len(hits)
                hits += found[:room]
                if room < len(found):
                    return hits, (each, found[room].place)
                if following is not None:
                    return hits, (each, following)
        except ValueError as error:
            raise RefusedRequest(_UNREADABLE if asked.after is None else _BAD_PLACE) from error
        return hits, (wanted[_MOST_FILES], 0) if len(wanted) > _MOST_FILES else None


def no_such_watch(name: str) -> Refusal:
    """Return the refusal for a name that no watch has."""
    return Refusal(404, "no_such_watch", f"there is no watch {name!r}", "see GET /v1/watches for all")


def _next_link(name: str, asked: HitsParameters, after: tuple[int, int]) -> dict[str, str]:
    """Return the link to the next page."""
    given = asked.model_dump(exclude_unset=True) | {"after": f"{after[0]}-{after[1]}"}
    return {"rel": "next", "method": "GET", "href": f"/v1/watches/{name}/hits?{urlencode(given)}"}
