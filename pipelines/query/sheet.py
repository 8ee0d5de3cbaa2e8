"""A contact sheet: one HTML file that shows the example beside the chips of its answer."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

from PIL import Image

from pipelines.api.answers import Match, SearchAnswer
from pipelines.api.requests import SearchRequest
from pipelines.client import Client
from pipelines.errors import NotFoundError
from pipelines.query.answer_table import acquired, centre, chance_note, distance, part_distances
from pipelines.query.config import QueryConfig
from pipelines.query.search_request import read_image
from pipelines.runtime.threads import mapped_ahead

MOST_PICTURES = 200
"""How many chips of an answer are shown: the nearest ones."""

_SIDE = 256  # pixels: the longest side of a picture
_REQUESTS = 8  # thumbnails that are fetched at the same time

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #111827 }
h1 { font-size: 1.3rem; margin: 0 } .note { color: #6b7280; margin: .2rem 0 1.2rem }
main { display: grid; grid-template-columns: 210px 1fr; gap: 2rem; align-items: start }
aside { position: sticky; top: 1rem; max-height: 95vh; overflow-y: auto }
h2 { font-size: 1rem; margin: 0 0 .6rem }
section { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 1rem }
figure { margin: 0 0 .8rem; overflow-wrap: anywhere }
img, .gone { box-sizing: border-box; width: 100%; aspect-ratio: 1; object-fit: contain; background: #f3f4f6 }
.gone { display: flex; align-items: center; justify-content: center; color: #6b7280; font-size: 12px }
.beyond img { opacity: .45 }
.example img { border: 4px solid #1d4ed8 } .against img { border: 4px solid #dc2626 }
figcaption { font-size: 12px; color: #4b5563 } figcaption b { font-size: 14px; color: #111827 }
@media (max-width: 640px) { main { grid-template-columns: 1fr } aside { position: static } }
"""


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
        f"model {search.model_id}, {search.bits} bits; version {search.snapshot} of the table"
    )
    if chance := chance_note(answer):
        note += f"; {chance}"
    tiles = mapped_ahead(partial(_match, client), shown, _REQUESTS)
    return Sheet(note, _examples(client, config, search.snapshot), list(tiles))


def render(sheet: Sheet) -> str:
    """Return the page. All texts of the service are escaped, and the page may load nothing from elsewhere."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Scenehash: {escape(sheet.note)}</title><style>{_STYLE}</style></head>\n<body>"
        f'<h1>Search by example</h1><p class="note">{escape(sheet.note)}</p>\n'
        f"<main><aside><h2>Asked with</h2>{_figures(sheet.examples)}</aside>\n"
        f"<div><h2>What is most like it</h2><section>{_figures(sheet.matches)}</section></div></main>"
        "</body></html>\n"
    )


def _match(client: Client, match: Match) -> Tile:
    properties = match.properties
    bits = distance(match)
    return Tile(
        f"{properties.rank}. {bits} bit{'' if bits == '1' else 's'}",
        (
            "no nearer than chance" if properties.beyond_chance else "",
            part_distances(match),
            acquired(match),
            properties.collection,
            centre(match),
        ),
        _thumbnail(client, match.id),
        "match beyond" if properties.beyond_chance else "match",
        hover=f"{match.id}\n{properties.uri} {list(properties.window)}",
    )


def _examples(client: Client, config: QueryConfig, snapshot: int) -> list[Tile]:
    if config.image is not None:
        return [Tile("image", (config.image.name,), _picture(read_image(config.image)), "example")]
    if config.code is not None:
        return [Tile("code", (config.code,), None, "example")]
    if config.point is not None:
        return [_at_point(client, config.point, snapshot)]
    chips = [(chip_id, "example", "like") for chip_id in config.chip_id]
    chips += [(chip_id, "against", "unlike") for chip_id in config.negative_id]
    return list(
        mapped_ahead(
            lambda chip: Tile(chip[2], (chip[0],), _thumbnail(client, chip[0]), chip[1]), chips, _REQUESTS
        )
    )


def _at_point(client: Client, text: str, snapshot: int) -> Tile:
    """Return the tile of the chip at a point."""
    longitude, latitude = (float(part) for part in text.split(","))
    here = {"type": "Point", "coordinates": [longitude, latitude]}
    request = SearchRequest(point=(longitude, latitude), k=1, intersects=here, snapshot=snapshot)
    found = client.search(request).features
    picture = _thumbnail(client, found[0].id) if found else None
    return Tile("place", (f"longitude {longitude:g}", f"latitude {latitude:g}"), picture, "example")


def _thumbnail(client: Client, chip_id: str) -> str | None:
    try:
        return _picture(client.thumbnail(chip_id))
    except NotFoundError:
        return None


def _figures(tiles: Sequence[Tile]) -> str:
    return "\n".join(_figure(tile) for tile in tiles)


def _figure(tile: Tile) -> str:
    lines = "<br>".join(escape(line) for line in tile.lines if line)
    image = f'<img src="{tile.picture}" alt="">' if tile.picture else '<div class="gone">no picture</div>'
    return (
        f'<figure class="{tile.kind}" title="{escape(tile.hover)}">{image}'
        f"<figcaption><b>{escape(tile.heading)}</b><br>{lines}</figcaption></figure>"
    )


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
