"""Compact and clean a code table: `python -m jobs.maintain --table ...`."""

from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.maintain.config import MaintainConfig

if TYPE_CHECKING:
    from pipelines.maintain.run import MaintainReport


def _run(config: MaintainConfig) -> "MaintainReport":
    from pipelines.maintain.run import run_maintain  # here, so that --help is fast

    return run_maintain(config)


if __name__ == "__main__":
    raise SystemExit(run_job("maintain", MaintainConfig, _run))
