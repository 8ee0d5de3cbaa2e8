"""`python -m jobs.serve`: answer queries over HTTP until it is stopped."""

from jobs.config import run_job
from pipelines.serve.config import ServeConfig


def _run(config: ServeConfig) -> None:
    from pipelines.serve.run import run_serve  # brings Ray and torch

    run_serve(config)


if __name__ == "__main__":
    raise SystemExit(run_job("serve", ServeConfig, _run))
