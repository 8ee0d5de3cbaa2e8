"""Measure a bundle's codes: `python -m jobs.evaluate --bundle ... --source ... --output ...`."""

from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.evaluate.config import EvaluateConfig

if TYPE_CHECKING:
    from pipelines.evaluate.figures import EvaluateSummary


def _run(config: EvaluateConfig) -> "EvaluateSummary":
    from pipelines.labels.source_check import check_source
    from pipelines.registry.tracking import resolved
    from pipelines.storage.store import Store

    store = Store(config.store)
    resolved(config.tracking)
    store.require_bucket(config.output)
    check_source(config.source, store)
    from pipelines.evaluate.run import run_evaluate, summarise  # after --help, which needs no torch

    return summarise(run_evaluate(config))


if __name__ == "__main__":
    raise SystemExit(run_job("evaluate", EvaluateConfig, _run, takes_long=True))
