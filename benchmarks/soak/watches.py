"""The hits of a watch against a plain comparison of the versions that it has looked at.

A hit is a chip, with the etag of its object, that is near the example and that none of the versions has which
the watch looked at before.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from benchmarks.soak.oracle import Oracle, Version
from pipelines.api.watches import Hit as AnsweredHit
from pipelines.api.watches import HitsParameters
from pipelines.client import Client
from pipelines.storage.store import Store
from pipelines.table.pointer import Published, publications

WATCHES = {"near": 0.3, "far": 0.8}
"""Watches by name: one that finds a part of what is new, one that finds most of it [share of the chips]."""

Pair = tuple[str, str]
"""Chip id and etag."""
Hit = tuple[str, str, float]
"""Chip id, etag, distance."""


@dataclass
class WatchedVersions:
    """What a watch should have found."""

    name: str
    chip: str
    """The example, whose object never changes"""
    max_distance: int
    publication: int
    """The newest that it has looked at"""
    seen: set[Pair] = field(default_factory=set)
    hits: list[Hit] = field(default_factory=list)

    def look(self, version: Version) -> None:
        """Take what is new in a version that the watch has looked at."""
        code_Y = version.code(self.chip)
        if code_Y is None:
            raise ValueError(f"the example {self.chip} is gone")
        etags = dict(zip(version.ids, version.etags, strict=True))
        for distance, chip in version.ranked(code_Y, frozenset([self.chip])):
            if distance <= self.max_distance and (chip, etags[chip]) not in self.seen:
                self.hits.append((chip, etags[chip], distance))
        self.seen |= set(etags.items())

    def follow(self, watches: str, table_uri: str, oracle: Oracle, store: Store) -> None:
        """Look at the publication that the watch's state says it has looked at last."""
        try:
            state = json.loads(store.read(f"{watches}/{self.name}.state.json"))
        except FileNotFoundError:
            return  # no run has ended yet
        number = state["progress"]["publication"]
        if number > self.publication:
            version = _version(oracle, next(p for p in publications(table_uri, store) if p.number == number))
            self.look(version)
            self.publication = number


def begin(name: str, chip: str, share: float, published: Published, oracle: Oracle) -> WatchedVersions:
    """Return a watch that is added now, with a distance within which a share of the chips lies."""
    version = _version(oracle, published)
    code_Y = version.code(chip)
    if code_Y is None:
        raise ValueError(f"the table has no chip {chip}")
    ranked = version.ranked(code_Y)
    watch = WatchedVersions(name, chip, int(ranked[int(share * len(ranked))][0]), published.number)
    watch.seen = set(zip(version.ids, version.etags, strict=True))
    return watch


def _version(oracle: Oracle, published: Published) -> Version:
    version = oracle.version(published.table_version, published.model_id)
    if version is None:
        raise ValueError(f"version {published.table_version} isn't published")
    return version


def plain(hit: AnsweredHit) -> Hit:
    """Return a hit of the service's."""
    return hit.id, hit.properties.etag, float(hit.properties.distance)


def answered(client: Client, name: str) -> list[Hit]:
    """Return all hits that the service has of a watch, page by page."""
    hits: list[Hit] = []
    parameters = HitsParameters(limit=200)
    while True:
        page = client.hits(name, parameters)
        hits += map(plain, page.features)
        if not page.links:
            return hits
        (after,) = parse_qs(urlsplit(page.links[0].href).query)["after"]
        parameters = HitsParameters(limit=200, after=after)


def delivered(output: str, name: str, store: Store) -> list[Hit]:
    """Return all hits in a watch's files, as often as they are there."""
    files = [info.uri for info in store.list(output) if f"/{name}/" in info.uri]
    lines = [
        json.loads(line)
        for file in files
        if file.endswith(".jsonl")
        for line in store.read(file).decode().splitlines()
    ]
    return [(line["chip_id"], line["etag"], float(line["distance"])) for line in lines]


def lost_doubled_wrong(found: Iterable[Hit], wanted: Iterable[Hit]) -> tuple[list[Hit], list[Hit], list[Hit]]:
    """Return the hits that are missing, those that are there too often, and those that are none."""
    here, there = Counter(found), set(wanted)
    lost = sorted(there - set(here))
    wrong = sorted(hit for hit in here if hit not in there)
    doubled = sorted(hit for hit, times in here.items() if times > 1)
    return lost, doubled, wrong
