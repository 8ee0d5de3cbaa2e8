"""The pixels of labelled chips: a Ray dataset with a row for each chip, also for those that can't be read.

Shapes: H x W pixels, C bands. A window is (x, y, w, h) in pixels of the source.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
import structlog
from numpy.typing import NDArray

from pipelines.errors import ConfigError, RejectedObject, StorageError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.pixels import PixelSpec, grey_as_colours, read_window, with_own_range
from pipelines.imagery.raster import Raster, open_raster
from pipelines.imagery.window import WindowTuple
from pipelines.labels.label_manifest import SIDES
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.store import Store

log = structlog.get_logger()

READ_CPUS = 0.5
"""Logical CPUs of a task that reads labelled chips."""

_OBJECTS = 16  # objects that a task reads
_MOST_BLOCKS = 4096
_THREADS = 8  # objects read at a time in a task: an object store is slow, but serves many requests at once
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixels", pa.binary()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Unreadable:
    """A labelled chip that can't be read."""

    uri: str
    reason: str


def read_chips(chips: pa.Table, pixels: PixelSpec, store: Store) -> ray.data.Dataset:
    """Return a lazy dataset of the pixels of chips (row, uri, window), in no particular order.

    If the chips have a column ``cut``, each is read by that chip spec (`ChipSpec.text`). Else all are read as
    ``pixels`` says, at the size of their windows.

    The dataset's columns are ``row`` (of the chip), ``height``, ``width`` [pixels], ``pixels`` (the bytes of
    chip_HWC, uint8) and ``reason``. If a chip can't be read, pixels and sizes are null and the reason says
    why; else the reason is null. Each object is read and opened once, for all its windows.
    """
    cut = ["cut"] if "cut" in chips.column_names else []
    columns = ["row", *cut, *(f"window.{side}" for side in SIDES)]
    flat = chips.select(["row", "uri", *cut, "window"]).flatten()
    objects = flat.group_by("uri", use_threads=False).aggregate([(column, "list") for column in columns])
    # a block for each task: repartition() would need a CPU, which a pool of actors may not leave free
    step = _objects_a_block(len(objects))
    blocks = [objects.slice(start, step) for start in range(0, len(objects), step)]
    dataset: ray.data.Dataset = ray.data.from_arrow(blocks).map_batches(
        partial(_read_objects, pixels=pixels, store=store),
        batch_size=_OBJECTS,
        batch_format="pyarrow",
        num_cpus=READ_CPUS,
    )
    return dataset


def count_blocks(chips: pa.Table) -> int:
    """Return how many blocks `read_chips` makes of labelled chips: so many tasks can run at once."""
    objects = len(chips["uri"].unique())
    return -(-objects // _objects_a_block(objects))


def _objects_a_block(objects: int) -> int:
    return max(_OBJECTS, objects // _MOST_BLOCKS)


def chip_arrays(chips: pa.Table) -> list[NDArray[np.uint8]]:
    """Return chips_HWC of readable rows of `read_chips`, in their order, without a copy of their pixels."""
    arrays = []
    for height, width, pixels in zip(*(chips[name] for name in ("height", "width", "pixels")), strict=True):
        flat = np.frombuffer(pixels.as_buffer(), np.uint8)
        arrays.append(flat.reshape(height.as_py(), width.as_py(), -1))
    return arrays


def check_unreadable(unreadable: Sequence[Unreadable], total: int, max_share: float) -> None:
    """Log a warning of chips that can't be read. Raises ConfigError if they exceed a share of all."""
    if not unreadable:
        return
    uris = list(dict.fromkeys(chip.uri for chip in unreadable))
    log.warning("labelled chips can't be read", count=len(unreadable), uris=uris[:5])
    if len(unreadable) > max_share * total:
        distinct = list(dict.fromkeys(unreadable))[:3]  # an image may have many chips
        reasons = "; ".join(f"{chip.uri}: {chip.reason}" for chip in distinct)
        raise ConfigError(
            f"{len(unreadable)} of {total} labelled chips can't be read ({reasons}); "
            f"mend them, leave them out, or raise max_unreadable_share, which is {max_share:g}"
        )


def _read_objects(objects: pa.Table, pixels: PixelSpec, store: Store) -> Iterator[pa.Table]:
    read = partial(_read_object, pixels=pixels, store=store)
    with ThreadPoolExecutor(_THREADS) as pool:
        for rows in pool.map(read, objects.to_pylist()):
            yield pa.Table.from_pylist(rows, schema=_SCHEMA)


def _read_object(entry: dict[str, Any], pixels: PixelSpec, store: Store) -> list[dict[str, object]]:
    """Return the rows of all windows of one object."""
    sides = zip(*(entry[f"window.{side}_list"] for side in SIDES), strict=True)
    try:
        with open_raster(store.open_version(entry["uri"], "", FOR_CHIPS)) as dataset:
            if "cut_list" in entry:  # an object is of one collection, so all its chips have one chip spec
                cut = ChipSpec.read(entry["cut_list"][0])
                ranged = with_own_range(dataset, cut.pixels)
                chips = [_cut_chip(dataset, window, ranged, cut.grid.chip_size) for window in sides]
            else:
                windows = [None if None in window else window for window in sides]
                taken = grey_as_colours(dataset, pixels)
                chips = [_read_chip(dataset, window, taken) for window in windows]
    except FileNotFoundError:
        chips = [{"reason": "missing"}] * len(entry["row_list"])
    except (RejectedObject, StorageError) as error:
        chips = [{"reason": str(error)}] * len(entry["row_list"])
    return [{"row": row} | chip for row, chip in zip(entry["row_list"], chips, strict=True)]


def _read_chip(dataset: Raster, window: WindowTuple | None, pixels: PixelSpec) -> dict[str, object]:
    """Return the columns of one chip. If it can't be read, other chips of its image still may be."""
    width, height = dataset.upright_size
    x, y, w, h = window or (0, 0, width, height)
    if min(x, y) < 0 or x + w > width or y + h > height:
        # rasterio would cut the window off at the edge without an error
        message = f"outside: window {x}, {y}, {w}, {h} leaves the image of {width} x {height} pixels"
        return {"reason": message}
    return _cut_chip(dataset, (x, y, w, h), pixels, None)


def _cut_chip(dataset: Raster, window: WindowTuple, pixels: PixelSpec, size: int | None) -> dict[str, object]:
    """Return the columns of one chip, resampled to a size if there is one."""
    try:
        chip_HWC = read_window(dataset, window, pixels, size).pixels_HWC
    except RejectedObject as error:
        return {"reason": str(error)}
    return {"height": chip_HWC.shape[0], "width": chip_HWC.shape[1], "pixels": chip_HWC.tobytes()}
