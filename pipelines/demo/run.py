"""The demo, from end to end on this machine: archive, training, encoding, serving, pictures."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from pipelines.client import Client
from pipelines.config import StoreConfig, TrackingConfig
from pipelines.demo.browser import ask_by_clicking, find_chromium, has_page
from pipelines.demo.code_quality import NEIGHBOURS, Precision, measure_precision
from pipelines.demo.config import DemoConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, object_store
from pipelines.demo.pictures import Answer, contact_sheet, world_map
from pipelines.demo.processes import run_job, running, running_job
from pipelines.demo.queries import ask, questions_to_click
from pipelines.demo.world import CHIP_SIZE, world_image
from pipelines.demo.world_archive import Archive, upload_world
from pipelines.errors import ConfigError
from pipelines.registry.bundles import read_manifest
from pipelines.registry.tracking import experiment_page
from pipelines.runtime.cluster import start_ray
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable

BUCKET = "archive"
_MARKER = ".scenehash-demo"  # only a folder with this file in it is ever removed
MODEL = "models:/scenehash@champion"


class DemoFigures(BaseModel):
    """The demo's counts, figures and times."""

    model_config = ConfigDict(frozen=True)

    scenes: int
    chips: int
    rejects: dict[str, int]
    table_version: int
    precision_at_10: float
    colour_precision_at_10: float
    """The same with plain colour statistics in place of codes."""
    tied_at_10: float
    """Chips at the distance of the tenth, itself included: median over the queries; 1: no tie."""
    seconds: dict[str, float]
    """Of each step."""


class DemoReport(BaseModel):
    """The demo's report, the last line that it prints."""

    model_config = ConfigDict(frozen=True)

    demo: DemoFigures


class _Demo:
    """What the demo's steps share."""

    def __init__(self, config: DemoConfig, folder: Path, endpoint: str) -> None:
        self.config, self.folder = config, folder
        self.console = Console(stderr=True)
        self.store = Store(StoreConfig(endpoint=endpoint))
        self.tracking = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
        self.table_uri = f"s3://{BUCKET}/codes"
        self.service = f"http://127.0.0.1:{config.port}"
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """Announce a step and time it."""
        self.console.rule(f"[bold]{what}")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)

    @property
    def store_flag(self) -> dict[str, str]:
        """The flag that tells a job the address of the S3 server."""
        return {"store.endpoint": str(self.store.config.endpoint)}

    @property
    def mlflow_command(self) -> str:
        """The command that shows the demo's runs and models in a browser."""
        mlflow = Path(sys.executable).parent / "mlflow"
        return f"{mlflow} ui --backend-store-uri {self.tracking.uri} --port {self.config.mlflow_port}"

    def log(self, name: str) -> Path:
        """Return the file for a job's log."""
        return self.folder / "logs" / f"{name}.log"


def run_demo(config: DemoConfig) -> DemoReport:
    """Run the demo, stop all processes that it has started, and return its figures."""
    folder = config.output
    clear_output(folder)
    (folder / "logs").mkdir(parents=True)
    (folder / _MARKER).touch()
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with object_store(folder / "s3", BUCKET) as endpoint, _ray():
        demo = _Demo(config, folder, endpoint)
        with demo.step("archive", "1  The archive: scenes of the whole world, uploaded to an S3 server"):
            archive = upload_world(f"s3://{BUCKET}/world", demo.store)
        with demo.step("train", "2  Train a hashing network"):
            bundle = _train(demo, archive)
        with demo.step("encode", "3  Encode the archive and publish"):
            encoded = _encode(demo, archive)
        with demo.step("measure", "4  Measure the codes on held-out chips"):
            table = CodeTable(demo.table_uri, demo.store).read(encoded["model_id"], ["chip_id", "code"])
            code = read_manifest(bundle, demo.store).network.code
            precision = measure_precision(archive.labels, table, code, demo.store)
        with demo.step("serve", "5  Serve the table, and ask"), _served(demo), Client(demo.service) as client:
            answers = ask(client, archive.labels, demo.store, demo.console)
            _draw(demo, answers)
            shots = [] if config.keep else _click(demo, archive, answers)
            _print_figures(demo, precision, shots)
            if config.keep:
                _wait(demo)
    figures = DemoFigures(
        scenes=archive.objects,
        chips=encoded["chips"],
        rejects=encoded["rejects"],
        table_version=encoded["table_version"],
        precision_at_10=round(precision.codes, 4),
        colour_precision_at_10=round(precision.colour, 4),
        tied_at_10=precision.tied,
        seconds=demo.seconds,
    )
    return DemoReport(demo=figures)


