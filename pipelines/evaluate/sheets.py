"""Contact sheets: the best and worst queries, those whose order changed most, and pictures of those chips.

Shapes: N chips, Q queries, C classes, H x W pixels, B bands.
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from model.order import NEAREST as FIRST_TEN
from model.order import Lists, shared_nearest
from model.retrieval import Labels, relevant_rows
from pipelines.evaluate.figures import (
    ChangedOrder,
    ChangedOrders,
    Example,
    ExampleChip,
    Neighbour,
    OrderedList,
)
from pipelines.imagery.pixels import PixelSpec
from pipelines.labels.chip_pixels import read_chips
from pipelines.labels.label_manifest import SIDES
from pipelines.storage.store import Store

QUERIES = 6
"""Rows of a sheet."""
NEAREST = 8
"""Chips beside each query."""
CHANGED = 3
"""Queries whose order changed most, for each pair of methods."""
SIDE = 96
"""Pixels of a thumbnail, at most."""

_PER_CLASS = 2  # queries of one class, or one set of classes, as else the hardest class would fill the sheet
_DECIMALS = 6  # of a figure or a distance: further ones are rounding errors


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
    lists: Lists,
    labels_N: Labels,
    chips: pa.Table,
) -> list[Example]:
    """Return each query with the chips nearest to it, without itself; ``chips`` has N rows too."""
    return [
        Example(
            query=ExampleChip(**_describe(chips, query)),
            average_precision=float(average_precision_N[query]),
            nearest=nearest_chips(query, lists, labels_N, chips, NEAREST),
        )
        for query in queries
    ]


def find_changed(
    pair: tuple[str, str], lists: dict[str, Lists], labels_N: Labels, chips: pa.Table
) -> ChangedOrders | None:
    """Return the queries whose first ten differ most between two methods, two of a class at most.

    ``lists`` are those of all methods that are shown, by name; ``chips`` has N rows too. None: there are
    fewer than ten other chips.
    """
    if len(chips) <= FIRST_TEN:
        return None
    shared_N = shared_nearest(lists[pair[0]], lists[pair[1]])
    queries = [
        ChangedOrder(
            query=ExampleChip(**_describe(chips, query)),
            shared=float(shared_N[query]),
            lists=[
                OrderedList(method=name, nearest=nearest_chips(query, of_method, labels_N, chips, FIRST_TEN))
                for name, of_method in lists.items()
            ],
        )
        for query in choose_queries(shared_N, labels_N, best=False)[:CHANGED]
    ]
    return ChangedOrders(first=pair[0], second=pair[1], mean_shared=float(shared_N.mean()), queries=queries)


def nearest_chips(query: int, lists: Lists, labels_N: Labels, chips: pa.Table, count: int) -> list[Neighbour]:
    """Return the first chips of a query's list, ties in the order of rows, without itself."""
    distances_N = lists.distances(slice(query, query + 1))[0]
    distances_N[query] = np.inf  # last
    nearest = np.argsort(distances_N, kind="stable")[: min(count, len(distances_N) - 1)]
    right_N = relevant_rows(labels_N, labels_N[query])
    return [
        Neighbour(
            distance=round(float(distances_N[row]), _DECIMALS),
            right=bool(right_N[row]),
            **_describe(chips, row),
        )
        for row in nearest.tolist()
    ]


def _describe(chips: pa.Table, position: int) -> dict[str, Any]:
    row: dict[str, Any] = chips.slice(position, 1).select(["row", "uri", "window", "labels"]).to_pylist()[0]
    window = row["window"]
    return row | {"window": window and tuple(window[side] for side in SIDES)}


def shown_chips(examples: Sequence[Example], changed: Sequence[ChangedOrders]) -> list[int]:
    """Return the rows of all chips on the sheets, each once."""
    queries = [query for orders in changed for query in orders.queries]
    rows = {chip.row for example in examples for chip in (example.query, *example.nearest)}
    rows |= {query.query.row for query in queries}
    rows |= {chip.row for query in queries for ordered in query.lists for chip in ordered.nearest}
    return sorted(rows)


def read_thumbnails(rows: Sequence[int], chips: pa.Table, pixels: PixelSpec, store: Store) -> dict[int, str]:
    """Read some chips again; return their pictures by row of ``chips``, as data URIs.

    Chips that can't be read any more are left out. The pictures are made in the tasks that read the chips, so
    that no pixels are sent to this process.
    """
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
