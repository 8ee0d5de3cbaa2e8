"""Windows of an archive without labels, to fit look bits on.

They are drawn evenly: equally many from each scene, and within a scene from all parts of its grid. A hash of
their URIs chooses the scenes, so that the same archive gives the same windows whichever source lists it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import structlog

from model.metrics import code_health
from model.network import HashNetwork
from pipelines.errors import ConfigError, RejectedObject, StorageError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import scene_windows
from pipelines.imagery.pixels import read_window
from pipelines.imagery.raster import open_raster
from pipelines.imagery.window import WindowTuple
from pipelines.labels.chip_pixels import READ_CPUS
from pipelines.labels.features import compute_views
from pipelines.runtime.database import database
from pipelines.sources.chip_specs import ChipSpecs, chip_specs_of
from pipelines.sources.listing import list_source
from pipelines.storage.ranges import FOR_CHIPS, ObjectRanges
from pipelines.storage.store import Store
from pipelines.train.config import TrainConfig
from pipelines.train.inputs import FeatureRows

log = structlog.get_logger()

_SCENES_A_TASK = 16
_HEALTH_CHIPS = 2000  # whose codes are looked at for signs of collapse
_WINDOW_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("window", pa.struct([(side, pa.int32()) for side in "xywh"])),
        ("cut", pa.string()),
        ("reason", pa.string()),  # why a scene gave no windows: the others are null then
    ]
)


@dataclass(frozen=True)
class Sample:
    """Features of the windows that were drawn."""

    rows: FeatureRows
    scenes: int
    """How many scenes they are of."""
    unreadable: dict[str, str]
    """Scenes without windows, and why."""

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.rows.features_NVD)

    def health(self, network: HashNetwork) -> dict[str, float]:
        """Return the health of the codes of some windows, with names as in MLflow."""
        codes_NY = network.encode_features(self.rows.features_NVD[:_HEALTH_CHIPS, 0])
        return {f"val_{name}": value for name, value in asdict(code_health(codes_NY)).items()}


def sample_features(config: TrainConfig, network: HashNetwork, store: Store, cache: str) -> Sample:
    """Draw windows of the archive and compute their features in all views. Needs a running Ray.

    Raises ConfigError if no window can be read, StorageError if the source can't be listed.
    """
    scenes, _ = list_scenes(config, store)
    windows, unreadable = draw_windows(scenes, config, chip_specs_of(config, network.input_spec), store)
    chips_of_view = dict.fromkeys(range(config.augment.views), windows)
    computed = compute_views(chips_of_view, network, store, config.features, cache)
    views = [dict(zip(each.rows_N.tolist(), each.features_ND, strict=True)) for each in computed.values()]
    rows = sorted(set.intersection(*(set(of_view) for of_view in views)))
    features_NVD = np.stack([np.stack([of_view[row] for of_view in views]) for row in rows])
    read = windows.take(rows)
    sample = Sample(FeatureRows(features_NVD), len(read["uri"].unique()), unreadable)
    log.info("windows drawn", windows=sample.windows, scenes=sample.scenes, without=len(unreadable))
    return sample


def list_scenes(config: TrainConfig, store: Store) -> tuple[pa.Table, int]:
    """Return some of the archive's objects (uri, etag, collection), and how many it has in all.

    There are at most as many as windows are wanted, as each gives at least one. A hash chooses them.
    """
    with TemporaryDirectory(prefix="scenehash-") as name, database(Path(name)) as sql:
        listing = list_source(config, store, Path(name))
        objects = sql.read_parquet(str(listing.objects)).project("uri, etag, collection")
        return objects.order("md5(uri)").limit(config.samples).to_arrow_table(), listing.count


def draw_windows(
    scenes: pa.Table, config: TrainConfig, chip_specs: ChipSpecs, store: Store
) -> tuple[pa.Table, dict[str, str]]:
    """Return windows (row, uri, etag, window, cut) of the scenes, and why some scenes gave none.

    Raises ConfigError if no scene gave any.
    """
    each = -(-config.samples // max(1, len(scenes)))
    blocks = [scenes.slice(start, _SCENES_A_TASK) for start in range(0, len(scenes), _SCENES_A_TASK)]
    drawn = pa.concat_tables(
        ray.data.from_arrow(blocks)
        .map_batches(
            partial(_draw, each=each, seed=config.seed, chip_specs=chip_specs, store=store),
            batch_size=_SCENES_A_TASK,
            batch_format="pyarrow",
            num_cpus=READ_CPUS,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow")
    )
    without = drawn.filter(pc.is_valid(drawn["reason"]))
    unreadable = dict(zip(without["uri"].to_pylist(), without["reason"].to_pylist(), strict=True))
    windows = drawn.filter(pc.is_null(drawn["reason"])).drop_columns(["reason"])
    if not len(windows):
        said = "; ".join(f"{uri}: {reason}" for uri, reason in list(unreadable.items())[:3])
        raise ConfigError(
            f"none of {len(scenes)} scenes of {config.source} has a chip to learn from ({said})"
        )
    if unreadable:
        log.warning("scenes without windows", count=len(unreadable), uris=list(unreadable)[:5])
    # sorted, as tasks may end in any order
    place_N = [(row["uri"], row["window"]["y"], row["window"]["x"]) for row in windows.to_pylist()]
    windows = windows.take(sorted(range(len(windows)), key=place_N.__getitem__))
    rng = np.random.default_rng(config.seed)
    windows = windows.take(np.sort(rng.permutation(len(windows))[: config.samples]))
    return windows.add_column(0, "row", pa.array(range(len(windows)), pa.int64())), unreadable


def _draw(scenes: pa.Table, each: int, seed: int, chip_specs: ChipSpecs, store: Store) -> Iterator[pa.Table]:
    for scene in scenes.to_pylist():
        chip_spec = chip_specs.of(scene["collection"])
        try:
            content = store.open_version(scene["uri"], scene["etag"], FOR_CHIPS)
            found = _scene_windows(content, chip_spec, each, f"{seed}#{scene['uri']}")
            same = {"uri": scene["uri"], "etag": scene["etag"], "cut": chip_spec.text()}
            rows = [same | {"window": dict(zip("xywh", window, strict=True))} for window in found]
        except FileNotFoundError:
            rows = [{"uri": scene["uri"], "reason": "missing"}]
        except (RejectedObject, StorageError) as error:
            rows = [{"uri": scene["uri"], "reason": str(error)}]
        yield pa.Table.from_pylist(rows, schema=_WINDOW_SCHEMA)


def _scene_windows(
    content: bytes | ObjectRanges, chip_spec: ChipSpec, each: int, seed: str
) -> list[WindowTuple]:
    """Return at most ``each`` windows of a scene, one from each of as many equal stretches of its grid.

    Windows with too few valid pixels are left out. Raises RejectedObject if none is left.
    """
    with open_raster(content) as dataset:
        windows = list(scene_windows(dataset, georeference(dataset), chip_spec.grid))
        count = min(each, len(windows))
        rng = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
        places = (np.arange(count) + rng.random(count)) * len(windows) / count
        chosen = [windows[int(place)] for place in places]
        least = max(chip_spec.grid.min_valid_fraction, np.finfo(float).tiny)
        kept = [
            window
            for window in chosen
            if read_window(dataset, window, chip_spec.pixels, chip_spec.grid.chip_size).valid_fraction
            >= least
        ]
    if not kept:
        raise RejectedObject("empty", f"none of {count} windows has enough valid pixels")
    return kept
