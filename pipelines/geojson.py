"""Rows of a table as members of GeoJSON Features (RFC 7946)."""

from typing import Any

import shapely


def placed(row: dict[str, Any]) -> dict[str, Any]:
    """Return id, geometry and bbox of a row's Feature."""
    geometry, bbox = row["geometry"], row["bbox"]
    return {
        "id": row["chip_id"],
        "geometry": None if geometry is None else shapely.geometry.mapping(shapely.from_wkb(geometry)),
        "bbox": None if bbox is None else tuple(bbox.values()),
    }


def properties(row: dict[str, Any]) -> dict[str, Any]:
    """Return what `ChipProperties` says of a row."""
    kept = {name: row[name] for name in ("datetime", "collection", "uri", "etag")}
    return kept | {"window": tuple(row["window"].values())}


def whole(distance: float) -> int | float:
    """Return a distance as JSON has it: an integer where it is one."""
    return int(distance) if distance == int(distance) else distance
