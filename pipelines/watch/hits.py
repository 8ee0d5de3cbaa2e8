"""Hits of a watch, and their files: GeoJSON (RFC 7946) and JSON lines."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel

from pipelines.api.answers import ChipProperties, Feature
from pipelines.api.geojson import chip_properties, json_number, located
from pipelines.table.pointer import Published

Key = tuple[str, str]
"""(chip id, etag) of a hit. If the source object changes, the same chip is another hit."""


class HitProperties(ChipProperties):
    """Properties of a hit."""

    watch: str
    distance: int | float
    """Distance to the example [bits, each part's times its weight]; to several examples the mean"""
    publication: int
    """Number of the publication that it was found in"""
    snapshot: int
    """Version of the table in that publication"""
    model_id: str
    encoded_at: AwareDatetime


class Hit(Feature):
    """A new chip near a watch's example, as a GeoJSON Feature."""

    properties: HitProperties

    @property
    def key(self) -> Key:
        """Identifies it among the hits of its watch."""
        return self.id, self.properties.etag


class HitCollection(BaseModel):
    """A GeoJSON FeatureCollection, nearest first, ties by the part that wasn't compared, then by chip id."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: Sequence[Hit]


def hit_of(row: dict[str, Any], watch: str, published: Published) -> Hit:
    """Return a row of the table as a hit; besides the table's columns it has a ``distance``."""
    return Hit(
        **located([row])[0],
        properties=HitProperties(
            **chip_properties(row),
            watch=watch,
            distance=json_number(row["distance"]),
            publication=published.number,
            snapshot=published.table_version,
            model_id=published.model_id,
            encoded_at=row["encoded_at"],
        ),
    )


def geojson(hits: Sequence[Hit]) -> bytes:
    """Return hits as a GeoJSON document."""
    return HitCollection(features=hits).model_dump_json().encode() + b"\n"


def json_lines(hits: Sequence[Hit]) -> bytes:
    """Return hits as JSON lines: one hit on each line."""
    lines = (
        {"watch": hit.properties.watch, "chip_id": hit.id, "distance": hit.properties.distance}
        | hit.properties.model_dump(mode="json")
        | {"bbox": hit.bbox}
        for hit in hits
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()
