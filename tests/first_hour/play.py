"""Runs the first hour, and makes texts of what a newcomer sees: the same each time, whatever the machine."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import numpy as np
import pyte
import safetensors.torch
import torch
from PIL import Image
from torchvision.models import resnet18

from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, free_port
from pipelines.demo.processes import running
from tests.conftest import make_geotiff, texture
from tests.first_hour.steps import ASKED, BEFORE, WORK, Step

REPOSITORY = Path(__file__).parents[2]
COLUMNS, LINES = 80, 400
JOB_SECONDS = 600

MASKS = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)?", "<time>"),
    (r"\b\d?\d:\d\d:\d\d\b", "<time>"),
    (r"\b\d{8}T\d{6}Z?\b", "<time>"),
    (r"127\.0\.0\.1:\d+", "<address>"),
    (r'"etag":"[^"]*"', '"etag":"<etag>"'),
    (r'"window":\[[^]]*\]', '"window":<window>'),  # ties are in the order of ids, which are hashes of places
    (r"\b\d+\.\d+(e-?\d+)?\b", "<n>"),
    (r"\b[0-9a-f]{8,64}\b", "<id>"),
    (r"scenehash-(\w+)-\w+\.log", r"scenehash-\1-<id>.log"),
    (r'("(cpu|gpu)_seconds_per_1000_chips":)\d+', r"\1<n>"),
    (r"((cpu|gpu) seconds per 1000 chips +)\d+", r"\1<n>"),
    (r"(bytes[ _]read\"?[: ] *)\d+", r"\1<n>"),
)
"""What differs between two runs or two machines, and what stands for it."""


class Home:
    """The home folder of a newcomer: labelled pictures, an archive of a few images, nothing else."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.names = {"s3": endpoint, "port": str(free_port())}
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "MLFLOW_", "RAY_", "SCENEHASH_", "XDG_"))
        }
        self.environment |= {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "HOME": str(folder),
            "PYTHONPATH": str(REPOSITORY),
            "TERM": "xterm-256color",
        }
        for name in ("maps", "elsewhere"):
            (folder / name).mkdir(parents=True)
        _write_pictures(folder / "maps")
        torch.manual_seed(0)
        safetensors.torch.save_file(resnet18().state_dict(), folder / "maps/weights.safetensors")

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self.names['port']}"

    def play(self, step: Step) -> str:
        """Run a step; return what it printed, and how it ended."""
        job, *flags = (each.format(**self.names) for each in step.command)
        command = [sys.executable, "-m", "jobs", job, *flags]
        environment = self.environment | step.environment
        run = _on_terminal if step.terminal else _through_pipe
        printed, exit_code = run(command, self.folder / step.folder, environment)
        return f"{self._masked(printed).rstrip()}\nexit code {exit_code}\n"

    def _masked(self, text: str) -> str:
        home = r"\n?".join(map(re.escape, str(self.folder)))  # a terminal may break a path anywhere
        text = re.sub(home, "<home>", text)
        text = re.sub(r"/tmp/[\w/.-]*(?=scenehash-)", "<tmp>/", text)
        for pattern, stands in MASKS:
            text = re.sub(pattern, stands, text)
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines())

    def files(self) -> set[str]:
        """Return the files and folders in the newcomer's folders, and what is hidden beside them.

        Not what MLflow keeps for its own statistics, which it doesn't make below a test.
        """
        found = {str(path.relative_to(self.folder)) for path in self.folder.glob("*/*")}
        return found - {".config/mlflow"}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run the service over the published table."""
        command = [
            "env",
            f"HOME={self.folder}",
            f"PYTHONPATH={REPOSITORY}",
            sys.executable,
            "-m",
            "jobs.serve",
        ]
        command += ["--table", str(self.folder / "maps/codes"), "--open", "--port", self.names["port"]]
        with running(command, self.folder / "serve.log", f"{self.url}/readyz"):
            yield


def play_all(endpoint: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the output of each step. ``endpoint``: of an S3 server with the bucket `archive`."""
    # a short path, always of one length: a terminal breaks lines at the same places
    with TemporaryDirectory(prefix="hour-", dir="/tmp") as folder:
        yield from _play_in(Home(Path(folder), endpoint))


def _play_in(home: Home) -> Iterator[tuple[str, str]]:
    before = home.files()
    yield from ((step.name, home.play(step)) for step in BEFORE)
    yield "files-made-by-mistakes", "".join(f"{name}\n" for name in sorted(home.files() - before))
    yield from ((step.name, home.play(step)) for step in WORK)
    with home.serving():
        yield from ((step.name, home.play(step)) for step in ASKED)
    yield "files-at-the-end", "".join(f"{name}\n" for name in sorted(home.files() - before))


def _write_pictures(folder: Path) -> None:
    """Write folders of labelled pictures, and an archive with a broken file, a small one and a hidden one."""
    rng = np.random.default_rng(0)
    for label in ("checks", "flat", "stripes"):
        (folder / "labelled" / label).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(texture(label, rng)).save(folder / f"labelled/{label}/{number}.png")
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, name in enumerate(("one", "two", "three")):
        pixels_HWC = texture(("stripes", "flat", "checks")[number], rng, 80)
        (pictures / f"{name}.tif").write_bytes(make_geotiff(pixels_HWC, west=20.0 * number - 60))
    (pictures / "small.tif").write_bytes(make_geotiff(texture("flat", rng, 20), west=100))
    (pictures / "broken.tif").write_bytes(b"<html>404</html>")
    (pictures / "._one.tif").write_bytes(b"\0" * 100)


def _through_pipe(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[str, int]:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=JOB_SECONDS, check=False
    )
    return f"--- standard output\n{done.stdout}--- standard error\n{done.stderr}", done.returncode


def _on_terminal(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[str, int]:
    """Run a command on a terminal; return what stands on its screen at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)

    def read() -> None:
        while True:
            try:
                stream.feed(os.read(ours, 1 << 16))
            except OSError:  # the other end is closed
                return

    reader = Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
            timeout=JOB_SECONDS, check=False,
        )  # fmt: skip
    finally:
        os.close(theirs)
        reader.join(10)
        os.close(ours)
    return "\n".join(line.rstrip() for line in screen.display).strip() + "\n", done.returncode
