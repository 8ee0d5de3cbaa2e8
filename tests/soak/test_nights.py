"""The soak's nights in this process, on a real S3 server: undisturbed they do no harm, and a harm is seen."""

import json
from types import SimpleNamespace

import pytest

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.leftovers import objects_left
from benchmarks.soak.run import first_nights
from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.encode.run import run_encode
from pipelines.maintain.config import MaintainConfig
from pipelines.maintain.run import run_maintain
from pipelines.publish.config import PublishConfig
from pipelines.publish.run import run_publish
from pipelines.table.code_table import CodeTable, files_of
from pipelines.table.pointer import read_pointer
from pipelines.watch.add import add_watch
from pipelines.watch.config import AddWatchConfig, RunWatchesConfig
from pipelines.watch.run import run_watches
from tests.pipelines.encode.changing import encode_in_process

JOBS = {
    ("nightly", "--prune"): (EncodeConfig, run_encode),
    ("maintain",): (MaintainConfig, run_maintain),
    ("publish", "--rollback"): (PublishConfig, run_publish),
    ("watch", "add"): (AddWatchConfig, add_watch),
    ("watch", "run"): (RunWatchesConfig, run_watches),
}

pytestmark = pytest.mark.timeout(600)


class ThisProcess:
    """Runs the jobs in this process, in the cluster's place."""

    def run_job(self, job, flags, output, *words):
        config, run = JOBS[job, *words]
        given = {name.replace("-", "_"): value for name, value in flags.items()}
        given["store"] = StoreConfig(endpoint=given.pop("store.endpoint"))
        given |= {word.removeprefix("--"): True for word in words if word.startswith("--")}
        given |= {name: (value,) for name, value in given.items() if name == "chip_id"}
        output.write_text(run(config.model_validate(given)).model_dump_json())
        return 0


def test_nights_do_no_harm_and_harms_are_seen(store, tmp_path, monkeypatch):
    encode_in_process(monkeypatch)
    (tmp_path / "jobs").mkdir()
    ledger, way = Ledger(tmp_path / "soak.jsonl"), SimpleNamespace(endpoint=store.config.endpoint)
    nights = first_nights(ThisProcess(), store, way, ledger, tmp_path / "jobs")
    while nights.count < 4:  # compacted, another model, rolled back, published again
        nights.one()
        nights.by_hand()
    nights.check_hits()
    assert ledger.is_clean(), ledger.path.read_text()[-2000:]
    assert all(len(watch.hits) > 10 for watch in nights.watches)
    models = [entry["model_id"] for entry in events(ledger, "night")]
    assert len(set(models)) == 2
    assert objects_left(nights.places, nights.archive, store) == []

    store.write(f"{nights.places.root}/stray", b"")
    assert objects_left(nights.places, nights.archive, store) == [f"{nights.places.root}/stray"]
    lose_hits(nights, store)
    lose_rows(nights, store, models[-1])
    assert {name for name, count in ledger.counts.items() if count} == {"lost_hits", "lost_rows"}


def events(ledger, name):
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def lose_hits(nights, store):
    files = [info.uri for info in store.list(nights.places.hits) if info.uri.endswith(".jsonl")]
    store.remove(files[-1])
    nights.check_hits()


def lose_rows(nights, store, model_id):
    """Take a file out of the table without telling the night: what a faulty commit would do."""
    table = CodeTable(nights.places.table, store)
    delta = table.open()
    table.replace_files(files_of(delta, model_id)[:1], [], model_id, {"maintenance": "a fault"})
    version = table.open().version()
    assert version > read_pointer(table.uri, store).table_version
    nights.check_rows(model_id, version)
