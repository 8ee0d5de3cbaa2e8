"""Answers in other forms than whole features: in columns, or with the fields alone that were asked for."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from pipelines.api.answers import Asset, ErrorBody, Link, SearchAnswer, SearchInfo
from pipelines.api.requests import BBox


def is_none(value: object) -> bool:
    """Return whether a field is left out of an answer."""
    return value is None


class Columns(BaseModel):
    """Chips column by column, nearest first. Columns that weren't asked for are absent."""

    id: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    distance: Sequence[int | float] | None = Field(default=None, exclude_if=is_none)
    lon: Sequence[float | None] | None = Field(default=None, exclude_if=is_none)
    """Longitude of the centre of the chip's box [degrees]"""
    lat: Sequence[float | None] | None = Field(default=None, exclude_if=is_none)
    """Latitude of the centre of the chip's box [degrees]"""
    bbox: Sequence[BBox | None] | None = Field(default=None, exclude_if=is_none)
    """West, south, east, north [degrees]; west > east over the antimeridian"""
    datetime: Sequence[AwareDatetime | None] | None = Field(default=None, exclude_if=is_none)
    collection: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    geometry: Sequence[dict[str, Any] | None] | None = Field(default=None, exclude_if=is_none)
    """Footprints, as GeoJSON"""
    rank: Sequence[int] | None = Field(default=None, exclude_if=is_none)
    kind_distance: Sequence[int | float] | None = Field(default=None, exclude_if=is_none)
    look_distance: Sequence[int | float] | None = Field(default=None, exclude_if=is_none)
    similarity: Sequence[float] | None = Field(default=None, exclude_if=is_none)
    beyond_chance: Sequence[bool] | None = Field(default=None, exclude_if=is_none)
    uri: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    etag: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    window: Sequence[tuple[int, int, int, int]] | None = Field(default=None, exclude_if=is_none)
    """x, y, width, height in the source [pixels]"""


class ColumnsAnswer(BaseModel):
    """The same as a `SearchAnswer`, an array for each property."""

    numberMatched: int
    """Number of chips on all pages"""
    numberReturned: int
    """Number of chips on this page"""
    columns: Columns
    search: SearchInfo
    links: Sequence[Link] = ()
    """The link to the next page; empty on the last page"""


class SelectedFeature(BaseModel):
    """A feature with the fields that the request names in ``fields``."""

    type: Literal["Feature"] = "Feature"
    id: str | None = Field(default=None, exclude_if=is_none)
    geometry: dict[str, Any] | None
    """Null if the chip has no place, or it wasn't asked for"""
    bbox: tuple[float, float, float, float] | None = Field(default=None, exclude_if=is_none)
    properties: dict[str, Any]
    assets: dict[str, Asset] | None = Field(default=None, exclude_if=is_none)


class SelectedAnswer(BaseModel):
    """A `SearchAnswer` to a request with ``fields``."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    numberMatched: int
    """Number of chips on all pages"""
    numberReturned: int
    """Number of chips on this page"""
    features: Sequence[SelectedFeature]
    search: SearchInfo
    links: Sequence[Link] = ()
    """The link to the next page; empty on the last page"""


AnyAnswer = SearchAnswer | ColumnsAnswer | SelectedAnswer
"""What `POST /v1/search` may answer."""


class AnyBatchAnswer(BaseModel):
    """The answers to a batch, in the order of its queries. A query that fails has an error in its place."""

    answers: Sequence[SearchAnswer | ColumnsAnswer | SelectedAnswer | ErrorBody]
