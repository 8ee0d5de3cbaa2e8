"""The local stack, rendered by Docker Compose, which needs no daemon for that; held against what it runs."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from ray.scripts.scripts import start as ray_start

from jobs.config import load_config
from pipelines.encode.config import EncodeConfig

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "infra" / "compose"
VARIABLES = [
    line.removesuffix("=")
    for line in (COMPOSE / ".env.example").read_text().splitlines()
    if not line.startswith("#")
]
needs_observability = pytest.mark.skipif(
    not (REPOSITORY / "infra/observability").exists(), reason="infra/observability isn't there"
)
FILLED = {name: f"value-of-{name}" for name in VARIABLES}


@pytest.fixture(scope="module")
def render(run):
    return lambda variables: run(
        "docker-compose", "-f", COMPOSE / "compose.yaml", "config", "--format=json", **variables
    )


@pytest.fixture(scope="module")
def services(render):
    rendered = render(FILLED)
    assert rendered.returncode == 0, rendered.stderr
    return json.loads(rendered.stdout)["services"]


def test_nothing_starts_without_its_secrets(render):
    rendered = json.loads(render(FILLED).stdout)
    from_environment = {secret["environment"] for secret in rendered["secrets"].values()}
    for name in VARIABLES:
        lacking = render({other: value for other, value in FILLED.items() if other != name})
        assert name in lacking.stderr or name in from_environment


def test_no_secret_is_in_a_command_line(services):
    for service in services.values():
        assert not any(
            value in argument for value in FILLED.values() for argument in service["command"] or []
        )


def test_ports_are_open_on_loopback_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == len({port["published"] for port in ports}) == 6
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_who_is_waited_for_says_when_it_is_ready(services):
    dockerfile = (REPOSITORY / "infra/container/Dockerfile").read_text()
    for service in services.values():
        for name, condition in (service.get("depends_on") or {}).items():
            assert condition["condition"] == "service_healthy"
            target = services[name].get("build", {}).get("target", "")
            stage = dockerfile.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
            assert "healthcheck" in services[name] or "HEALTHCHECK" in stage


def test_images_are_pinned_and_targets_exist(services):
    dockerfile = (REPOSITORY / "infra/container/Dockerfile").read_text()
    for service in services.values():
        assert re.fullmatch(r"[\w/-]+:v?\d[\w.-]+", service["image"])
        if "build" in service:
            assert f" AS {service['build']['target']}\n" in dockerfile
    assert services["ray-worker"]["image"] == services["ray-head"]["image"]


@needs_observability
def test_what_is_mounted_exists(services):
    binds = [
        Path(volume["source"]).relative_to(REPOSITORY)
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert all(
        volume.get("read_only")
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    )
    assert Path("infra/config") in binds
    missing = [bind for bind in binds if not (REPOSITORY / bind).exists()]
    assert not missing


@needs_observability
def test_dashboards_lie_where_grafana_looks(services):
    targets = {
        Path(volume["target"]).parent for volume in services["grafana"]["volumes"] if volume["type"] == "bind"
    }
    provider = yaml.safe_load((REPOSITORY / "infra/observability/grafana/dashboards.yaml").read_text())
    assert Path(provider["providers"][0]["options"]["path"]) in targets


@pytest.mark.parametrize("service", ["ray-head", "ray-worker"])
def test_the_flags_of_ray_exist(services, service):
    known = {name for option in ray_start.params for name in option.opts}
    assert {flag.split("=")[0] for flag in services[service]["command"]} <= known


@pytest.mark.server
@pytest.mark.parametrize(
    ("service", "command"),
    [("mlflow", ["mlflow", "server", "--help"]), ("seaweedfs", ["weed", "help", "mini"])],
)
def test_the_flags_of_the_stores_exist(services, run, service, command):
    helped = run(*command)
    known = set(re.findall(r"^ +(?:-\w, )?(--?[\w.-]+)", helped.stdout + helped.stderr, re.MULTILINE))
    assert {flag.split("=")[0] for flag in services[service]["command"]} - {"mini"} <= known


def test_jobs_in_the_stack_find_store_and_tracking(services, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SCENEHASH_")]:
        monkeypatch.delenv(name)
    for name, value in services["ray-head"]["environment"].items():
        monkeypatch.setenv(name, value)
    config = load_config("nightly", EncodeConfig, ["--config", str(REPOSITORY / "infra/config/nightly.yaml")])
    addresses = [
        config.store.endpoint,
        services["mlflow"]["environment"]["MLFLOW_S3_ENDPOINT_URL"],
        config.tracking.uri,
    ]
    assert addresses == ["http://seaweedfs:8333", "http://seaweedfs:8333", "http://mlflow:5000"]
    assert services["ray-worker"]["environment"].items() <= services["ray-head"]["environment"].items()
