"""Requests about the table as a whole: heat, what lies where, and what has changed."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, field_validator, model_validator
from pydantic_core import PydanticCustomError, to_json

from model.spec import Compare
from pipelines.api.fields import Fields, FieldsParameter, Format
from pipelines.api.requests import (
    CONTRADICTION,
    MAX_DISTANCE,
    MAX_KIND_WEIGHT,
    BBox,
    Compared,
    Example,
    Filters,
    Interval,
    only_numbers,
    parse_interval,
    split_parameter,
)

MAX_CELLS, MAX_COVERAGE = 512, 1024
"""Most columns, and most rows, of a grid; and of a coverage."""
MAX_HERE = 2000
"""Most chips of a page of `GET /v1/chips`."""
MAX_PAIRS = 10_000
_WORLD = (-180.0, -90.0, 180.0, 90.0)


class GridRequest(Example):
    """A view of the chips nearest to examples: how many lie in each cell, and at which distances."""

    view: BBox = _WORLD
    """West, south, east, north [degrees]: what is divided into cells; west > east: over the antimeridian"""
    width: int = Field(default=256, ge=1, le=MAX_CELLS)
    """Columns of cells [1..512]"""
    height: int = Field(default=128, ge=1, le=MAX_CELLS)
    """Rows of cells [1..512]"""
    max_distance: int | None = Field(default=None, ge=-MAX_DISTANCE, le=MAX_DISTANCE)
    """Only chips at most this far away are in cells; the histogram has all. Below 0 only with negative_ids"""

    _view_has_numbers = field_validator("view", "width", "height", mode="before")(only_numbers)

    @field_validator("view")
    @classmethod
    def _has_an_area(cls, view: BBox) -> BBox:
        return _with_area(view)


def _with_area(box: BBox) -> BBox:
    """Return the box. Raises ValueError if it has no width, or no height."""
    if box[1] >= box[3] or box[0] == box[2]:
        raise ValueError("south must lie south of north, and west and east must differ")
    return box


class ChangesRequest(Compared):
    """Pairs of chips of one place and two dates, the most different first. Both chips pass the filters."""

    before: Annotated[str | None, Field(description="Interval of the earlier chip, as datetime")] = None
    after: Annotated[str | None, Field(description="Interval of the later chip, as datetime")] = None
    min_distance: int = Field(default=0, ge=0, le=MAX_DISTANCE)
    """Only pairs at least this different"""
    k: int = Field(default=100, ge=1, le=MAX_PAIRS)
    """How many pairs [1..10000]"""
    format: Format = "features"
    """How an answer in JSON is laid out: features (GeoJSON), or columns, an array for each property"""
    fields: Fields | None = None
    """What the answer should have (STAC Fields); by default all of a feature, or the usual columns"""

    @field_validator("before", "after")
    @classmethod
    def _is_an_interval_too(cls, text: str | None) -> str | None:
        if text is not None:
            parse_interval(text)
        return text

    _are_numbers = field_validator(
        "min_distance", "k", "kind_weight", "snapshot", "min_valid_fraction", "bbox", mode="before"
    )(only_numbers)

    @property
    def intervals(self) -> tuple[Interval, Interval]:
        """When the earlier, and the later chip was acquired."""
        before, after = (None if text is None else parse_interval(text) for text in (self.before, self.after))
        return before or (None, None), after or (None, None)


class SnapshotParameters(BaseModel):
    """Query parameters of every GET."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    snapshot: int | None = Field(default=None, ge=0)
    """Answer from this version of the table; 410 if it is no longer kept"""


def _as_text(geometry: object) -> object:
    """Return a geometry as the text that a query parameter has; anything else as it is."""
    return to_json(geometry) if isinstance(geometry, dict) else geometry


class HereParameters(Filters):
    """What lies in a place, as query parameters: ``bbox`` or ``intersects`` is needed."""

    bbox: Annotated[BBox | None, BeforeValidator(split_parameter)] = None
    """West, south, east, north [degrees]: chips that touch it; west > east: over the antimeridian"""
    intersects: Annotated[Json[dict[str, Any]] | None, BeforeValidator(_as_text)] = None
    """GeoJSON geometry (RFC 7946) in degrees: chips whose footprint touches it; not with bbox"""
    collections: Annotated[tuple[str, ...] | None, BeforeValidator(split_parameter)] = None
    """Chips of these collections"""
    limit: int = Field(default=100, ge=1, le=MAX_HERE)
    """Chips in a page [1..2000]"""
    after: str | None = Field(default=None, min_length=1, max_length=200)
    """The last chip id of the page before: from the link `next`"""
    format: Format = "features"
    """How an answer in JSON is laid out: features (GeoJSON), or columns, an array for each property"""
    fields: FieldsParameter = None
    snapshot: int | None = Field(default=None, ge=0)
    """Answer from this version of the table; 410 if it is no longer kept"""

    @model_validator(mode="after")
    def _names_a_place(self) -> Self:
        if self.bbox is None and self.intersects is None:
            raise PydanticCustomError(CONTRADICTION, "give bbox or intersects: which place is meant")
        return self


class DatesParameters(SnapshotParameters):
    """Chips of other scenes at one chip's place, as query parameters."""

    collections: Annotated[tuple[str, ...] | None, BeforeValidator(split_parameter)] = None
    """Chips of these collections"""
    compare: Compare = "both"
    """Which parts of the codes the distance to the chip compares"""
    kind_weight: int | None = Field(default=None, ge=0, le=MAX_KIND_WEIGHT)
    """How often each bit of kind counts if both parts are compared [0..8]; by default as the model says"""
    limit: int = Field(default=100, ge=1, le=MAX_HERE)
    """Chips [1..2000]; the last ones in the order of time"""
    format: Format = "features"
    """How an answer in JSON is laid out: features (GeoJSON), or columns, an array for each property"""
    fields: FieldsParameter = None


class CoverageParameters(SnapshotParameters):
    """Where chips lie, as query parameters."""

    bbox: Annotated[BBox, BeforeValidator(split_parameter)] = _WORLD
    """West, south, east, north [degrees]; west > east: over the antimeridian"""
    width: int = Field(default=512, ge=1, le=MAX_COVERAGE)
    """Most columns of cells over the bbox [1..1024]"""
    height: int = Field(default=256, ge=1, le=MAX_COVERAGE)
    """Most rows of cells over the bbox [1..1024]"""

    @field_validator("bbox")
    @classmethod
    def _has_an_area(cls, bbox: BBox) -> BBox:
        return _with_area(bbox)
