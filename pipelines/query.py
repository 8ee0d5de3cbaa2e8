"""Ask a query service from the command line, and show its answer as a table."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from rich.console import Console
from rich.table import Table

from pipelines.api.answers import Match, SearchAnswer
from pipelines.api.requests import MAX_K
from pipelines.client import Client
from pipelines.config import StageConfig
from pipelines.errors import ConfigError


class QueryConfig(StageConfig):
    """Search by example: exactly one of chip-id, point, code and image."""

    url: str = "http://127.0.0.1:8000"
    """Address of the query service"""
    key: SecretStr | None = None
    """API key, where the service needs one"""
    chip_id: str | None = None
    """The example: a chip of the table"""
    point: str | None = Field(default=None, pattern=r"^[^,]+,[^,]+$")
    """The example: the chip at this place, "longitude,latitude" [degrees]"""
    code: str | None = None
    """The example: a code [hex digits]"""
    image: Path | None = None
    """The example: an image file, JPEG, PNG, JPEG 2000 or GeoTIFF"""
    k: int | None = Field(default=None, ge=1, le=MAX_K)
    """How many of the nearest chips [1..10000; empty: 10, or all within max-distance]"""
    max_distance: int | None = Field(default=None, ge=0)
    """Only chips at most this far away [bits]"""
    geojson: bool = False
    """Print the answer as GeoJSON instead of a table"""

    @model_validator(mode="after")
    def _has_one_example(self) -> Self:
        if sum(example is not None for example in (self.chip_id, self.point, self.code, self.image)) != 1:
            raise ValueError("give exactly one of chip_id, point, code and image")
        return self


def run_query(config: QueryConfig) -> SearchAnswer:
    """Ask the service. Raises QueryError where it gives no answer, ConfigError on an unreadable example."""
    key = None if config.key is None else config.key.get_secret_value()
    with Client(config.url, key) as client:
        if config.image is not None:
            return client.search_image(_read(config.image), k=config.k, max_distance=config.max_distance)
        return client.search(
            chip_id=config.chip_id,
            code=config.code,
            point=None if config.point is None else _parse_point(config.point),
            k=config.k,
            max_distance=config.max_distance,
        )


def print_answer(answer: SearchAnswer, console: Console) -> None:
    """Print the answer as a table, one line a chip."""
    search = answer.search
    caption = (
        f"{answer.numberReturned} of {answer.numberMatched} chips, "
        f"{search.ties_at_cutoff} more tied with the last; model {search.model_id}, "
        f"version {search.snapshot}; {search.codes_compared} codes in {search.took_ms} ms"
    )
    table = Table("rank", "bits", "chip", "acquired", "collection", "lon, lat", "source", caption=caption)
    for match in answer.features:
        acquired = match.properties.datetime
        table.add_row(
            str(match.properties.rank),
            str(match.properties.distance),
            match.id,
            f"{acquired:%Y-%m-%d %H:%M}" if acquired else "",
            match.properties.collection,
            _centre(match),
            match.properties.uri,
        )
    console.print(table)


def _centre(match: Match) -> str:
    """Return the centre of the chip's box; a box over the antimeridian has west > east."""
    if match.bbox is None:
        return ""
    west, south, east, north = match.bbox
    longitude = (west + (east - west) % 360 / 2 + 180) % 360 - 180
    return f"{longitude:.4f}, {(south + north) / 2:.4f}"


def _read(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        raise ConfigError(f"image {image} can't be read: {error.strerror}") from error


def _parse_point(point: str) -> tuple[float, float]:
    longitude, latitude = point.split(",")
    try:
        return float(longitude), float(latitude)
    except ValueError as error:
        raise ConfigError(
            f"point {point!r}: write longitude,latitude in degrees, e.g. -104.99,39.74"
        ) from error
