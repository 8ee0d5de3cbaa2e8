"""The runbook's commands: each is run, in order, in a small sandbox, or is marked as needing a cluster."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
import yaml

from jobs.config import load_config
from pipelines.encode.config import EncodeConfig
from pipelines.evaluate.config import EvaluateConfig
from pipelines.publish.config import PublishConfig
from pipelines.query.config import QueryConfig
from pipelines.serve.config import ServeConfig
from pipelines.serve.snapshot import load_snapshot
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import publications, read_pointer
from pipelines.table.row_ranges import RowRange

REPOSITORY = Path(__file__).parents[2]
RUNBOOK = REPOSITORY / "docs/operations/README.md"
CONFIGS = {
    "nightly": EncodeConfig,
    "evaluate": EvaluateConfig,
    "publish": PublishConfig,
    "query": QueryConfig,
    "serve": ServeConfig,
}
TOOLS = {"aws", "curl", "docker", "kubectl", "make", "python", "ray"}


@dataclass(frozen=True)
class Block:
    """A fenced block of commands."""

    line: int
    marks: str
    text: str

    @property
    def commands(self) -> list[str]:
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def blocks() -> list[Block]:
    text = RUNBOOK.read_text()
    return [
        Block(text[: found.start()].count("\n") + 1, found[1].strip(), found[2])
        for found in re.finditer(r"^```sh([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


CLUSTER = [block for block in blocks() if block.marks == "cluster"]
LOCAL = [block for block in blocks() if block.marks != "cluster"]


def test_all_blocks_are_marked_in_a_way_that_means_something():
    assert {block.marks for block in LOCAL} <= {"", "exit=3"}
    assert len(LOCAL) >= 12
    assert len(CLUSTER) <= 11, "what can run without a cluster is run"
    fences = [line for line in RUNBOOK.read_text().splitlines() if line.startswith("```") and line != "```"]
    assert len(fences) == len(LOCAL) + len(CLUSTER)


@pytest.mark.parametrize("block", CLUSTER, ids=lambda block: f"line {block.line}")
def test_what_needs_a_cluster_is_understood(block, sandbox):
    for command in block.commands:
        assert command.split()[0] in TOOLS
        for path in re.findall(r"infra/[\w./-]+", command):
            if not (REPOSITORY / "infra/kuberay").exists():
                pytest.skip("no manifests here")
            assert (REPOSITORY / path).exists(), path
        if found := re.search(r"python -m jobs\.(\w+)(.*)", command):
            expanded = subprocess.run(
                ["bash", "-c", f"printf '%s\\0' {found[2]}"],
                env=sandbox, capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            load_config(found[1], CONFIGS[found[1]], expanded.split("\0")[:-1])
        else:
            assert shlex.split(command)


@pytest.fixture(scope="module")
def sandbox(store, write_scenes, write_model, tmp_path_factory) -> dict[str, str]:
    """A folder with an archive, two models and a night's config; the environment that names them."""
    root = tmp_path_factory.mktemp("runbook")
    scenes = write_scenes(store, str(root), count=6)
    (Path(scenes.prefix) / "broken.tif").write_bytes(b"<html>404</html>")
    bundles = [write_model(str(root), name)[0] for name in ("one", "two")]
    night = {"source": scenes.prefix, "table": f"{root}/codes", "bundle": bundles[0], "chip_size": 16}
    night |= {"encoders": 1, "min_valid_fraction": 0}
    (root / "nightly.yaml").write_text(yaml.safe_dump(night))
    (root / "index").mkdir()
    paths = {"BACKUP": "backup", "RESTORED": "restored", "INDEX_FOLDER": "index", "NIGHTLY": "nightly.yaml"}
    return os.environ | {name: f"{root}/{path}" for name, path in paths.items()} | {
        "TABLE": f"{root}/codes",
        "BUNDLE": bundles[0],
        "NEXT_BUNDLE": bundles[1],
        "VERSION": "1",
        "URL": "http://127.0.0.1:8000",
        "KEY": "a-key",
        "SANDBOX": str(root),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }  # fmt: skip


@pytest.mark.timeout(300)
def test_the_others_do_what_they_say(sandbox, store, ray_local):
    """In their order: a night, maintenance, the gate, a backup that is restored, another model and back."""
    environment = sandbox | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    for block in LOCAL:
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            env=environment, cwd=sandbox["SANDBOX"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        wanted = int(block.marks.removeprefix("exit=") or 0)
        assert run.returncode == wanted, f"line {block.line}: {run.returncode}\n{run.stdout}\n{run.stderr}"
        if "_rejects" in block.text and "duckdb" in block.text:
            assert "not_an_image" in run.stdout
    first, second, third = reversed(list(publications(sandbox["TABLE"], store)))
    assert (third.model_id, third.restores) == (first.model_id, first.number)
    assert second.model_id != first.model_id
    restored = f"{sandbox['RESTORED']}/codes"
    assert read_pointer(restored, store).bundle_uri.startswith(sandbox["RESTORED"])
    shutil.rmtree(sandbox["BUNDLE"])
    rows = CodeTable(sandbox["TABLE"], store).read(first.model_id, ["chip_id", "code"], first.table_version)
    shutil.rmtree(sandbox["TABLE"])  # what is restored needs nothing of it
    config = ServeConfig(table=restored, open=True, index_folder=Path(sandbox["INDEX_FOLDER"]))
    archive = load_snapshot(config, read_pointer(restored, store), RowRange(0, 1)).archive
    assert len(archive.codes) == len(rows) == 6 * 16
    for chip_id, code in zip(rows["chip_id"].to_pylist(), rows["code"].to_pylist(), strict=True):
        row = archive.rows.find(chip_id)
        assert archive.codes.code(row).tobytes() == code
