"""Filters as flags of a command line: the same names and the same checks in every job that has filters."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from pipelines.config import LocalPath, StageConfig
from pipelines.errors import ConfigError

Request = TypeVar("Request", bound=BaseModel)

_FLAGS = {"chip_ids": "chip-id", "negative_ids": "negative-id", "collections": "collection"}
_BOX = "-105.2,39.6,-104.8,39.9"
_EXAMPLES = {"point": "-104.99,39.74", "bbox": _BOX, "view": _BOX}


class FilterFlags(StageConfig):
    """Which chips count: those that pass all filters."""

    bbox: str | None = None
    """Only chips that touch this box, "west,south,east,north" [degrees]; west > east: over 180 degrees"""
    intersects: LocalPath | None = None
    """Only chips whose footprint touches the geometry in this file: GeoJSON, a geometry or one feature"""
    datetime: str | None = None
    """Only chips acquired then: a time (RFC 3339) or an interval "start/end", with ".." for an open end"""
    collection: tuple[str, ...] = ()
    """Only chips of this collection; may be given several times"""
    min_valid_fraction: float | None = Field(default=None, ge=0, le=1)
    """Only chips with at least this share of valid pixels [0..1]"""


def filter_values(flags: FilterFlags) -> dict[str, Any]:
    """Return the values for the API's `Filters`; None if one isn't given.

    Raises ConfigError if a text isn't numbers, or a file can't be read or holds no geometry.
    """
    bbox = None if flags.bbox is None else numbers("bbox", flags.bbox, "west,south,east,north")
    return {
        "bbox": bbox,
        "intersects": None if flags.intersects is None else _read_geometry(flags.intersects),
        "datetime": flags.datetime,
        "collections": flags.collection or None,
        "min_valid_fraction": flags.min_valid_fraction,
    }


def checked(kind: type[Request], values: dict[str, Any]) -> Request:
    """Return a request of the values that are given. Raises ConfigError that names the flag of a bad one."""
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


def numbers(name: str, text: str, order: str) -> tuple[float, ...]:
    """Return the numbers of "a,b,...", as many as ``order`` names. Raises ConfigError."""
    parts = text.split(",")
    try:
        found = tuple(float(part) for part in parts)
    except ValueError:
        found = ()
    if len(found) != len(order.split(",")):
        raise ConfigError(f"{name} {text!r}: write {order} in degrees, e.g. --{name}={_EXAMPLES[name]}")
    return found


def _read_geometry(file: Path) -> dict[str, Any]:
    """Return the geometry in a file: a GeoJSON geometry, a feature, or a collection with one feature."""
    try:
        content = json.loads(read_file("intersects", file))
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


def read_file(name: str, file: Path) -> bytes:
    """Return the bytes of the file that a flag names. Raises ConfigError if it can't be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} {file} can't be read: {error.strerror}") from error
