"""Sources that others write, and that mean harm: what they name, where they lead, what they hold."""

import csv
import io
import json
import os
import pickle
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError, ScenehashError, StorageError
from pipelines.gate.canary import read_canary
from pipelines.gate.config import GateConfig
from pipelines.labels.dataset import read_labels
from pipelines.sources.listing import list_source
from tests.pipelines.sources.test_stac import Api, listed, make_item, running

LOCAL = ["/etc/passwd", "file:///etc/passwd"]


def item_of(href: str) -> dict:
    item = make_item("s3://archive", 0)
    item.assets["image"].href = href
    return item.to_dict()


@pytest.mark.parametrize("href", LOCAL)
@pytest.mark.parametrize("kind", ["item.json", "items.geojson"])
def test_items_elsewhere_name_no_file_of_this_machine(store, root, tmp_path, href, kind):
    item = item_of(href)
    content = item if kind == "item.json" else {"type": "FeatureCollection", "features": [item]}
    store.write(f"{root}/{kind}", json.dumps(content).encode())
    if href.startswith("/"):  # a path without a scheme is one in the source's own bucket
        assert list(listed(store, tmp_path / "work", f"{root}/{kind}")) == ["s3://archive/etc/passwd"]
    else:
        with pytest.raises(ConfigError, match="/etc/passwd, which would be a file of this machine"):
            listed(store, tmp_path / "work", f"{root}/{kind}")
    (tmp_path / kind).write_text(json.dumps(content))  # whoever can write here needs no such trick
    assert list(listed(store, tmp_path / "work", str(tmp_path / kind))) == ["/etc/passwd"]


@pytest.mark.parametrize("rel", ["child", "item"])
def test_catalogs_elsewhere_link_to_no_file_of_this_machine(store, root, tmp_path, rel):
    (tmp_path / "item.json").write_text(json.dumps(item_of("s3://archive/x.tif")))
    for href in (str(tmp_path / "item.json"), (tmp_path / "item.json").as_uri()):
        catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d"}
        catalog |= {"links": [{"rel": rel, "href": href}]}
        store.write(f"{root}/catalog.json", json.dumps(catalog).encode())
        with pytest.raises(ScenehashError, match=r"would be a file of this machine|doesn't exist"):
            listed(store, tmp_path / "work", f"{root}/catalog.json")


def write_manifest(store, root, uri: str) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, ["uri", "label"])
    table.writeheader()
    table.writerows({"uri": uri, "label": label} for label in ("a", "b"))
    store.write(f"{root}/list.csv", text.getvalue().encode())
    return f"{root}/list.csv"


@pytest.mark.parametrize("uri", [*LOCAL, "/etc/passwd#s3://"])
def test_manifests_elsewhere_name_no_file_of_this_machine(store, root, tmp_path, uri):
    manifest = write_manifest(store, root, uri)
    with pytest.raises(ConfigError, match="would be a file of this machine"):
        listed(store, tmp_path / "work", manifest)
    with pytest.raises(ConfigError, match="would be a file of this machine"):
        read_labels(manifest, store)


@pytest.mark.parametrize("uri", ["../../../etc/passwd#s3://", "../../other-bucket/a.tif"])
def test_names_that_lead_out_of_the_bucket_are_no_objects(store, root, tmp_path, uri):
    manifest = write_manifest(store, root, uri)
    with pytest.raises(StorageError, match="leads out of the bucket"):
        listed(store, tmp_path / "work", manifest)
    with pytest.raises(ConfigError, match="leads out of the bucket"):
        read_labels(manifest, store)


def test_what_is_relative_to_a_manifest_in_a_bucket_stays_there(store, root, tmp_path):
    manifest = write_manifest(store, root, "../x/etc/passwd")
    assert list(listed(store, tmp_path / "work", manifest)) == ["s3://archive/x/etc/passwd"]


def test_an_api_leads_to_no_other_host(store, tmp_path):
    """A link names address, method, headers and body: this one would have another host's resource deleted."""
    other = type("Other", (Api,), {"root": "s3://archive", "asked": [], "do_DELETE": Api.do_POST})
    with running(other) as elsewhere:
        elsewhere = elsewhere.replace("127.0.0.1", "localhost")

        class Leading(Api):
            root, asked = "s3://archive", []

            def answer(self, status: int, content: dict) -> None:
                if content.get("type") == "FeatureCollection":
                    link = {
                        "rel": "next",
                        "href": f"{elsewhere}/search",
                        "method": "DELETE",
                        "headers": {"X": "1"},
                    }
                    content["links"] = [link]
                super().answer(status, content)

        class Redirecting(Leading):
            def do_POST(self) -> None:
                self.send_response(307)
                self.send_header("Location", f"{elsewhere}/search")
                self.send_header("Content-Length", "0")
                self.end_headers()

        for api in (Leading, Redirecting):
            with (
                running(api) as url,
                pytest.raises(ScenehashError, match="another host: give the API's own address"),
            ):
                listed(store, tmp_path / "work", url)
    assert other.asked == []


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


COLUMNS = "uri label labels etag datetime collection window split chip_id other"


@pytest.mark.parametrize("column", COLUMNS.split())
def test_parquet_runs_no_code(store, tmp_path, column):
    """Ray registers types with pyarrow whose values, or descriptions, were pickles: CVE-2026-41486."""
    mark = tmp_path / "ran"
    pickled = pickle.dumps(Evil(mark))
    pickles = pa.ExtensionArray.from_storage(
        ArrowPythonObjectType(), pa.array([pickled] * 2, pa.large_binary())
    )
    names = pa.array(["a", "b"])
    columns = {"uri": names, "label": names, "chip_id": names} | {column: pickles}
    tables = [pa.table(columns)]
    for kind in ("arrow_tensor", "arrow_tensor_v2", "arrow_variable_shaped_tensor"):
        metadata = {"ARROW:extension:name": f"ray.data.{kind}", "ARROW:extension:metadata": pickled}
        field = pa.field(column, pa.list_(pa.int64()), metadata=metadata)
        tables.append(pa.table(columns | {column: pa.array([[1], [2]])}).cast(
            pa.schema([pa.field(name, pa.string()) if name != column else field
                       for name in columns])))  # fmt: skip
    path = str(tmp_path / "list.parquet")
    config = EncodeConfig(source=path, table="t", bundle="b")
    for table in tables:
        with pq.ParquetWriter(path, table.schema) as writer:
            writer.write_table(table)
        for read in (
            lambda: list_source(config, store, tmp_path),
            lambda: read_labels(path, store),
            lambda: read_canary(GateConfig(canary=path), store),
        ):
            with suppress(ScenehashError):
                read()
            assert not mark.exists()
    pickle.loads(pickled)
    assert mark.exists(), "it would have"
