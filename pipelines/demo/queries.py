"""The demo's queries: three chips, a place and a picture; and their answers as tables and pictures."""

import io
import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipelines.api.answers import SearchAnswer
from pipelines.client import Client, SearchRequest
from pipelines.demo.browser import Question
from pipelines.demo.pictures import Answer, Hit
from pipelines.demo.world import chip_centre
from pipelines.imagery.pixels import PixelSpec, read_window
from pipelines.imagery.raster import open_raster
from pipelines.imagery.window import WindowTuple, chip_id
from pipelines.storage.store import Store

_COAST = (-15.0, 25.0)  # where the Sahara meets the Atlantic: longitude and latitude
_EXAMPLES = {
    "a desert chip": ("barren", (15, 23)),
    "an ice chip": ("snow_and_ice", (-40, 75)),
    "a rain forest chip": ("evergreen_broadleaf_forest", (-62, -4)),
}
"""By title, the class of a chip to ask with, and the place (longitude, latitude) near which it lies."""
_UPLOADED = ("croplands", (78, 22))


def ask(client: Client, labels: pa.Table, store: Store, console: Console) -> list[Answer]:
    """Search by chip id, by place and with an uploaded PNG; print each answer as a table."""
    held_out = labels.filter(pc.equal(labels["split"], "test")).to_pylist()
    answers = []
    for title, (label, place) in _EXAMPLES.items():
        example = _nearest(held_out, label, place)
        name = chip_id(example["uri"], _window(example))
        answer = client.search(SearchRequest(chip_ids=(name,)))
        answers.append(_show(client, console, title, client.thumbnail(name), answer))
    here = client.search(SearchRequest(point=_COAST, k=1)).features[0]
    coast = client.search(SearchRequest(point=_COAST, exclude_self=True))
    title = f"the coast at\n{_COAST[1]:.0f} north, {-_COAST[0]:.0f} west"
    answers.append(_show(client, console, title, client.thumbnail(here.id), coast))
    picture = _png(_nearest(held_out, *_UPLOADED), store)
    answers.append(_show(client, console, "an uploaded PNG", picture, client.search_image(picture)))
    return answers


def questions_to_click(labels: pa.Table, answers: list[Answer]) -> list[Question]:
    """Return the same questions for the page: where to click, and at last the picture that was uploaded."""
    held_out = labels.filter(pc.equal(labels["split"], "test")).to_pylist()
    places = []
    for label, place in _EXAMPLES.values():
        example = _nearest(held_out, label, place)
        places.append(chip_centre(example["uri"], _window(example)))
    names = ["desert", "ice", "rain_forest", "coast"]
    clicks = [Question(name, place) for name, place in zip(names, [*places, _COAST], strict=True)]
    return [*clicks, Question("picture", None, answers[-1].query)]


def _nearest(chips: list[dict[str, Any]], label: str, place: tuple[float, float]) -> dict[str, Any]:
    """Return the chip of a class that is nearest to a place (longitude, latitude in degrees)."""
    of_class = [chip for chip in chips if chip["label"] == label]
    return min(of_class, key=lambda chip: math.dist(chip_centre(chip["uri"], _window(chip)), place))


def _show(client: Client, console: Console, title: str, query: bytes, answer: SearchAnswer) -> Answer:
    """Print an answer as a table; return it with the thumbnails of its chips."""
    search, heading = answer.search, title.replace("\n", " ")
    chance = "" if search.chance_distance is None else f"chance gives {search.chance_distance:.0f} bits"
    table = Table(
        title=f"{heading}: {search.codes_compared} codes compared in {search.took_ms:.1f} ms", caption=chance
    )
    numbers = ("rank", "bits apart", "kind", "look")
    for column in (*numbers, "centre", "scene", "window"):
        table.add_column(column, justify="right" if column in numbers else "left")
    hits = []
    for match in answer.features:
        properties, bbox = match.properties, match.bbox
        centre = f"{(bbox[1] + bbox[3]) / 2:+.0f} {(bbox[0] + bbox[2]) / 2:+.0f}" if bbox else "nowhere"
        scene = properties.uri.rsplit("/", 1)[-1]
        table.add_row(
            str(properties.rank),
            f"{properties.distance:.0f}",
            str(properties.kind_distance),
            str(properties.look_distance),
            centre,
            scene,
            str(properties.window),
        )
        thumbnail = client.thumbnail(match.id)
        hits.append(Hit(thumbnail, properties.distance, properties.beyond_chance, bbox))
    console.print(table)
    return Answer(title, query, hits)


def _window(chip: dict[str, Any]) -> WindowTuple:
    window = chip["window"]
    return window["x"], window["y"], window["w"], window["h"]


def _png(chip: dict[str, Any], store: Store) -> bytes:
    """Return a chip's pixels as a PNG without georeference, as a user's own picture would be."""
    with open_raster(store.read(chip["uri"])) as dataset:
        chip_HWC = read_window(dataset, _window(chip), PixelSpec((1, 2, 3))).pixels_HWC
    buffer = io.BytesIO()
    Image.fromarray(chip_HWC).save(buffer, "PNG")
    return buffer.getvalue()
