"""The tools that people run these files with, and what they make of them."""

import os
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def run():
    """Run a tool of this environment, or of the machine, in the repository; the finished process."""

    def _run(name, *arguments, **variables):
        path = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert path, f"{name} isn't installed: make setup"
        command = [path, *map(str, arguments)]
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | variables
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=REPOSITORY
        )

    return _run


@pytest.fixture(scope="session")
def rendered(run):
    """Render a kustomization below infra/kuberay; its manifests."""
    known = {}

    def _rendered(folder):
        if folder not in known:
            done = run("kubectl", "kustomize", REPOSITORY / "infra" / "kuberay" / folder)
            assert done.returncode == 0, done.stderr
            known[folder] = list(yaml.safe_load_all(done.stdout))
        return deepcopy(known[folder])

    return _rendered


@pytest.fixture(params=["base", "overlays/small", "overlays/large"])
def manifests(rendered, request):
    """All manifests of the base, and of each overlay."""
    return rendered(request.param)
