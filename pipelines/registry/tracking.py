"""MLflow: a run for each training, and the registry where bundles have names and aliases."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from pydantic import ValidationError

from pipelines.config import TrackingConfig, located
from pipelines.errors import BundleError, ConfigError, ScenehashError, TrackingError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

log = structlog.get_logger()

PATIENCE = 60.0
"""How long a job waits for an answer of MLflow [seconds]."""

PARENT_RUN = "mlflow.parentRunId"
"""Tag of a run: MLflow's pages show it below the run with this id."""

_KIND = "mlflow.experimentKind"
"""Tag of an experiment: MLflow's pages show its runs and their figures, not traces of chats."""

Answer = TypeVar("Answer")

_SQLITE = "sqlite:///"
_BATCH = 1000  # figures in one request: MLflow's limit
_HTTP = {"MAX_RETRIES": "2", "BACKOFF_FACTOR": "1", "TIMEOUT": "10"}  # MLflow's defaults: over four minutes
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second for an unknown alias or odd id


def default_store() -> Path:
    """Return the SQLite file that runs and models go to if no store is named; artifacts lie beside it."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(located(f"{data}/scenehash/mlflow.db"))


def address(config: TrackingConfig) -> str:
    """Return MLflow's address: the config's, that of MLFLOW_TRACKING_URI, or `default_store`.

    Raises ConfigError if MLFLOW_TRACKING_URI is no address of a store.
    """
    if config.uri:
        return config.uri
    try:
        of_environment = TrackingConfig(uri=os.environ.get("MLFLOW_TRACKING_URI"))
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"MLFLOW_TRACKING_URI: {reason}") from error
    return of_environment.uri or f"{_SQLITE}{default_store()}"


def resolved(config: TrackingConfig) -> TrackingConfig:
    """Return the config with MLflow's address filled in, as a worker might find another one.

    Raises ConfigError if it is a file in a folder that doesn't exist.
    """
    uri = address(config)
    file = _file_of(uri)
    if file and not file.parent.is_dir() and file != default_store():
        raise ConfigError(f"tracking.uri: there is no folder {file.parent} for {file.name}; make it first")
    return config.model_copy(update={"uri": uri})


def client(config: TrackingConfig) -> "MlflowClient":
    """Return a client of MLflow that gives up within seconds, unless the environment sets other limits."""
    for name, value in _HTTP.items():
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
    from mlflow import MlflowClient  # seconds to import

    uri = resolved(config).uri
    file = _file_of(uri)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _file_of(uri: str | None) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    return Path(uri.removeprefix(_SQLITE)) if uri and uri.startswith(_SQLITE) else None


@contextmanager
def translate_mlflow_errors(config: TrackingConfig) -> Iterator[None]:
    """Raise TrackingError, with a message of one line, for any error of MLflow or of its libraries."""
    try:
        yield
    except ScenehashError:
        raise
    except Exception as error:  # MLflow doesn't catch the errors of HTTP, SQL and file systems
        raise TrackingError(f"MLflow at {address(config)}: {one_line(error, 300)}") from error


def in_time(config: TrackingConfig, call: Callable[[], Answer]) -> Answer:
    """Return the result of a call of MLflow.

    Raises TrackingError if it fails, or takes longer than `PATIENCE`. A call that takes longer goes on in a
    thread of its own, which ends with the process: MLflow tries for hours to open a broken SQL store.
    """
    outcomes: Queue[Answer | Exception] = Queue()

    def run() -> None:
        try:
            with translate_mlflow_errors(config):
                outcomes.put(call())
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            outcomes.put(error)

    import mlflow  # noqa: F401 - takes seconds to import, which must not count as waiting

    threading.Thread(target=run, name="mlflow", daemon=True).start()
    try:
        outcome = outcomes.get(timeout=PATIENCE)
    except Empty:
        raise TrackingError(f"MLflow at {address(config)}: no answer in {PATIENCE:.0f} seconds") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@contextmanager
def tracked_run(
    config: TrackingConfig, name: str, params: Mapping[str, object], tags: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Open a run on the driver, yield its id, and close it as finished or failed.

    Raises TrackingError or ConfigError if it can't be opened. If it can't be closed, that is only logged: the
    work of the run is done.
    """

    def open_run() -> str:
        run_id = _create_run(config, name, tags or {})
        for key, value in params.items():
            client(config).log_param(run_id, key, value)
        return run_id

    run_id = in_time(config, open_run)
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    finally:
        try:
            in_time(config, lambda: client(config).set_terminated(run_id, status))
        except TrackingError as error:
            log.warning("the MLflow run isn't closed", run=run_id, reason=str(error))


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended."""

    name: str
    params: Mapping[str, object]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    status: str
    """``FINISHED`` or ``FAILED``."""
    started_at: datetime


def record_run(config: TrackingConfig, run: EndedRun) -> None:
    """Record a run that has ended. Raises TrackingError, ConfigError."""

    def record() -> None:
        run_id = _create_run(config, run.name, run.tags, run.started_at)
        for key, value in run.params.items():
            client(config).log_param(run_id, key, value)
        log_metrics(config, run_id, run.metrics)
        client(config).set_terminated(run_id, run.status)

    in_time(config, record)


def _create_run(
    config: TrackingConfig, name: str, tags: Mapping[str, str], started_at: datetime | None = None
) -> str:
    """Return the id of a new run. Raises ConfigError if the experiment has been deleted."""
    mlflow = client(config)
    experiment = mlflow.get_experiment_by_name(config.experiment)
    if experiment is None:
        beside = _artifacts_beside(address(config))
        experiment_id = mlflow.create_experiment(
            config.experiment, artifact_location=beside, tags={_KIND: "custom_model_development"}
        )
    elif experiment.lifecycle_stage == "deleted":
        raise ConfigError(
            f"the MLflow experiment {config.experiment} at {address(config)} has been deleted; restore it, "
            "or name another (tracking.experiment)"
        )
    else:
        experiment_id = experiment.experiment_id
    started = int(started_at.timestamp() * 1000) if started_at else None
    run = mlflow.create_run(experiment_id, start_time=started, run_name=name, tags=dict(tags))
    return str(run.info.run_id)


def experiment_page(config: TrackingConfig, server: str) -> str:
    """Return the page of an MLflow server that lists the runs of our experiment. Raises TrackingError."""
    found = in_time(config, lambda: client(config).get_experiment_by_name(config.experiment))
    return f"{server}/#/experiments/{found.experiment_id}/runs" if found else server


def _artifacts_beside(uri: str) -> str | None:
    """Return a folder beside a SQLite store; None for other stores.

    MLflow's default would be the folder that the job runs in.
    """
    file = _file_of(uri)
    return (file.parent / "mlartifacts").as_uri() if file else None


def log_metrics(config: TrackingConfig, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Add figures to a run. Raises TrackingError."""
    log_series(config, run_id, [(name, value, step) for name, value in metrics.items()])


