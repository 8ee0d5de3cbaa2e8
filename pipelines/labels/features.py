"""Features of labelled chips: computed once by a pool of actors, and kept as Parquet files in a cache.

The cache has a folder for each backbone, input spec and view. Its rows are keyed by object, etag and window.
So the features of a changed scene are computed again, while a new head on the same scenes needs no pixels.

Shapes: N chips, B chips of a batch, D features.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import ray
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network import HashNetwork
from model.preprocess import turned
from model.spec import InputSpec, NetworkSpec
from pipelines.config import FeatureConfig
from pipelines.errors import ConfigError
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.window import WindowTuple
from pipelines.labels.chip_pixels import (
    READ_CPUS,
    Unreadable,
    check_unreadable,
    chip_arrays,
    count_blocks,
    read_chips,
)
from pipelines.storage.store import Store

log = structlog.get_logger()

_ROWS_A_FILE = 50_000
_BYTES_A_FILE = 256 << 20  # of features, as an Arrow column holds at most 2 GiB
_ROWS_READ = 10_000  # of the cache, at a time

Key = tuple[str, str, WindowTuple | None]
"""uri, etag, window."""


@dataclass(frozen=True)
class Features:
    """The backbone's features of the N chips that can be read."""

    rows_N: NDArray[np.int64]
    """Their positions in the labels, ascending."""
    features_ND: NDArray[np.float32]
    unreadable: tuple[Unreadable, ...]
    computed: int
    """How many of them were computed now; the others came from the cache."""


@dataclass
class _View:
    """Chips turned one way: which features the cache has, and which it lacks."""

    chips: pa.Table
    key_of: dict[int, Key]
    """By the chip's row"""
    folder: str | None
    """Of this view in the cache"""
    known: dict[Key, NDArray[np.float32]]
    missing: list[int]
    """Rows whose features must be computed"""
    unreadable: dict[int, Unreadable]
    """By the chip's row"""

    @classmethod
    def begun(cls, view: int, chips: pa.Table, network: HashNetwork, store: Store, cache: str | None) -> Self:
        """Return a view with what the cache has of it."""
        key_of = dict(zip(chips["row"].to_pylist(), _keys(chips), strict=True))
        folder = f"{cache.rstrip('/')}/{cache_name(network, view, _cuts(chips))}" if cache else None
        known = _read_cache(folder, chips["uri"], store) if folder else {}
        known = {key: vector_D for key, vector_D in known.items() if _is_versioned(key)}
        missing = [row for row, key in key_of.items() if key not in known]
        if missing:
            log.info("computing features", view=view, chips=len(missing), cached=len(key_of) - len(missing))
        return cls(chips, key_of, folder, known, missing, {})

    def add(self, part: pa.Table, store: Store) -> None:
        """Take over what was computed: row, reason, features."""
        bad = part.filter(pc.is_valid(part["reason"]))
        reasons = dict(zip(bad["row"].to_pylist(), bad["reason"].to_pylist(), strict=True))
        self.unreadable |= {row: Unreadable(self.key_of[row][0], why) for row, why in reasons.items()}
        fresh = _vectors(part.filter(pc.is_null(part["reason"])), self.key_of)
        lasting = {key: vector_D for key, vector_D in fresh.items() if _is_versioned(key)}
        if self.folder and lasting:
            _write_part(self.folder, lasting, store)
        self.known |= fresh

    def features(self) -> Features:
        """Return the features of the chips that can be read: one at least."""
        rows = sorted(row for row, key in self.key_of.items() if key in self.known)
        return Features(
            rows_N=np.asarray(rows, np.int64),
            features_ND=np.stack([self.known[self.key_of[row]] for row in rows]),
            unreadable=tuple(self.unreadable.values()),
            computed=len(self.missing) - len(self.unreadable),
        )


def compute_features(
    chips: pa.Table, network: HashNetwork, store: Store, config: FeatureConfig, cache: str | None
) -> Features:
    """Return the backbone's features of chips as they are; see `compute_views`."""
    return compute_views({0: chips}, network, store, config, cache)[0]


