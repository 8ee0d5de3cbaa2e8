"""Fenced blocks of commands in documents, and whether the jobs understand their flags."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from jobs.config import load_config
from pipelines.encode.config import EncodeConfig
from pipelines.evaluate.config import EvaluateConfig
from pipelines.maintain.config import MaintainConfig
from pipelines.publish.config import PublishConfig
from pipelines.query.config import QueryConfig
from pipelines.query.explore_config import WORDS
from pipelines.serve.config import ServeConfig
from pipelines.train.config import TrainConfig
from pipelines.watch.config import AddWatchConfig, ListWatchesConfig, RemoveWatchConfig, RunWatchesConfig

REPOSITORY = Path(__file__).parents[2]
CONFIGS = {
    "evaluate": EvaluateConfig,
    "maintain": MaintainConfig,
    "nightly": EncodeConfig,
    "publish": PublishConfig,
    "query": QueryConfig,
    "serve": ServeConfig,
    "train": TrainConfig,
    "watch add": AddWatchConfig,
    "watch list": ListWatchesConfig,
    "watch remove": RemoveWatchConfig,
    "watch run": RunWatchesConfig,
    **{f"query {word}": config for word, config in WORDS.items()},
}
JOB = r"python -m jobs\.((?:watch|query) \w+|\w+)"
TOOLS = {"aws", "curl", "docker", "kubectl", "make", "python", "ray"}


@dataclass(frozen=True)
class Block:
    """A fenced block of commands."""

    page: Path
    line: int
    marks: str
    text: str

    @property
    def commands(self) -> list[str]:
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text[: found.start()].count("\n") + 1, found[1].strip(), found[2])
        for found in re.finditer(r"^```sh([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def understood(command: str, environment: dict[str, str]) -> None:
    """Fail unless a tool that the documents use is called, and its job accepts the flags."""
    assert command.split()[0] in TOOLS
    if found := re.search(rf"{JOB}(.*)", command):
        flags = re.sub(r" (> \S+|\| [^|)]*)$", "", found[2])
        expanded = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {flags}"],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        given = [flag for flag in expanded.split("\0")[:-1] if flag != "--json"]
        load_config(found[1], CONFIGS[found[1]], given)
    else:
        assert shlex.split(command)


def run(block: Block, environment: dict[str, str]) -> str:
    """Run a block in the sandbox; return what it printed. Fail unless it exits as its mark says."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        env=environment, cwd=environment["SANDBOX"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    wanted = int(block.marks.removeprefix("exit=") or 0)
    assert done.returncode == wanted, f"{block}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
