"""Rows of a table as members of GeoJSON Features (RFC 7946)."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely


def placed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return id, geometry and bbox of each row's Feature."""
    footprints = np.array([row["geometry"] for row in rows], object)
    texts = shapely.to_geojson(shapely.from_wkb(footprints))  # by way of text, which is the quickest
    return [
        {
            "id": row["chip_id"],
            "geometry": None if text is None else json.loads(text),
            "bbox": None if row["bbox"] is None else tuple(row["bbox"].values()),
        }
        for row, text in zip(rows, texts, strict=True)
    ]


def properties(row: dict[str, Any]) -> dict[str, Any]:
    """Return what `ChipProperties` says of a row."""
    kept = {name: row[name] for name in ("datetime", "collection", "uri", "etag")}
    return kept | {"window": tuple(row["window"].values())}


def whole(distance: float) -> int | float:
    """Return a distance as JSON has it: an integer where it is one."""
    return int(distance) if distance == int(distance) else distance
