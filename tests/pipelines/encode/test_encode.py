"""The encoding run on a real archive in a real bucket, on a real Ray."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import shapely
import torch

import pipelines.encode.carry_out
from model.bundle import Manifest, pack_bundle
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec
from pipelines.encode.config import EncodeConfig, NightTracking
from pipelines.encode.run import run_encode
from pipelines.errors import BundleError, ConfigError, GateError, StorageError, TableError
from pipelines.gate.config import GateConfig
from pipelines.imagery.grid import Grid, read_chips
from pipelines.imagery.pixels import PixelSpec
from pipelines.imagery.raster import open_raster
from pipelines.imagery.window import chip_id
from pipelines.registry.bundles import read_bundle, write_bundle
from pipelines.registry.tracking import client
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import read_pointer
from pipelines.table.schema import CODE_SCHEMA, FILE_SCHEMA
from pipelines.table.shard_files import write_shard
from pipelines.table.sorting import hilbert_key

pytestmark = pytest.mark.usefixtures("ray_local")

BROKEN = {
    "zero.tif": (b"", "zero_bytes"),
    "text.tif": (b"not a raster", "not_an_image"),
}


@dataclass(frozen=True)
class Archive:
    config: EncodeConfig
    manifest: Manifest
    store: Store

    @property
    def table(self) -> CodeTable:
        return CodeTable(self.config.table, self.store)

    def rows(self, version: int | None = None) -> dict[str, dict]:
        table = self.table.read(self.manifest.model_id, CODE_SCHEMA.names, version)
        rows = {row["chip_id"]: row for row in table.to_pylist()}
        assert len(rows) == len(table), "a chip has two rows"
        return rows


@pytest.fixture
def archive(store, root, write_scenes):
    """Four scenes of sixteen chips, two broken objects and one that isn't imagery; an untrained network."""
    scenes = write_scenes(store, root, count=4)
    for name, (content, _) in BROKEN.items():
        store.write(f"{scenes.prefix}/{name}", content)
    store.write(f"{scenes.prefix}/readme.txt", b"passed over")
    torch.manual_seed(0)
    network = HashNetwork(
        NetworkSpec(backbone="resnet18", node="layer1", hidden=0, kind_bits=32), InputSpec(size=16)
    ).eval()
    manifest, files = pack_bundle(network, "tiny", ("a", "b"), "run", {})
    bundle = f"{root}/bundles/{manifest.model_id}"
    write_bundle(bundle, files, store)
    config = EncodeConfig(
        source=scenes.prefix,
        table=f"{root}/codes",
        bundle=bundle,
        chip_size=16,
        gate=GateConfig(max_reject_share=0.5),
        store=store.config,
    )
    return Archive(config, manifest, store)


@pytest.fixture
def in_process(monkeypatch):
    """Let nights encode here, as they do where there is no Ray: its actors would take most of the time."""
    monkeypatch.setattr("pipelines.encode.night.suffices", lambda config, objects: True)


def expected_codes(archive: Archive) -> dict[str, bytes]:
    """The slow reference: one object, one chip after the other, in this process."""
    _, network = read_bundle(archive.config.bundle, archive.store)
    codes = {}
    for info in archive.store.list(archive.config.source):
        if not info.uri.endswith(".tif") or info.uri.rsplit("/", 1)[1] in BROKEN:
            continue
        with open_raster(archive.store.read(info.uri)) as dataset:
            chips = list(read_chips(dataset, None, Grid(16), PixelSpec((1, 2, 3))))
        for chip in chips:
            (code_Y,) = network.encode(torch.from_numpy(chip.pixels_HWC)[None])
            codes[chip_id(info.uri, chip.window)] = code_Y.tobytes()
    return codes


def runs(tracking):
    mlflow = client(tracking)
    experiment = mlflow.get_experiment_by_name("scenehash-nightly")
    return mlflow.search_runs([experiment.experiment_id])


