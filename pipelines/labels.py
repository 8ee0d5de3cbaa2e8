"""Labelled chips: the manifest, and a Ray dataset of their pixels.

Shapes: N chips, H x W pixels, C bands.
"""

import io
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from pipelines.errors import ConfigError, RejectedObject, StorageError
from pipelines.imagery import open_raster, read_window
from pipelines.storage import Store

SPLITS = ("train", "validation", "test")
COLUMNS = ("uri", "window", "label", "split")
_SIDES = ("window.x", "window.y", "window.w", "window.h")
READ_CPUS = 0.5
"""Logical CPUs of a task that reads labelled chips."""


@dataclass(frozen=True)
class Labels:
    """A labelled manifest."""

    chips: pa.Table
    """uri, window, label, split, class_id."""
    class_names: tuple[str, ...]

    def count(self, split: str) -> int:
        """Return how many chips a split has."""
        return int(pc.sum(pc.equal(self.chips["split"], split)).as_py() or 0)


def read_labels(uri: str, store: Store) -> Labels:
    """Read a manifest of labelled chips. Raises ConfigError where it lacks what training needs."""
    try:
        chips = pq.read_table(io.BytesIO(store.read(uri)))
    except FileNotFoundError as error:
        raise StorageError(f"manifest {uri} doesn't exist") from error
    except pa.ArrowInvalid as error:
        raise ConfigError(f"manifest {uri} isn't a Parquet file: {error}") from error
    missing = [column for column in COLUMNS if column not in chips.column_names]
    if missing:
        raise ConfigError(f"manifest {uri} lacks the columns {', '.join(missing)}")
    gaps = [column for column in COLUMNS if chips[column].null_count]
    if gaps:
        raise ConfigError(f"manifest {uri} has rows without {', '.join(gaps)}")
    unknown = set(chips["split"].unique().to_pylist()) - set(SPLITS)
    if unknown:
        raise ConfigError(
            f"manifest {uri} has splits {sorted(map(str, unknown))}; they are {', '.join(SPLITS)}"
        )
    class_names = tuple(sorted(chips["label"].unique().to_pylist()))
    if len(class_names) < 2:
        raise ConfigError(f"manifest {uri} has {len(class_names)} class; training needs two at least")
    class_ids = pa.array([class_names.index(label) for label in chips["label"].to_pylist()], pa.int64())
    return Labels(chips.select(COLUMNS).append_column("class_id", class_ids), class_names)


def load_chips(labels: Labels, split: str, bands: tuple[int, ...], store: Store) -> ray.data.Dataset:
    """Return a dataset with columns ``chip`` (chips_NHWC, uint8) and ``class_id``, decoded once.

    It is kept in Ray's object store, which spills to disk what doesn't fit. An object that can't be
    read fails the training: labelled scenes are chosen by hand.
    """
    chips = labels.chips.filter(pc.equal(labels.chips["split"], split))
    lists = [(column, "list") for column in (*_SIDES, "class_id")]
    by_object = chips.flatten().group_by("uri").aggregate(lists)
    dataset = (
        ray.data.from_arrow(by_object)
        .repartition(target_num_rows_per_block=16)
        .map_batches(
            partial(_read_chips, bands=bands, store=store),
            batch_size=16,
            batch_format="pyarrow",
            num_cpus=READ_CPUS,
        )
    )
    try:
        chips_in_memory: ray.data.Dataset = dataset.materialize()
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ConfigError):
            raise ConfigError(str(error.cause)) from error
        raise
    return chips_in_memory


def _read_chips(objects: pa.Table, bands: tuple[int, ...], store: Store) -> dict[str, np.ndarray]:
    chips, class_ids = [], []
    for entry in objects.to_pylist():
        try:
            with open_raster(store.read(entry["uri"])) as dataset:
                windows = zip(*(entry[f"{side}_list"] for side in _SIDES), strict=True)
                chips += [read_window(dataset, window, bands) for window in windows]
        except (RejectedObject, FileNotFoundError, StorageError) as error:
            raise ConfigError(f"labelled scene {entry['uri']} can't be read: {error}") from error
        class_ids += entry["class_id_list"]
    if len({chip_HWC.shape for chip_HWC in chips}) > 1:
        raise ConfigError(f"labelled chips must all have one size; {objects['uri'][0]} and others differ")
    return {"chip": np.stack(chips), "class_id": np.asarray(class_ids)}
