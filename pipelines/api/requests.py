"""The requests of the query API. Unknown fields are refused, so nothing that isn't supported is ignored."""

import json
from calendar import monthrange
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from model.spec import Compare
from pipelines.api.fields import Fields, FieldsParameter, Format

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

DEFAULT_K = 10
MAX_K = 10_000
"""Greatest k, and greatest page."""
DEFAULT_LIMIT = 1000
MAX_BATCH = 256
MAX_EXAMPLES = 100
"""Most positive examples, and most negative ones."""
MAX_VERTICES = 10_000
"""Most positions of the geometry in ``intersects``."""
MAX_KIND_WEIGHT = 8
MAX_DISTANCE = 8 * 1024
"""Greatest distance of two codes: the longest code, 1024 bits, with the greatest weight."""
CONTRADICTION, BAD_INTERVAL = "contradiction", "bad_interval"
"""Types of the validation errors that have a code of their own in answers."""

GEOMETRIES = ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]

Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
BBox = tuple[Longitude, Latitude, Longitude, Latitude]
ChipIds = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(min_length=1, max_length=MAX_EXAMPLES),
]
Geometry = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"enum": GEOMETRIES},
                "coordinates": {"type": "array", "minItems": 1},
            },
        }
    ),
]
_CLOCK = r"[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"
_TIME = rf"\d{{4}}(-\d\d(-\d\d({_CLOCK})?)?)?"
_PERIODS = {len("2012"): "-01-01", len("2012-06"): "-01", len("2012-06-15"): ""}
"""Years, months and days, by the length of their texts: what makes their first day of them."""
_INTERVAL = rf"^({_TIME}|{_TIME}/{_TIME}|(\.\.)?/{_TIME}|{_TIME}/(\.\.)?)$"

Interval = tuple[datetime | None, datetime | None]
RankBy = Literal["values", "bits"]
"""What is compared of an image: the network's real outputs, or only their signs."""


