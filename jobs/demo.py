"""See the whole product on one machine: `python -m jobs.demo`."""

from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.demo.config import DemoConfig

if TYPE_CHECKING:
    from pipelines.demo.run import DemoReport


def _run(config: DemoConfig) -> "DemoReport":
    from pipelines.demo.run import run_demo  # after --help, which needs no torch

    return run_demo(config)


if __name__ == "__main__":
    raise SystemExit(run_job("demo", DemoConfig, _run))
