"""Watches and their hits, as the service shows them; hits are written to files in the same form."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from model.spec import Compare
from pipelines.api.answers import ChipProperties, Feature
from pipelines.api.explore_answers import GetLink
from pipelines.api.requests import Filters

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""Names of watches."""
MAX_HITS = 2000
"""Most hits of a page."""
Key = tuple[str, str]
"""(chip id, etag) of a hit. If the source object changes, the same chip is another hit."""


class WatchExample(BaseModel):
    """What a watch looks for: exactly one of the three fields is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chip_ids: tuple[str, ...] = ()
    code: str | None = None
    """A code [hex digits] of the model that was published when the watch was added"""
    image: str | None = None
    """Name of the object beside the watch that has the image"""


class WatchSummary(BaseModel):
    """A watch, and how far it has come."""

    model_config = ConfigDict(frozen=True)

    name: str
    notes: str
    example: WatchExample
    max_distance: int
    """Chips at most this far from the example are hits [bits, each part's times its weight]"""
    compare: Compare
    kind_weight: int | None
    """Null: as the model that is published at each run says"""
    filters: Filters
    created_at: AwareDatetime
    ran_at: AwareDatetime | None
    """When it ran last; null: not yet"""
    publication: int
    """Number of the newest publication that it has looked at; 0: none yet"""
    model_id: str
    """The model that the example's code is of"""
    hits: int
    """Number of hits so far"""


class WatchesAnswer(BaseModel):
    """All watches, in the order of their names."""

    configured: bool
    """False: the service was started without watches, so it can't show any"""
    watches: Sequence[WatchSummary]
    unreadable: Sequence[str]
    """Names of watches whose files aren't valid, or too large: `jobs.watch list` says what is wrong"""


class HitsParameters(BaseModel):
    """Which hits of a watch, as query parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    from_publication: int | None = Field(default=None, ge=0)
    """Only hits of this publication and later ones"""
    to_publication: int | None = Field(default=None, ge=0)
    """Only hits of this publication and earlier ones"""
    limit: int = Field(default=1000, ge=1, le=MAX_HITS)
    """Most hits in a page [1..2000]; a page may have fewer, even if there is another one"""
    after: Annotated[str | None, Field(pattern=r"^[0-9]{1,9}-[0-9]{1,12}$")] = None
    """Where the page begins: from the link `next`"""


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


class NightOfHits(BaseModel):
    """A publication that brought hits."""

    publication: int
    written_at: AwareDatetime
    """When the file of its hits was written"""


class HitsAnswer(HitCollection):
    """A page of a watch's hits: the newest publication first, the hits of one publication nearest first."""

    watch: str
    nights: Sequence[NightOfHits]
    """All publications that brought hits, the newest first; also those that the request leaves out"""
    numberReturned: int
    """Number of hits on this page"""
    links: Sequence[GetLink] = ()
    """The link to the next page; empty on the last page"""