def wait_for_metrics(*parts: str) -> None:
    """Wait until Ray exports what this process has counted: it does so each ten seconds."""
    url = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    for _ in range(60):
        with suppress(httpx.HTTPError):
            text = httpx.get(url, timeout=5).text
            if all(part in text for part in parts):
                return
        time.sleep(0.5)
    pytest.fail(f"Ray exports none of {parts}")


def test_first_night_second_night_and_a_change(archive, geotiff):
    first = run_encode(archive.config)
    assert (first.objects, first.new, first.changed, first.chips, first.failed) == (6, 6, 0, 64, [])
    read = archive.store.list(archive.config.source)
    assert first.bytes_read == sum(info.size for info in read if info.uri.endswith(".tif"))
    assert first.images_per_second > 0 < first.cpu_seconds_per_1000_chips
    assert first.gpu_seconds_per_1000_chips == 0
    assert first.rejects == {"zero_bytes": 1, "not_an_image": 1}
    rows = archive.rows()
    assert {name: row["code"] for name, row in rows.items()} == expected_codes(archive)
    pointer = read_pointer(archive.config.table, archive.store)
    assert (pointer.table_version, pointer.model_id) == (first.table_version, archive.manifest.model_id)
    assert pointer.gate["chips"] == 64
    assert "stuck_bits, bit_entropy, distinct_ratio: 4 objects, 50 needed" in first.gate_skipped
    assert pointer.skipped_checks == first.gate_skipped

    again = run_encode(archive.config)
    assert (again.new, again.chips, again.table_version) == (0, 0, first.table_version)
    assert read_pointer(archive.config.table, archive.store) == pointer

    pixels_HWC = np.full((64, 64, 3), 77, np.uint8)
    archive.store.write(f"{archive.config.source}/001.tif", geotiff(pixels_HWC, west=-50))
    archive.store.write(f"{archive.config.source}/new.tif", geotiff(pixels_HWC, west=100))
    third = run_encode(archive.config)
    assert (third.new, third.changed, third.chips, third.removed, third.rejects) == (2, 1, 32, 16, {})
    assert (third.gate["new_chips"], third.gate["last_chips"]) == (32, 64)
    assert {name: row["code"] for name, row in archive.rows().items()} == expected_codes(archive)
    assert archive.rows(first.table_version) == rows, "the published version before it is still whole"


@pytest.mark.usefixtures("in_process")
def test_rows_say_where_when_and_from_what(archive):
    report = run_encode(archive.config)
    for row in archive.rows().values():
        assert row["chip_id"] == chip_id(row["uri"], tuple(row["window"].values()))
        assert row["datetime"].isoformat() == "2024-06-01T10:00:00+00:00"
        assert (row["run_id"], row["collection"], row["valid_fraction"]) == (report.run_id, "default", 1)
        assert shapely.from_wkb(row["geometry"]).bounds == pytest.approx(tuple(row["bbox"].values()))
    rejects = archive.table.stream_rejects(report.model_id, ["uri", "reason"]).read_all().to_pylist()
    expected = {f"{archive.config.source}/{name}": reason for name, (_, reason) in BROKEN.items()}
    assert {row["uri"]: row["reason"] for row in rejects} == expected


@pytest.mark.usefixtures("in_process")
def test_shards_are_plain_geoparquet_in_spatial_order(archive):
    run_encode(archive.config.model_copy(update={"objects_per_unit": 3}))
    filesystem, path = archive.store.arrow_filesystem(archive.config.table)
    files = archive.table.open().file_uris()
    assert len(files) == 2, "one for each unit"
    for uri in files:
        shard = pq.read_table(f"{path}/{uri.split('/codes/')[1]}", filesystem=filesystem, partitioning=None)
        assert b"covering" in shard.schema.metadata[b"geo"]
        corners = [(bbox["xmin"], bbox["ymin"]) for bbox in shard["bbox"].to_pylist()]
        key_N = hilbert_key(*np.array(corners).T)
        assert (np.diff(key_N) >= 0).all()


