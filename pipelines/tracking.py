"""MLflow: one run a training, and the registry where bundles have names and aliases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.config import TrackingConfig
from pipelines.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
def tracked_run(config: TrackingConfig, name: str, params: dict[str, object]) -> Iterator[str]:
    """Open a run on the driver, yield its id, and close it as finished or failed."""
    mlflow = client(config)
    experiment = mlflow.get_experiment_by_name(config.experiment)
    experiment_id = experiment.experiment_id if experiment else mlflow.create_experiment(config.experiment)
    run_id = mlflow.create_run(experiment_id, run_name=name).info.run_id
    for key, value in params.items():
        mlflow.log_param(run_id, key, value)
    try:
        yield run_id
    except BaseException:
        mlflow.set_terminated(run_id, "FAILED")
        raise
    mlflow.set_terminated(run_id, "FINISHED")


def log_metrics(config: TrackingConfig, run_id: str, metrics: dict[str, float], step: int = 0) -> None:
    """Add figures to a run."""
    mlflow = client(config)
    for key, value in metrics.items():
        mlflow.log_metric(run_id, key, value, step=step)


def register(config: TrackingConfig, name: str, bundle_uri: str, run_id: str, alias: str) -> str:
    """Register a bundle as the next version of a model and give it an alias; return the version."""
    from mlflow.exceptions import MlflowException

    mlflow = client(config)
    try:
        mlflow.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = mlflow.create_model_version(name, source=bundle_uri, run_id=run_id).version
    mlflow.set_registered_model_alias(name, alias, version)
    return str(version)


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
