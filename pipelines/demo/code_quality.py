"""How good the demo's codes are on held-out land chips, compared with plain colour statistics.

Shapes: N chips, Y bytes a code, F statistics.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.codes import Codes, hamming_distances
from model.metrics import precision_at_k
from model.retrieval import LabelledCodes
from model.spec import CodeSpec
from pipelines.demo.world import colour_statistics
from pipelines.imagery.pixels import PixelSpec, read_window
from pipelines.imagery.raster import open_raster
from pipelines.imagery.window import WindowTuple, chip_id
from pipelines.storage.store import Store

NEIGHBOURS = 10
_WATER = "water"


@dataclass(frozen=True)
class Precision:
    """Precision@10: the share of the ten nearest held-out chips that are of the query's class, 0..1."""

    codes: float
    """By the distance of codes."""
    colour: float
    """By the distance of colour statistics."""
    queries: int
    tied: float
    """Chips at the distance of the tenth, itself included: median over the queries; 1: no tie."""


def measure_precision(labels: pa.Table, table: pa.Table, code: CodeSpec, store: Store) -> Precision:
    """Measure codes and colour statistics with the same queries and the same database.

    Queries are the held-out land chips; the database is all held-out chips but the query. The network was
    trained on none of them, nor on their scenes. ``labels`` has uri, window, label, split; ``table`` has
    chip_id, code as published. ``code`` says the codes' parts, which have their own weights.
    """
    labels = labels.filter(pc.equal(labels["split"], "test"))
    windows = [tuple(window[side] for side in "xywh") for window in labels["window"].to_pylist()]
    uris, names = labels["uri"].to_pylist(), np.asarray(labels["label"].to_pylist())
    code_of = dict(zip(table["chip_id"].to_pylist(), table["code"].to_pylist(), strict=True))
    codes = [code_of[chip_id(uri, window)] for uri, window in zip(uris, windows, strict=True)]
    codes_NY = _weighted(np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1), code)
    _, classes_N = np.unique(names, return_inverse=True)
    queries = np.flatnonzero(names != _WATER)
    by_code = precision_at_k(
        LabelledCodes(codes_NY[queries], classes_N[queries]),
        LabelledCodes(codes_NY, classes_N),
        NEIGHBOURS,
        own_rows_Q=queries,
    )
    colours_NF = colour_statistics(_read_chips(uris, windows, store))
    by_colour = _colour_precision(colours_NF, classes_N, queries)
    return Precision(by_code, by_colour, len(queries), _tied(codes_NY, queries))


def _weighted(codes_NY: Codes, code: CodeSpec) -> Codes:
    """Return codes whose plain Hamming distance is the weighted one: each part is repeated weight times."""
    ends = np.cumsum([part.bits // 8 for part in code.parts])[:-1]
    parts = zip(np.split(codes_NY, ends, axis=1), code.parts, strict=True)
    return np.concatenate([np.tile(part_NY, part.weight) for part_NY, part in parts], axis=1)


def _tied(codes_NY: Codes, queries: NDArray[np.int64]) -> float:
    """Return how many chips are at the distance of the tenth: median over the queries."""
    tied = []
    for query in queries:
        distances_N = hamming_distances(codes_NY[query, None], codes_NY)[0]
        others = np.delete(distances_N, query)
        tied.append(np.sum(others == np.partition(others, NEIGHBOURS - 1)[NEIGHBOURS - 1]))
    return float(np.median(tied))


def _colour_precision(colours_NF: np.ndarray, classes_N: np.ndarray, queries: np.ndarray) -> float:
    """Return precision@10 by the Euclidean distance of the colour statistics."""
    shares = []
    for query in queries:
        distances_N = ((colours_NF - colours_NF[query]) ** 2).sum(axis=1)
        distances_N[query] = np.inf
        nearest = np.argpartition(distances_N, NEIGHBOURS)[:NEIGHBOURS]
        shares.append(np.mean(classes_N[nearest] == classes_N[query]))
    return float(np.mean(shares))


def _read_chips(uris: list[str], windows: list[WindowTuple], store: Store) -> np.ndarray:
    """Return chips_NHWC, each object read once."""
    pixels, chips = PixelSpec((1, 2, 3)), dict[int, np.ndarray]()
    by_uri: dict[str, list[int]] = {}
    for row, uri in enumerate(uris):
        by_uri.setdefault(uri, []).append(row)
    for uri, rows in by_uri.items():
        with open_raster(store.read(uri)) as dataset:
            chips |= {row: read_window(dataset, windows[row], pixels).pixels_HWC for row in rows}
    return np.stack([chips[row] for row in range(len(uris))])
