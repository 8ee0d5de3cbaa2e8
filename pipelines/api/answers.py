"""The answers of the query API. They are GeoJSON, which map clients and QGIS can read."""

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
    """Properties of a chip."""

    datetime: AwareDatetime | None
    """Acquisition time; null if the source doesn't have it"""
    collection: str
    uri: str
    """Source object"""
    etag: str
    """Etag of the source object when it was encoded"""
    window: tuple[int, int, int, int]
    """x, y, width, height in the source [pixels]"""


class MatchProperties(ChipProperties):
    """Properties of a chip in an answer to a search."""

    rank: int
    """Place in the whole answer, from 1"""
    distance: int | float
    """Distance to the example: the sum over the parts of weight times differing bits (`search.parts`). If
    `search.rank_by` is values, each bit has a weight of its own, and the sum is divided by 8, the average
    weight of a bit, so that the distance is in bits. With several examples it is the mean distance to the
    positive ones minus the mean distance to the negative ones, which may be negative"""
    kind_distance: int | float | None = Field(default=None, exclude_if=_is_none)
    """Differing bits in the part kind, unweighted; absent if the codes have only one part"""
    look_distance: int | float | None = Field(default=None, exclude_if=_is_none)
    """Differing bits in the part look, unweighted; absent if the codes have only one part"""
    beyond_chance: bool = Field(default=False, exclude_if=_is_false)
    """True if the chip is farther than `search.chance_distance`, no nearer than by chance; else absent"""
    similarity: float
    """1 - distance / the greatest distance that two codes can have"""


class Asset(BaseModel):
    """A link to content."""

    href: str
    type: str = "image/png"


class Feature(BaseModel):
    """A chip as a GeoJSON Feature (RFC 7946)."""

    type: Literal["Feature"] = "Feature"
    id: str
    geometry: dict[str, Any] | None
    """Footprint: Polygon, or MultiPolygon over the antimeridian; null if the source isn't georeferenced"""
    bbox: tuple[float, float, float, float] | None = Field(default=None, exclude_if=_is_none)
    """west, south, east, north; west > east over the antimeridian; absent if geometry is null"""
    properties: ChipProperties


class LinkedFeature(Feature):
    """A chip in an answer of the service, with a link to its thumbnail."""

    assets: dict[str, Asset]


class Match(LinkedFeature):
    """A chip in an answer to a search."""

    properties: MatchProperties


class Chip(LinkedFeature):
    """One chip by its id."""

    snapshot: int
    """Version of the table that it was read from"""
    model_id: str


class ComparedPart(BaseModel):
    """A part of the codes, and its weight in the distance."""

    name: Literal["kind", "look"]
    """kind: what the labels say; look: what the pixels look like"""
    bits: int
    weight: int
    """How often each of its bits counted; 0: not in the distance, at most in the order at one distance"""


class SearchInfo(BaseModel):
    """How the answer was found."""

    model_id: str
    bits: int
    """Length of the codes"""
    compare: Compare
    """Which parts were compared: `compare` of the request"""
    parts: Sequence[ComparedPart]
    """The parts of the codes, in the order of their bits"""
    rank_by: RankBy
    """values: bits that the network is sure of counted more; bits: all bits of a part counted alike"""
    chance_distance: int | float | None
    """Distance within which an unrelated chip of the table lies with probability .01, estimated from the
    distances between 2048 chips of the table. Null with several examples, or if the table has fewer than two
    chips"""
    snapshot: int
    """Version of the table that was searched"""
    exact: Literal[True] = True
    """All rows of the table were searched: no approximation"""
    method: Literal["scan", "mih"]
    """scan: every code was compared; mih: only the codes that multi-index hashing can't rule out"""
    kth_distance: int | float | None
    """Distance of the last chip of the whole answer; null if the answer is empty"""
    ties_at_cutoff: int
    """How many chips as near as the last one k left out"""
    codes_compared: int
    took_ms: float
    """Milliseconds from the arrival of the request to the answer, including the encoding of an image"""


class Link(BaseModel):
    """A link to the next page (STAC API, POST pagination)."""

    rel: Literal["next"] = "next"
    method: Literal["POST"] = "POST"
    href: str = "/v1/search"
    merge: bool
    """True: add ``body`` to the request's own body; false: ``body`` is the whole body"""
    body: dict[str, Any]


class SearchAnswer(BaseModel):
    """A GeoJSON FeatureCollection, nearest first; ties by the part that wasn't compared, then by chip id."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    numberMatched: int
    """Number of chips on all pages"""
    numberReturned: int
    """Number of chips on this page"""
    features: Sequence[Match]
    search: SearchInfo
    links: Sequence[Link] = ()
    """The link to the next page; empty on the last page"""


class BatchAnswer(BaseModel):
    """The answers to a batch, in the order of its queries. A query that fails has an error in its place."""

    answers: Sequence["SearchAnswer | ErrorBody"]


class EncodeAnswer(BaseModel):
    """An image's code."""

    code: str
    """Hex digits"""
    bit_weights: str
    """Weight of each bit in a search that ranks by values: one hex digit for each bit"""
    bits: int
    model_id: str


class RefusedSnapshot(BaseModel):
    """A published version that can't be served."""

    snapshot: int
    published_at: AwareDatetime
    reason: str


class SnapshotInfo(BaseModel):
    """The version of the table that is served."""

    snapshot: int
    """Version of the table"""
    model_id: str
    bits: int
    chips: int
    distinct_codes: int
    """Number of distinct codes in each shard, added up"""
    run_id: str
    published_at: AwareDatetime
    shards: int
    """Parts that the table is divided into"""
    kept: Sequence[int]
    """Versions that can be asked for, the newest first"""
    refused: RefusedSnapshot | None
    """The newest published version, if it can't be served; else null"""
    base_map: bool
    """Whether ``GET /v1/base-map`` has a base map for pages"""


class ShardStatus(BaseModel):
    """What one replica of a shard has loaded."""

    replica: str
    number: int
    """Number of the publication that is served"""
    snapshot: int
    chips: int
    kept: Sequence[int]
    refused: RefusedSnapshot | None


class Status(BaseModel):
    """What one replica of each shard, and of the encoder, has loaded."""

    shards: Sequence[ShardStatus]
    encoder_model_id: str | None
    """None while a service that has just started loads the network"""
    encoder_device: str


class ErrorBody(BaseModel):
    """The body of every answer that isn't a success."""

    code: str
    """A name for programs"""
    message: str
    """What was wrong"""
    hint: str
    """What to do"""