class Filters(BaseModel):
    """Which chips may be in an answer: those that pass all filters. Filters are applied before ranking."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    bbox: BBox | None = None
    """West, south, east, north [degrees]: chips that touch it; west > east: over the antimeridian"""
    intersects: Geometry | None = None
    """GeoJSON geometry (RFC 7946) in degrees: chips whose footprint touches it; not with bbox"""
    datetime: Annotated[str | None, Field(pattern=_INTERVAL)] = None
    """Time of acquisition: a time (RFC 3339), a year, month or day in UTC (2012, 2012-06, 2012-06-15), or an
    interval "start/end" of these, with ".." for an open end"""
    collections: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Chips of these collections"""
    min_valid_fraction: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Chips with at least this share of valid pixels [0..1]"""

    @field_validator("bbox")
    @classmethod
    def _is_upright(cls, bbox: BBox | None) -> BBox | None:
        if bbox is not None and bbox[1] > bbox[3]:
            raise ValueError(f"south ({bbox[1]:g}) lies north of north ({bbox[3]:g})")
        return bbox

    @field_validator("intersects")
    @classmethod
    def _is_a_geometry(cls, geometry: dict[str, Any] | None) -> dict[str, Any] | None:
        if geometry is not None:
            parse_geometry(geometry)
        return geometry

    @field_validator("datetime")
    @classmethod
    def _is_an_interval(cls, text: str | None) -> str | None:
        if text is not None:
            parse_interval(text)
        return text

    @property
    def has_filters(self) -> bool:
        """Whether there is any filter."""
        given = (self.bbox, self.intersects, self.datetime, self.collections, self.min_valid_fraction)
        return any(value is not None for value in given)

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if self.bbox is not None and self.intersects is not None:
            raise PydanticCustomError(CONTRADICTION, "give bbox or intersects, not both")
        return self


def parse_interval(text: str) -> Interval:
    """Return start and end of a STAC interval; None: open. Raises PydanticCustomError (`BAD_INTERVAL`)."""
    ends = text.split("/")
    try:
        first, last = _bound(ends[0]), _bound(ends[-1], is_last=True)
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError(
            BAD_INTERVAL, "{text} isn't a time or interval: {why}", {"text": repr(text), "why": str(error)}
        ) from error
    if first is not None and last is not None and first > last:
        raise PydanticCustomError(BAD_INTERVAL, "{text} ends before it starts", {"text": repr(text)})
    return first, last


def _bound(text: str, *, is_last: bool = False) -> datetime | None:
    """Return the first or last moment of a time or period; None if the end is open. Raises ValueError."""
    if text in ("", ".."):
        return None
    if len(text) not in _PERIODS:
        # a date near the year 1 or 9999 may have no counterpart in UTC
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    first = datetime.fromisoformat(text + _PERIODS[len(text)]).replace(tzinfo=UTC)
    if not is_last:
        return first
    year, month, day = first.year, first.month, first.day
    if len(text) == len("2012"):
        month, day = 12, 31
    elif len(text) == len("2012-06"):
        day = monthrange(year, month)[1]
    return datetime(year, month, day, 23, 59, 59, 999_999, UTC)


def parse_geometry(geometry: dict[str, Any]) -> "BaseGeometry":
    """Return a GeoJSON geometry. Raises ValueError unless it is valid, not empty, and on the globe."""
    import shapely  # imported late: only searches with a geometry need it

    if geometry.get("type") not in GEOMETRIES:
        raise ValueError(f"no GeoJSON geometry; its type must be one of {', '.join(GEOMETRIES)}")
    try:
        shape = shapely.from_geojson(json.dumps(geometry, allow_nan=False))
    except (ValueError, RecursionError, shapely.GEOSException) as error:
        raise ValueError(f"no GeoJSON geometry: {error}") from error
    if shape.is_empty:
        raise ValueError("no GeoJSON geometry: it has no position")
    if shapely.get_num_coordinates(shape) > MAX_VERTICES:
        raise ValueError(f"more than {MAX_VERTICES} positions; simplify it")
    west, south, east, north = shape.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError("positions must be longitude [-180..180], latitude [-90..90]")
    if not shape.is_valid:
        raise ValueError(f"not valid: {shapely.is_valid_reason(shape)}")
    return shape


class Compared(Filters):
    """What everything that compares codes has besides its example."""

    compare: Compare = "both"
    """Which parts of the codes are compared: kind (what the labels say), look (what the pixels look like) or
    both. With kind, chips at one distance are in the order of look; with look, in the order of kind"""
    kind_weight: int | None = Field(default=None, ge=0, le=MAX_KIND_WEIGHT)
    """How often each bit of kind counts if both parts are compared [0..8]; by default as the model says. 0 is
    the same as compare: look"""
    model_id: str | None = None
    """Refuse to answer (409) unless this is the model being served"""
    snapshot: int | None = Field(default=None, ge=0)
    """Answer from this version of the table; 410 if it is no longer kept"""


class SearchLimits(Compared):
    """What every search has besides its example."""

    k: int | None = Field(default=None, ge=1, le=MAX_K)
    """How many of the nearest chips [1..10000]; without k and max_distance: 10"""
    max_distance: int | None = Field(default=None, ge=0, le=MAX_DISTANCE)
    """Only chips at most this far away, in the distance that the answer gives; without k all of them, page by
    page"""
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_K)
    """Chips in a page [1..10000]; the link `next` of an answer leads on"""
    token: str | None = Field(default=None, max_length=1000)
    """From the link `next`: the page after that answer, of the same query and snapshot"""
    format: Format = "features"
    """How an answer in JSON is laid out: features (GeoJSON), or columns, an array for each property"""
    fields: Fields | None = None
    """What the answer should have (STAC Fields); by default all of a feature, or the usual columns"""


def only_numbers(value: object) -> object:
    """Return a number or numbers. Raises ValueError for "7" and true, which pydantic would take."""
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, bool | str) for item in items):
        raise ValueError("must be a number, not text or a truth value")
    return value


def split_parameter(values: object) -> object:
    """Return the values of a query parameter, which may be sent as "a,b,c" or as repeated parameters."""
    return values[0].split(",") if isinstance(values, list) and len(values) == 1 else values


class ImageLimits(SearchLimits):
    """What a search by image has besides the image."""

    rank_by: RankBy = "values"
    """What is compared of the image: values (bits that the network is sure of count more) or bits (all bits
    of a part count alike, as in a search with a chip)"""


class ImageParameters(ImageLimits):
    """What a search by image has besides the image, as query parameters."""

    bbox: Annotated[BBox | None, BeforeValidator(split_parameter)] = None
    """West, south, east, north [degrees]: chips that touch it; west > east: over the antimeridian"""
    intersects: Json[dict[str, Any]] | None = None
    """GeoJSON geometry (RFC 7946) in degrees: chips whose footprint touches it; not with bbox"""
    collections: Annotated[tuple[str, ...] | None, BeforeValidator(split_parameter)] = None
    """Chips of these collections"""
    fields: FieldsParameter = None


class Example(Compared):
    """Exactly one of ``chip_ids``, ``code`` and ``point``, and what goes with it."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("chip_ids", "array"), ("code", "string"), ("point", "array"))
            ],
        }
    )

    chip_ids: ChipIds | None = None
    """The examples: ids of chips of the table; with several, their mean distance counts"""
    negative_ids: ChipIds | None = None
    """Chips to keep away from, with chip_ids: their mean distance is subtracted"""
    code: str | None = Field(default=None, pattern=r"^([0-9a-fA-F]{2})+$", max_length=256)
    """The example's code, as hex digits"""
    bit_weights: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]+$", max_length=1024)
    """With code: how much a difference in each bit counts [0..15, one hex digit a bit, the first bit first].
    8 is the weight of a plain bit. POST /v1/encode returns those of an image"""
    point: tuple[Longitude, Latitude] | None = None
    """The example: the chip at this longitude and latitude [degrees]"""
    exclude_self: StrictBool | None = None
    """Leave the examples out of the answer; by default with chip_ids, not with point"""

    _are_numbers = field_validator(
        "k",
        "max_distance",
        "kind_weight",
        "limit",
        "snapshot",
        "min_valid_fraction",
        "bbox",
        "point",
        mode="before",
        check_fields=False,
    )(only_numbers)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        given = [name for name in ("chip_ids", "code", "point") if getattr(self, name) is not None]
        if len(given) != 1:
            named = " and ".join(given) or "none"
            raise PydanticCustomError(
                CONTRADICTION, "give exactly one of chip_ids, code and point, not {named}", {"named": named}
            )
        if self.negative_ids is not None and self.chip_ids is None:
            raise PydanticCustomError(CONTRADICTION, "negative_ids goes with chip_ids")
        if (getattr(self, "max_distance", None) or 0) < 0 and self.negative_ids is None:
            raise PydanticCustomError(CONTRADICTION, "max_distance below 0 goes with negative_ids")
        if self.code is not None and self.exclude_self is not None:
            raise PydanticCustomError(
                CONTRADICTION, "exclude_self goes with chip_ids or point, not with code"
            )
        if self.bit_weights is not None:
            if self.code is None:
                raise PydanticCustomError(CONTRADICTION, "bit_weights goes with code")
            if len(self.bit_weights) != 4 * len(self.code):
                raise ValueError(f"bit_weights: give one hex digit a bit of the code, {4 * len(self.code)}")
        return self


class SearchRequest(SearchLimits, Example):
    """A search by exactly one of ``chip_ids``, ``code`` and ``point``."""

    max_distance: int | None = Field(default=None, ge=-MAX_DISTANCE, le=MAX_DISTANCE)
    """Only chips at most this far away, in the distance that the answer gives; without k all of them, page by
    page. Below 0 only with negative_ids"""


class BatchRequest(BaseModel):
    """Several searches at once, answered in order and from one snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    queries: Annotated[tuple[SearchRequest, ...], Field(min_length=1, max_length=MAX_BATCH)]
    """Up to 256 searches"""
