"""The sandbox in which the documents' commands run."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import REPOSITORY
from tests.pipelines.conftest import write_model

__all__ = ["write_model"]


@pytest.fixture(scope="module")
def sandbox(store, write_scenes, write_model, tmp_path_factory) -> dict[str, str]:
    """A folder with an archive, two models and a night's config; the environment that names them."""
    root = tmp_path_factory.mktemp("sandbox")
    scenes = write_scenes(store, str(root), count=6)
    (Path(scenes.prefix) / "broken.tif").write_bytes(b"<html>404</html>")
    bundles = [write_model(str(root), name)[0] for name in ("one", "two")]
    write_night(root, scenes.prefix, bundles[0])
    (root / "index").mkdir()
    return named(root) | {"SOURCE": scenes.prefix, "BUNDLE": bundles[0], "NEXT_BUNDLE": bundles[1]}


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """The names and a night's config alone: nothing else is there."""
    write_night(tmp_path, f"{tmp_path}/scenes", f"{tmp_path}/bundles/one")
    return named(tmp_path)


def write_night(root: Path, source: str, bundle: str) -> None:
    """Write the config of a night, nightly.yaml."""
    night = {"source": source, "table": f"{root}/codes", "bundle": bundle, "chip_size": 16}
    night |= {"encoders": 1, "min_valid_fraction": 0}
    (root / "nightly.yaml").write_text(yaml.safe_dump(night))


def named(root: Path) -> dict[str, str]:
    """Return an environment with the names that the documents use, all below a folder."""
    paths = {"BACKUP": "backup", "RESTORED": "restored", "INDEX_FOLDER": "index", "NIGHTLY": "nightly.yaml"}
    paths |= {"TABLE": "codes", "SOURCE": "scenes", "LABELS": "labels.parquet", "BUNDLES": "bundles"}
    paths |= {"BUNDLE": "bundles/one", "NEXT_BUNDLE": "bundles/two", "WATCHES": "watches", "HITS": "hits"}
    return os.environ | {name: f"{root}/{path}" for name, path in paths.items()} | {
        "TRACKING": f"sqlite:///{root}/mlflow.db",
        "VERSION": "1",
        "CHIP_ID": "0" * 24,
        "URL": "http://127.0.0.1:8000",
        "KEY": "a-key",
        "SANDBOX": str(root),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }  # fmt: skip
