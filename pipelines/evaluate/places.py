"""Scenes of the same places at several dates, cut into chips: is a place found again at another date?

Shapes: N chips, F features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import structlog
from numpy.typing import NDArray

from model.network import HashNetwork
from pipelines.errors import ConfigError, RejectedObject, StorageError
from pipelines.evaluate.methods import EncodedChips
from pipelines.evaluate.overview import PlacedChips
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.footprints import footprint
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import read_chips
from pipelines.imagery.raster import acquired_at, open_raster
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.config import ArchiveConfig
from pipelines.sources.listing import list_source
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.store import Store

log = structlog.get_logger()

_BATCH = 64  # chips in one forward pass
_DECIMALS = 5  # of degrees: about a metre


@dataclass(frozen=True)
class _Chip:
    footprint: tuple[float, ...]
    """West, south, east, north [degrees], rounded to about a metre."""
    date: str
    pixels_HWC: NDArray[np.uint8]


def read_places(config: ArchiveConfig, network: HashNetwork, store: Store) -> PlacedChips:
    """Cut scenes into chips as a night does, and encode those that have a footprint.

    Two chips are of the same place if the bounding boxes of their footprints are equal to about a metre. A
    date is the day of acquisition, from the source or else from the scene; a scene without one counts as a
    date of its own. All is read and encoded in this process: there should be some thousands of chips at most,
    as each is compared with each.

    Raises ConfigError if no place is there at two dates, StorageError if there are no scenes.
    """
    footprints: list[tuple[float, ...]] = []
    dates: list[str] = []
    features: list[NDArray[np.float32]] = []
    waiting: list[NDArray[np.uint8]] = []
    for chip in _chips(config, network, store):
        footprints.append(chip.footprint)
        dates.append(chip.date)
        waiting.append(chip.pixels_HWC)
        if len(waiting) == _BATCH:
            features.append(network.extract(waiting))
            waiting = []
    if waiting:
        features.append(network.extract(waiting))
    dates_of: dict[tuple[float, ...], set[str]] = {}
    for box, date in zip(footprints, dates, strict=True):
        dates_of.setdefault(box, set()).add(date)
    repeated = sum(len(of_place) > 1 for of_place in dates_of.values())
    if not repeated:
        raise ConfigError(
            f"places.source {config.source}: none of {len(dates_of)} places is there at two dates; "
            "give scenes with the same georeferenced grid, from several days"
        )
    log.info("places", chips=len(dates), places=len(dates_of), at_several_dates=repeated)
    features_NF = np.concatenate(features)
    return PlacedChips(
        EncodedChips(features_NF, network.encode_features(features_NF), np.zeros(len(dates), np.int64)),
        np.unique(np.array(footprints), axis=0, return_inverse=True)[1].reshape(-1),
        np.unique(np.array(dates), return_inverse=True)[1],
    )


def _chips(config: ArchiveConfig, network: HashNetwork, store: Store) -> Iterator[_Chip]:
    chip_specs = chip_specs_of(config, network.input_spec)
    with TemporaryDirectory(prefix="scenehash-") as folder:  # below TMPDIR
        scenes = pq.read_table(list_source(config, store, Path(folder)).objects).to_pylist()
    for scene in scenes:
        try:
            yield from _chips_of(scene, chip_specs.of(scene["collection"]), store)
        except (RejectedObject, StorageError, FileNotFoundError) as error:
            log.warning("a scene of places can't be read", uri=scene["uri"], reason=str(error))


def _chips_of(scene: dict[str, Any], chip_spec: ChipSpec, store: Store) -> Iterator[_Chip]:
    with open_raster(store.open_version(scene["uri"], "", FOR_CHIPS)) as dataset:
        place = georeference(dataset)
        acquired = scene["datetime"] or acquired_at(dataset)
        date = acquired.date().isoformat() if acquired else str(scene["uri"])
        for chip in read_chips(dataset, place, chip_spec.grid, chip_spec.pixels):
            outline = footprint(place, chip.window)
            if outline:
                box = tuple(round(side, _DECIMALS) for side in outline.bbox.values())
                yield _Chip(box, date, chip.pixels_HWC)
