"""The pool of encoders: it begins with what fits the cluster, and grows where encoders are busy."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import psutil
import pytest

from pipelines.encode.config import EncodeConfig
from pipelines.encode.execution import encoder_pool
from pipelines.encode.run import run_encode
from tests.pipelines.encode.changing import Archive

pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("flags", "objects", "smallest", "largest"),
    [
        ({}, 1000, 4, 250),
        ({}, 40, 3, 10),
        ({}, 7, 1, 1),
        ({"encoders": 3}, 1000, 3, 3),
        ({"encoders": 3}, 1, 3, 3),
        ({"gpus_per_encoder": 1.0}, 1000, 1, 250),
    ],
)
def test_a_pool_begins_with_what_fits_four_cpus(flags, objects, smallest, largest):
    pool = encoder_pool(EncodeConfig(source="a", table="t", bundle="b", chip_size=16, **flags), objects)
    assert (pool.min_size, pool.max_size) == (smallest, largest)


def test_encoders_that_are_busy_get_company(store, root, write_model, geotiff):
    """Eight scenes don't look like much before they are opened."""
    archive = Archive.below(root, store, write_model, geotiff)
    for number in range(8):
        pixels_HWC = np.random.default_rng(number).integers(1, 255, (512, 512, 3), np.uint8)
        store.write(f"{archive.config.source}/{number}.tif", geotiff(pixels_HWC))
    most = 0
    with ThreadPoolExecutor() as pool:
        night = pool.submit(run_encode, archive.config)
        while not night.done():
            most = max(most, count_encoders())
            time.sleep(0.1)
    assert night.result().chips == 8 * 1024
    assert most == 2


def count_encoders() -> int:
    """Count the actors of Ray Data's pools below this process."""
    found = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += process.name().startswith("ray::MapWorker"[:15])
    return found
