"""A published version of a code table: its index, and what answers say of its chips."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import shapely

from model.bundle import Manifest
from pipelines.api import Asset, Chip, ChipProperties, Match, MatchProperties
from pipelines.bundles import read_manifest
from pipelines.index.answer import Hits
from pipelines.index.archive import Archive, open_archive
from pipelines.pointer import Published
from pipelines.serve.follow import check_model
from pipelines.storage import Store
from pipelines.table import CodeTable

_KEPT = 2  # built indices of a table: the one in use, and the one before it


@dataclass(frozen=True)
class Snapshot:
    """One version of the table. Never changes: a request that holds it answers from it alone."""

    published: Published
    manifest: Manifest
    archive: Archive

    def chip(self, row: int) -> Chip:
        """Return a chip by itself."""
        values = self.archive.rows.take(np.array([row]))[0]
        return Chip(
            **_placed(values),
            properties=ChipProperties(**_properties(values)),
            snapshot=self.published.table_version,
            model_id=self.published.model_id,
        )

    def matches(self, hits: Hits) -> list[Match]:
        """Return the chips of an answer, in its order."""
        chips = zip(self.archive.rows.take(hits.rows_K), hits.distances_K.tolist(), strict=True)
        return [
            Match(
                **_placed(values),
                properties=MatchProperties(
                    **_properties(values),
                    rank=rank,
                    distance=distance,
                    similarity=1 - distance / self.archive.codes.bits,
                ),
            )
            for rank, (values, distance) in enumerate(chips, start=1)
        ]


def load_snapshot(
    table_uri: str, published: Published, store: Store, indices: Path, threads: int = 1
) -> Snapshot:
    """Load what the pointer names; its index is built in a folder below ``indices``, or is there already.

    Raises TableError where table, bundle and pointer don't fit each other, BundleError without a bundle.
    """
    manifest = read_manifest(published.bundle_uri, store)
    check_model(published, manifest)
    table = CodeTable(table_uri, store)
    prefix = hashlib.sha256(table.uri.encode()).hexdigest()[:16]
    model = published.model_id.replace("/", "_")
    folder = indices / f"{prefix}-{model}-{published.table_version}"
    archive = open_archive(
        folder, table, published.model_id, published.table_version, manifest.network.num_bits, threads
    )
    folder.touch()
    built = sorted(indices.glob(f"{prefix}-*"), key=lambda path: path.stat().st_mtime)
    for old in built[:-_KEPT]:  # whoever has its files mapped still reads them
        shutil.rmtree(old, ignore_errors=True)
    return Snapshot(published, manifest, archive)


def _placed(values: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a Feature besides its properties."""
    geometry, bbox = values["geometry"], values["bbox"]
    return {
        "id": values["chip_id"],
        "geometry": None if geometry is None else shapely.geometry.mapping(shapely.from_wkb(geometry)),
        "bbox": None if bbox is None else tuple(bbox.values()),
        "assets": {"thumbnail": Asset(href=f"/v1/chips/{quote(str(values['chip_id']), safe='')}/thumbnail")},
    }


def _properties(values: dict[str, Any]) -> dict[str, Any]:
    kept = {name: values[name] for name in ("datetime", "collection", "uri", "etag")}
    return kept | {"window": tuple(values["window"].values())}
