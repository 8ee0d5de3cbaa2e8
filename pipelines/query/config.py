"""Configuration of jobs.query. It imports little, because `--help` reads this module."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from model.spec import Compare
from pipelines.api.filter_flags import FilterFlags
from pipelines.api.requests import MAX_K, MAX_KIND_WEIGHT, RankBy
from pipelines.config import LocalPath, StageConfig

EXPORTS = (".parquet", ".arrow", ".geojson", ".csv")
"""Endings of files that an answer can be exported to."""


def _has_a_known_ending(file: Path) -> Path:
    if file.suffix.lower() not in EXPORTS:
        raise ValueError(f"the file's name must end in {', '.join(EXPORTS)}")
    return file


ExportFile = Annotated[LocalPath, AfterValidator(_has_a_known_ending)]


class ServiceFlags(StageConfig):
    """Which service is asked, and which version of the table."""

    url: str = "http://127.0.0.1:8000"
    """Address of the query service"""
    key: SecretStr | None = None
    """API key, if the service needs one"""
    snapshot: int | None = Field(default=None, ge=0)
    """Version of the table to ask; empty: the one that is served"""


class ComparedFlags(StageConfig):
    """How codes are compared."""

    compare: Compare = "both"
    """Parts of the codes to compare: kind (what the labels say), look (what the pixels look like) or both"""
    kind_weight: int | None = Field(default=None, ge=0, le=MAX_KIND_WEIGHT)
    """How often each bit of kind counts if both parts are compared [0..8; empty: as the model says]"""


class ExampleFlags(ComparedFlags):
    """Exactly one of chip-id (once or more), point, code and image."""

    chip_id: tuple[str, ...] = ()
    """The example: the id of a chip of the table; given several times, the mean distance counts"""
    negative_id: tuple[str, ...] = ()
    """A chip to keep away from, with chip-id; may be given several times"""
    point: str | None = None
    """The example: the chip at this place, "longitude,latitude" [degrees]"""
    code: str | None = None
    """The example: a code [hex digits]"""
    image: LocalPath | None = None
    """The example: an image file, JPEG, PNG, JPEG 2000 or GeoTIFF"""

    @model_validator(mode="after")
    def _has_one_example(self) -> Self:
        examples = (self.chip_id or None, self.point, self.code, self.image)
        if sum(example is not None for example in examples) != 1:
            raise ValueError("give exactly one of chip_id, point, code and image")
        if self.negative_id and not self.chip_id:
            raise ValueError("negative_id goes with chip_id")
        return self


class QueryConfig(ServiceFlags, ExampleFlags, FilterFlags):
    """Search by example: exactly one of chip-id (once or more), point, code and image.

    What else can be asked has a word in front of its options, and a --help: grid (heat), changes, here (chips
    of a place), dates (of a chip's place), coverage, collections.
    """

    k: int | None = Field(default=None, ge=1, le=MAX_K)
    """How many of the nearest chips [1..10000; empty: 10, or all within max-distance]"""
    max_distance: int | None = Field(default=None, ge=0)
    """Only chips at most this far away [bits, each part's times its weight]"""
    rank_by: RankBy | None = None
    """For an image: values (bits that the network is sure of count more) or bits [empty: values]"""
    all: bool = False
    """All chips of the answer, however many; otherwise its first 1000"""
    open: bool = False
    """Show a contact sheet in the browser: the example's picture and those of the first 200 chips"""
    output: LocalPath | None = None
    """File for the contact sheet, with or without open; empty: with open, a temporary file"""
    export: ExportFile | None = None
    """File for all chips of the answer, however many: .parquet (GeoParquet), .arrow, .geojson or .csv"""

    @model_validator(mode="after")
    def _ranks_an_image(self) -> Self:
        if self.rank_by is not None and self.image is None:
            raise ValueError("rank_by goes with image")
        return self
