"""Turns the command line's options into a request of the API: reads files, parses texts, checks values."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.api.requests import ImageLimits, SearchRequest
from pipelines.errors import ConfigError
from pipelines.query.config import QueryConfig

Request = TypeVar("Request", bound=BaseModel)

_FLAGS = {"chip_ids": "chip-id", "negative_ids": "negative-id", "collections": "collection"}


def search_request(config: QueryConfig) -> SearchRequest:
    """Return the request for a search without an image. Raises ConfigError if a value isn't valid."""
    example = {
        "chip_ids": config.chip_id or None,
        "negative_ids": config.negative_id or None,
        "point": None if config.point is None else _numbers("point", config.point, "longitude,latitude"),
        "code": config.code,
    }
    return _checked(SearchRequest, example | _limits(config))


def image_limits(config: QueryConfig) -> ImageLimits:
    """Return the limits of a search by image. Raises ConfigError if a value isn't valid."""
    return _checked(ImageLimits, _limits(config) | {"rank_by": config.rank_by})


def read_image(image: Path) -> bytes:
    """Return the bytes of the example image. Raises ConfigError if the file can't be read."""
    return _read("image", image)


def _limits(config: QueryConfig) -> dict[str, Any]:
    bbox = None if config.bbox is None else _numbers("bbox", config.bbox, "west,south,east,north")
    return {
        "bbox": bbox,
        "intersects": None if config.intersects is None else _read_geometry(config.intersects),
        "datetime": config.datetime,
        "collections": config.collection or None,
        "min_valid_fraction": config.min_valid_fraction,
        "k": config.k,
        "max_distance": config.max_distance,
        "compare": config.compare,
        "kind_weight": config.kind_weight,
        "snapshot": config.snapshot,
    }


def _checked(kind: type[Request], values: dict[str, Any]) -> Request:
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        problems = [
            f"{_flag(detail['loc'])}{detail['msg'].removeprefix('Value error, ')}"
            for detail in error.errors()
        ]
        raise ConfigError("; ".join(problems)) from error


def _flag(location: tuple[int | str, ...]) -> str:
    """Return the flag that a value came from, with a colon; "" if the error isn't about one value."""
    return f"{_FLAGS.get(str(location[0]), str(location[0]).replace('_', '-'))}: " if location else ""


def _numbers(name: str, text: str, order: str) -> tuple[float, ...]:
    parts = text.split(",")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != len(order.split(",")):
        raise ConfigError(f"{name} {text!r}: write {order} in degrees, e.g. --{name}={_EXAMPLES[name]}")
    return numbers


_EXAMPLES = {"point": "-104.99,39.74", "bbox": "-105.2,39.6,-104.8,39.9"}


def _read_geometry(file: Path) -> dict[str, Any]:
    """Return the geometry in a file: a GeoJSON geometry, a feature, or a collection with one feature."""
    try:
        content = json.loads(_read("intersects", file))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"intersects {file} holds no JSON: {error}") from error
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection":
        features = content.get("features")
        if not isinstance(features, list) or len(features) != 1:
            raise ConfigError(f"intersects {file} must hold one feature; join them into one, or choose one")
        content, kind = features[0], "Feature"
    geometry = content.get("geometry") if kind == "Feature" and isinstance(content, dict) else content
    if not isinstance(geometry, dict):
        raise ConfigError(f"intersects {file} holds no GeoJSON geometry")
    return geometry


def _read(name: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} {file} can't be read: {error.strerror}") from error
