"""The manifests against each other, against the image and against the jobs' own configs and flags."""

import hashlib
import json
import math
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from jobs.__main__ import JOBS
from jobs.config import load_config
from pipelines.encode.config import EncodeConfig
from pipelines.encode.execution import cpus_needed
from pipelines.serve.config import ServeConfig
from pipelines.submit.config import SubmitConfig

REPOSITORY = Path(__file__).parents[2]
OUR_SECRETS = {"scenehash-ray-token", "scenehash-store", "scenehash-api-keys"}
KEY_HASHES = json.dumps([hashlib.sha256(b"a real key").hexdigest()])


def find(manifests, kind, name=None):
    found = [one for one in manifests if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert found
    return found[0]


def clusters(manifests):
    return {
        "batch": find(manifests, "RayJob")["spec"]["rayClusterSpec"],
        "serving": find(manifests, "RayService")["spec"]["rayClusterConfig"],
    }


def ray_templates(manifests):
    """(part, node type, pod template) of each kind of Ray node."""
    for part, cluster in clusters(manifests).items():
        yield part, "head", cluster["headGroupSpec"]["template"]
        for group in cluster["workerGroupSpecs"]:
            yield part, "worker", group["template"]


def pod_templates(manifests):
    """Every pod template there is."""
    yield from (template for _, _, template in ray_templates(manifests))
    yield find(manifests, "RayJob")["spec"]["submitterPodTemplate"]
    yield find(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]


def containers(manifests):
    return [
        container for template in pod_templates(manifests) for container in template["spec"]["containers"]
    ]


@pytest.fixture
def config_folder(manifests, tmp_path):
    """The ConfigMap as it is mounted."""
    for name, text in find(manifests, "ConfigMap")["data"].items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def nightly(config_folder):
    return load_config("nightly", EncodeConfig, ["--config", str(config_folder / "nightly.yaml")])


@pytest.fixture
def serving(config_folder, monkeypatch):
    monkeypatch.setenv("SCENEHASH_KEY_HASHES", KEY_HASHES)
    return load_config("serve", ServeConfig, ["--config", str(config_folder / "serve.yaml")])


def gigabytes(quantity):
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit] / 1e9


def test_the_night_runs_on_the_template_with_its_config(manifests, nightly):
    job = find(manifests, "RayJob")
    python, dash_m, module, flag, file = job["spec"]["entrypoint"].split()
    assert (python, dash_m, flag) == ("python", "-m", "--config")
    assert module.removeprefix("jobs.") in JOBS
    head = clusters(manifests)["batch"]["headGroupSpec"]["template"]["spec"]
    mount = next(mount for mount in head["containers"][0]["volumeMounts"] if mount["name"] == "config")
    assert f"{mount['mountPath']}/nightly.yaml" == file
    assert nightly.encoders > 0  # how many the cluster has isn't known while it has none


def test_the_night_fits_its_cluster_at_its_largest(manifests, nightly):
    groups = clusters(manifests)["batch"]["workerGroupSpecs"]
    limits = [group["template"]["spec"]["containers"][0]["resources"] for group in groups]
    gpus = sum(
        group["maxReplicas"] * int(limit["limits"].get("nvidia.com/gpu", 0))
        for group, limit in zip(groups, limits, strict=True)
    )
    cpus = sum(
        group["maxReplicas"] * int(limit["requests"]["cpu"])
        for group, limit in zip(groups, limits, strict=True)
    )
    assert nightly.encoders * nightly.gpus_per_encoder <= gpus
    assert cpus_needed(nightly) <= cpus
    assert bool(gpus) == bool(nightly.gpus_per_encoder)


