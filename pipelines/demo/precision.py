"""How good the demo's codes are on held-out land chips, beside plain colour statistics.

Shapes: N chips, Y bytes a code, F statistics.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.metrics import precision_at_k
from pipelines.demo.world import colour_statistics
from pipelines.imagery import chip_id, open_raster
from pipelines.pixels import PixelSpec, read_window
from pipelines.storage import Store

NEIGHBOURS = 10
_WATER = "water"


@dataclass(frozen=True)
class Precision:
    """Share of the ten nearest held-out chips that are of the query's class, 0..1."""

    codes: float
    colour: float
    queries: int


def measure_precision(labels: pa.Table, table: pa.Table, store: Store) -> Precision:
    """Compare both over the same queries, held-out land chips, and the same library.

    The library is every held-out chip but the query itself: the network has seen none of them, nor any
    scene of theirs. ``labels`` has uri, window, label, split; ``table`` has chip_id, code as published.
    """
    labels = labels.filter(pc.equal(labels["split"], "test"))
    windows = [tuple(window[side] for side in "xywh") for window in labels["window"].to_pylist()]
    uris, names = labels["uri"].to_pylist(), np.asarray(labels["label"].to_pylist())
    code_of = dict(zip(table["chip_id"].to_pylist(), table["code"].to_pylist(), strict=True))
    codes = [code_of[chip_id(uri, window)] for uri, window in zip(uris, windows, strict=True)]
    codes_NY = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1)
    _, classes_N = np.unique(names, return_inverse=True)
    queries = np.flatnonzero(names != _WATER)
    by_code = precision_at_k(
        codes_NY[queries], classes_N[queries], codes_NY, classes_N, NEIGHBOURS, own_rows_Q=queries
    )
    colours_NF = colour_statistics(_read_chips(uris, windows, store))
    return Precision(by_code, _colour_precision(colours_NF, classes_N, queries), len(queries))


def _colour_precision(colours_NF: np.ndarray, classes_N: np.ndarray, queries: np.ndarray) -> float:
    shares = []
    for query in queries:
        distances_N = ((colours_NF - colours_NF[query]) ** 2).sum(axis=1)
        distances_N[query] = np.inf
        nearest = np.argpartition(distances_N, NEIGHBOURS)[:NEIGHBOURS]
        shares.append(np.mean(classes_N[nearest] == classes_N[query]))
    return float(np.mean(shares))


def _read_chips(uris: list[str], windows: list[tuple[int, int, int, int]], store: Store) -> np.ndarray:
    """Return chips_NHWC, each object read once."""
    pixels, chips = PixelSpec((1, 2, 3)), dict[int, np.ndarray]()
    by_uri: dict[str, list[int]] = {}
    for row, uri in enumerate(uris):
        by_uri.setdefault(uri, []).append(row)
    for uri, rows in by_uri.items():
        with open_raster(store.read(uri)) as dataset:
            chips |= {row: read_window(dataset, windows[row], pixels).pixels_HWC for row in rows}
    return np.stack([chips[row] for row in range(len(uris))])
