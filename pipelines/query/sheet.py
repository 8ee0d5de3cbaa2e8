"""A contact sheet: one HTML file that shows the example beside the chips of its answer."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from pipelines.api.answers import ChipProperties, Match, SearchAnswer
from pipelines.api.requests import SearchRequest
from pipelines.client import Client
from pipelines.errors import NotFoundError
from pipelines.query.answer_table import acquired, centre, chance_note, distance, part_distances
from pipelines.query.config import QueryConfig
from pipelines.query.search_request import read_image
from pipelines.runtime.threads import mapped_ahead

MOST_PICTURES = 200
"""How many chips of an answer are shown: the nearest ones."""

_SIDE: Literal[256] = 256  # pixels: the longest side of a picture
_REQUESTS = 8  # thumbnails that are fetched at the same time

_TEMPLATES = Environment(
    loader=PackageLoader("pipelines.query"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)


@dataclass(frozen=True)
class Tile:
    """A picture and the text under it."""

    heading: str
    lines: Sequence[str]
    picture: str | None
    """Data URI (RFC 2397); None if there is no picture"""
    kind: str = "match"
    """CSS classes: ``match``; ``match beyond``, no nearer than by chance; ``example``; ``against``, a
    negative example"""
    hover: str = ""


@dataclass(frozen=True)
class Sheet:
    """The content of the page."""

    note: str
    examples: Sequence[Tile]
    matches: Sequence[Tile]


def make_sheet(client: Client, config: QueryConfig, answer: SearchAnswer) -> Sheet:
    """Fetch the pictures of an answer and of its examples, several at the same time.

    A chip whose source is gone gets no picture. Raises QueryError if the service gives no answer.
    """
    search, shown = answer.search, answer.features[:MOST_PICTURES]
    note = (
        f"{len(shown)} of {answer.numberMatched} chips, nearest first; "
        f"{search.ties_at_cutoff} more tied with the last of the answer; "
        f"model {search.model_id}, {search.bits} bits; version {search.snapshot} of the table"
    )
    if chance := chance_note(answer):
        note += f"; {chance}"
    same = Counter(match.properties.distance for match in answer.features)
    tiles = mapped_ahead(
        lambda match: _match(client, match, same[match.properties.distance]), shown, _REQUESTS
    )
    return Sheet(note, _examples(client, config, search.snapshot), list(tiles))


def render(sheet: Sheet) -> str:
    """Return the page. All texts of the service are escaped, and the page may load nothing from elsewhere."""
    return _TEMPLATES.get_template("sheet.html").render(sheet=sheet)


def _match(client: Client, match: Match, at_distance: int) -> Tile:
    """Return a chip's tile. ``at_distance``: how many chips of the answer are as far from the example."""
    properties = match.properties
    bits = distance(match)
    return Tile(
        f"{properties.rank}. {bits} bit{'' if bits == '1' else 's'}",
        (
            f"tied: one of {at_distance} at this distance" if at_distance > 1 else "",
            "no nearer than chance" if properties.beyond_chance else "",
            part_distances(match),
            *_origin(properties),
            ", ".join(centre(match.bbox) or ()),
        ),
        _thumbnail(client, match.id),
        "match beyond" if properties.beyond_chance else "match",
        hover=_hover(match.id, properties),
    )


def _origin(properties: ChipProperties) -> tuple[str, str, str]:
    """Return the name of a chip's file, the time of its acquisition, and its collection."""
    name = properties.uri.rstrip("/").rpartition("/")[2]
    return name, acquired(properties.datetime), properties.collection


def _hover(chip_id: str, properties: ChipProperties) -> str:
    return f"{chip_id}\n{properties.uri} {list(properties.window)}"


def _examples(client: Client, config: QueryConfig, snapshot: int) -> list[Tile]:
    if config.image is not None:
        return [Tile("image", (config.image.name,), _picture(read_image(config.image)), "example")]
    if config.code is not None:
        return [Tile("code", (config.code,), None, "example")]
    if config.point is not None:
        return [_at_point(client, config.point, snapshot)]
    chips = [(chip_id, "example", "like") for chip_id in config.chip_id]
    chips += [(chip_id, "against", "unlike") for chip_id in config.negative_id]
    return list(mapped_ahead(lambda chip: _example(client, *chip, snapshot), chips, _REQUESTS))


def _example(client: Client, chip_id: str, kind: str, heading: str, snapshot: int) -> Tile:
    properties = client.chip(chip_id, snapshot).properties
    lines = (*_origin(properties), chip_id)
    return Tile(heading, lines, _thumbnail(client, chip_id), kind, hover=_hover(chip_id, properties))


def _at_point(client: Client, text: str, snapshot: int) -> Tile:
    """Return the tile of the chip at a point."""
    longitude, latitude = (float(part) for part in text.split(","))
    here = {"type": "Point", "coordinates": [longitude, latitude]}
    request = SearchRequest(point=(longitude, latitude), k=1, intersects=here, snapshot=snapshot)
    found = client.search(request).features
    lines: tuple[str, ...] = (f"longitude {longitude:g}", f"latitude {latitude:g}")
    if not found:
        return Tile("place", lines, None, "example")
    lines += _origin(found[0].properties)
    hover = _hover(found[0].id, found[0].properties)
    return Tile("place", lines, _thumbnail(client, found[0].id), "example", hover=hover)


def _thumbnail(client: Client, chip_id: str) -> str | None:
    try:
        return _picture(client.thumbnail(chip_id, _SIDE))
    except NotFoundError:
        return None


def _picture(content: bytes) -> str | None:
    """Return an image as a data URI, made small; None if it can't be decoded."""
    jpeg = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as image:
            small = image.convert("RGB")
        small.thumbnail((_SIDE, _SIDE))
        small.save(jpeg, "JPEG", quality=85)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"
