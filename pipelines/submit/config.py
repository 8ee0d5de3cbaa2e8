"""The config of a submission."""

from pathlib import Path

from pydantic import Field

from pipelines.config import StageConfig


class OwnerConfig(StageConfig):
    """The Kubernetes Job that submits. The RayJob is deleted together with it."""

    name: str
    """Its name"""
    uid: str
    """Its uid"""


class SubmitConfig(StageConfig):
    """Start a copy of a suspended RayJob, one a day, and wait for its end."""

    template: str
    """RayJob to copy, in the same namespace"""
    name: str | None = None
    """Name of the copy; empty: the template's and today's date in UTC, such as nightly-2026-11-20"""
    owner: OwnerConfig
    api: str = "https://kubernetes.default.svc"
    """Address of the Kubernetes API"""
    account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Folder with the service account's token, namespace and ca.crt"""
    poll_seconds: float = Field(15.0, gt=0)
    """Time between two looks at the RayJob's status [seconds]"""
