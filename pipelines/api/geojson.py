"""Turns rows of a code table into members of GeoJSON Features (RFC 7946)."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely


def located(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return id, geometry and bbox of each row's Feature."""
    footprints = np.array([row["geometry"] for row in rows], object)
    texts = shapely.to_geojson(shapely.from_wkb(footprints))  # as text: the quickest way
    return [
        {
            "id": row["chip_id"],
            "geometry": None if text is None else json.loads(text),
            "bbox": None if row["bbox"] is None else tuple(row["bbox"].values()),
        }
        for row, text in zip(rows, texts, strict=True)
    ]


def chip_properties(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's values for `ChipProperties`."""
    kept = {name: row[name] for name in ("datetime", "collection", "uri", "etag")}
    return kept | {"window": tuple(row["window"].values())}


def json_number(distance: float) -> int | float:
    """Return a distance as JSON shows it: as an integer if it is a whole number."""
    return int(distance) if distance == int(distance) else distance
