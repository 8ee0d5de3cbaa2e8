"""The Dockerfile: what a linter finds, and what only this repository can tell."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobs.__main__ import JOBS

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "infra" / "container" / "Dockerfile"


def stages():
    """Stage -> its instructions, (name, value); what stands before the first stage is that of ''."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found, stage = {"": []}, ""
    for line in filter(None, text.splitlines()):
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            stage = value.split(" AS ")[1]
            found[stage] = []
        found[stage].append((name, " ".join(value.split())))
    return found


def values(stage, instruction):
    return [value for name, value in stages()[stage] if name == instruction]


def test_the_linter_finds_nothing(run):
    linted = run("hadolint", DOCKERFILE)
    assert linted.returncode == 0, linted.stdout


def test_both_variants_are_stages_and_images_are_pinned():
    assert {"torch-cpu", "torch-gpu"} <= stages().keys()
    arguments = dict(value.split("=") for value in values("", "ARG"))
    assert arguments["VARIANT"] == "cpu"
    assert re.fullmatch(r"3\.11\.\d+-slim-\w+", arguments["PYTHON"])
    bases = {value.split(" AS ")[0] for stage in stages() for value in values(stage, "FROM")}
    assert bases == {"python:${PYTHON}", "builder", "torch-${VARIANT}"}


@pytest.mark.parametrize("stage", ["scenehash", "mlflow"])
def test_what_runs_is_no_root_has_a_health_check_and_no_secret(stage):
    assert values(stage, "USER") == ["1000:1000"]
    assert len(values(stage, "HEALTHCHECK")) == len(values(stage, "ENTRYPOINT")) == 1
    assert not re.search("password|secret|token|_key", DOCKERFILE.read_text(), re.IGNORECASE)


def test_what_is_copied_exists_and_is_sent_to_the_builder():
    ignored, *sent = [
        line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[0] != "#"
    ]
    assert ignored == "*"
    sources = {
        source
        for stage in stages()
        for value in values(stage, "COPY")
        if not value.startswith("--from=")
        for source in value.split()[:-1]
    }
    assert all((REPOSITORY / source).exists() for source in sources)
    assert {f"!{source}" for source in sources} == {line for line in sent if line[0] == "!"}


def test_every_package_is_pinned():
    installs = [
        command
        for stage in stages()
        for value in values(stage, "RUN")
        for command in value.split("&&")
        if "pip install" in command
    ]
    assert len(installs) == 5
    assert all(re.search(r"-c \S*constraints.txt", command) for command in installs)
    assert not any("://" in command for command in installs), "whose index it is, is the builder's to say"
    pins = set(re.findall(r"^([\w.-]+)==", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
    assert {"torch", "torchvision", "mlflow", "boto3", "psycopg2-binary"} <= pins


@pytest.mark.server
def test_dependencies_come_from_the_project():
    script, project = REPOSITORY / "infra/container/requirements.py", REPOSITORY / "pyproject.toml"
    printed = subprocess.run([sys.executable, script, project], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines() == tomllib.loads(project.read_text())["project"]["dependencies"]


def test_the_entry_point_knows_every_job():
    modules = {path.stem for path in (REPOSITORY / "jobs").glob("*.py") if "__main__" in path.read_text()}
    assert set(JOBS) == modules - {"__main__"}
    assert values("scenehash", "ENTRYPOINT") == ['["tini", "--", "python", "-m", "jobs"]']


@pytest.mark.server
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nightly", "--help"], 0, "usage: python -m jobs.nightly"),
        (["nightly", "--chip-size", "x"], 2, "jobs.nightly: "),
        (["weekly"], 2, "usage: python -m jobs {"),
        ([], 2, "usage: python -m jobs {"),
        (["--help"], 0, "usage: python -m jobs {"),
    ],
)
def test_the_entry_point_becomes_the_job(arguments, code, said):
    command = [sys.executable, "-m", "jobs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
