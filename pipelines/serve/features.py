"""Rows of a table as GeoJSON features."""

from typing import Any
from urllib.parse import quote

import pyarrow as pa
import shapely

from pipelines.api.answers import Asset, Chip, ChipProperties, Match, MatchProperties


def matches(chips: pa.Table, first_rank: int, bits: int) -> list[Match]:
    """Return the chips of a page, ranked from ``first_rank`` on; they have a ``distance``."""
    return [
        Match(
            **_placed(row),
            properties=MatchProperties(
                **_properties(row),
                rank=rank,
                distance=whole(row["distance"]),
                similarity=1 - row["distance"] / bits,
            ),
        )
        for rank, row in enumerate(chips.to_pylist(), start=first_rank)
    ]


def chip(row: dict[str, Any], snapshot: int, model_id: str) -> Chip:
    """Return a chip by itself."""
    return Chip(
        **_placed(row), properties=ChipProperties(**_properties(row)), snapshot=snapshot, model_id=model_id
    )


def whole(distance: float) -> int | float:
    """Return a distance as JSON has it: an integer where it is one."""
    return int(distance) if distance == int(distance) else distance


def _placed(row: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a Feature besides its properties."""
    geometry, bbox = row["geometry"], row["bbox"]
    return {
        "id": row["chip_id"],
        "geometry": None if geometry is None else shapely.geometry.mapping(shapely.from_wkb(geometry)),
        "bbox": None if bbox is None else tuple(bbox.values()),
        "assets": {"thumbnail": Asset(href=f"/v1/chips/{quote(str(row['chip_id']), safe='')}/thumbnail")},
    }


def _properties(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("datetime", "collection", "uri", "etag")}
    return kept | {"window": tuple(row["window"].values())}
