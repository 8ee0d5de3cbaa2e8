"""A night on three nodes, submitted from outside: one node is cut off within a unit, another joins."""

import time
from functools import partial
from uuid import uuid4

import httpx
import pytest

from tests.conftest import make_geotiff
from tests.pipelines.conftest import make_model
from tests.pipelines.encode.changing import Archive, assert_as_undisturbed

pytestmark = pytest.mark.timeout(600)

NIGHT = "nightly-2026-11-20"


@pytest.fixture
def archive(remote_store):
    root = f"s3://archive/{uuid4().hex}"
    archive = Archive.below(root, remote_store, partial(make_model, remote_store), make_geotiff)
    archive.first_day()
    return archive


def test_a_node_is_cut_off_and_another_joins(cluster, archive):
    config = archive.night("codes")
    flags = {"source": config.source, "table": config.table, "bundle": config.bundle, "chip_size": 16}
    # one encoder on a GPU: without the node that has it, nothing goes on before another has joined
    flags |= {"objects_per_unit": 4, "encoders": 1, "gpus_per_encoder": 1}
    flags |= {"store.endpoint": config.store.endpoint}
    with cluster.submitted(NIGHT, "nightly", flags) as night:
        cut_off = wait_for_encoder(cluster, night)
        cut_off.cut_off()
        cluster.workers.remove(cut_off)
        cluster.join(gpus=1)
        check_refusals(cluster, flags)
        output, _ = night.communicate()
    assert night.returncode == 0, output
    assert '"chips":24' in output
    assert '"failed":[]' in output
    assert cut_off.runs("raylet")  # it wasn't stopped, and knows nothing
    cut_off.kill()
    assert_as_undisturbed(archive)


def check_refusals(cluster, flags):
    """Check that nobody can submit this night again, nor anything without the token."""
    for submission_id, environment, reason in (
        (NIGHT, {}, f"{NIGHT} already exists"),
        ("another", {"RAY_AUTH_MODE": "disabled"}, "Missing authentication token"),
    ):
        with cluster.submitted(submission_id, "nightly", flags, **environment) as refused:
            output, _ = refused.communicate()
        assert refused.returncode != 0
        assert reason in output
    for guess in ({}, {"Authorization": "Bearer guessed"}):
        assert httpx.get(f"{cluster.address}/api/jobs/", headers=guess, timeout=10).status_code in (401, 403)


def wait_for_encoder(cluster, night):
    """Wait until there is an encoder on a worker, and return that."""
    while night.poll() is None:
        for worker in cluster.workers:
            if worker.runs("ray::MapWorker"):
                return worker
        time.sleep(0.05)
    pytest.fail(f"the night is over\n{night.communicate()[0]}")
