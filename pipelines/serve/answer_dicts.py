"""The answers of `pipelines.api.answers` as plain dicts: the same keys, and values that orjson writes.

Building and validating the pydantic models for rows of our own table would cost more time than the search.
"""

from typing import Any, Literal, NotRequired, TypedDict

from model.spec import Compare
from pipelines.api.requests import RankBy


class FeatureDict(TypedDict):
    """A `Feature`."""

    type: Literal["Feature"]
    id: NotRequired[str]
    geometry: object
    """orjson.Fragment with a GeoJSON geometry, or None"""
    bbox: NotRequired[tuple[float, ...]]
    properties: dict[str, Any]
    assets: NotRequired[dict[str, dict[str, str]]]


class ComparedPartDict(TypedDict):
    """A `ComparedPart`."""

    name: str
    bits: int
    weight: int


class SearchInfoDict(TypedDict):
    """A `SearchInfo`."""

    model_id: str
    bits: int
    compare: Compare
    parts: list[ComparedPartDict]
    rank_by: RankBy
    chance_distance: int | float | None
    snapshot: int
    exact: Literal[True]
    method: Literal["scan", "mih"]
    kth_distance: int | float | None
    ties_at_cutoff: int
    codes_compared: int
    took_ms: NotRequired[float]
    """Added last, when the answer is sent"""


class LinkDict(TypedDict):
    """A `Link`."""

    rel: Literal["next"]
    method: Literal["POST"]
    href: str
    merge: bool
    body: dict[str, Any]