def test_the_cron_job_never_overlaps_ends_and_is_kept_for_a_week(manifests):
    cron, night = find(manifests, "CronJob")["spec"], find(manifests, "RayJob")["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"
    assert cron["timeZone"] == "Etc/UTC"  # the name's date is UTC's
    assert cron["successfulJobsHistoryLimit"] == cron["failedJobsHistoryLimit"] == 7
    deadline = cron["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    assert night["activeDeadlineSeconds"] < deadline < 24 * 3600
    assert cron["startingDeadlineSeconds"] + deadline < 24 * 3600
    assert night["suspend"]  # the template itself never runs
    assert night["shutdownAfterJobFinishes"]  # KubeRay demands it of what may be suspended


def test_the_cron_job_starts_a_copy_of_that_template(manifests, monkeypatch):
    container = find(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    job, *flags = container["args"]
    assert job in JOBS
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["valueFrom"]["fieldRef"]["fieldPath"])
    config = load_config("submit", SubmitConfig, flags)
    assert config.template == find(manifests, "RayJob")["metadata"]["name"]
    assert "controller-uid" in config.owner.uid
    assert "job-name" in config.owner.name


def test_who_submits_may_do_that_and_no_more(manifests):
    account = find(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "serviceAccountName"
    ]
    binding, role = find(manifests, "RoleBinding"), find(manifests, "Role")
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "scenehash"}
    assert binding["subjects"] == [subject]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "create"]}]


def test_accounts_exist_and_tokens_are_mounted_only_where_they_are_used(manifests):
    accounts = {one["metadata"]["name"] for one in manifests if one["kind"] == "ServiceAccount"}
    for template in pod_templates(manifests):
        assert template["spec"]["serviceAccountName"] in accounts
    mounted = [
        (part, node)
        for part, node, one in ray_templates(manifests)
        if one["spec"]["automountServiceAccountToken"]
    ]
    assert mounted == [("batch", "head")]  # the autoscaler's
    assert not find(manifests, "RayJob")["spec"]["submitterPodTemplate"]["spec"][
        "automountServiceAccountToken"
    ]


