"""The demo's pictures: a contact sheet of queries and answers, and a map of the hits."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_TILE, _GAP, _CAPTION, _TITLE = 132, 10, 20, 190  # pixels
_BACKGROUND, _TEXT, _FAINT = "#14171a", "#f2f2f2", "#9aa4ad"
_COLOURS = ("#ffb000", "#5ad1ff", "#7be36a", "#ff5c8a", "#c9a0ff")
_MAP_SIZE = (1800, 900)
_BRIGHTER = [round(255 * (value / 255) ** 0.7) for value in range(256)] * 3  # a table for each band


@dataclass(frozen=True)
class Hit:
    """A chip of an answer, as it is drawn."""

    thumbnail: bytes
    """PNG."""
    distance: int | float
    """In bits, each part's distance times its weight."""
    beyond_chance: bool
    """Whether it is no nearer than an unrelated chip may be."""
    bbox: tuple[float, float, float, float] | None
    """west, south, east, north in degrees."""


@dataclass(frozen=True)
class Answer:
    """One query and its hits, nearest first."""

    title: str
    query: bytes
    """Picture of the query: PNG."""
    hits: Sequence[Hit]


def contact_sheet(answers: Sequence[Answer]) -> bytes:
    """Draw a row for each query: its picture, then its hits with their distances; return a PNG."""
    columns = 1 + max(len(answer.hits) for answer in answers)
    step_x, step_y = _TILE + _GAP, _TILE + _CAPTION + _GAP
    sheet = Image.new(
        "RGB", (_TITLE + columns * step_x + 2 * _GAP, len(answers) * step_y + _GAP), _BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    for row, answer in enumerate(answers):
        top, colour = _GAP + row * step_y, _COLOURS[row % len(_COLOURS)]
        draw.multiline_text((_GAP, top + 40), answer.title, colour, _font(19), spacing=6)
        pictures = [answer.query, *(hit.thumbnail for hit in answer.hits)]
        captions = ["query", *map(_caption, answer.hits)]
        for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            left = _TITLE + column * step_x + (0 if column == 0 else 2 * _GAP)
            sheet.paste(_tile(picture), (left, top))
            if column == 0:
                draw.rectangle(
                    (left - 3, top - 3, left + _TILE + 2, top + _TILE + 2), outline=colour, width=3
                )
            draw.text((left, top + _TILE + 3), caption, _TEXT if column else _FAINT, _font(13))
    return _png(sheet)


def _caption(hit: Hit) -> str:
    bits = f"{hit.distance:.0f} {'bit' if hit.distance == 1 else 'bits'}"
    return f"{bits}, as by chance" if hit.beyond_chance else bits


def world_map(background: Image.Image, answers: Sequence[Answer]) -> bytes:
    """Mark every hit on an equirectangular map of the world, in a colour for each query; return a PNG."""
    world = background.resize(_MAP_SIZE, Image.Resampling.LANCZOS).point(lambda value: int(value * 0.75))
    draw = ImageDraw.Draw(world)
    legend_top = _MAP_SIZE[1] - 30 * len(answers) - 16
    draw.rectangle((0, legend_top - 6, 360, _MAP_SIZE[1]), fill=_BACKGROUND)
    for row, answer in enumerate(answers):
        colour = _COLOURS[row % len(_COLOURS)]
        for hit in answer.hits:
            if hit.bbox:
                west, south, east, north = hit.bbox
                corners = (*_to_map(west, north), *_to_map(east, south))
                draw.rectangle(_grown(corners, 2), outline="black", width=1)
                draw.rectangle(_grown(corners, 1), outline=colour, width=3)
        top = legend_top + 30 * row
        draw.rectangle((14, top + 4, 30, top + 20), fill=colour, outline="black")
        draw.text(
            (40, top), answer.title.replace("\n", " "), _TEXT, _font(17), stroke_width=2, stroke_fill="black"
        )
    return _png(world)


def _to_map(longitude: float, latitude: float) -> tuple[float, float]:
    width, height = _MAP_SIZE
    return (longitude + 180) / 360 * width, (90 - latitude) / 180 * height


def _grown(box: tuple[float, float, float, float], by: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left - by, top - by, right + by, bottom + by


def _tile(picture: bytes) -> Image.Image:
    """Return a picture as it is drawn: brighter, by the same curve for all, as forests are nearly black."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    return image.resize((_TILE, _TILE), Image.Resampling.BICUBIC).point(_BRIGHTER)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
