"""Features of labelled chips: computed once by a pool of actors, and kept as Parquet files in a cache.

The cache has a folder for each backbone, input spec and view. Its rows are keyed by object, etag and window.
So the features of a changed scene are computed again, while a new head on the same scenes needs no pixels.

Shapes: N chips, B chips of a batch, D features.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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


def compute_features(
    chips: pa.Table,
    network: HashNetwork,
    store: Store,
    config: FeatureConfig,
    cache: str | None,
    view: int = 0,
) -> Features:
    """Return the backbone's features of chips; only those that the cache lacks are computed.

    The chips have the columns that `read_chips` takes, and etag. ``cache`` is the folder of all caches; None:
    nothing is kept. ``view`` says how the chips are turned (`model.preprocess.turned`). Needs a running Ray,
    unless the cache has all features. Raises ConfigError if too many chips are unreadable.
    """
    key_of = dict(zip(chips["row"].to_pylist(), _keys(chips), strict=True))
    folder = f"{cache.rstrip('/')}/{cache_name(network, view, _cuts(chips))}" if cache else None
    known = _read_cache(folder, chips["uri"], store) if folder else {}
    known = {key: vector_D for key, vector_D in known.items() if _is_versioned(key)}
    missing = [row for row, key in key_of.items() if key not in known]
    unreadable: list[Unreadable] = []
    if missing:
        log.info("computing features", view=view, chips=len(missing), cached=len(key_of) - len(missing))
        wanted = chips.filter(pc.is_in(chips["row"], pa.array(missing)))
        for part in _parts(_compute(wanted, network, store, config, view)):
            bad = part.filter(pc.is_valid(part["reason"]))
            pairs = zip(bad["row"].to_pylist(), bad["reason"].to_pylist(), strict=True)
            unreadable += [Unreadable(key_of[row][0], reason) for row, reason in pairs]
            fresh = _vectors(part.filter(pc.is_null(part["reason"])), key_of)
            lasting = {key: vector_D for key, vector_D in fresh.items() if _is_versioned(key)}
            if folder and lasting:
                _write_part(folder, lasting, store)
            known |= fresh
    check_unreadable(unreadable, len(chips), config.max_unreadable_share)
    if len(unreadable) == len(chips):
        raise ConfigError("none of the labelled chips can be read")
    rows = sorted(row for row, key in key_of.items() if key in known)
    return Features(
        rows_N=np.asarray(rows, np.int64),
        features_ND=np.stack([known[key_of[row]] for row in rows]),
        unreadable=tuple(unreadable),
        computed=len(missing) - len(unreadable),
    )


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
    chips: pa.Table, network: HashNetwork, store: Store, config: FeatureConfig, view: int
) -> Iterator[pa.Table]:
    """Yield row, reason, features of the chips, in no particular order."""
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
            "view": view,
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


class _Featuriser:
    """Replaces the column ``pixels`` by ``features``, a batch at a time."""

    def __init__(
        self,
        network: NetworkSpec,
        input_spec: InputSpec,
        view: int,
        state: "ray.ObjectRef[Mapping[str, Tensor]]",
    ) -> None:
        """Rebuild the network, on the GPU that Ray has given this actor if there is one."""
        torch.set_num_threads(1)  # there is an actor for each CPU
        self.view = view
        self.network = HashNetwork(network, input_spec).eval()
        self.network.load_state_dict(ray.get(state))
        self.network.to("cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return row, reason and features; features of unreadable chips are null."""
        readable = batch.filter(pc.is_null(batch["reason"]))
        chips = [turned(chip_HWC, self.view) for chip_HWC in chip_arrays(readable)]
        vectors: Iterator[NDArray[np.float32]] = iter(self.network.extract(chips) if chips else [])
        column = [None if reason else next(vectors).tobytes() for reason in batch["reason"].to_pylist()]
        return batch.select(["row", "reason"]).append_column("features", pa.array(column, pa.binary()))
