"""The runbook's commands: each is run, in order, in a small sandbox, or is marked as needing a cluster."""

import re
import shutil
from pathlib import Path

import pytest
import ray

from pipelines.serve.config import ServeConfig
from pipelines.serve.snapshot import load_snapshot
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import publications, read_pointer
from pipelines.table.row_ranges import RowRange
from tests.docs.blocks import REPOSITORY, blocks, run, understood

RUNBOOK = REPOSITORY / "docs/operations/README.md"
CLUSTER = [block for block in blocks(RUNBOOK) if block.marks == "cluster"]
LOCAL = [block for block in blocks(RUNBOOK) if block.marks != "cluster"]


def test_all_blocks_are_marked_in_a_way_that_means_something():
    assert {block.marks for block in LOCAL} <= {"", "exit=3"}
    assert len(LOCAL) >= 12
    assert len(CLUSTER) <= 11, "what can run without a cluster is run"
    fences = [line for line in RUNBOOK.read_text().splitlines() if line.startswith("```") and line != "```"]
    assert len(fences) == len(LOCAL) + len(CLUSTER)


@pytest.mark.parametrize("block", CLUSTER, ids=str)
def test_what_needs_a_cluster_is_understood(block, environment):
    for command in block.commands:
        for path in re.findall(r"infra/[\w./-]+", command):
            if not (REPOSITORY / "infra/kuberay").exists():
                pytest.skip("no manifests here")
            assert (REPOSITORY / path).exists(), path
        understood(command, environment)


@pytest.mark.timeout(300)
def test_the_others_do_what_they_say(sandbox, store, ray_local):
    """In their order: a night, maintenance, the gate, a backup that is restored, another model and back."""
    environment = sandbox | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    for block in LOCAL:
        printed = run(block, environment)
        if "_rejects" in block.text and "duckdb" in block.text:
            assert "not_an_image" in printed
    first, second, third = reversed(list(publications(sandbox["TABLE"], store)))
    assert (third.model_id, third.restores) == (first.model_id, first.number)
    assert second.model_id != first.model_id
    restored = f"{sandbox['RESTORED']}/codes"
    assert read_pointer(restored, store).bundle_uri.startswith(sandbox["RESTORED"])
    shutil.rmtree(sandbox["BUNDLE"])
    rows = CodeTable(sandbox["TABLE"], store).read(first.model_id, ["chip_id", "code"], first.table_version)
    shutil.rmtree(sandbox["TABLE"])  # what is restored needs nothing of it
    config = ServeConfig(table=restored, open=True, index_folder=Path(sandbox["INDEX_FOLDER"]))
    archive = load_snapshot(config, read_pointer(restored, store), RowRange(0, 1)).index
    assert len(archive.codes) == len(rows) == 6 * 16
    for chip_id, code in zip(rows["chip_id"].to_pylist(), rows["code"].to_pylist(), strict=True):
        row = archive.rows.find(chip_id)
        assert archive.codes.code(row).tobytes() == code
