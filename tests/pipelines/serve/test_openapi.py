"""The OpenAPI description holds: schemathesis makes requests of it, and checks every answer against it."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.pipelines.serve.conftest import ADMIN_KEY


@pytest.mark.parametrize(
    ("accept", "examples"),
    [("*/*", 25), ("application/vnd.apache.arrow.stream", 5), ("application/vnd.apache.parquet", 5)],
)
def test_what_schemathesis_makes_of_it(url: str, tmp_path: Path, accept: str, examples: int) -> None:
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file"),
        *(str(Path(__file__).with_name("schemathesis.toml")), "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {ADMIN_KEY}", "--checks", "all", "--no-color"),
        *("--header", f"Accept: {accept}"),
        *("--phases", "coverage,fuzzing", "--max-examples", str(examples), "--generation-deterministic"),
        *("--request-timeout", "30", "--continue-on-failure"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=170, check=False)
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2000:]
    assert "Fuzzing" in found.stdout  # it came that far


def test_every_path_of_the_contract_is_described(url: str) -> None:
    described = httpx.get(f"{url}/openapi.json").json()
    paths = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert paths == {
        ("POST", "/v1/search"),
        ("POST", "/v1/search/image"),
        ("POST", "/v1/search/batch"),
        ("POST", "/v1/search/grid"),
        ("POST", "/v1/changes"),
        ("GET", "/v1/chips"),
        ("GET", "/v1/chips/{chip_id}"),
        ("GET", "/v1/chips/{chip_id}/dates"),
        ("GET", "/v1/coverage"),
        ("GET", "/v1/collections"),
        ("GET", "/v1/watches"),
        ("GET", "/v1/watches/{name}/hits"),
        ("GET", "/v1/base-map"),
        ("GET", "/v1/chips/{chip_id}/thumbnail"),
        ("POST", "/v1/encode"),
        ("GET", "/v1/snapshot"),
        ("GET", "/v1/status"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    }
    for name, schema in described["components"]["schemas"].items():
        for field, content in schema.get("properties", {}).items():
            assert name.startswith(("HTTPValidation", "Validation")) or content, f"{name}.{field}"
