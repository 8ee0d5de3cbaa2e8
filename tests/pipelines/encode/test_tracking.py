"""MLflow is told of a night, and never decides over it: gone, silent, or with a deleted experiment."""

import socket
import time

import pytest

import pipelines.registry.tracking
from pipelines.encode.config import NightTracking
from pipelines.encode.run import run_encode
from pipelines.errors import StorageError, TrackingError
from pipelines.registry.tracking import client
from pipelines.table.night_record import find_night
from pipelines.table.pointer import read_pointer

NOBODY = NightTracking(uri="http://127.0.0.1:9")  # the port of a service that nobody runs any more


@pytest.fixture
def silent():
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The address of an MLflow database: it takes seconds to make one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def runs(tracking):
    mlflow = client(tracking)
    return mlflow.search_runs([mlflow.get_experiment_by_name(tracking.experiment).experiment_id])


def check_published(config, archive, report, reason):
    """The night was done, and its report says why MLflow doesn't know of it."""
    assert report.chips == 24
    assert reason in report.tracking_failed
    assert read_pointer(config.table, archive.store).table_version == report.table_version
    assert find_night(config.table, archive.store).outcome == "published"


def test_a_night_is_recorded_when_it_has_ended(archive, database):
    tracking = NightTracking(uri=database, experiment="ended")
    config = archive.night("codes").model_copy(update={"tracking": tracking})
    report = run_encode(config)
    assert report.tracking_failed is None
    (run,) = runs(tracking)
    assert (run.info.status, run.info.run_name) == ("FINISHED", report.run_id)
    assert run.data.metrics["chips"] == 24
    assert run.data.params["source"] == config.source
    assert run.data.tags["model_id"] == report.model_id
    assert run.info.start_time < run.info.end_time
    archive.store.remove_folder(config.source)
    with pytest.raises(StorageError):
        run_encode(config)
    assert len(runs(tracking)) == 1, "before there is a plan there is no run"


def test_a_night_is_done_while_mlflow_is_down(archive):
    config = archive.night("codes").model_copy(update={"tracking": NOBODY})
    started = time.monotonic()
    report = run_encode(config)
    assert time.monotonic() - started < pipelines.registry.tracking.PATIENCE
    check_published(config, archive, report, "MLflow at http://127.0.0.1:9: ")


def test_a_silent_server_is_given_up_in_time(archive, silent, monkeypatch):
    monkeypatch.setattr(pipelines.registry.tracking, "PATIENCE", 0.5)
    tracking = NightTracking(uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
    config = archive.night("codes").model_copy(update={"tracking": tracking})
    check_published(config, archive, run_encode(config), "no answer in")


def test_a_deleted_experiment_is_told_and_costs_nothing(archive, database):
    tracking = NightTracking(uri=database, experiment="deleted")
    mlflow = client(tracking)
    mlflow.delete_experiment(mlflow.create_experiment(tracking.experiment))
    config = archive.night("codes").model_copy(update={"tracking": tracking})
    check_published(config, archive, run_encode(config), "has been deleted; restore it, or name another")


def test_a_dry_run_asks_nobody(archive, silent):
    tracking = NightTracking(uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
    config = archive.night("codes").model_copy(update={"tracking": tracking, "dry_run": True})
    assert run_encode(config).tracking_failed is None
    with pytest.raises(BlockingIOError):
        silent.accept()


def test_an_alias_that_cannot_be_looked_up_is_what_is_published(archive):
    config = archive.night("codes")
    alias = {"bundle": f"models:/{archive.model_id.partition('@')[0]}@champion", "tracking": NOBODY}
    with pytest.raises(TrackingError, match="MLflow at "):
        run_encode(config.model_copy(update=alias))  # nothing is published that it might be
    assert find_night(config.table, archive.store).outcome == "broken_off"
    run_encode(config)
    archive.second_day()
    report = run_encode(config.model_copy(update=alias))
    assert report.chips > 0
    assert f"took the published bundle {config.bundle}" in report.tracking_failed
    with pytest.raises(TrackingError):
        run_encode(config.model_copy(update=alias | {"bundle": "models:/other@champion"}))
