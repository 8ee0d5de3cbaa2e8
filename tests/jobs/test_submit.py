"""`ray job submit` of this repository to a cluster of its own, with token authentication."""

import httpx
import pytest
import torch

from model.bundle import pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.registry.bundles import write_bundle
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import read_pointer


@pytest.mark.timeout(300)
def test_encode_as_a_submitted_job(cluster, submit, store, root, write_scenes):
    scenes = write_scenes(store, root, count=3)
    torch.manual_seed(0)
    network = HashNetwork(
        NetworkSpec(backbone="resnet18", node="layer1", hidden=0, kind_bits=16), InputSpec(size=16)
    ).eval()
    manifest, files = pack_bundle(network, "tiny", ("a", "b"), "run", {})
    write_bundle(f"{root}/bundle", files, store)
    unauthenticated = httpx.get(f"{cluster['RAY_ADDRESS']}/api/jobs/", timeout=10)
    assert unauthenticated.status_code == 401

    done = submit(
        "nightly-2026-11-20",
        "nightly",
        source=scenes.prefix,
        table=f"{root}/codes",
        bundle=f"{root}/bundle",
        chip_size=16,
        **{"store.endpoint": store.config.endpoint},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"chips":48' in done.stdout

    pointer = read_pointer(f"{root}/codes", store)
    table = CodeTable(f"{root}/codes", store).read(manifest.model_id, ["code"], pointer.table_version)
    assert len(table) == 48
    assert {len(code) for code in table["code"].to_pylist()} == {2}
