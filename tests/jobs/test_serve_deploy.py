"""The RayService's Serve config, deployed as KubeRay deploys it: sent to the dashboard of a cluster."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.served import build
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import free_port
from pipelines.storage.store import Store

REPOSITORY = Path(__file__).parents[2]
KEY = "a key for tests"


def config_of_the_service():
    (service,) = yaml.safe_load_all((REPOSITORY / "infra/kuberay/base/serving.yaml").read_text())
    return yaml.safe_load(service["spec"]["serveConfigV2"])


@pytest.mark.timeout(300)
def test_the_service_is_deployed_from_its_config(cluster, tmp_path):
    build(tmp_path, 500, Store(StoreConfig()))
    settings = {
        "table": str(tmp_path / "table"),
        "key_hashes": [hashlib.sha256(KEY.encode()).hexdigest()],
        "index_folder": str(tmp_path / "index"),
    }
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(settings))
    config, port = config_of_the_service(), free_port()
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    config["applications"][0]["args"]["config"] = str(tmp_path / "serve.yaml")
    (tmp_path / "deploy.yaml").write_text(yaml.safe_dump(config))
    deploy = [
        Path(sys.executable).parent / "serve",
        "deploy",
        tmp_path / "deploy.yaml",
        "--address",
        cluster["RAY_ADDRESS"],
    ]
    subprocess.run(deploy, check=True, env=cluster, capture_output=True)

    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        for _ in range(240):
            try:
                if client.get("/readyz").is_success:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        assert client.get("/v1/snapshot").status_code == 401
        snapshot = client.get("/v1/snapshot", headers={"Authorization": f"Bearer {KEY}"})
    assert snapshot.json()["chips"] == 500, snapshot.text
