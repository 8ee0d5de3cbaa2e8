"""Publish a version by hand, go back, list: `python -m jobs.publish --table ... --rollback`."""

from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.publish.config import PublishConfig

if TYPE_CHECKING:
    from pipelines.publish.run import PublishReport
    from pipelines.runtime.text_table import TextTable


def _run(config: PublishConfig) -> "PublishReport":
    from pipelines.publish.run import run_publish  # here, so that --help is fast

    return run_publish(config)


def _table(report: "PublishReport") -> "TextTable | None":
    from pipelines.publish.history_table import history_table

    return history_table(report)


if __name__ == "__main__":
    raise SystemExit(run_job("publish", PublishConfig, _run, table_of=_table))
