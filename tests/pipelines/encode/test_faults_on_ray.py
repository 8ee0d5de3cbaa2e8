"""The real thing, broken: a job's process is killed, its workers are, and the object store goes down."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import psutil
import pytest
import ray

from pipelines.config import StoreConfig
from pipelines.demo.objectstore import free_port, object_store
from pipelines.encode.run import run_encode
from pipelines.errors import StoreDownError
from pipelines.storage.store import Store
from tests.pipelines.encode.changing import Archive, assert_as_undisturbed, wait_for_commits

pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(300)]


@pytest.fixture
def archive(store, root, write_model, geotiff):
    archive = Archive.below(root, store, write_model, geotiff)
    archive.first_day()
    return archive


def test_the_process_is_killed_again_and_again(archive, tmp_path):
    config = archive.night("codes")
    command = [sys.executable, "-m", "jobs.nightly", f"--source={config.source}", f"--table={config.table}"]
    command += [f"--bundle={config.bundle}", "--chip-size=16", "--objects-per-unit=3"]
    command += ["--prune", "--max-prune-share=0.5", f"--store.endpoint={config.store.endpoint}"]
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    draw = random.Random(1)
    for attempt in range(2):
        log = tmp_path / f"{attempt}.log"
        with log.open("wb") as output:
            night = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        wait_for_commits(archive, attempt, lambda: night.poll() is None)  # noqa: B023
        time.sleep(draw.uniform(0, 3))
        night.send_signal(signal.SIGKILL)
        night.wait()
        archive.check_objects_are_whole("codes")
        archive.spoil_orphans("codes")
    run_encode(config)
    assert_as_undisturbed(archive)


def test_workers_are_killed(archive):
    with ThreadPoolExecutor() as pool:
        night = pool.submit(run_encode, archive.night("codes").model_copy(update={"objects_per_unit": 8}))
        killed: set[str] = set()
        while not night.done():
            killed |= kill_workers({"ray::MapWorker", "ray::MapBatches", "ray::Writer"} - killed)
            time.sleep(0.05)
    report = night.result()
    assert killed == {"ray::MapWorker", "ray::MapBatches", "ray::Writer"}
    assert report.failed == []
    assert_as_undisturbed(archive)


@pytest.fixture
def outage(tmp_path, write_model, geotiff):
    """An archive in an object store of its own, and a function that starts that store."""
    port = free_port()
    store = Store(StoreConfig(endpoint=f"http://127.0.0.1:{port}"))
    bundle = write_model(str(tmp_path), "tiny")
    archive = Archive.below("s3://archive/down", store, lambda root, name: bundle, geotiff)
    return archive, partial(object_store, tmp_path / "weed", "archive", port)


def test_the_object_store_goes_down_for_a_while(outage):
    archive, running = outage
    with ThreadPoolExecutor() as pool:
        with running():
            archive.first_day()
            night = pool.submit(run_encode, archive.night("codes"))
            wait_for_commits(archive, 1, lambda: not night.done())
        time.sleep(10)
        assert not night.done(), "it has patience"
        with running():
            report = night.result()
            assert report.failed == []
            assert_as_undisturbed(archive)


def test_the_object_store_is_gone_for_good(outage):
    archive, running = outage
    config = archive.night("codes").model_copy(
        update={"store": archive.store.config.model_copy(update={"patience": 1.0})}
    )
    with ThreadPoolExecutor() as pool:
        with running():
            archive.first_day()
            night = pool.submit(run_encode, config)
            wait_for_commits(archive, 1, lambda: not night.done())
        with pytest.raises(StoreDownError, match="run again once the store answers") as caught:
            night.result()
    assert "\n" not in str(caught.value), "no traceback of Ray's"
    assert caught.value.exit_code == 1
    with running():
        archive.check_objects_are_whole("codes")
        archive.spoil_orphans("codes")
        run_encode(config)
        assert_as_undisturbed(archive)


def kill_workers(names: set[str]) -> set[str]:
    """Kill one worker process that is at work on each of these; return the names of those that were."""
    killed = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            doing = next((name for name in names - killed if process.name().startswith(name[:15])), None)
            if doing:
                process.kill()
                killed.add(doing)
    return killed
