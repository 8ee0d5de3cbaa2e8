"""Train a hashing network: `python -m jobs.train --source ... --bundles ...`."""

from typing import TYPE_CHECKING

from jobs.config import run_job
from pipelines.train.config import TrainConfig

if TYPE_CHECKING:
    from pipelines.train.report import TrainReport


def _run(config: TrainConfig) -> "TrainReport":
    from pipelines.train.run import run_train  # after --help, which needs no torch

    return run_train(config)


if __name__ == "__main__":
    raise SystemExit(run_job("train", TrainConfig, _run, takes_long=True))
