"""Configuration of `jobs.watch add | list | run | remove`."""

from typing import Self

from pydantic import Field, model_validator

from model.spec import Compare
from pipelines.api.filter_flags import FilterFlags
from pipelines.api.requests import MAX_EXAMPLES, MAX_KIND_WEIGHT
from pipelines.api.watches import NAME
from pipelines.config import LocalPath, StageConfig, StoreConfig, Uri


class ListWatchesConfig(StageConfig):
    """Show all watches: their examples, how far they have come, their hits so far."""

    watches: Uri
    """Where the watches are kept: URI of a folder"""
    store: StoreConfig = StoreConfig()


class RemoveWatchConfig(ListWatchesConfig):
    """Remove a watch; the files of its hits stay."""

    name: str = Field(pattern=NAME)
    """The watch's name"""


class RunWatchesConfig(ListWatchesConfig):
    """Write what is new near the watches' examples since their last run."""

    output: Uri
    """URI of a folder; hits go to `<output>/<watch>/<publication>.geojson` and `.jsonl`"""
    name: str | None = Field(None, pattern=NAME)
    """Run only this watch; empty: all watches"""


class AddWatchConfig(ListWatchesConfig, FilterFlags):
    """Save a watch for what is published from now on near an example: chip-id, code or image."""

    name: str = Field(pattern=NAME)
    """A name for the watch: a to z, 0 to 9, - and _"""
    table: Uri
    """URI of the code table to watch"""
    max_distance: int = Field(ge=0)
    """Chips at most this far from the example are hits; with several examples the mean distance counts [bits,
    each part's times its weight]"""
    compare: Compare = "both"
    """Parts of the codes to compare: kind (what the labels say), look (what the pixels look like) or both"""
    kind_weight: int | None = Field(None, ge=0, le=MAX_KIND_WEIGHT)
    """How often each bit of kind counts where both are compared [0..8; empty: as the model says]"""
    chip_id: tuple[str, ...] = Field((), max_length=MAX_EXAMPLES)
    """The example: the id of a chip of the table, which is no hit itself; may be given several times"""
    code: str | None = Field(None, pattern=r"^([0-9a-fA-F]{2})+$")
    """The example: a code of the model that is published [hex digits]"""
    image: LocalPath | None = None
    """The example: an image file, JPEG, PNG, JPEG 2000 or GeoTIFF"""
    notes: str = ""
    """What the watch is for"""
    from_start: bool = False
    """Report in the first run what is published already"""
    replace: bool = False
    """Replace a watch of the same name, and start anew"""

    @model_validator(mode="after")
    def _has_one_example(self) -> Self:
        if bool(self.chip_id) + (self.code is not None) + (self.image is not None) != 1:
            raise ValueError("give exactly one of chip_id, code and image")
        return self
