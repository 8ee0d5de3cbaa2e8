"""The demo's questions: which chips, which place, which picture; and the answers as table and pictures."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipelines.client import Client
from pipelines.demo.pictures import Answer, Hit
from pipelines.imagery import chip_id, open_raster, read_window
from pipelines.serve.api import SearchAnswer
from pipelines.storage import Store

_COAST = (-70.5, -19.5)  # the Atacama's coast, longitude and latitude
_EXAMPLES = {
    "a desert chip": "barren",
    "an ice chip": "snow_and_ice",
    "a rain forest chip": "evergreen_broadleaf_forest",
}
_UPLOADED = "grasslands"


def ask(client: Client, labels: pa.Table, store: Store, console: Console) -> list[Answer]:
    """Ask by chip id, by place and with an uploaded PNG; print each answer as a table."""
    held_out = labels.filter(pa.compute.equal(labels["split"], "test")).to_pylist()
    answers = []
    for title, label in _EXAMPLES.items():
        example = next(chip for chip in held_out if chip["label"] == label)
        name = chip_id(example["uri"], _window(example))
        answers.append(_show(client, console, title, client.thumbnail(name), client.search(chip_id=name)))
    coast = client.search(point=_COAST, k=11)
    place = f"the coast at {_COAST[1]:.1f}, {_COAST[0]:.1f}"
    answers.append(_show(client, console, place, client.thumbnail(coast.features[0].id), coast))
    picture = _png(next(chip for chip in held_out if chip["label"] == _UPLOADED), store)
    answers.append(_show(client, console, "an uploaded PNG", picture, client.search_image(picture)))
    return answers


def _show(client: Client, console: Console, title: str, query: bytes, answer: SearchAnswer) -> Answer:
    search = answer.search
    table = Table(title=f"{title}: {search.codes_compared} codes compared in {search.took_ms:.1f} ms")
    for column in ("rank", "bits apart", "centre", "scene", "window"):
        table.add_column(column, justify="right" if column in ("rank", "bits apart") else "left")
    hits = []
    for match in answer.features:
        properties, bbox = match.properties, match.bbox
        centre = f"{(bbox[1] + bbox[3]) / 2:+.0f} {(bbox[0] + bbox[2]) / 2:+.0f}" if bbox else "nowhere"
        scene = properties.uri.rsplit("/", 1)[-1]
        table.add_row(str(properties.rank), str(properties.distance), centre, scene, str(properties.window))
        hits.append(Hit(client.thumbnail(match.id), properties.distance, bbox))
    console.print(table)
    return Answer(title, query, hits)


def _window(chip: dict[str, dict[str, int]]) -> tuple[int, int, int, int]:
    window = chip["window"]
    return window["x"], window["y"], window["w"], window["h"]


def _png(chip: dict[str, object], store: Store) -> bytes:
    """Return a chip's pixels as a user's own picture would come: without any georeference."""
    with open_raster(store.read(str(chip["uri"]))) as dataset:
        chip_HWC: np.ndarray = read_window(dataset, _window(chip), (1, 2, 3))  # type: ignore[arg-type]
    buffer = io.BytesIO()
    Image.fromarray(chip_HWC).save(buffer, "PNG")
    return buffer.getvalue()
