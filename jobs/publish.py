"""Publish a version by hand, go back, list: `python -m jobs.publish --table ... --rollback`."""

from typing import TYPE_CHECKING

from jobs.config import run_job
from pipelines.publish.config import PublishConfig

if TYPE_CHECKING:
    from pipelines.publish.run import PublishReport


def _run(config: PublishConfig) -> "PublishReport":
    from pipelines.publish.run import run_publish  # here, so that --help is fast

    return run_publish(config)


if __name__ == "__main__":
    raise SystemExit(run_job("publish", PublishConfig, _run))
