"""What the ingress tells the deployment that makes pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.api.pictures import picture_version
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.window import WindowTuple

_RENDERING = "1"  # changes when the same request would give another picture


@dataclass(frozen=True)
class ChipSource:
    """Where a chip's pixels are."""

    uri: str
    window: WindowTuple
    """x, y, width, height [pixels]"""
    pixels: PixelSpec
    """How the chip's pixels were made from the object's values"""
    etag: str
    """The object's etag when it was encoded"""
    version: str
    """See `pipelines.api.pictures.picture_version`"""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "ChipSource":
        """Return where the pixels of a chip are, from its row (`pipelines.index.rows.ROW_COLUMNS`)."""
        version = picture_version(row["etag"], row["cut"])
        return cls(row["uri"], row["window"], ChipSpec.read(row["cut"]).pixels, row["etag"], version)


@dataclass(frozen=True)
class PictureForm:
    """Which picture of a chip."""

    size: int | None = None
    """Longest side [pixels]; None: as many as the chip has"""
    context: int = 1
    """How many times the chip's width and height are shown: 1 or 3"""
    media_type: str = "image/png"

    def tag(self, version: str) -> str:
        """Return the entity tag of a picture (RFC 9110, 8.8.3)."""
        kind = self.media_type.partition("/")[2]
        return f'"{version}-{self.size or "own"}-{self.context}-{kind}-{_RENDERING}"'