def compute_views(
    chips_of_view: Mapping[int, pa.Table],
    network: HashNetwork,
    store: Store,
    config: FeatureConfig,
    cache: str | None,
) -> dict[int, Features]:
    """Return the backbone's features of the chips of each view; only those that the cache lacks are computed.

    A view says how chips are turned (`model.preprocess.turned`). The chips have the columns that `read_chips`
    takes, and etag; a chip has the same row in all views, and is read once for all that lack it. ``cache`` is
    the folder of all caches; None: nothing is kept. Needs a running Ray, unless the cache has all features.
    Raises ConfigError if too many chips are unreadable.
    """
    views = {
        number: _View.begun(number, chips, network, store, cache) for number, chips in chips_of_view.items()
    }
    if any(view.missing for view in views.values()):
        for part in _parts(_compute(views, network, store, config)):
            for number, view in views.items():
                view.add(part.filter(pc.equal(part["view"], number)), store)
    unreadable = {row: why for view in views.values() for row, why in view.unreadable.items()}
    rows = {row for view in views.values() for row in view.key_of}
    check_unreadable(list(unreadable.values()), len(rows), config.max_unreadable_share)
    if any(len(view.unreadable) == len(view.chips) for view in views.values()):
        raise ConfigError("none of the labelled chips can be read")
    return {number: view.features() for number, view in views.items()}


def cache_name(network: HashNetwork, view: int = 0, cuts: Sequence[str] = ()) -> str:
    """Return the name of a cache's folder: a hash of all that features depend on besides the chip.

    ``cuts`` are the chip specs by which chips were cut, if they have a column ``cut``.
    """
    input_spec = json.dumps(asdict(network.input_spec), sort_keys=True)
    name = f"{network.backbone.fingerprint()}-{hashlib.sha256(input_spec.encode()).hexdigest()[:8]}"
    if cuts:
        name += f"-cut{hashlib.sha256(json.dumps(sorted(cuts)).encode()).hexdigest()[:8]}"
    return f"{name}-view{view}" if view else name


def _cuts(chips: pa.Table) -> list[str]:
    """Return the different texts in the chips' column ``cut``; labelled chips have none."""
    return chips["cut"].unique().to_pylist() if "cut" in chips.column_names else []


def _keys(chips: pa.Table | pa.RecordBatch) -> Iterator[Key]:
    for uri, etag, window in zip(
        *(chips[name].to_pylist() for name in ("uri", "etag", "window")), strict=True
    ):
        yield uri, etag, (window["x"], window["y"], window["w"], window["h"]) if window else None


def _is_versioned(key: Key) -> bool:
    """Return whether features may be kept: without an etag nobody could see that an image was replaced."""
    return key[1] != ""


def _read_cache(folder: str, uris: pa.ChunkedArray, store: Store) -> dict[Key, NDArray[np.float32]]:
    filesystem, path = store.arrow_filesystem(folder)
    try:
        files = pyarrow.dataset.dataset(path, filesystem=filesystem, format="parquet")
    except FileNotFoundError:
        return {}
    wanted = files.scanner(filter=pc.field("uri").isin(uris.unique()), batch_size=_ROWS_READ)
    return {
        key: np.frombuffer(vector, np.float32)
        for batch in wanted.to_batches()
        for key, vector in zip(_keys(batch), batch["features"].to_pylist(), strict=True)
    }


def _write_part(folder: str, vectors: dict[Key, NDArray[np.float32]], store: Store) -> None:
    """Add a file to the cache, under a random name, as other runs may add files at the same time."""
    names = ("uri", "etag", "window", "features")
    rows = [
        (uri, etag, dict(zip("xywh", window, strict=True)) if window else None, vector_D.tobytes())
        for (uri, etag, window), vector_D in vectors.items()
    ]
    schema = pa.schema(
        {
            "uri": pa.string(),
            "etag": pa.string(),
            "window": pa.struct(dict.fromkeys("xywh", pa.int32())),
            "features": pa.binary(),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema), buffer)
    store.write(f"{folder}/{uuid4().hex}.parquet", buffer.getvalue())


