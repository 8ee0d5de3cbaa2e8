"""Pictures of chips: what a request may ask for, and which image formats there are."""

import hashlib
from enum import IntEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class PictureSize(IntEnum):
    """The longest side of a picture [pixels]."""

    TINY = 64
    SMALL = 128
    MEDIUM = 256
    LARGE = 512


class PictureContext(IntEnum):
    """How much a picture shows: the chip alone, or three times its width and height around it."""

    CHIP = 1
    SURROUNDINGS = 3


class PictureParameters(BaseModel):
    """Which picture of a chip is wanted. Pictures are never enlarged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[
        PictureSize | None,
        Field(description="longest side [pixels]; without it the chip's own pixels, at most 1024 a side"),
    ] = None
    context: Annotated[
        PictureContext,
        Field(description="1: the chip; 3: with its surroundings, the chip in the middle, black outside"),
    ] = PictureContext.CHIP
    version: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{16}$",
            description="as links of answers have it; the picture then may be kept for ever",
        ),
    ] = None


FORMATS = {"image/webp": "WEBP", "image/jpeg": "JPEG", "image/png": "PNG"}
"""Media types of pictures, the smallest pictures first, and Pillow's names for them."""


def picture_version(etag: str, cut: str) -> str:
    """Return what tells pictures of a chip apart: a hash of its object's etag and of its chip spec."""
    return hashlib.sha256(f"{etag}\0{cut}".encode()).hexdigest()[:16]


def accepted_format(accept: str | None) -> str | None:
    """Return the media type for an Accept header (RFC 9110, 12.5.1), None if it takes none of `FORMATS`.

    Of equal weights the type that is named counts before one of a wildcard; of several, the smallest. Who
    takes anything gets PNG, which has the exact pixels.
    """
    if not (accept or "").strip():
        return "image/png"
    weights = dict(_weight(part) for part in str(accept).split(","))
    ranked: list[tuple[float, bool, str]] = []
    for kind in reversed(FORMATS):
        named = kind in weights
        weight = weights.get(kind, weights.get("image/*", weights.get("*/*", 0.0)))
        if weight > 0:
            ranked.append((weight, named, kind))
    if not ranked:
        return None
    best = max(rank[:2] for rank in ranked)
    kinds = [kind for *rank, kind in ranked if tuple(rank) == best]
    return kinds[-1] if best[1] else kinds[0]


def _weight(part: str) -> tuple[str, float]:
    """Return a media type of an Accept header and its weight; a weight that makes no sense is 1."""
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    stated = next((each.partition("=")[2] for each in parameters if each.startswith("q=")), "1")
    try:
        return kind, min(max(float(stated), 0.0), 1.0)
    except ValueError:
        return kind, 1.0
