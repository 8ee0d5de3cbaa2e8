"""Rows of a table as the features of an answer, as `Match` and `Chip` describe them.

They are worded as plain values: validating what comes from our own table costs more than the search.
"""

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import shapely

from pipelines.api.geojson import properties, whole


def matches(
    chips: Sequence[dict[str, Any]], first_rank: int, greatest_distance: float, chance_distance: float | None
) -> list[dict[str, Any]]:
    """Return the chips of a page as `Match`, ranked from ``first_rank`` on; they are as `Found` says."""
    features = _features(chips)
    chance = math.inf if chance_distance is None else chance_distance
    for rank, (feature, row) in enumerate(zip(features, chips, strict=True), start=first_rank):
        distance = row["distance"]
        ranked = {"rank": rank, "distance": whole(distance)}
        ranked |= {name: whole(row[name]) for name in ("kind_distance", "look_distance") if name in row}
        if distance > chance:
            ranked["beyond_chance"] = True
        feature["properties"] |= ranked | {"similarity": 1 - distance / (greatest_distance or 1)}
    return features


def chip(row: dict[str, Any], snapshot: int, model_id: str) -> dict[str, Any]:
    """Return a chip by itself, as `Chip`."""
    return _features([row])[0] | {"snapshot": snapshot, "model_id": model_id}


def _features(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    footprints = shapely.from_wkb(np.array([row["geometry"] for row in rows], object))
    features: list[dict[str, Any]] = []
    for row, geometry in zip(rows, shapely.to_geojson(footprints), strict=True):
        bbox = {} if row["bbox"] is None else {"bbox": tuple(row["bbox"].values())}
        thumbnail = f"/v1/chips/{quote(row['chip_id'], safe='')}/thumbnail"
        features.append(
            {
                "type": "Feature",
                "id": row["chip_id"],
                "geometry": None if geometry is None else orjson.Fragment(geometry),
                **bbox,
                "properties": properties(row),
                "assets": {"thumbnail": {"href": thumbnail, "type": "image/png"}},
            }
        )
    return features
