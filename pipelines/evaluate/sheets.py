"""Contact sheets: the best and the worst queries, what is nearest to them, and pictures of those chips.

Shapes: N chips, Q queries, Y bytes a code, C classes, H x W pixels, B bands.
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from model.codes import Codes, hamming_distances
from model.retrieval import Labels, relevant_rows
from pipelines.chips import read_chips
from pipelines.evaluate.figures import Example, ExampleChip, Neighbour
from pipelines.manifest import SIDES
from pipelines.pixels import PixelSpec
from pipelines.storage import Store

QUERIES = 6
"""Rows of a sheet."""
NEAREST = 8
"""Chips beside each query."""
SIDE = 96
"""Pixels of a thumbnail, at most."""

_PER_CLASS = 2  # queries of one class (or one set of classes): else the hardest class fills the sheet
_DECIMALS = 6  # of an average precision; below lies the rounding of its sums


def choose_queries(average_precision_Q: NDArray[np.float64], labels_Q: Labels, *, best: bool) -> list[int]:
    """Return the queries of highest (or lowest) average precision, two of a class at most; ties by row."""
    sign = -1 if best else 1
    order_Q = np.argsort(sign * np.round(average_precision_Q, _DECIMALS), kind="stable")  # NaN last
    chosen: list[int] = []
    of_class: Counter[bytes] = Counter()
    for query in order_Q.tolist():
        if np.isnan(average_precision_Q[query]) or len(chosen) == QUERIES:
            break
        label = labels_Q[query].tobytes()
        if of_class[label] < _PER_CLASS:
            of_class[label] += 1
            chosen.append(query)
    return chosen


def make_examples(
    queries: Iterable[int],
    average_precision_N: NDArray[np.float64],
    codes_NY: Codes,
    labels_N: Labels,
    chips: pa.Table,
) -> list[Example]:
    """Return each query with the codes nearest to it, its own left out; ``chips`` has N rows too."""
    examples = []
    for query in queries:
        distances_N = hamming_distances(codes_NY[query : query + 1], codes_NY)[0]
        distances_N[query] = codes_NY.shape[1] * 8 + 1  # last
        nearest = np.argsort(distances_N, kind="stable")[: min(NEAREST, len(codes_NY) - 1)]
        right_N = relevant_rows(labels_N, labels_N[query])
        neighbours = [
            Neighbour(distance=int(distances_N[row]), right=bool(right_N[row]), **_describe(chips, row))
            for row in nearest.tolist()
        ]
        examples.append(
            Example(
                query=ExampleChip(**_describe(chips, query)),
                average_precision=float(average_precision_N[query]),
                nearest=neighbours,
            )
        )
    return examples


def _describe(chips: pa.Table, position: int) -> dict[str, Any]:
    row: dict[str, Any] = chips.slice(position, 1).select(["row", "uri", "window", "labels"]).to_pylist()[0]
    window = row["window"]
    return row | {"window": window and tuple(window[side] for side in SIDES)}


def read_thumbnails(
    examples: Iterable[Example], chips: pa.Table, pixels: PixelSpec, store: Store
) -> dict[int, str]:
    """Read the chips of examples again; return their pictures by row of ``chips``, as data URIs.

    What can't be read any more is left out. Pictures are made where the chips are read: no pixels come here.
    """
    rows = sorted({chip.row for example in examples for chip in (example.query, *example.nearest)})
    show = partial(_thumbnail, num_bands=len(pixels.bands))
    pictures = read_chips(chips.take(rows), pixels, store).map(show)
    return {
        picture["row"]: f"data:image/jpeg;base64,{base64.b64encode(picture['jpeg']).decode()}"
        for picture in pictures.iter_rows()
        if picture["jpeg"]
    }


def _thumbnail(chip: dict[str, Any], num_bands: int) -> dict[str, Any]:
    if chip["pixels"] is None:
        return {"row": chip["row"], "jpeg": b""}
    chip_HWB = np.frombuffer(chip["pixels"], np.uint8).reshape(chip["height"], chip["width"], num_bands)
    return {"row": chip["row"], "jpeg": make_thumbnail(chip_HWB)}


def make_thumbnail(chip_HWB: NDArray[np.uint8]) -> bytes:
    """Return a JPEG: the first three bands as red, green and blue; of fewer, the first in grey."""
    bands = 3 if chip_HWB.shape[2] >= 3 else 1
    picture = Image.fromarray(np.squeeze(chip_HWB[..., :bands], axis=2) if bands == 1 else chip_HWB[..., :3])
    longest = max(picture.size)
    width, height = (max(1, round(side * SIDE / longest)) for side in picture.size)
    buffer = io.BytesIO()
    picture.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
