"""Turns a page's columns into GeoJSON features: `Match` and `Chip` of `pipelines.api.answers`, as dicts."""

from collections.abc import Sequence
from itertools import count, repeat
from typing import Any

from pipelines.api.fields import Fields
from pipelines.api.geojson import json_number
from pipelines.api.pictures import picture_version
from pipelines.serve.answer_dicts import FeatureDict
from pipelines.serve.outlines import geojson
from pipelines.serve.page import EVERYTHING, Chips, Page, Ranked

_DISTANCES = ("distance", "kind_distance", "look_distance")
_PROPERTIES = (
    *("rank", "before", "after", "before_datetime", "after_datetime"),
    *("datetime", "collection", "uri", "etag", "window", *_DISTANCES),
)


def features_answer(page: Page) -> dict[str, Any]:
    """Return a page as GeoJSON: for a search a `SearchAnswer`."""
    features = chip_features(page.chips, page.fields)
    if page.ranked is not None:
        _add_ranks(page.ranked, page, features)
    return {"type": "FeatureCollection", **page.about, "features": features}


def chip_features(chips: Chips, fields: Fields = EVERYTHING) -> list[FeatureDict]:
    """Return chips as features with the wanted members and properties."""
    has_boxes = fields.wants("bbox") and "bbox" in chips
    has_ids, has_assets = fields.wants("id"), fields.wants("assets") and "before" not in chips
    columns = {name: chips[name] for name in _PROPERTIES if name in chips and fields.wants(name)}
    for name in _DISTANCES:
        if name in columns:
            columns[name] = [json_number(distance) for distance in columns[name]]
    every = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    outlines = geojson(chips["geometry"]) if fields.wants("geometry") else repeat(None)
    features: list[FeatureDict] = []
    for place, (chip_id, outline) in enumerate(zip(chips["chip_id"], outlines, strict=False)):
        properties = every[place] if columns else {}
        feature: FeatureDict = {"type": "Feature", "geometry": outline, "properties": properties}
        if has_ids:
            feature["id"] = chip_id
        if has_boxes and chips["bbox"][place] is not None:
            feature["bbox"] = chips["bbox"][place]
        if has_assets:
            feature["assets"] = {"thumbnail": {"href": thumbnail(chips, place), "type": "image/png"}}
        features.append(feature)
    return features


def thumbnail(chips: Chips, place: int) -> str:
    """Return the path of a chip's picture, with its version: what is there then never changes."""
    version = picture_version(chips["etag"][place], chips["cut"][place])
    return f"/v1/chips/{chips['chip_id'][place]}/thumbnail?version={version}"


def _add_ranks(ranked: Ranked, page: Page, features: Sequence[FeatureDict]) -> None:
    """Add the properties that only an answer to a search has."""
    has_rank, has_chance, has_similarity = (
        page.fields.wants(name) for name in ("rank", "beyond_chance", "similarity")
    )
    ranks = count(ranked.first_rank)
    for feature, rank, distance in zip(features, ranks, page.chips["distance"], strict=False):
        properties = feature["properties"]
        if has_rank:
            properties["rank"] = rank
        if has_chance and distance > ranked.chance_distance:
            properties["beyond_chance"] = True
        if has_similarity:
            properties["similarity"] = similarity(distance, ranked.greatest_distance)


def similarity(distance: float, greatest_distance: float) -> float:
    """Return 1 - distance / the greatest distance that two codes can have."""
    return 1 - distance / (greatest_distance or 1)
