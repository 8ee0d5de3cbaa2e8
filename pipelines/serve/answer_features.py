"""Turns rows of a table into GeoJSON features: `Match` and `Chip` of `pipelines.api.answers`, as dicts."""

import math
from collections.abc import Sequence
from typing import Any, TypedDict
from urllib.parse import quote

import numpy as np
import orjson
import shapely

from pipelines.api.geojson import chip_properties, json_number
from pipelines.api.pictures import picture_version
from pipelines.serve.answer_dicts import FeatureDict


class _BBox(TypedDict, total=False):
    bbox: tuple[float, float, float, float]


def match_features(
    chips: Sequence[dict[str, Any]], first_rank: int, greatest_distance: float, chance_distance: float | None
) -> list[FeatureDict]:
    """Return the chips of a page as `Match`, the first of them with rank ``first_rank``.

    ``chips``: rows as `PartialResult.chips` has them.
    """
    features = _features(chips)
    chance = math.inf if chance_distance is None else chance_distance
    for rank, (feature, row) in enumerate(zip(features, chips, strict=True), start=first_rank):
        distance = row["distance"]
        ranked = {"rank": rank, "distance": json_number(distance)}
        ranked |= {name: json_number(row[name]) for name in ("kind_distance", "look_distance") if name in row}
        if distance > chance:
            ranked["beyond_chance"] = True
        feature["properties"] |= ranked | {"similarity": 1 - distance / (greatest_distance or 1)}
    return features


def chip_feature(row: dict[str, Any], snapshot: int, model_id: str) -> dict[str, Any]:
    """Return one row as a `Chip` of version ``snapshot``."""
    return {**_features([row])[0], "snapshot": snapshot, "model_id": model_id}


def _features(rows: Sequence[dict[str, Any]]) -> list[FeatureDict]:
    footprints = shapely.from_wkb(np.array([row["geometry"] for row in rows], object))
    features: list[FeatureDict] = []
    for row, geometry in zip(rows, shapely.to_geojson(footprints), strict=True):
        bbox: _BBox = {} if row["bbox"] is None else {"bbox": tuple(row["bbox"].values())}
        version = picture_version(row["etag"], row["cut"])
        thumbnail = f"/v1/chips/{quote(row['chip_id'], safe='')}/thumbnail?version={version}"
        features.append(
            {
                "type": "Feature",
                "id": row["chip_id"],
                "geometry": None if geometry is None else orjson.Fragment(geometry),
                **bbox,
                "properties": chip_properties(row),
                "assets": {"thumbnail": {"href": thumbnail, "type": "image/png"}},
            }
        )
    return features
