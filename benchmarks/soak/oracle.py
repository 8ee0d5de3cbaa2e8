"""The right answers: exact distances by numpy over the version of the table that an answer names.

It reads the version itself, not through the service. Shapes: N chips in the order of their ids, Y bytes a
code, K bits.
"""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.spec import CodeSpec
from pipelines.registry.bundles import read_manifest
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import publications

_NO_CHIPS: frozenset[str] = frozenset()

Near = tuple[float, str]
"""Distance and chip id."""


@dataclass(frozen=True)
class Version:
    """The rows of a published version."""

    ids: list[str]
    etags: list[str]
    codes_NY: NDArray[np.uint8]
    weights_K: NDArray[np.int64]
    """How much each bit counts."""

    def code(self, chip: str) -> NDArray[np.uint8] | None:
        """Return a chip's code, None if the version doesn't have it."""
        place = int(np.searchsorted(self.ids, chip))
        found = place < len(self.ids) and self.ids[place] == chip
        return self.codes_NY[place] if found else None

    def ranked(self, code_Y: NDArray[np.uint8], without: frozenset[str] = _NO_CHIPS) -> list[Near]:
        """Return all chips, nearest first, those at one distance by their ids."""
        differing_NK = np.unpackbits(self.codes_NY ^ code_Y, axis=1, bitorder="little")
        distances_N = differing_NK @ self.weights_K
        order = np.argsort(distances_N, kind="stable")  # the rows are in the order of ids
        near = [(float(distances_N[row]), self.ids[row]) for row in order.tolist()]
        return [each for each in near if each[1] not in without]


@dataclass(frozen=True)
class Expected:
    """A whole answer."""

    near: list[Near]
    ties: int
    """Chips as near as the last one that k left out."""


def expected(version: Version, query: dict[str, Any]) -> Expected | None:
    """Return the whole answer to a search by one chip or a code; None if the version lacks the chip.

    ``query``: the request's body, with ``chip_ids`` of one id or ``code``, ``k`` and ``max_distance``.
    """
    if "code" in query:
        near = version.ranked(np.frombuffer(bytes.fromhex(query["code"]), np.uint8))
    else:
        (chip,) = query["chip_ids"]
        code_Y = version.code(chip)
        if code_Y is None:
            return None
        near = version.ranked(code_Y, frozenset([chip]))
    if (farthest := query.get("max_distance")) is not None:
        near = [each for each in near if each[0] <= farthest]
    k = query.get("k", len(near))
    ties = sum(distance == near[k - 1][0] for distance, _ in near[k:]) if 0 < k < len(near) else 0
    return Expected(near[:k], ties)


def fault_of(answer: dict[str, Any], right: Expected, version: Version, first: int, limit: int) -> str | None:
    """Return what is wrong with a page of an answer; None if it is right.

    ``first``: how many chips the pages before it had. ``limit``: how many a page has at most.
    """
    wanted = right.near[first : first + limit]
    found = [(float(each["properties"]["distance"]), each["id"]) for each in answer["features"]]
    if found != wanted:
        place = next(
            (n for n, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), None
        )
        if place is None:
            return f"{len(found)} chips, not {len(wanted)}"
        return f"place {first + place}: {found[place]}, not {wanted[place]}"
    if answer["numberMatched"] != len(right.near):
        return f"numberMatched {answer['numberMatched']}, not {len(right.near)}"
    if answer["search"]["ties_at_cutoff"] != right.ties:
        return f"ties_at_cutoff {answer['search']['ties_at_cutoff']}, not {right.ties}"
    if bool(answer["links"]) != (first + limit < len(right.near)):
        return f"{len(answer['links'])} links at {first + len(found)} of {len(right.near)}"
    for each in answer["features"]:
        if each["properties"]["etag"] != version.etags[int(np.searchsorted(version.ids, each["id"]))]:
            return f"{each['id']} has the etag of another version of its object"
    return None


class Oracle:
    """Reads versions of a table, each once. Threads share it."""

    def __init__(self, table_uri: str, store: Store) -> None:
        """``store``: reaches the table on a way that is never closed."""
        self._table, self._store = CodeTable(table_uri, store), store
        self._lock = threading.Lock()
        self._versions: dict[tuple[int, str], Version] = {}
        self._bundles: dict[tuple[int, str], str] = {}

    def version(self, number: int, model_id: str) -> Version | None:
        """Return a version, None if it was never published for this model."""
        with self._lock:
            key = number, model_id
            if key not in self._versions:
                if key not in self._bundles:
                    published = publications(self._table.uri, self._store)
                    self._bundles = {
                        (each.table_version, each.model_id): each.bundle_uri for each in published
                    }
                if key not in self._bundles:
                    return None
                code = read_manifest(self._bundles[key], self._store).network.code
                self._versions[key] = self._read(number, model_id, code)
            return self._versions[key]

    def _read(self, number: int, model_id: str, code: CodeSpec) -> Version:
        rows = self._table.read(model_id, ["chip_id", "etag", "code"], number).sort_by("chip_id")
        codes_NY = np.stack([np.frombuffer(each, np.uint8) for each in rows["code"].to_pylist()])
        return Version(rows["chip_id"].to_pylist(), rows["etag"].to_pylist(), codes_NY, weights_of(code))


def weights_of(code: CodeSpec) -> NDArray[np.int64]:
    """Return weights_K: how much each bit of a code counts."""
    return np.repeat([part.weight for part in code.parts], [part.bits for part in code.parts])
