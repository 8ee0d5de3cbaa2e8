"""The answers of the query API: GeoJSON, so that map clients and QGIS read them."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from model.spec import Compare
from pipelines.api.requests import RankBy


def _is_none(value: object) -> bool:
    return value is None


def _is_false(value: object) -> bool:
    return value is False


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
    distance: int | float
    """Distance to the example: the sum over the parts of weight times differing bits (`search.parts`). Where
    `search.rank_by` is values, each bit has a weight of its own, and the sum is divided by 8, their usual
    average, so that it reads as bits. Of several examples it is the mean distance to the positive ones less
    the mean distance to the negative ones, which may be negative"""
    kind_distance: int | float | None = Field(default=None, exclude_if=_is_none)
    """Differing bits of the part kind, unweighted; absent where the codes have one part"""
    look_distance: int | float | None = Field(default=None, exclude_if=_is_none)
    """Differing bits of the part look, likewise"""
    beyond_chance: bool = Field(default=False, exclude_if=_is_false)
    """True: farther than `search.chance_distance`, so no nearer than chance; absent otherwise"""
    similarity: float
    """1 - distance / the greatest distance that there can be"""


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
    bbox: tuple[float, float, float, float] | None = Field(default=None, exclude_if=_is_none)
    """west, south, east, north; west > east over the antimeridian; absent where geometry is null"""
    properties: ChipProperties


class LinkedFeature(Feature):
    """A chip in an answer of the service."""

    assets: dict[str, Asset]


class Match(LinkedFeature):
    """A chip in an answer."""

    properties: MatchProperties


class Chip(LinkedFeature):
    """One chip by its id."""

    snapshot: int
    """Version of the table that it was read from"""
    model_id: str


class ComparedPart(BaseModel):
    """Some of the codes' bits, and how much they counted."""

    name: Literal["kind", "look"]
    """kind: what the labels say; look: what the pixels look like"""
    bits: int
    weight: int
    """How often each of its bits counted; 0: not at all, or only for the order of chips at one distance"""


class SearchInfo(BaseModel):
    """How the answer was found."""

    model_id: str
    bits: int
    """Length of the codes"""
    compare: Compare
    """Which parts were compared, as asked for"""
    parts: Sequence[ComparedPart]
    """The parts of the codes, in the order of their bits"""
    rank_by: RankBy
    """values: a bit that the network is sure of counted more; bits: all bits of a part counted alike"""
    chance_distance: int | float | None
    """Within this distance a chip of the table that has nothing to do with the example lies with probability
    .01. Measured between 2048 chips of the table. Null with several examples, or fewer than two chips"""
    snapshot: int
    """Version of the table that was searched, all of it"""
    exact: Literal[True] = True
    method: Literal["scan", "mih"]
    """Every code compared, or only those that multi-index hashing can't rule out"""
    kth_distance: int | float | None
    """Distance of the last chip of the answer, on whichever page; null where it is empty"""
    ties_at_cutoff: int
    """Chips as near as the last one that k left out"""
    codes_compared: int
    took_ms: float
    """From the request's arrival at the service to its answer, an image's encoding included"""


class Link(BaseModel):
    """Where to go from here (STAC API, POST pagination)."""

    rel: Literal["next"] = "next"
    method: Literal["POST"] = "POST"
    href: str = "/v1/search"
    merge: bool
    """Whether ``body`` is to be added to the request's own, or is all of it"""
    body: dict[str, Any]


class SearchAnswer(BaseModel):
    """A GeoJSON FeatureCollection, nearest first, ties by the part that wasn't compared, then by chip id."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    numberMatched: int
    """Chips of the whole answer, on all pages"""
    numberReturned: int
    """Chips of this page"""
    features: Sequence[Match]
    search: SearchInfo
    links: Sequence[Link] = ()
    """One to the next page, unless this is the last"""


class BatchAnswer(BaseModel):
    """The answers to a batch, in its order; a query that has none has an error in its place."""

    answers: Sequence["SearchAnswer | ErrorBody"]


class EncodeAnswer(BaseModel):
    """An image's code."""

    code: str
    """Hex digits"""
    bit_weights: str
    """How much a difference in each bit counts where the search is to rank by values: one hex digit a bit"""
    bits: int
    model_id: str


class RefusedSnapshot(BaseModel):
    """A published version that can't be served."""

    snapshot: int
    published_at: AwareDatetime
    reason: str


class SnapshotInfo(BaseModel):
    """What is being served."""

    snapshot: int
    """Version of the table"""
    model_id: str
    bits: int
    chips: int
    distinct_codes: int
    """Of each shard, added up"""
    run_id: str
    published_at: AwareDatetime
    shards: int
    """Parts that the table is divided into"""
    kept: Sequence[int]
    """Versions that can be asked for, the newest first"""
    refused: RefusedSnapshot | None
    """What is published by now but can't be served; null where the newest is served"""


class ShardStatus(BaseModel):
    """What one replica of a shard holds."""

    replica: str
    number: int
    """Of the publication that is served"""
    snapshot: int
    chips: int
    kept: Sequence[int]
    refused: RefusedSnapshot | None


class Status(BaseModel):
    """What each deployment holds: of each shard one replica, whichever has answered."""

    shards: Sequence[ShardStatus]
    encoder_model_id: str
    encoder_device: str


class ErrorBody(BaseModel):
    """The body of every answer that isn't a success."""

    code: str
    """A name that programs can switch on"""
    message: str
    """What was wrong"""
    hint: str
    """What to do"""
