"""Base classes of the configs of all stages. Imports nothing slow, so that `--help` of a job is fast."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from pipelines.errors import ConfigError
from pipelines.uris import absolute


def located(uri: str) -> str:
    """Return a URI that means the same from every folder. Raises ValueError if it is empty or can't be read.

    A relative path starts at the current folder, ``~`` is the home folder; s3:// and https:// stay.
    """
    if not uri.strip():
        raise ValueError("is empty; give a folder or an address (is a variable of the shell not set?)")
    try:
        return absolute(uri)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _located_bundle(uri: str) -> str:
    return uri if uri.startswith("models:/") else located(uri)


def _located_file(path: Path) -> Path:
    return Path(located(str(path)))


Uri = Annotated[str, AfterValidator(located)]
"""Where objects are: an address, or a local path, which is absolute in a config (see `located`)."""
BundleUri = Annotated[str, AfterValidator(_located_bundle)]
"""A `Uri`, or the name of a registered model: ``models:/name@alias``, ``models:/name/version``."""
LocalPath = Annotated[Path, AfterValidator(_located_file)]
"""A file or folder of this machine; absolute in a config."""


_SQLITE = "sqlite:///"
_MLFLOW_SERVERS = re.compile(r"(https?|(postgresql|mysql|mssql)(\+\w+)?)://\S+|databricks(://\S+)?")


class StageConfig(BaseModel):
    """Base of all configs: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StoreConfig(StageConfig):
    """How to reach object stores. Keys come from the usual AWS chain (environment, profile, role)."""

    endpoint: str | None = None
    """Address of an S3-compatible server, e.g. http://127.0.0.1:8333; empty: AWS"""
    region: str = "us-east-1"
    """S3 region"""
    anonymous: bool = False
    """Read public buckets without keys"""
    requester_pays: bool = False
    """Read buckets whose requesters pay: you are charged for the requests"""
    patience: float = Field(30, ge=0, le=3600)
    """How long requests to a store that doesn't answer are repeated [seconds]"""
    private_hosts: bool = False
    """Read from web servers in private networks, such as those that your own STAC catalog names"""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str | None) -> str | None:
        if endpoint and not re.fullmatch(r"https?://[^/\s]+(/\S*)?", endpoint):
            raise ValueError(f"write it as http://host:port or https://host, not {endpoint}")
        return endpoint or None


def _mlflow_store(uri: str) -> str:
    """Return the address of a store of MLflow, a SQLite file by its absolute path. Raises ValueError."""
    if _MLFLOW_SERVERS.fullmatch(uri):
        return uri
    file = uri.removeprefix(_SQLITE)
    if uri.startswith(_SQLITE) and file:
        return _SQLITE + located(file)
    example = (
        located(file) if file.endswith((".db", ".sqlite")) and "://" not in file else "/absolute/file.db"
    )
    raise ValueError(
        f"{uri} is no store of MLflow; write http(s)://server or {_SQLITE}{example}, not a folder"
    )


class TrackingConfig(StageConfig):
    """Where MLflow keeps runs and registered models."""

    uri: str | None = None
    """MLflow store: http(s)://server or sqlite:////absolute/file; empty: MLFLOW_TRACKING_URI, or else the
    file ~/.local/share/scenehash/mlflow.db"""
    experiment: str = "scenehash"
    """MLflow experiment that runs are filed under"""

    @field_validator("uri")
    @classmethod
    def _is_a_store(cls, uri: str | None) -> str | None:
        return _mlflow_store(uri) if uri else None


class FeatureConfig(StageConfig):
    """How features of labelled chips are computed."""

    actors: int = Field(0, ge=0)
    """Actors that run the backbone; 0: one for each CPU of the cluster, or for each GPU"""
    gpus_per_actor: float = Field(0, ge=0)
    """GPUs for each actor; 0: it runs on the CPU"""
    batch_size: int = Field(64, ge=1)
    """Chips in one forward pass"""
    cache: Uri | None = None
    """Folder that keeps features for later jobs: URI; empty: `features` beside what the job writes"""
    max_unreadable_share: float = Field(0.01, ge=0, le=1)
    """Largest share of labelled chips that may be unreadable; more stop the job [0..1]"""
