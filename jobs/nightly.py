"""Encode what is new in an archive: `python -m jobs.nightly --source ... --table ... --bundle ...`."""

from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.encode.config import EncodeConfig

if TYPE_CHECKING:
    from pipelines.encode.report import EncodeReport


def _run(config: EncodeConfig) -> "EncodeReport":
    from pipelines.encode.run import run_encode  # here, so that --help is fast

    return run_encode(config)


if __name__ == "__main__":
    raise SystemExit(run_job("nightly", EncodeConfig, _run, takes_long=True))
