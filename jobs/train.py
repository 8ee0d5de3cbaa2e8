"""Train a hashing network: `python -m jobs.train --source ... --bundles ...`."""

from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.train.config import TrainConfig

if TYPE_CHECKING:
    from pipelines.train.report import TrainReport


def _run(config: TrainConfig) -> "TrainReport":
    from pipelines.labels.source_check import check_source
    from pipelines.registry.tracking import resolved
    from pipelines.storage.store import Store

    store = Store(config.store)
    resolved(config.tracking)
    store.require_bucket(config.bundles)
    if config.labelled:
        check_source(config.source, store)
    from pipelines.train.run import run_train  # after --help, which needs no torch

    return run_train(config)


if __name__ == "__main__":
    raise SystemExit(run_job("train", TrainConfig, _run, takes_long=True))
