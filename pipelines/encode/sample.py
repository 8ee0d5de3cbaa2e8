"""A dry run's look at some of the new objects: how much of them chips will cover."""

import time
from contextlib import suppress

from pipelines.encode.plan import Plan
from pipelines.encode.report import Tally
from pipelines.encode.usage import Usage
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import covered_pixels
from pipelines.imagery.raster import open_raster
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.ranges import FOR_PICTURES
from pipelines.storage.store import Store

_OBJECTS = 20  # at most, evenly spread over the new ones in the order of their names
_SECONDS = 10.0  # no object is begun after that: those that are no TIFF are read whole


def open_sample(plan: Plan, chip_specs: ChipSpecs, store: Store, tally: Tally) -> None:
    """Open some of the objects to encode, and count their pixels and those that chips cover in ``tally``.

    Objects that can't be opened are left out: only a night says why.
    """
    stop = time.monotonic() + _SECONDS
    for listed in plan.sample(_OBJECTS):
        if time.monotonic() > stop:
            break
        chip_spec = chip_specs.of(listed["collection"])
        with (
            suppress(Exception),
            open_raster(store.open_version(listed["uri"], listed["etag"], FOR_PICTURES)) as dataset,
        ):
            covered = covered_pixels(dataset, georeference(dataset), chip_spec.grid)
            tally.usage += Usage(
                objects_opened=1, pixels_opened=dataset.width * dataset.height, pixels_covered=covered
            )
            tally.too_small += not covered
