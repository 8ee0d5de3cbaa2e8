"""Rows of a table as GeoJSON features."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import shapely

from pipelines.api.answers import Asset, Chip, ChipProperties, Match, MatchProperties


def matches(chips: Sequence[dict[str, Any]], first_rank: int, bits: int) -> list[Match]:
    """Return the chips of a page, ranked from ``first_rank`` on; they have a ``distance``."""
    geometries = _geometries([row["geometry"] for row in chips])
    return [
        Match(
            **_placed(row, geometry),
            properties=MatchProperties(
                **_properties(row),
                rank=rank,
                distance=whole(row["distance"]),
                similarity=1 - row["distance"] / bits,
            ),
        )
        for rank, (row, geometry) in enumerate(zip(chips, geometries, strict=True), start=first_rank)
    ]


def chip(row: dict[str, Any], snapshot: int, model_id: str) -> Chip:
    """Return a chip by itself."""
    return Chip(
        **_placed(row, _geometries([row["geometry"]])[0]),
        properties=ChipProperties(**_properties(row)),
        snapshot=snapshot,
        model_id=model_id,
    )


def _geometries(footprints: list[bytes | None]) -> list[dict[str, Any] | None]:
    """Return GeoJSON geometries of WKB; by way of text, which is the quickest."""
    texts = shapely.to_geojson(shapely.from_wkb(np.array(footprints, object)))
    return [None if text is None else json.loads(text) for text in texts]


def whole(distance: float) -> int | float:
    """Return a distance as JSON has it: an integer where it is one."""
    return int(distance) if distance == int(distance) else distance


def _placed(row: dict[str, Any], geometry: dict[str, Any] | None) -> dict[str, Any]:
    """Return the members of a Feature besides its properties."""
    bbox = row["bbox"]
    return {
        "id": row["chip_id"],
        "geometry": geometry,
        "bbox": None if bbox is None else tuple(bbox.values()),
        "assets": {"thumbnail": Asset(href=f"/v1/chips/{quote(str(row['chip_id']), safe='')}/thumbnail")},
    }


def _properties(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("datetime", "collection", "uri", "etag")}
    return kept | {"window": tuple(row["window"].values())}
