"""MLflow's store: which addresses are taken, where the default one lies, and what a dry run leaves behind."""

import sqlite3

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from jobs.config import load_config
from pipelines.config import TrackingConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import BundleError, ConfigError
from pipelines.registry import tracking
from pipelines.registry.bundles import resolve_bundle
from pipelines.train.config import TrainConfig
from pipelines.train.run import run_train


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, with another current folder beside it that must stay empty."""
    for folder in ("home", "here"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_DATA_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path / "home"
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("postgresql+psycopg2://u:p@h/db", "postgresql+psycopg2://u:p@h/db"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("sqlite:///~/m.db", "sqlite:///{home}/m.db"),
        ("sqlite:///m.db", "sqlite:///{here}/m.db"),
        ("", None),
    ],
)
def test_addresses_that_are_taken(home, given, meant):
    expected = meant and meant.format(home=home, here=home.parent / "here")
    assert TrackingConfig(uri=given).uri == expected


@pytest.mark.parametrize(
    "nonsense", ["mlflow.db", "./mlruns", "nonsense", "file:///tmp/x", "foo://h", "sqlite:///"]
)
@pytest.mark.parametrize(
    ("job", "config"), [("train", TrainConfig), ("nightly", EncodeConfig)], ids=["train", "nightly"]
)
def test_an_address_that_is_none_is_refused_at_once(home, monkeypatch, nonsense, job, config):
    arguments = {
        "train": ["--source=s", "--bundles=b", "--dry-run"],
        "nightly": ["--source=s", "--table=t", "--bundle=b", "--dry-run"],
    }[job]
    with pytest.raises(ConfigError, match=r"tracking\.uri: .* is no store of MLflow; write http") as caught:
        load_config(job, config, [*arguments, f"--tracking.uri={nonsense}"])
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nonsense)
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI: .* is no store of MLflow"):
        tracking.address(TrackingConfig())


def test_the_message_names_the_file_that_is_meant(home):
    here = home.parent / "here"
    with pytest.raises(ValidationError, match=f"sqlite:///{here}/mlflow.db"):
        TrackingConfig(uri="mlflow.db")


def test_a_file_in_a_folder_that_is_not_there(home):
    with pytest.raises(ConfigError, match=r"there is no folder /no/such for m\.db; make it first"):
        tracking.resolved(TrackingConfig(uri="sqlite:////no/such/m.db"))


def test_runs_without_a_store_go_to_the_users_data_folder(home):
    with tracking.tracked_run(TrackingConfig(), "a run", {"a": 1}) as run_id:
        tracking.log_files(TrackingConfig(), run_id, "files", {"x.txt": b"x"})
    tracking.register(TrackingConfig(), "scenehash", "s3://b/bundle", run_id)
    tracking.set_alias(TrackingConfig(), "scenehash", "champion", "1")
    folder = home / ".local/share/scenehash"
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlartifacts"}
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("SELECT name FROM runs").fetchall() == [("a run",)]
    assert resolve_bundle("models:/scenehash@champion", TrackingConfig()) == "s3://b/bundle"


def test_mlflows_pages_open_where_the_runs_are(home):
    server = "http://127.0.0.1:5000"
    assert tracking.experiment_page(TrackingConfig(), server) == server  # nothing has run yet
    with tracking.tracked_run(TrackingConfig(), "a run", {"a": 1}):
        pass
    experiment = tracking.client(TrackingConfig()).get_experiment_by_name("scenehash")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    page = tracking.experiment_page(TrackingConfig(), server)
    assert page == f"{server}/#/experiments/{experiment.experiment_id}/runs"


def test_looking_for_a_model_makes_no_store(home):
    with pytest.raises(BundleError, match=r"isn't registered: there is no .*mlflow\.db yet"):
        resolve_bundle("models:/scenehash@champion", TrackingConfig())
    assert list(home.iterdir()) == []


def test_a_dry_training_writes_nothing(home, tmp_path):
    for number in range(12):
        file = tmp_path / f"labels/{'ab'[number % 2]}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(file)
    flags = [f"--source={tmp_path}/labels", f"--bundles={tmp_path}/bundles", "--dry-run", "--weights=none"]
    flags += ["--network.backbone=resnet18", "--network.node=layer1", "--network.look-bits=0"]
    flags += ["--recipe.backbone-learning-rate=1"]
    report = run_train(load_config("train", TrainConfig, flags))
    assert (report.chips + report.validation_chips, report.classes, report.bundle) == (8, 2, None)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "here", "labels"}
    assert list(home.iterdir()) == []
