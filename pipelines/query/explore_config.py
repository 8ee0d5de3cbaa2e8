"""Configuration of jobs.query grid | changes | here | dates | coverage | collections: a word, a config."""

from typing import TypeAlias

from pydantic import Field

from pipelines.api.explore import MAX_CELLS, MAX_COVERAGE, MAX_HERE, MAX_PAIRS
from pipelines.api.filter_flags import FilterFlags
from pipelines.query.config import ComparedFlags, ExampleFlags, ExportFile, ServiceFlags


class GridConfig(ServiceFlags, ExampleFlags, FilterFlags):
    """Heat: how many chips lie in each cell of a view, and the distance of the nearest of them."""

    view: str | None = None
    """What is divided into cells, "west,south,east,north" [degrees]; empty: the whole world"""
    width: int | None = Field(default=None, ge=1, le=MAX_CELLS)
    """Columns of cells [1..512; empty: 256]"""
    height: int | None = Field(default=None, ge=1, le=MAX_CELLS)
    """Rows of cells [1..512; empty: 128]"""
    max_distance: int | None = None
    """Only chips at most this far away [bits, each part's times its weight]; below 0 only with negative-id"""


class ChangesConfig(ServiceFlags, ComparedFlags, FilterFlags):
    """Pairs of chips of one place and two dates, the most different first. Both pass the filters."""

    before: str | None = None
    """When the earlier chip was acquired: a time or an interval, as datetime"""
    after: str | None = None
    """When the later chip was acquired: a time or an interval, as datetime"""
    min_distance: int | None = Field(default=None, ge=0)
    """Only pairs at least this different [bits, each part's times its weight]"""
    k: int | None = Field(default=None, ge=1, le=MAX_PAIRS)
    """How many of the most different pairs [1..10000; empty: 100]"""


class HereConfig(ServiceFlags, FilterFlags):
    """Chips that lie in a place, which bbox or intersects names, in the order of their ids."""

    limit: int | None = Field(default=None, ge=1, le=MAX_HERE)
    """How many of them [1..2000; empty: 100]"""
    all: bool = False
    """All of them, however many"""
    export: ExportFile | None = None
    """File for all of them, however many: .parquet (GeoParquet), .arrow, .geojson or .csv"""


class DatesConfig(ServiceFlags, ComparedFlags):
    """Chips of other scenes at one chip's place, and the chip itself, in the order of time."""

    chip_id: str = Field(min_length=1)
    """The chip, by its id"""
    collection: tuple[str, ...] = ()
    """Only chips of this collection; may be given several times"""
    limit: int | None = Field(default=None, ge=1, le=MAX_HERE)
    """How many of them: the last ones in the order of time [1..2000; empty: 100]"""


class CoverageConfig(ServiceFlags):
    """How many chips lie where, of the whole table."""

    bbox: str | None = None
    """Only cells that touch this box, "west,south,east,north" [degrees]; empty: the whole world"""
    width: int | None = Field(default=None, ge=1, le=MAX_COVERAGE)
    """Most columns of cells over the box [1..1024; empty: 512]"""
    height: int | None = Field(default=None, ge=1, le=MAX_COVERAGE)
    """Most rows of cells over the box [1..1024; empty: 256]"""


class CollectionsConfig(ServiceFlags):
    """What each collection spans, in place and time, and how many chips it has."""


ExploreConfig: TypeAlias = (
    GridConfig | ChangesConfig | HereConfig | DatesConfig | CoverageConfig | CollectionsConfig
)
WORDS: dict[str, type[ExploreConfig]] = {
    "grid": GridConfig,
    "changes": ChangesConfig,
    "here": HereConfig,
    "dates": DatesConfig,
    "coverage": CoverageConfig,
    "collections": CollectionsConfig,
}
"""What jobs.query can be asked besides a search: the first word of its command line."""
