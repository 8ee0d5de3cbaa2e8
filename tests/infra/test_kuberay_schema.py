"""Each rendered manifest against a schema: Kubernetes' own, or the fields of KubeRay's that are used here.

The fields are those of KubeRay 1.6's ray.io/v1, from its API reference
(https://docs.ray.io/en/latest/cluster/kubernetes/references/api.html). Pods within them are checked as pods.
"""

from typing import Annotated, Any, Literal

import kubernetes_validate
import pytest
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ray.serve.schema import ServeDeploySchema

KUBERNETES = "1.32"
Positive = Annotated[int, Field(gt=0)]
CONTAINER_FIELDS = {"resources", "securityContext", "volumeMounts"}
Count = Annotated[int, Field(ge=0)]


def kubernetes(resource):
    """Raise where one of Kubernetes' own resources has a field that it doesn't know, or a wrong type."""
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    return resource


def pod(template):
    metadata = {"name": "a-pod"} | template.get("metadata", {})
    kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    return template


def serve_config(text):
    ServeDeploySchema.model_validate(yaml.safe_load(text))
    return text


PodTemplate = Annotated[dict[str, Any], AfterValidator(pod)]


class Used(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AuthOptions(Used):
    mode: Literal["token"]
    secretName: str


class AutoscalerOptions(Used):
    version: Literal["v2"]
    idleTimeoutSeconds: Positive
    resources: dict[str, Any]
    securityContext: dict[str, Any]
    volumeMounts: list[dict[str, Any]]

    @model_validator(mode="after")
    def _is_a_container(self):
        pod({"spec": {"containers": [{"name": "autoscaler"} | self.model_dump(include=CONTAINER_FIELDS)]}})
        return self


class HeadGroupSpec(Used):
    rayStartParams: dict[str, str]
    template: PodTemplate


class WorkerGroupSpec(Used):
    groupName: str
    replicas: Count | None = None
    minReplicas: Count
    maxReplicas: Positive
    rayStartParams: dict[str, str]
    template: PodTemplate


class RayClusterSpec(Used):
    rayVersion: str
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: AutoscalerOptions | None = None
    headGroupSpec: HeadGroupSpec
    workerGroupSpecs: list[WorkerGroupSpec]


class SubmitterConfig(Used):
    backoffLimit: Count


class RayJobSpec(Used):
    suspend: bool
    entrypoint: str
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: Count
    activeDeadlineSeconds: Positive
    backoffLimit: Count
    submissionMode: Literal["K8sJobMode"]
    submitterConfig: SubmitterConfig
    submitterPodTemplate: PodTemplate
    rayClusterSpec: RayClusterSpec


class UpgradeStrategy(Used):
    type: Literal["NewCluster", "None"]


class RayServiceSpec(Used):
    upgradeStrategy: UpgradeStrategy
    rayClusterDeletionDelaySeconds: Count
    excludeHeadPodFromServeSvc: bool
    serveConfigV2: Annotated[str, AfterValidator(serve_config)]
    rayClusterConfig: RayClusterSpec


class Metadata(Used):
    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,45}[a-z0-9])?$")]
    namespace: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class RayJob(Used):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec


class RayService(Used):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayService"]
    metadata: Metadata
    spec: RayServiceSpec


def check(manifest):
    kuberay = {"RayJob": RayJob, "RayService": RayService}.get(manifest["kind"])
    if kuberay:
        kuberay.model_validate(manifest)
    else:
        kubernetes(manifest)


def test_every_manifest_fits_its_schema(manifests):
    for manifest in manifests:
        check(manifest)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("RayJob", ["spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "volume"], []),
        ("RayJob", ["spec", "rayClusterSpec", "authOption"], {}),
        ("RayService", ["spec", "serveConfigV2"], "application: []"),
        ("RayService", ["spec", "rayClusterConfig", "workerGroupSpecs", 0, "minReplicas"], "2"),
        ("CronJob", ["spec", "concurrency"], "Forbid"),
        ("NetworkPolicy", ["spec", "podSelector", "labels"], {}),
    ],
)
def test_a_slip_of_the_pen_is_found(manifests, kind, path, value):
    """The schemas are strict where it matters: deep inside, in text within text, in types."""
    manifest = next(manifest for manifest in manifests if manifest["kind"] == kind)
    at = manifest
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises((ValidationError, kubernetes_validate.ValidationError)):
        check(manifest)
