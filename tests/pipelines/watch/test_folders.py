"""A table, a bundle and a watch that were named by relative paths work from every folder."""

import json
from pathlib import Path

from pipelines.gate.config import GateConfig
from pipelines.publish.config import PublishConfig
from pipelines.publish.run import run_publish
from pipelines.table.pointer import read_pointer
from pipelines.watch.add import add_watch
from pipelines.watch.config import AddWatchConfig, RunWatchesConfig
from pipelines.watch.run import run_watches
from tests.pipelines.watch.conftest import code_at


def test_pointer_and_watch_hold_absolute_places(local_site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    version = local_site.encode({"near": code_at(1)})
    bundle = str(Path(local_site.bundle).relative_to(tmp_path))
    config = PublishConfig(table="codes", version=version, bundle=bundle, gate=GateConfig(min_objects=50))
    run_publish(config)
    assert read_pointer("codes", local_site.store).bundle_uri == f"{tmp_path}/{bundle}"
    assert json.loads((tmp_path / "codes/_published.json").read_text())["bundle_uri"].startswith("/")
    watch = AddWatchConfig(
        watches="watches", name="ships", table="codes", max_distance=4, code="00000000", from_start=True
    )
    assert add_watch(watch).table == f"{tmp_path}/codes"
    assert json.loads((tmp_path / "watches/ships.json").read_text())["table"] == f"{tmp_path}/codes"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    report = run_watches(RunWatchesConfig(watches="../watches", output="hits"))
    assert [outcome.hits for outcome in report.watches] == [1]
    assert {path.name for path in (elsewhere / "hits/ships").iterdir()} == {"000001.geojson", "000001.jsonl"}
    run_publish(PublishConfig(table="../codes", version=version, force=True))  # with the pointer's bundle