def test_the_service_is_what_jobs_serve_builds(manifests, serving):
    config = yaml.safe_load(find(manifests, "RayService")["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    assert application["import_path"] == "jobs.serve:build"
    assert application["args"] == {"config": "/etc/scenehash/serve.yaml"}
    for _, _, template in ray_templates(manifests):
        container = template["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports.get("serve", config["http_options"]["port"]) == config["http_options"]["port"]
        assert any(mount["mountPath"] == "/etc/scenehash" for mount in container["volumeMounts"])


def test_only_keys_of_the_secret_open_the_service(manifests, serving):
    assert serving.key_hashes == tuple(json.loads(KEY_HASHES))  # whatever the file says
    for part, _, template in ray_templates(manifests):
        if part == "serving":
            (variable,) = template["spec"]["containers"][0]["env"]
            assert variable["name"] == "SCENEHASH_KEY_HASHES"
            assert "optional" not in variable["valueFrom"]["secretKeyRef"]


def test_secrets_are_referred_to_and_never_there(manifests):
    assert not [one for one in manifests if one["kind"] == "Secret"]
    text = yaml.safe_dump_all(manifests)
    names = set(re.findall(r"secretName: (\S+)", text))
    for container in containers(manifests):
        names |= {source["secretRef"]["name"] for source in container.get("envFrom", [])}
        names |= {
            variable["valueFrom"]["secretKeyRef"]["name"]
            for variable in container.get("env", [])
            if "secretKeyRef" in variable["valueFrom"]
        }
    assert names == OUR_SECRETS
    guide = (REPOSITORY / "infra/README.md").read_text()
    assert all(name in guide for name in OUR_SECRETS)


def test_ray_is_the_pinned_one_and_every_node_asks_for_the_token(manifests):
    pins = (REPOSITORY / "constraints.txt").read_text()
    for cluster in clusters(manifests).values():
        assert f"\nray=={cluster['rayVersion']}\n" in pins
        assert cluster["authOptions"] == {"mode": "token", "secretName": "scenehash-ray-token"}


def test_images_are_ours(rendered):
    version = "0.1.0"
    for folder in ("overlays/small", "overlays/large"):
        images = {container["image"] for container in containers(rendered(folder))}
        assert images <= {f"registry.example.org/scenehash-{kind}:{version}" for kind in ("cpu", "gpu")}
    gpus = {
        container["image"].rpartition(":")[0].endswith("gpu")
        for container in containers(rendered("overlays/large"))
        if "nvidia.com/gpu" in container["resources"]["limits"]
    }
    assert gpus == {True}
    assert 'name = "scenehash"' in (REPOSITORY / "pyproject.toml").read_text()
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]


def test_pods_are_restricted(manifests):
    assert (
        find(manifests, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )
    for template in pod_templates(manifests):
        pod = template["spec"]["securityContext"]
        assert pod["runAsNonRoot"]
        assert (pod["runAsUser"], pod["fsGroup"]) == (1000, 1000)  # the image's user
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in template["spec"]["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        named = {volume["name"] for volume in template["spec"]["volumes"]}
        mounts = {mount["name"] for one in template["spec"]["containers"] for mount in one["volumeMounts"]}
        assert mounts == named


def test_memory_is_what_is_asked_for_no_more(manifests):
    for container in containers(manifests):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert requests["memory"] == limits["memory"]
        assert "cpu" in requests
        assert "cpu" not in limits  # a throttled search is a slow one


def test_serving_pods_hold_what_they_are_sized_for(manifests, serving):
    """Measured per million chips of 64 bits; see infra/README.md."""
    service = find(manifests, "RayService")
    millions = int(service["metadata"]["annotations"]["scenehash/sized-for-chips"]) / 1e6 / serving.shards
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    replicas = math.ceil(serving.shards * serving.shard_replicas / group["replicas"])
    kept = serving.kept_snapshots + 1  # the next one is built beside those
    memory = 2.5 + replicas * (0.75 + 0.225 * millions + kept * 0.045 * millions)
    disk = replicas * kept * 0.37 * millions
    requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert memory <= gigabytes(requests["memory"]) <= 1.5 * memory
    assert disk <= gigabytes(requests["ephemeral-storage"])
    actors = serving.shards * serving.shard_replicas * serving.shard_cpus
    actors += serving.encoder_replicas * serving.encoder_cpus
    assert actors <= group["replicas"] * int(requests["cpu"])


@pytest.mark.parametrize("folder", ["overlays/small", "overlays/large"])
def test_serving_goes_on_while_a_node_is_drained(rendered, tmp_path, folder, monkeypatch):
    manifests = rendered(folder)
    monkeypatch.setenv("SCENEHASH_KEY_HASHES", KEY_HASHES)
    (tmp_path / "serve.yaml").write_text(find(manifests, "ConfigMap")["data"]["serve.yaml"])
    serving = load_config("serve", ServeConfig, ["--config", str(tmp_path / "serve.yaml")])
    assert serving.shard_replicas > 1
    assert serving.shards == 1 or serving.ingress_replicas > 1
    spec = find(manifests, "RayService")["spec"]
    assert spec["upgradeStrategy"] == {"type": "NewCluster"}
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    assert group["minReplicas"] == group["maxReplicas"] == group["replicas"]
    budget = find(manifests, "PodDisruptionBudget", "serving")["spec"]
    assert budget["minAvailable"] == group["replicas"] - 1


def test_every_selector_selects_pods_that_exist(manifests):
    pods = [
        template["metadata"]["labels"] | {"ray.io/node-type": node}  # KubeRay's own label
        for _, node, template in ray_templates(manifests)
    ]
    pods += [template["metadata"]["labels"] for template in pod_templates(manifests)]
    for manifest in manifests:
        if manifest["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            spec = manifest["spec"]
            selector = spec.get("podSelector", spec.get("selector"))
            wanted = {key: [value] for key, value in selector.get("matchLabels", {}).items()}
            wanted |= {one["key"]: one["values"] for one in selector.get("matchExpressions", [])}
            for key, values in wanted.items():
                assert set(values) <= {pod.get(key) for pod in pods}
            assert any(all(pod.get(key) in values for key, values in wanted.items()) for pod in pods)


def test_nothing_is_open_that_needs_not_be(manifests):
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"}
    assert policies.pop("deny-all") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {
        port["name"]: port["containerPort"]
        for _, _, one in ray_templates(manifests)
        for port in one["spec"]["containers"][0]["ports"]
    }
    opened = {}
    for name, policy in policies.items():
        for rule in policy.get("ingress", []):
            if "ports" in rule:
                opened.setdefault(name, set()).update(port["port"] for port in rule["ports"])
            else:  # all ports: only among pods of the same part
                assert rule["from"] == [{"podSelector": policy["podSelector"]}]
        for rule in policy.get("egress", []):
            for to in rule["to"]:
                assert "ipBlock" not in to or "169.254.0.0/16" in to["ipBlock"]["except"]
                assert "ipBlock" not in to or {port["port"] for port in rule["ports"]} <= {443, 6443}
    assert opened == {
        "serving": {ports["serve"]},
        "operator": {ports["dashboard"], ports["serve"]},
        "metrics": {ports["metrics"]},
    }
