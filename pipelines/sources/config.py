"""The config of an archive of imagery: where its objects are listed, and how chips are made of them."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from pipelines.config import StageConfig, Uri


class PixelConfig(StageConfig):
    """How values become pixels, if the archive differs from the imagery that the model was trained on."""

    bands: tuple[int, ...] = ()
    """Raster bands in the order that the network takes, from 1; empty: the model's"""
    low: tuple[float, ...] = ()
    """Source value per band that becomes 0; empty: the model's"""
    high: tuple[float, ...] = ()
    """Source value per band that becomes 255; empty: the model's"""
    percentiles: tuple[float, float] | None = None
    """In place of low and high: percentiles of each scene's own valid values, e.g. 2,98 [0..100]"""
    nodata: float | None = None
    """Source value that means no data; empty: what each file says"""
    mask: bool = True
    """Let alpha bands and masks make pixels invalid"""

    @model_validator(mode="after")
    def _is_one_range(self) -> Self:
        if self.percentiles and (self.low or self.high):
            raise ValueError("give low and high, or percentiles: not both")
        if self.percentiles and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles must rise within 0..100, not {self.percentiles}")
        if len(self.low) != len(self.high):
            raise ValueError("low and high must have as many entries, one a band")
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if min(self.bands, default=1) < 1:
            raise ValueError(f"bands are numbered from 1, not {self.bands}")
        return self


class SearchConfig(StageConfig):
    """Which items a STAC API is asked for; empty: all."""

    collections: tuple[str, ...] = ()
    """Collections to look in, by id"""
    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north [degrees]"""
    datetime: str | None = None
    """A time, or two with / between, each ISO 8601 or `..`"""
    query: tuple[str, ...] = ()
    """Conditions of the Query extension, such as `eo:cloud_cover<10`"""
    filter: str | None = None
    """Condition of the Filter extension, CQL2 text"""
    max_items: int | None = Field(None, ge=1)
    """Items at most"""


_COLLECTION_PIXELS = """'{"landsat": {"bands": [4, 3, 2], "low": [0, 0, 0], "high": [3000, 3000, 3000]}}'"""


class ArchiveConfig(StageConfig):
    """The archive that a night encodes, or that an unlabelled training samples."""

    source: Uri
    """Archive: prefix below which the imagery lies (s3:// or a folder), a single image, manifest (.parquet, \
.csv), S3 Inventory (its manifest.json), STAC (.json), or a STAC API's root (https://)"""
    asset: str | None = None
    """STAC: key of the asset that is the image; empty: the only one, or the only one with the role data"""
    search: SearchConfig = SearchConfig()
    since: AwareDatetime | None = None
    """Only objects of this time or later, ISO 8601 with a zone"""
    until: AwareDatetime | None = None
    """Only objects before this time"""
    by: Literal["acquisition", "modified"] = "acquisition"
    """Time that since and until mean"""
    collection: str = "default"
    """Collection of objects for which the source names none"""
    suffixes: tuple[str, ...] = (".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png")
    """Endings of the objects to encode, lower case; others are passed over"""
    chip_size: int = Field(256, ge=8, le=4096)
    """Side of a chip [pixels, after resampling if resolution is set]"""
    stride: int | None = Field(None, ge=1)
    """From one chip to the next [the same pixels]; empty: chip_size"""
    resolution: float | None = Field(None, gt=0)
    """Ground size of a chip's pixels, to resample to [metres]; empty: the source's own"""
    edges: Literal["drop", "shift", "pad"] = "shift"
    """Partial chips at the right and lower edge: none, moved inside over others, or filled up with nodata"""
    pixels: PixelConfig = PixelConfig()
    collection_pixels: dict[str, PixelConfig] = Field(default_factory=dict, examples=[_COLLECTION_PIXELS])
    """In place of pixels, by name of the collection (as a flag: JSON); what one leaves open is the model's"""
    min_valid_fraction: float = Field(0.5, ge=0, le=1)
    """Least share of a chip that isn't nodata [0..1]"""

    @field_validator("collection_pixels", mode="before")
    @classmethod
    def _are_by_collection(cls, given: object) -> object:
        values = given.values() if isinstance(given, Mapping) else [None]
        if all(isinstance(pixels, Mapping | PixelConfig) for pixels in values):
            return given
        raise ValueError(f"write it as {_COLLECTION_PIXELS}, not as {given!r:.100}")

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.since and self.until and self.since >= self.until:
            raise ValueError("since must be before until")
        return self
