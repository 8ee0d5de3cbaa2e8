"""The requests and answers of the query API, names as in STAC API Item Search.

Requests refuse unknown fields: what isn't supported is never ignored.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

DEFAULT_K = 10
MAX_K = 10_000
"""Most chips in one answer."""
CONTRADICTION = "contradiction"
"""Type of the validation errors that are about several fields at once."""

Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]


class SearchLimits(BaseModel):
    """How much to answer: what every search takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    k: int | None = Field(default=None, ge=1, le=MAX_K)
    """How many of the nearest chips [1..10000]; 10 where max_distance isn't given either"""
    max_distance: int | None = Field(default=None, ge=0)
    """Only chips at most this far away [bits]"""
    model_id: str | None = None
    """Refuse to answer (409) unless this is the model being served"""


class SearchRequest(SearchLimits):
    """A search by exactly one of ``chip_ids``, ``code`` and ``point``."""

    chip_ids: tuple[str, ...] | None = None
    """The example: the id of one chip of the table"""
    code: str | None = Field(default=None, pattern=r"^([0-9a-fA-F]{2})+$")
    """The example's code, as hex digits"""
    point: tuple[Longitude, Latitude] | None = None
    """The example: the chip at this longitude and latitude [degrees]"""
    exclude_self: bool | None = None
    """Leave the example out of the answer; by default with chip_ids, not with point"""

    @field_validator("chip_ids")
    @classmethod
    def _is_one(cls, chip_ids: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if chip_ids is not None and len(chip_ids) != 1:
            raise ValueError(f"exactly one chip id is supported, not {len(chip_ids)}")
        return chip_ids

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        given = [name for name in ("chip_ids", "code", "point") if getattr(self, name) is not None]
        if len(given) != 1:
            named = " and ".join(given) or "none"
            raise PydanticCustomError(
                CONTRADICTION, f"give exactly one of chip_ids, code and point, not {named}"
            )
        if self.code is not None and self.exclude_self is not None:
            raise PydanticCustomError(
                CONTRADICTION, "exclude_self goes with chip_ids or point, not with code"
            )
        return self


class ChipProperties(BaseModel):
    """What is known of a chip besides its footprint."""

    datetime: AwareDatetime | None
    """Acquisition time, where the source says it"""
    collection: str
    uri: str
    """Source object"""
    etag: str
    """The source's version that was encoded"""
    window: tuple[int, int, int, int]
    """x, y, width, height in the source [pixels]"""


class MatchProperties(ChipProperties):
    """What is known of a chip in an answer."""

    rank: int
    """From 1"""
    distance: int
    """Hamming distance to the example [bits]"""
    similarity: float
    """1 - distance / bits"""


class Asset(BaseModel):
    """A link to content."""

    href: str
    type: str = "image/png"


class Feature(BaseModel):
    """A chip as a GeoJSON Feature (RFC 7946)."""

    type: Literal["Feature"] = "Feature"
    id: str
    geometry: dict[str, Any] | None
    """Polygon, or MultiPolygon over the antimeridian; null where the source doesn't say where it lies"""
    bbox: tuple[float, float, float, float] | None = Field(default=None, exclude_if=lambda bbox: bbox is None)
    """west, south, east, north; west > east over the antimeridian; absent where geometry is null"""
    properties: ChipProperties
    assets: dict[str, Asset]


class Match(Feature):
    """A chip in an answer."""

    properties: MatchProperties


class Chip(Feature):
    """One chip by its id."""

    snapshot: int
    """Version of the table that it was read from"""
    model_id: str


class SearchInfo(BaseModel):
    """How the answer was found."""

    model_id: str
    bits: int
    """Length of the codes"""
    snapshot: int
    """Version of the table that was searched, all of it"""
    exact: Literal[True] = True
    method: Literal["scan", "mih"]
    """Every code compared, or only those that multi-index hashing can't rule out"""
    kth_distance: int | None
    """Distance of the last chip of the answer [bits]; null where it is empty"""
    ties_at_cutoff: int
    """Chips as near as the last one that the answer left out"""
    codes_compared: int
    took_ms: float
    """Search and answer's making, without encoding and transport"""


class SearchAnswer(BaseModel):
    """A GeoJSON FeatureCollection, nearest first, ties by chip id."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    numberMatched: int
    """Chips that the query asks for: more than are returned where a radius holds more than 10000"""
    numberReturned: int
    features: Sequence[Match]
    search: SearchInfo


class EncodeAnswer(BaseModel):
    """An image's code."""

    code: str
    """Hex digits"""
    bits: int
    model_id: str


class SnapshotInfo(BaseModel):
    """What is being served."""

    snapshot: int
    """Version of the table"""
    model_id: str
    bits: int
    chips: int
    distinct_codes: int
    run_id: str
    published_at: AwareDatetime


class ErrorBody(BaseModel):
    """The body of every answer that isn't a success."""

    code: str
    """A name that programs can switch on"""
    message: str
    """What was wrong"""
    hint: str
    """What to do"""
