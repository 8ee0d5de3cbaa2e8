"""Turns the command line's options into a request of the API: reads files, parses texts, checks values."""

from pathlib import Path
from typing import Any

from pipelines.api.filter_flags import checked, filter_values, numbers, read_file
from pipelines.api.requests import ImageLimits, SearchRequest
from pipelines.query.config import ExampleFlags, QueryConfig


def search_request(config: QueryConfig) -> SearchRequest:
    """Return the request for a search without an image. Raises ConfigError if a value isn't valid."""
    return checked(SearchRequest, example_values(config) | _limits(config))


def image_limits(config: QueryConfig) -> ImageLimits:
    """Return the limits of a search by image. Raises ConfigError if a value isn't valid."""
    return checked(ImageLimits, _limits(config) | {"rank_by": config.rank_by})


def example_values(config: ExampleFlags) -> dict[str, Any]:
    """Return the values for the API's `Example`, if it isn't an image; None if one isn't given."""
    return {
        "chip_ids": config.chip_id or None,
        "negative_ids": config.negative_id or None,
        "point": None if config.point is None else numbers("point", config.point, "longitude,latitude"),
        "code": config.code,
    }


def read_image(image: Path) -> bytes:
    """Return the bytes of the example image. Raises ConfigError if the file can't be read."""
    return read_file("image", image)


def _limits(config: QueryConfig) -> dict[str, Any]:
    return filter_values(config) | {
        "k": config.k,
        "max_distance": config.max_distance,
        "compare": config.compare,
        "kind_weight": config.kind_weight,
        "snapshot": config.snapshot,
    }