def _vectors(part: pa.Table, key_of: dict[int, Key]) -> dict[Key, NDArray[np.float32]]:
    pairs = zip(part["row"].to_pylist(), part["features"].to_pylist(), strict=True)
    return {key_of[row]: np.frombuffer(vector, np.float32) for row, vector in pairs}


def _parts(blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Join blocks to a file's size; a file is written at once, so that it stays if later blocks fail."""
    waiting: list[pa.Table] = []
    for block in blocks:
        waiting.append(block)
        held_bytes = sum(part.nbytes for part in waiting)
        if sum(map(len, waiting)) >= _ROWS_A_FILE or held_bytes >= _BYTES_A_FILE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _compute(
    views: Mapping[int, _View], network: HashNetwork, store: Store, config: FeatureConfig
) -> Iterator[pa.Table]:
    """Yield row, view, reason, features of what the views lack, in no particular order."""
    chips = _lacking(views.values())
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, per_actor = resources.get("CPU", 1), config.gpus_per_actor
    default = resources.get("GPU", 1) / per_actor if per_actor else cpus
    # no more actors than there are tasks
    tasks = min(count_blocks(chips), -(-len(chips) // config.batch_size))
    actors = max(1, min(config.actors or int(default), tasks))
    dataset = read_chips(chips, PixelSpec.of(network.input_spec), store).map_batches(
        _Featuriser,
        fn_constructor_kwargs={
            "network": network.network_spec,
            "input_spec": network.input_spec,
            "rows_of_view": ray.put({number: np.array(view.missing) for number, view in views.items()}),
            "state": ray.put({key: value.cpu() for key, value in network.state_dict().items()}),
        },
        batch_size=config.batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors),
        # together the actors leave as much as one reading task needs
        num_cpus=round(min(1.0, max(0.1, (cpus - READ_CPUS) / actors)), 3),
        num_gpus=per_actor,
    )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")


def _lacking(views: Iterable[_View]) -> pa.Table:
    """Return the chips whose features some view lacks, each once."""
    taken: set[int] = set()
    tables = []
    for view in views:
        rows = [row for row in view.missing if row not in taken]
        taken.update(rows)
        tables.append(view.chips.filter(pc.is_in(view.chips["row"], pa.array(rows, pa.int64()))))
    return pa.concat_tables(tables)


class _Featuriser:
    """Replaces the column ``pixels`` by ``view`` and ``features``, a batch at a time."""

    def __init__(
        self,
        network: NetworkSpec,
        input_spec: InputSpec,
        rows_of_view: "ray.ObjectRef[Mapping[int, NDArray[np.int64]]]",
        state: "ray.ObjectRef[Mapping[str, Tensor]]",
    ) -> None:
        """Rebuild the network, on the GPU that Ray has given this actor if there is one."""
        torch.set_num_threads(1)  # there is an actor for each CPU
        self.rows_of_view = ray.get(rows_of_view)
        self.network = HashNetwork(network, input_spec).eval()
        self.network.load_state_dict(ray.get(state))
        self.network.to("cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return row, view, reason and features; features of unreadable chips are null."""
        rows_B = batch["row"].to_numpy()
        return pa.concat_tables(
            self._of_view(view, batch.filter(pa.array(np.isin(rows_B, rows))))
            for view, rows in self.rows_of_view.items()
        )

    def _of_view(self, view: int, batch: pa.Table) -> pa.Table:
        readable = batch.filter(pc.is_null(batch["reason"]))
        chips = [turned(chip_HWC, view) for chip_HWC in chip_arrays(readable)]
        vectors: Iterator[NDArray[np.float32]] = iter(self.network.extract(chips) if chips else [])
        column = [None if reason else next(vectors).tobytes() for reason in batch["reason"].to_pylist()]
        return (
            batch.select(["row", "reason"])
            .append_column("view", pa.array([view] * len(batch), pa.int32()))
            .append_column("features", pa.array(column, pa.binary()))
        )