def log_series(config: TrackingConfig, run_id: str, series: Sequence[tuple[str, float, int]]) -> None:
    """Add figures, each a name, a value and a step, to a run. Raises TrackingError."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    with translate_mlflow_errors(config):
        mlflow = client(config)
        for start in range(0, len(series), _BATCH):
            batch = [Metric(name, value, now, step) for name, value, step in series[start : start + _BATCH]]
            mlflow.log_batch(run_id, metrics=batch)


def log_files(config: TrackingConfig, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
    """Add files, content by name, to a run's artifacts below a folder. Raises TrackingError."""
    with translate_mlflow_errors(config), TemporaryDirectory() as temporary:
        for name, content in files.items():
            (Path(temporary) / name).write_bytes(content)
        client(config).log_artifacts(run_id, temporary, folder)


def find_run(config: TrackingConfig, run_id: str) -> "Run | None":
    """Return a run, or None if MLflow has none of this id. Raises TrackingError."""
    return in_time(config, lambda: _found(lambda: client(config).get_run(run_id)))


def _found(call: Callable[[], Answer]) -> Answer | None:
    """Return the result of a call, or None if MLflow answers that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None


@contextmanager
def system_metrics(config: TrackingConfig, run_id: str, node: str) -> Iterator[None]:
    """Log this machine's CPU, memory, disk, network and GPU use every ten seconds, as ``system/<node>/...``.

    If MLflow doesn't answer, nothing is logged and no error is raised.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    start_monitor: Callable[..., Any] = SystemMetricsMonitor  # it has no types
    monitor = start_monitor(run_id, resume_logging=True, node_id=node, tracking_uri=address(config))
    try:
        in_time(config, monitor.start)
    except TrackingError as error:
        log.warning("no system metrics", reason=str(error))
        yield
        return
    try:
        yield
    finally:
        monitor.finish()


def register(config: TrackingConfig, name: str, bundle_uri: str, run_id: str) -> str:
    """Register a bundle as the next version of a model; return the version. Raises TrackingError."""
    from mlflow.exceptions import MlflowException

    with translate_mlflow_errors(config):
        mlflow = client(config)
        try:
            mlflow.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(mlflow.create_model_version(name, source=bundle_uri, run_id=run_id).version)


def set_alias(config: TrackingConfig, name: str, alias: str, version: str) -> None:
    """Move an alias to a registered version. Raises TrackingError."""
    with translate_mlflow_errors(config):
        client(config).set_registered_model_alias(name, alias, version)


def find_holder(config: TrackingConfig, name: str, alias: str) -> "ModelVersion | None":
    """Return the registered version that has an alias, or None. Raises TrackingError."""
    return in_time(config, lambda: _found(lambda: client(config).get_model_version_by_alias(name, alias)))


def resolve_model(uri: str, config: TrackingConfig) -> str:
    """Return the bundle URI behind ``models:/name@alias`` or ``models:/name/version``.

    Raises ConfigError on another form, BundleError if the registry has no such version, and TrackingError.
    """
    name, _, alias = uri.removeprefix("models:/").partition("@")
    name, _, number = name.partition("/")
    if not alias and not number.isdigit():
        raise ConfigError(f"{uri}: write models:/name@alias or models:/name/version")

    store = address(config)
    file = _file_of(store)
    if file and not file.exists():  # MLflow would make it
        raise BundleError(
            f"{uri} isn't registered: there is no {file} yet; check tracking.uri, or train first"
        )

    def look_up() -> "ModelVersion | None":
        mlflow = client(config)
        if alias:
            return _found(lambda: mlflow.get_model_version_by_alias(name, alias))
        return _found(lambda: mlflow.get_model_version(name, number))

    version = in_time(config, look_up)
    if version is None:
        raise BundleError(f"{uri} isn't registered in {store}; check the name, or train it first")
    return str(version.source)
