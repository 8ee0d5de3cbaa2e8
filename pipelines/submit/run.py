"""Starts a copy of a RayJob template through the Kubernetes API, and waits for its end.

The RayJob's name is the lock: Kubernetes refuses a second one of the same name
(https://kubernetes.io/docs/reference/using-api/api-concepts/). Its fields are those of KubeRay's ray.io/v1.
"""

import ssl
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import structlog
from pydantic import BaseModel

from pipelines.errors import ConfigError, ConflictError, ReportedError
from pipelines.submit.config import SubmitConfig

_TIMEOUT_SECONDS = 30.0
_CONFLICT = 409

log = structlog.get_logger()


class SubmitReport(BaseModel):
    """How a submission ended."""

    name: str
    """Name of the RayJob, and submission id of its Ray job"""
    deployment_status: str
    """Complete or Failed"""
    job_status: str
    """Ray's status: SUCCEEDED, FAILED or STOPPED; empty if the job was never submitted"""
    reason: str
    message: str


def run_submit(config: SubmitConfig) -> SubmitReport:
    """Start the copy and wait for its end. If this Job has started it already, in an earlier pod, only wait.

    Raises ConfigError if the API refuses, ConflictError if the copy exists and belongs to another Job,
    ReportedError if the copy fails or the API doesn't answer at the start.
    """
    name = config.name or f"{config.template}-{datetime.now(UTC):%Y-%m-%d}"
    with _client(config) as api:
        try:
            _start(api, name, config)
        except httpx.TransportError as error:
            raise ReportedError(f"the Kubernetes API doesn't answer: {error}") from error
        report = _wait(api, name, config.poll_seconds)
    if (report.deployment_status, report.job_status) != ("Complete", "SUCCEEDED"):
        details = [report.deployment_status, report.job_status, report.reason, report.message]
        raise ReportedError(f"RayJob {name} failed: {', '.join(filter(None, details))}", report)
    return report


def _client(config: SubmitConfig) -> httpx.Client:
    """Return a client for the namespace's ray.io resources. Raises ConfigError outside of a pod."""
    if not (config.account / "token").exists():
        raise ConfigError(
            f"{config.account} holds no service account's token: this runs in a pod that has one"
        )

    def authorised(request: httpx.Request) -> httpx.Request:
        token = (config.account / "token").read_text().strip()  # read each time, as Kubernetes renews it
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    namespace = (config.account / "namespace").read_text().strip()
    return httpx.Client(
        base_url=f"{config.api}/apis/ray.io/v1/namespaces/{namespace}",
        auth=authorised,
        verify=ssl.create_default_context(cafile=config.account / "ca.crt"),
        timeout=_TIMEOUT_SECONDS,
    )


def _start(api: httpx.Client, name: str, config: SubmitConfig) -> None:
    """Create the copy, unless this Job has created it before."""
    template = api.get(f"rayjobs/{config.template}")
    _raise_for(template, f"the template, RayJob {config.template}, can't be read")
    created = api.post("rayjobs", json=_copy(template.json(), name, config))
    if created.status_code == _CONFLICT:
        _check_own(api, name, config)
    else:
        _raise_for(created, f"RayJob {name} can't be created")
    log.info("submitted", rayjob=name, again=created.status_code == _CONFLICT)


def _copy(template: dict[str, Any], name: str, config: SubmitConfig) -> dict[str, Any]:
    """Return the RayJob to create: the template's spec, no longer suspended, owned by this Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": config.owner.name, "uid": config.owner.uid}
    labels = template["metadata"].get("labels", {})
    return {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": template["spec"] | {"suspend": False, "jobId": name},
    }


def _check_own(api: httpx.Client, name: str, config: SubmitConfig) -> None:
    answer = api.get(f"rayjobs/{name}")
    _raise_for(answer, f"RayJob {name} can't be read")
    owners = answer.json()["metadata"].get("ownerReferences", [])
    if config.owner.uid not in [owner["uid"] for owner in owners]:
        raise ConflictError(
            f"RayJob {name} exists: it has been started already; delete it first to have it run again"
        )


def _wait(api: httpx.Client, name: str, poll_seconds: float) -> SubmitReport:
    """Wait until the copy has ended or failed to start. The API may be unavailable for a while."""
    last = ""
    while True:
        try:
            answer = api.get(f"rayjobs/{name}")
            _raise_for(answer, f"RayJob {name} can't be read")
        except httpx.TransportError as error:
            log.warning("the Kubernetes API doesn't answer; trying again", reason=str(error))
        else:
            status = answer.json().get("status", {})
            report = SubmitReport(
                name=name,
                deployment_status=status.get("jobDeploymentStatus", ""),
                job_status=status.get("jobStatus", ""),
                reason=status.get("reason", ""),
                message=status.get("message", ""),
            )
            if report.deployment_status in ("Complete", "Failed"):
                return report
            if report.deployment_status != last:
                last = report.deployment_status
                log.info("running", rayjob=name, status=last)
        time.sleep(poll_seconds)


def _raise_for(answer: httpx.Response, what: str) -> None:
    """Raise ConfigError if the API refuses; on a 5xx, which may pass, raise httpx's TransportError."""
    if answer.is_server_error:
        raise httpx.TransportError(f"{what}: {answer.status_code}")
    if answer.is_error:
        reason = answer.json().get("message", "") if "json" in answer.headers.get("content-type", "") else ""
        raise ConfigError(f"{what}: {answer.status_code} {reason}".rstrip())