def test_a_failed_gate_leaves_the_pointer_alone(archive, tmp_path):
    tracking = NightTracking(uri=f"sqlite:///{tmp_path}/mlflow.db")
    gate = GateConfig(max_reject_share=0.05)
    strict = archive.config.model_copy(update={"gate": gate, "tracking": tracking})
    with pytest.raises(GateError, match=r"reject_share is 0\.3333 \(2 of 6; .*at most 0\.05") as caught:
        run_encode(strict)
    assert (caught.value.report.chips, caught.value.report.table_version) == (64, None)
    with pytest.raises(TableError, match="nothing is published"):
        read_pointer(archive.config.table, archive.store)
    (run,) = runs(tracking)
    assert (run.info.status, run.data.metrics["chips"]) == ("FAILED", 64)
    assert run.data.metrics["gate/reject_share"] == pytest.approx(1 / 3)
    wait_for_metrics("ray_scenehash_objects_total{", 'outcome="zero_bytes"')
    report = run_encode(archive.config)  # nothing is lost: only the publishing was held back
    assert (report.new, len(archive.rows())) == (0, 64)
    assert read_pointer(archive.config.table, archive.store).table_version == report.table_version


@pytest.mark.usefixtures("in_process")
def test_pruning_removes_what_has_gone_and_an_idle_night_starts_nothing(archive, monkeypatch):
    first = run_encode(archive.config)
    version, rows = first.table_version, archive.rows()
    archive.store.remove_folder(f"{archive.config.source}/001.tif")

    def refuse() -> None:
        raise AssertionError("Ray isn't needed here")

    monkeypatch.setattr("pipelines.runtime.cluster.connected", refuse)
    kept = run_encode(archive.config)
    assert (kept.vanished, kept.vanished_examples) == (1, (f"{archive.config.source}/001.tif",))
    assert (kept.objects, kept.new, kept.removed, kept.table_version) == (5, 0, 0, version)
    with pytest.raises(ConfigError, match=r"doesn't list 1 encoded objects any more \(0\.167 of all\)"):
        run_encode(archive.config.model_copy(update={"prune": True}))
    assert archive.table.open().version() == version, "nothing was done"

    pruning = archive.config.model_copy(update={"prune": True, "max_prune_share": 0.2})
    pruned = run_encode(pruning)
    assert (pruned.removed, pruned.table_version) == (16, version + 1)
    gone = {name for name, row in rows.items() if row["uri"].endswith("/001.tif")}
    assert archive.rows() == {name: row for name, row in rows.items() if name not in gone}
    assert archive.rows(version) == rows, "the published version before it is still whole"
    again = run_encode(pruning)
    assert (again.removed, again.table_version) == (0, pruned.table_version)

    archive.store.remove_folder(archive.config.source)
    with pytest.raises(StorageError, match="no imagery below"):
        run_encode(pruning.model_copy(update={"max_prune_share": 1}))
    assert archive.table.open().version() == pruned.table_version


def test_dry_run_says_what_it_would_do_and_does_nothing(archive):
    report = run_encode(archive.config.model_copy(update={"dry_run": True}))
    assert (report.objects, report.new, report.chips, report.table_version) == (6, 6, 0, None)
    assert not archive.table.exists()


# Ray 2.60 leaves a log file open where two datasets run in one process at once
@pytest.mark.filterwarnings("ignore:unclosed file .*ray-data-dataset:ResourceWarning")
def test_two_nights_at_once_encode_everything_once(archive):
    reports = []
    config = archive.config.model_copy(update={"objects_per_unit": 2})
    nights = [threading.Thread(target=lambda: reports.append(run_encode(config))) for _ in range(2)]
    for night in nights:
        night.start()
    for night in nights:
        night.join()
    assert len(reports) == 2
    assert {name: row["code"] for name, row in archive.rows().items()} == expected_codes(archive)