def clear_output(folder: Path) -> None:
    """Remove an earlier demo's folder. Raises ConfigError if the folder holds anything else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).exists():
        raise ConfigError(f"{folder} holds something that no demo wrote; give --output a new or empty folder")
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ray() -> Iterator[None]:
    """Run one small Ray for all jobs of the demo, which find it by RAY_ADDRESS."""
    # two training workers and the tasks that read for them need more logical CPUs than a laptop may have
    start_ray("local", cpus=4, log_to_driver=False)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    try:
        yield
    finally:
        del os.environ["RAY_ADDRESS"]
        ray.shutdown()


def _train(demo: _Demo, archive: Archive) -> str:
    """Train from random weights, so that nothing has to be downloaded; return the bundle's URI."""
    flags = {
        "source": archive.manifest_uri,
        "bundles": f"s3://{BUCKET}/bundles",
        "weights": "none",
        "network.backbone": "resnet18",
        "network.node": "layer1+layer2",
        "network.hidden": "0",
        "network.look-bits": "128",
        "input.size": "32",
        "recipe.epochs": "10",
        "recipe.learning-rate": "0.003",
        "recipe.backbone-learning-rate": "0.003",
        "augment.scale": "0",
        "augment.colour": "0",
        "workers": "2",
        "tracking.uri": str(demo.tracking.uri),
    }
    report = run_job(demo.console, "train", flags | demo.store_flag, demo.log("train"))
    demo.console.print(f"bundle {report['bundle']}, registered as {MODEL}")
    return str(report["bundle"])


def _encode(demo: _Demo, archive: Archive) -> dict[str, Any]:
    flags = {
        "source": archive.scenes_uri,
        "table": demo.table_uri,
        "bundle": MODEL,
        "collection": "bluemarble",
        "chip-size": str(CHIP_SIZE),
        "tracking.uri": str(demo.tracking.uri),
    }
    report = run_job(demo.console, "nightly", flags | demo.store_flag, demo.log("encode"))
    demo.console.print(
        f"{report['chips']} chips of {report['objects']} objects; rejected: {report['rejects']}"
    )
    return report


def _served(demo: _Demo) -> AbstractContextManager[None]:
    index = str(demo.folder / "index")
    flags = {"table": demo.table_uri, "port": str(demo.config.port), "open": "", "index-folder": index}
    ready = f"{demo.service}/readyz"
    return running_job(demo.console, "serve", flags | demo.store_flag, demo.log("serve"), ready)


def _draw(demo: _Demo, answers: Sequence[Answer]) -> None:
    (demo.folder / "contact_sheet.png").write_bytes(contact_sheet(answers))
    (demo.folder / "world_map.png").write_bytes(world_map(world_image(), answers))


def _click(demo: _Demo, archive: Archive, answers: list[Answer]) -> list[Path]:
    """Ask the same questions on the page, where there is a browser; return the files with what it showed."""
    chromium = find_chromium()
    if chromium is None or not has_page(demo.service):
        lacking = "the page isn't built (make page)" if chromium else "Chromium or Playwright isn't installed"
        demo.console.print(f"{lacking}, so nobody asks on the page")
        return []
    questions = questions_to_click(archive.labels, answers)
    return ask_by_clicking(chromium, demo.service, questions, demo.folder)


def _print_figures(demo: _Demo, precision: Precision, shots: Sequence[Path]) -> None:
    say = demo.console.print
    say(
        f"precision@{NEIGHBOURS} over {precision.queries} held-out land chips: [bold]{precision.codes:.3f}[/]"
    )
    say(f"chips at the distance of the tenth: {precision.tied:.0f} (median)")
    say(f"the same with plain colour statistics: {precision.colour:.3f}")
    say(f"pictures   {demo.folder}/contact_sheet.png and world_map.png")
    if shots:
        say(f"the page   {', '.join(path.name for path in shots)}, in the same folder")
    say(f"MLflow UI  {demo.mlflow_command}")
    say(f"page, API  {demo.service}/ and {demo.service}/docs (while the service runs: make demo KEEP=1)")


def _wait(demo: _Demo) -> None:
    """Keep the service running, and the MLflow UI, until Ctrl-C or SIGTERM."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    mlflow = f"http://127.0.0.1:{demo.config.mlflow_port}"
    with running(demo.mlflow_command.split(), demo.log("mlflow"), f"{mlflow}/health"):
        demo.console.print(
            f"running: the service, MLflow at {experiment_page(demo.tracking, mlflow)}; Ctrl-C stops both"
        )
        demo.console.print(f"[bold]open {demo.service}/ and click on the map")
        interrupted.wait()
