"""MLflow: one run a training, and the registry where bundles have names and aliases."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipelines.config import TrackingConfig
from pipelines.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_BATCH = 1000  # figures in one request: MLflow's limit


def resolved(config: TrackingConfig) -> TrackingConfig:
    """Return the config with the store's address filled in: workers must not look it up elsewhere."""
    if config.uri:
        return config
    import mlflow

    return config.model_copy(update={"uri": mlflow.get_tracking_uri()})


def client(config: TrackingConfig) -> "MlflowClient":
    """Return a client of the store."""
    from mlflow import MlflowClient  # seconds to import

    return MlflowClient(tracking_uri=config.uri, registry_uri=config.uri)


@contextmanager
def tracked_run(
    config: TrackingConfig, name: str, params: Mapping[str, object], tags: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Open a run on the driver, yield its id, and close it as finished or failed."""
    mlflow = client(config)
    experiment = mlflow.get_experiment_by_name(config.experiment)
    experiment_id = (
        experiment.experiment_id
        if experiment
        else mlflow.create_experiment(config.experiment, artifact_location=_artifacts_beside(config.uri))
    )
    run_id = mlflow.create_run(experiment_id, run_name=name, tags=dict(tags or {})).info.run_id
    for key, value in params.items():
        mlflow.log_param(run_id, key, value)
    try:
        yield run_id
    except BaseException:
        mlflow.set_terminated(run_id, "FAILED")
        raise
    mlflow.set_terminated(run_id, "FINISHED")


def _artifacts_beside(uri: str | None) -> str | None:
    """Return a folder beside a SQLite store: MLflow's own choice is the folder that the job runs in."""
    if not uri or not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts").as_uri()


def log_metrics(config: TrackingConfig, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Add figures to a run."""
    log_series(config, run_id, [(name, value, step) for name, value in metrics.items()])


def log_series(config: TrackingConfig, run_id: str, series: Sequence[tuple[str, float, int]]) -> None:
    """Add figures, each a name, a value and a step, to a run."""
    from mlflow.entities import Metric

    mlflow, now = client(config), int(time.time() * 1000)
    for start in range(0, len(series), _BATCH):
        batch = [Metric(name, value, now, step) for name, value, step in series[start : start + _BATCH]]
        mlflow.log_batch(run_id, metrics=batch)


def log_files(config: TrackingConfig, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
    """Add files, content by name, to a run's artifacts below a folder."""
    with TemporaryDirectory() as temporary:
        for name, content in files.items():
            (Path(temporary) / name).write_bytes(content)
        client(config).log_artifacts(run_id, temporary, folder)


def find_run(config: TrackingConfig, run_id: str) -> "Run | None":
    """Return a run, or None where the store has none of this id."""
    from mlflow.exceptions import MlflowException

    try:
        return client(config).get_run(run_id)
    except MlflowException:
        return None


@contextmanager
def system_metrics(config: TrackingConfig, run_id: str, node: str) -> Iterator[None]:
    """Log this machine's CPU, memory, disk, network and GPU use every ten seconds, ``system/<node>/...``."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    start_monitor: Callable[..., Any] = SystemMetricsMonitor  # it has no types
    monitor = start_monitor(run_id, resume_logging=True, node_id=node, tracking_uri=config.uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def register(config: TrackingConfig, name: str, bundle_uri: str, run_id: str) -> str:
    """Register a bundle as the next version of a model; return the version."""
    from mlflow.exceptions import MlflowException

    mlflow = client(config)
    try:
        mlflow.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return str(mlflow.create_model_version(name, source=bundle_uri, run_id=run_id).version)


def set_alias(config: TrackingConfig, name: str, alias: str, version: str) -> None:
    """Give a registered version an alias, which any other version loses."""
    client(config).set_registered_model_alias(name, alias, version)


def find_holder(config: TrackingConfig, name: str, alias: str) -> "ModelVersion | None":
    """Return the registered version that has an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client(config).get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


def resolve_model(uri: str, config: TrackingConfig) -> str:
    """Return the bundle URI behind ``models:/name@alias`` or ``models:/name/version``.

    Raises ConfigError on another form, BundleError where the registry has no such version.
    """
    from mlflow.exceptions import MlflowException

    name, _, alias = uri.removeprefix("models:/").partition("@")
    mlflow = client(config)
    try:
        if alias:
            return str(mlflow.get_model_version_by_alias(name, alias).source)
        name, _, version = name.partition("/")
        if not version.isdigit():
            raise ConfigError(f"{uri}: write models:/name@alias or models:/name/version")
        return str(mlflow.get_model_version(name, version).source)
    except MlflowException as error:
        raise BundleError(f"{uri} isn't registered in {config.uri}: {error.message}") from error