@pytest.mark.usefixtures("in_process")
def test_a_version_in_which_an_object_stands_twice_is_never_published(archive, geotiff, monkeypatch):
    """A night that encodes a changed object commits after this one has looked, before this one publishes."""
    first = run_encode(archive.config)
    uri = f"{archive.config.source}/001.tif"
    archive.store.write(uri, geotiff(np.full((64, 64, 3), 77, np.uint8)))
    work = pipelines.encode.carry_out.remove_versions
    calls = []

    def commit_between(table, model_id, *rest) -> int:
        removed = work(table, model_id, *rest)
        if not calls:
            calls.append(True)
            old = next(
                row
                for row in archive.table.read(model_id, CODE_SCHEMA.names, first.table_version).to_pylist()
                if row["uri"] == uri
            )
            other = pa.Table.from_pylist([old | {"etag": "theirs"}], schema=FILE_SCHEMA)
            shard = write_shard(table.uri, table.store, model_id, other)
            table.commit_unit([shard], model_id, table.commits(model_id) + 1, {})
        return removed

    monkeypatch.setattr("pipelines.encode.carry_out.remove_versions", commit_between)
    report = run_encode(archive.config)
    assert calls
    assert (report.chips, report.removed) == (16, 16 + 1)
    assert {name: row["code"] for name, row in archive.rows(report.table_version).items()} == expected_codes(
        archive
    )


@pytest.mark.usefixtures("in_process")
def test_what_a_manifest_says_of_objects_stands_in_their_rows(archive):
    csv = (
        "uri,etag,datetime,collection,cloud\n"
        "scenes/000.tif,v1,2020-01-02T03:04:05Z,special,7\nscenes/001.tif,,,,\nscenes/gone.tif,,,,\n"
    )
    source = archive.config.source.replace("/scenes", "/list.csv")
    archive.store.write(source, csv.encode())
    report = run_encode(archive.config.model_copy(update={"source": source}))
    assert (report.objects, report.chips) == (3, 32)
    assert report.failed == [f"{archive.config.source}/gone.tif"]
    rows = {row["uri"][-7:]: row for row in archive.rows().values()}
    special, plain = rows["000.tif"], rows["001.tif"]
    assert (special["etag"], special["collection"], dict(special["properties"])) == (
        "v1",
        "special",
        {"cloud": "7"},
    )
    assert special["datetime"].isoformat() == "2020-01-02T03:04:05+00:00"
    assert (plain["collection"], dict(plain["properties"])) == ("default", {})
    assert plain["datetime"].isoformat() == "2024-06-01T10:00:00+00:00"


@pytest.mark.usefixtures("in_process")
def test_an_object_that_cannot_be_read_now_keeps_its_rows_and_is_tried_again(archive, tmp_path, geotiff):
    source = tmp_path / "imagery"
    source.mkdir()
    for number in range(2):
        pixels_HWC = np.full((32, 32, 3), 50 + number, np.uint8)
        (source / f"{number}.tif").write_bytes(geotiff(pixels_HWC))
    config = archive.config.model_copy(update={"source": str(source), "table": str(tmp_path / "codes")})
    local = Archive(config, archive.manifest, archive.store)
    assert run_encode(config).chips == 8
    rows = local.rows()

    (source / "0.tif").unlink()
    (source / "0.tif").symlink_to("/proc/self/mem")  # a file that is there, and whose reading fails
    report = run_encode(config)
    assert (report.failed, report.chips, report.removed, report.rejects) == ([f"{source}/0.tif"], 0, 0, {})
    assert local.rows(report.table_version) == rows

    (source / "0.tif").unlink()
    (source / "0.tif").write_bytes(geotiff(np.full((32, 32, 3), 99, np.uint8)))
    report = run_encode(config)
    assert (report.failed, report.chips, report.removed) == ([], 4, 4)
    assert local.rows(report.table_version).keys() == rows.keys()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": "s3://no-such-bucket/x"}, StorageError, "no such bucket"),
        ({"suffixes": (".nc",)}, StorageError, r"nothing there ends in \.nc"),
        ({"bundle": "s3://archive/nothing"}, BundleError, "no bundle at"),
    ],
)
def test_the_users_mistakes_are_told(archive, change, error, message):
    with pytest.raises(error, match=message):
        run_encode(archive.config.model_copy(update=change))
