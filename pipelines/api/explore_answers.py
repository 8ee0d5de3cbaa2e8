"""Answers about the table as a whole: heat, what lies where, and what has changed."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from model.spec import Compare
from pipelines.api.answers import ComparedPart
from pipelines.api.answers_by_form import Columns, SelectedFeature, is_none
from pipelines.api.requests import BBox, RankBy


class Histogram(BaseModel):
    """How many there are at each distance, rounded up to whole bits. Without zeros at its ends."""

    first: int
    """The distance of the first count; negative only with several examples"""
    counts: Sequence[int]


class GridCells(BaseModel):
    """The cells with chips, by ascending index."""

    index: Sequence[int]
    """row x width + column; row 0 is the northernmost, column 0 the westernmost"""
    count: Sequence[int]
    """How many chips have the centre of their box in the cell"""
    distance: Sequence[int | float]
    """Distance of the nearest of them"""


class GridAnswer(BaseModel):
    """Chips in the cells of a view, and at each distance in the whole table."""

    snapshot: int
    model_id: str
    compare: Compare
    parts: Sequence[ComparedPart]
    rank_by: RankBy
    chance_distance: int | float | None
    """As of a search"""
    view: BBox
    width: int
    height: int
    max_distance: int | None
    cells: GridCells
    in_view: int
    """Chips in all cells"""
    matched: int
    """Chips that pass the filters, wherever they lie"""
    histogram: Histogram
    """Of all chips that pass the filters, whatever ``max_distance``"""
    took_ms: float


class CoverageCells(BaseModel):
    """The cells with chips, in the order of y, then x."""

    x: Sequence[int]
    """The cell begins at longitude -180 + x * cell_degrees"""
    y: Sequence[int]
    """The cell begins at latitude -90 + y * cell_degrees"""
    count: Sequence[int]
    """How many chips have the centre of their box in the cell"""


class CoverageAnswer(BaseModel):
    """How many chips lie where."""

    snapshot: int
    chips: int
    """Of the whole table"""
    without_place: int
    """Those of them that have no place, and are in no cell"""
    cell_degrees: float
    """Width and height of a cell [degrees]: 360 / 2^z"""
    cells: CoverageCells


class SpatialExtent(BaseModel):
    """As in STAC."""

    bbox: Sequence[BBox]
    """One box: west, south, east, north; west > east over the antimeridian"""


class TemporalExtent(BaseModel):
    """As in STAC."""

    interval: Sequence[tuple[AwareDatetime, AwareDatetime]]
    """One interval: first and last acquisition"""


class Extent(BaseModel):
    """What the chips of a collection span; null if no chip has a place, or a time."""

    spatial: SpatialExtent | None
    temporal: TemporalExtent | None


class Collection(BaseModel):
    """A collection of the table."""

    id: str
    chips: int
    without_place: int
    extent: Extent
    months: dict[str, int]
    """Chips of each month (UTC) that has any: "2024-06": 120"""
    undated: int
    """Chips without a time"""


class CollectionsAnswer(BaseModel):
    """All collections, in the order of their ids."""

    snapshot: int
    model_id: str
    chips: int
    collections: Sequence[Collection]


class GetLink(BaseModel):
    """A link to the next page."""

    rel: Literal["next"] = "next"
    method: Literal["GET"] = "GET"
    href: str


class _ChipsAbout(BaseModel):
    numberMatched: int
    """Number of chips on all pages"""
    numberReturned: int
    """Number of chips on this page"""
    snapshot: int
    model_id: str
    links: Sequence[GetLink] = ()
    """The link to the next page; empty on the last page"""
    took_ms: float


class ChipsAnswer(_ChipsAbout):
    """Chips of a place, as GeoJSON."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: Sequence[SelectedFeature]
    """Properties: datetime, collection, uri, etag, window; of chips of other dates the distances too"""


class ChipColumnsAnswer(_ChipsAbout):
    """Chips of a place, in columns."""

    columns: Columns


class PairColumns(BaseModel):
    """Pairs column by column. Columns that weren't asked for are absent."""

    before: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    """Chip id of the earlier chip"""
    after: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    """Chip id of the later chip"""
    distance: Sequence[int] | None = Field(default=None, exclude_if=is_none)
    before_datetime: Sequence[AwareDatetime] | None = Field(default=None, exclude_if=is_none)
    after_datetime: Sequence[AwareDatetime] | None = Field(default=None, exclude_if=is_none)
    lon: Sequence[float] | None = Field(default=None, exclude_if=is_none)
    """Longitude of the centre of the later chip's box [degrees]"""
    lat: Sequence[float] | None = Field(default=None, exclude_if=is_none)
    bbox: Sequence[BBox] | None = Field(default=None, exclude_if=is_none)
    """Of the later chip: west, south, east, north [degrees]; west > east over the antimeridian"""
    collection: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    id: Sequence[str] | None = Field(default=None, exclude_if=is_none)
    """Both chip ids, with a slash between"""
    geometry: Sequence[dict[str, Any] | None] | None = Field(default=None, exclude_if=is_none)
    """Of the later chip"""
    rank: Sequence[int] | None = Field(default=None, exclude_if=is_none)
    kind_distance: Sequence[int] | None = Field(default=None, exclude_if=is_none)
    look_distance: Sequence[int] | None = Field(default=None, exclude_if=is_none)


class _ChangesAbout(BaseModel):
    numberMatched: int
    """All pairs that are at least ``min_distance`` apart"""
    numberReturned: int
    histogram: Histogram
    """Of all pairs"""
    snapshot: int
    model_id: str
    compare: Compare
    parts: Sequence[ComparedPart]
    links: Sequence[GetLink] = ()
    took_ms: float


class ChangesAnswer(_ChangesAbout):
    """Pairs of chips of one place and two dates, the most different first, as GeoJSON."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: Sequence[SelectedFeature]
    """Geometry and bbox are those of the later chip"""


class ChangeColumnsAnswer(_ChangesAbout):
    """Pairs of chips of one place and two dates, in columns."""

    columns: PairColumns
